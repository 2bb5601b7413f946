// What attention by bytes does between its products, compiled for AVX-512 VNNI.
#pragma once

#include "kernels/cpu/attention/attention_kernel.h"

namespace hone::cpu {

constexpr int64_t kBytesPanel = 64;  // columns of a product

// Rows [0, rows) of `columns` bytes become [quad of rows][kBytesPanel][4]; rows that are not there are zero.
struct BytesPanel {
  const int8_t* from;
  int64_t ld, rows, columns;
  int8_t* to;
};

// y[row][column] = inverse[row] * scale * sums[row][column], in f32 or as the nearest i8.
struct BytesResult {
  const int32_t* sums;  // rows of kBytesPanel
  int64_t rows, columns;
  const float* inverse;
  float scale;
  bool quantizes;
  void* y;
  int64_t ld;  // elements
};

struct AttentionInt8Kernel {
  void (*pack)(const BytesPanel& panel);
  // start[column] = -128 * the sum of a panel's column of `quads` quads: what rows with 128 added make too much of it.
  void (*take_off)(const int8_t* panel, int64_t quads, int32_t* start);
  // Scores, which come as i32, become e^(scale * score + mask - the query's largest) in 255ths, as bytes:
  // weights[(key / 4 * ld + query) * 4 + key % 4], up to the next multiple of 4 keys. `inverse` is that of their sum.
  void (*softmax)(const AttentionScores& job, uint8_t* weights);
  void (*finish)(const BytesResult& result);
};

namespace avx512 {
extern const AttentionInt8Kernel kAttentionInt8Kernel;
}

}  // namespace hone::cpu
