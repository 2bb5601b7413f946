// The inner kernels of one instruction set, and the arithmetic after the sums.
#pragma once

#include "kernels/cpu/int8/int8.h"

namespace hone::cpu {

struct Int8Finish;

// sums[i][j] = start[j] + sum over k of a[i][k] * b[k][j], for `rows` rows and one panel of columns.
struct Int8Tile {
  TileRows a;  // as the set's `gather` writes values
  int rows = 0;
  int64_t steps = 0;  // of a line, k_unit values of k each
  const int32_t* start = nullptr;
  const int8_t* b = nullptr;  // [step][column][k_unit]
  int panel = 0;              // columns of b
  int columns = 0;            // whose sums are needed; the others may be left out
  int32_t* sums = nullptr;    // panel-wide rows
};

struct Int8Kernel {
  TileForm form;
  int32_t excess;  // of gathered values, which is taken off by `start`
  void (*run)(const Int8Tile& tile);
  // For a plain epilogue, where the kernel can: any number of rows, finished while their sums are in registers. False:
  // not done, as scales and biases are so large that results may leave i32.
  bool (*run_plain)(const Int8Tile& tile, const Int8Finish& job) = nullptr;
};

// For activations of i8, or of u8.
const Int8Kernel& int8_kernel(Int8Set set, bool unsigned_in);

// Products of 16 bits, of tiles whose rows and columns hold pairs of them: sums wrap.
struct Int16Products {
  int rows, panel;
  void (*run)(const Int8Tile& tile);
};

// Rows of sums, which are changed, to results.
struct Int8Finish {
  int32_t* sums = nullptr;
  int64_t sums_ld = 0;
  int64_t rows = 0, columns = 0;
  int64_t row = 0;      // output pixel of the first row
  int64_t channel = 0;  // of the first column
  int64_t at = 0;       // index of the first element in the result and the residual
  int64_t ld = 0;       // from row to row of them
  void* out = nullptr;
  const Int8Epilogue* epilogue = nullptr;
};

// What backends/requantize leaves of most epilogues: a scale, a bias, a residual in bytes and bounds. Behind a
// residual, which has one scale, a step by channel stays.
inline bool is_plain(const Int8Epilogue& e) {
  const bool stepped = e.step == nullptr || (e.residual != nullptr && !e.divides);
  return e.scale != nullptr && e.quantized && stepped && e.zero == 0 && e.residual_zero == 0 &&
         e.real.act == Activation::none && e.real.residual == nullptr && e.offset == nullptr && e.row_sums == nullptr;
}

using Int8FinishFn = void (*)(const Int8Finish& job);
Int8FinishFn int8_finish(Tier tier);

constexpr Tier tier_of(Int8Set set) {
  return set == Int8Set::scalar ? Tier::scalar : set == Int8Set::avx2 ? Tier::avx2 : Tier::avx512;
}

// Sums over the taps of neighbouring output pixels for channels [0, channels).
struct Int8DepthwisePixels {
  const std::byte* const* x = nullptr;  // of each tap the channels of the first pixel, i8 or u8
  int64_t x_step = 0;                   // bytes from pixel to pixel
  int64_t pixels = 0;
  int64_t taps = 0;               // a multiple of the kernel's
  const void* weights = nullptr;  // made ready
  int64_t channels = 0;
  int32_t* sums = nullptr;
  int64_t sums_ld = 0;  // from pixel to pixel; room for channels rounded up to kDepthwiseBlock
};

constexpr int64_t kDepthwiseBlock = 32;

struct Int8DepthwiseKernel {
  int64_t taps;  // that come together
  void (*run)(const Int8DepthwisePixels& pixels);
  // From pairs of taps, [pair][channel][2], to the weights that run() reads; null: those are the pairs.
  size_t (*ready_bytes)(int64_t taps, int64_t channels) = nullptr;
  void (*ready)(const int16_t* pairs, int64_t taps, int64_t channels, void* weights) = nullptr;
};

// For activations of i8, or of u8.
const Int8DepthwiseKernel& int8_depthwise_kernel(Int8Set set, bool unsigned_in);

constexpr int64_t kLinesBlock = 64;  // channels

// Lines [first, last) of an image's results, for one block of channels.
struct Int8LinesTask {
  const ConvProblem* p = nullptr;
  const Int8Args* args = nullptr;
  int64_t image = 0, block = 0, first = 0, last = 0;
  const std::byte* zeros = nullptr;  // a line of the input
  int32_t* sums = nullptr;           // two lines of results of a block
  Int8FinishFn finish = nullptr;
};

// For windows of 3x3 with a stride of 1 or 2.
struct Int8LinesKernel {
  size_t (*ready_bytes)(int64_t channels);
  void (*ready)(const int16_t* pairs, int64_t channels, int64_t stride, void* weights);
  void (*run)(const Int8LinesTask& task);
};

// Null where the set has none.
const Int8LinesKernel* int8_lines_kernel(Int8Set set, bool unsigned_in);

}  // namespace hone::cpu
