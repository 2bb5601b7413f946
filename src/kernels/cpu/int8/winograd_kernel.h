// The per-tier half of Winograd's F(4x4, 3x3) (Lavin and Gray, 2015) in whole numbers: transforms of a tile.
//
// With points at 0, 1, -1, 2, -2 and infinity, inputs become whole numbers of 15 bits. Weights do where each point's
// are taken times a whole number: six times 1, 1/6, 1/6, 1/24, 1/24 and 1 of the usual g, in one dim, gives sums of at
// most 7 weights and whole y * 24, y * 12, y * 6 and y * 6. All sums may wrap, as they are right modulo 2^32: in both
// dims 9 is divided by as its inverse is multiplied by, and up to 2^6 by a shift. So results are exact while they are
// under 2^25.
#pragma once

#include "kernels/cpu/int8/kernel.h"

namespace hone::cpu {

inline constexpr int kInt8WinogradTile = 4, kInt8WinogradPoints = 6;
inline constexpr int64_t kMostInt8WinogradSum = (int64_t{1} << 25) - 1;
// What rows of points are rounded up to.
inline constexpr int64_t kInt8WinogradRow = 32;

// The points of a tile, in rows of channels with zeros up to kInt8WinogradRow.
struct Int8WinogradInput {
  const std::byte* pixels[kInt8WinogradPoints * kInt8WinogradPoints];  // of i8 or u8, row by row; zeros where outside
  int64_t channels;
  int16_t* v;
  int64_t point_stride;
};

// The factors of a panel at one row of points, which take four times the memory of the weights that give all rows.
struct Int8WinogradFactors {
  const int8_t* weights;  // [pair of input channels][9][column][2]
  int64_t pairs;
  int panel;         // columns, a multiple of the tier's lanes
  int16_t* factors;  // of each point [pair of input channels][column][2]
  int64_t point_stride;
};

// From products to the sums of a tile's pixels, a row each of those of `done`, or to results.
struct Int8WinogradOutput {
  const int32_t* m;
  int64_t point_stride;
  int height, width;  // of the tile inside the image
  int64_t line;       // from line to line of the result
  const Int8Finish* done;
};

struct Int8WinogradKernel {
  void (*input_i8)(const Int8WinogradInput& job);
  void (*input_u8)(const Int8WinogradInput& job);
  void (*factors[kInt8WinogradPoints])(const Int8WinogradFactors& job);  // of each row of points
  void (*output)(const Int8WinogradOutput& job);
  void (*output_plain)(const Int8WinogradOutput& job);  // of a plain epilogue without a residual, to results
};

}  // namespace hone::cpu
