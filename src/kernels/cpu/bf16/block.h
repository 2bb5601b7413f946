// Gathered rows by packed panels, which convolutions and products share.
#pragma once

#include "kernels/cpu/bf16/kernel.h"

namespace hone::cpu {

struct Bf16Block {
  TileRows a;
  int64_t rows = 0;
  int64_t group = 0, first = 0, last = 0;  // panels of a group
  const std::byte* packed = nullptr;       // the first of them
  int64_t at = 0, ld = 0;  // elements: where the first row begins in the result and the residual, and from row to row
  float* sums = nullptr;   // scratch for a tile
};

void multiply(const Bf16Kernel& kernel, const GatherPlan& plan, const Bf16Args& args, const Bf16Block& block);

}  // namespace hone::cpu
