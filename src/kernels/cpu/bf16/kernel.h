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

// Of a factor that was not packed before, the columns of one panel.
struct Bf16Panel {
  const void* from = nullptr;    // its first value
  int64_t ld = 0;                // values from row to row
  bool transposed = false;       // rows are columns
  int64_t columns = 0;           // that it has
  int64_t k = 0, depth = 0;      // depth: with what the kernel pads it with
  uint16_t* to = nullptr;        // [depth / 2][kBf16Panel][2]
  std::byte* scratch = nullptr;  // bf16_panel_scratch() bytes
};
constexpr int64_t kBf16Panel = 32;
constexpr int64_t bf16_panel_scratch(int64_t depth) { return 2 * kBf16Panel * depth + 64; }

// For tensors in memory that are f32 or bf16.
struct Bf16Kernel {
  TileForm from_f32, from_bf16;  // alike but for how they gather
  void (*to_f32)(const Bf16Tile& tile);
  void (*to_bf16)(const Bf16Tile& tile);
  void (*pack_f32)(const Bf16Panel& panel);
  void (*pack_bf16)(const Bf16Panel& panel);
};

}  // namespace hone::cpu
