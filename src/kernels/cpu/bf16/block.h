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

// `rows` rows by one panel, in tiles of `most` at most and of as equal heights as can be. `first` is their first tile
// but for its height; `in_bf16`: what the result and the residual are in.
void multiply_rows(const Bf16Kernel& kernel, bool in_bf16, const Bf16Tile& first, int64_t rows, int64_t most);

void multiply(const Bf16Kernel& kernel, const GatherPlan& plan, const Bf16Args& args, const Bf16Block& block);

}  // namespace hone::cpu
