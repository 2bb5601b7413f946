// The inner kernels of one instruction set.
#pragma once

#include "kernels/cpu/bf16/bf16.h"

namespace hone::cpu {

// out[i][j] = epilogue(sum over k of a[i][k] * b[k][j]), for `rows` rows and one panel of columns.
struct Bf16Tile {
  TileRows a;  // as the form's `gather` writes values
  int rows = 0;
  int64_t steps = 0;            // of a line, pairs of k
  const uint16_t* b = nullptr;  // [pair][column][2]
  int columns = 0;              // of the result; a panel's others are left out
  float* sums = nullptr;        // scratch for a tile
  void* out = nullptr;
  int64_t ld = 0;  // from row to row of the result and the residual
  const Epilogue* epilogue = nullptr;
  const float* bias = nullptr;     // of the first column, or null
  const void* residual = nullptr;  // of the first element, or null
};

// For tensors in memory that are f32 or bf16.
struct Bf16Kernel {
  TileForm from_f32, from_bf16;  // alike but for how they gather
  void (*to_f32)(const Bf16Tile& tile);
  void (*to_bf16)(const Bf16Tile& tile);
};

}  // namespace hone::cpu
