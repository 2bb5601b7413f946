// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// Turns a pointwise program into block operations over a few registers.
#pragma once

#include <span>
#include <vector>

#include "kernels/cpu/pointwise/block.h"

namespace hone::cpu {

// How a block finds the values of an input.
enum class Access {
  direct,  // in place
  scalar,  // one value for the whole block
  expand,  // copied to a register first, in its memory type
};

// Places are numbered: inputs, then the output, constants, registers, scalar registers.
struct Step {
  BlockFn fn = nullptr;
  int in[3] = {0, 0, 0};
  int out = 0;
  bool scalar = false;  // once a block, not once a value
};

struct Expansion {
  int input = 0, out = 0;
};

struct Lowered {
  std::vector<Step> steps;
  std::vector<Expansion> expansions;
  std::vector<int64_t> constants;  // the bits of each value, lowest bytes first
  int inputs = 0, registers = 0, scalar_registers = 0;
  int register_width = 4;  // bytes a value
  int cost = 1;            // per value, in simple instructions

  int output_place() const { return inputs; }
  int constant_place(int i) const { return inputs + 1 + i; }
  int register_place(int i) const { return constant_place(static_cast<int>(constants.size())) + i; }
  int scalar_place(int i) const { return register_place(registers) + i; }
  int places() const { return scalar_place(scalar_registers); }
};

constexpr int kMaxPlaces = 128;

// Why an instruction of the program has no block operation, or null.
const char* lowering_refusal(const PointwiseProgram& program);

Result<Lowered> lower_pointwise(const PointwiseProgram& program, std::span<const Access> access, Tier tier);

}  // namespace hone::cpu
