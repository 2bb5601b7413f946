// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/conv/windows.h"

#include <algorithm>

namespace hone::cpu {
namespace {

// Walks output pixels in order without a division for each.
struct Pixel {
  int64_t n, y, x;
  Pixel(const ConvProblem& p, int64_t index)
      : n(index / (p.out_h() * p.out_w())), y(index / p.out_w() % p.out_h()), x(index % p.out_w()) {}
  void advance(int64_t oh, int64_t ow) {
    if (++x < ow) return;
    x = 0;
    if (++y < oh) return;
    y = 0;
    ++n;
  }
};

// A line of a window that starts at column x0, zeros outside the image.
void copy_line(const ConvProblem& p, const float* line, int64_t x0, float* out) {
  const int64_t pitch = p.in_pitch();
  if (pitch == p.cin && p.dilation_w == 1) {
    const int64_t first = std::clamp<int64_t>(-x0, 0, p.kw), last = std::clamp<int64_t>(p.w - x0, first, p.kw);
    std::fill(out, out + first * p.cin, 0.f);
    std::copy(line + (x0 + first) * p.cin, line + (x0 + last) * p.cin, out + first * p.cin);
    std::fill(out + last * p.cin, out + p.kw * p.cin, 0.f);
    return;
  }
  for (int64_t kx = 0; kx < p.kw; ++kx, out += p.cin) {
    const int64_t x = x0 + kx * p.dilation_w;
    const bool inside = x >= 0 && x < p.w;
    for (int64_t c = 0; c < p.cin; ++c) out[c] = inside ? line[x * pitch + c] : 0.f;
  }
}

}  // namespace

void point_taps(const void* context, int64_t row0, int64_t m, const float** rows, int64_t rows_ld, float*) {
  const auto& s = *static_cast<const WindowSource*>(context);
  const ConvProblem& p = *s.p;
  const int64_t oh = p.out_h(), ow = p.out_w(), pitch = p.in_pitch();
  Pixel px(p, row0);
  for (int64_t i = 0; i < m; ++i, px.advance(oh, ow)) {
    const int64_t y0 = px.y * p.stride_h - p.pad_top, x0 = px.x * p.stride_w - p.pad_left;
    const float* image = s.in + px.n * p.h * p.w * pitch;
    const float** row = rows + i;
    for (int64_t ky = 0; ky < p.kh; ++ky) {
      const int64_t y = y0 + ky * p.dilation_h;
      const bool row_inside = y >= 0 && y < p.h;
      for (int64_t kx = 0; kx < p.kw; ++kx, row += rows_ld) {
        const int64_t x = x0 + kx * p.dilation_w;
        *row = row_inside && x >= 0 && x < p.w ? image + (y * p.w + x) * pitch : s.zeros;
      }
    }
  }
}

void point_lines(const void* context, int64_t row0, int64_t m, const float** rows, int64_t rows_ld, float* scratch) {
  const auto& s = *static_cast<const WindowSource*>(context);
  const ConvProblem& p = *s.p;
  const int64_t oh = p.out_h(), ow = p.out_w(), pitch = p.in_pitch();
  const bool adjacent = pitch == p.cin && p.dilation_w == 1;
  Pixel px(p, row0);
  for (int64_t i = 0; i < m; ++i, px.advance(oh, ow)) {
    const int64_t x0 = px.x * p.stride_w - p.pad_left;
    const bool in_place = adjacent && x0 >= 0 && x0 + p.kw <= p.w;
    for (int64_t ky = 0; ky < p.kh; ++ky) {
      const int64_t y = px.y * p.stride_h - p.pad_top + ky * p.dilation_h;
      const float*& row = rows[ky * rows_ld + i];
      row = s.zeros;
      if (y < 0 || y >= p.h) continue;
      const float* line = s.in + (px.n * p.h + y) * p.w * pitch;
      if (in_place) {
        row = line + x0 * pitch;
        continue;
      }
      copy_line(p, line, x0, scratch);
      row = scratch;
      scratch += p.kw * p.cin;
    }
  }
}

}  // namespace hone::cpu
