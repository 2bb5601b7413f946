// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// Runs a pointwise program over broadcast inputs, block by block: the values of a block stay in L1 and every
// instruction is one vector loop over it.
//
// Floats are computed in fp32 (f16 and bf16 are widened on loading and rounded by casts and the store), integers as the
// reference does. Transcendental functions are within a few ulp: see simd_math.h. mul followed by add may fuse.
#pragma once

#include <memory>
#include <span>

#include "base/cpu_info.h"
#include "base/pointwise.h"
#include "base/thread_pool.h"

namespace hone::cpu {

// Dims as numpy would broadcast them. Strides in elements, empty for a dense row-major array.
struct PointwiseOperand {
  DType type = DType::f32;
  std::span<const int64_t> dims;
  std::span<const int64_t> strides = {};
};

// Null, or why the program cannot be run here.
const char* pointwise_supports(const PointwiseProgram& program);

class PointwisePlan {
 public:
  // The output's type must be the program's; its innermost stride must be 1. The tier must be one the CPU has.
  static Result<PointwisePlan> make(const PointwiseProgram& program, std::span<const PointwiseOperand> inputs,
                                    const PointwiseOperand& output, Tier tier = best_tier());

  size_t workspace_bytes(int threads) const;

  // One pointer for each input given to make(). The output may be an input of equal type, dims and strides.
  void run(const void* const* inputs, void* output, void* workspace, ThreadPool& pool) const;

 private:
  struct State;
  explicit PointwisePlan(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

}  // namespace hone::cpu
