// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/conv/windows.h"

#include <algorithm>

namespace hone::cpu {
namespace {

// A part of an output line: pixels (n, y, x) to (n, y, x + count - 1), the i-th of the rows asked for and on.
struct Stretch {
  int64_t n, y, x, i, count;
};

template <class F>
void for_each_stretch(const ConvProblem& p, int64_t row0, int64_t m, F f) {
  const int64_t oh = p.out_h(), ow = p.out_w();
  Stretch s{row0 / ow / oh, row0 / ow % oh, row0 % ow, 0, 0};
  while (s.i < m) {
    s.count = std::min(m - s.i, ow - s.x);
    f(s);
    s.i += s.count;
    s.x = 0;
    if (++s.y == oh) s.y = 0, ++s.n;
  }
}

// Which pixels of a stretch, of `count`, have `width` columns from `start` on inside the image; the next
// pixel's start `stride` further. Loops, since few are outside.
struct Inside {
  int64_t first = 0, last;
  Inside(int64_t start, int64_t width, int64_t stride, int64_t image, int64_t count) : last(count) {
    while (first < last && start + first * stride < 0) ++first;
    while (last > first && start + (last - 1) * stride + width > image) --last;
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
  const auto& source = *static_cast<const WindowSource*>(context);
  const ConvProblem& p = *source.p;
  const int64_t pitch = p.in_pitch(), step = p.stride_w * pitch;
  for_each_stretch(p, row0, m, [&](const Stretch& s) {
    const float** to = rows + s.i;
    for (int64_t ky = 0; ky < p.kh; ++ky) {
      const int64_t y = s.y * p.stride_h - p.pad_top + ky * p.dilation_h;
      const bool line_inside = y >= 0 && y < p.h;
      const float* line = source.in + (s.n * p.h + y) * p.w * pitch;
      for (int64_t kx = 0; kx < p.kw; ++kx, to += rows_ld) {
        const int64_t x = s.x * p.stride_w - p.pad_left + kx * p.dilation_w;
        const Inside inside(x, 1, p.stride_w, line_inside ? p.w : 0, s.count);
        std::fill(to, to + inside.first, source.zeros);
        for (int64_t i = inside.first; i < inside.last; ++i) to[i] = line + x * pitch + i * step;
        std::fill(to + inside.last, to + s.count, source.zeros);
      }
    }
  });
}

void point_lines(const void* context, int64_t row0, int64_t m, const float** rows, int64_t rows_ld, float* scratch) {
  const auto& source = *static_cast<const WindowSource*>(context);
  const ConvProblem& p = *source.p;
  const int64_t pitch = p.in_pitch(), step = p.stride_w * pitch;
  const bool adjacent = pitch == p.cin && p.dilation_w == 1;
  for_each_stretch(p, row0, m, [&](const Stretch& s) {
    const int64_t x = s.x * p.stride_w - p.pad_left;
    const Inside inside(x, p.kw, p.stride_w, adjacent ? p.w : 0, s.count);
    for (int64_t ky = 0; ky < p.kh; ++ky) {
      const int64_t y = s.y * p.stride_h - p.pad_top + ky * p.dilation_h;
      const float** to = rows + ky * rows_ld + s.i;
      if (y < 0 || y >= p.h) {
        std::fill(to, to + s.count, source.zeros);
        continue;
      }
      const float* line = source.in + (s.n * p.h + y) * p.w * pitch;
      const auto copy = [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i, scratch += p.kw * p.cin) {
          copy_line(p, line, x + i * p.stride_w, scratch);
          to[i] = scratch;
        }
      };
      copy(0, inside.first);
      for (int64_t i = inside.first; i < inside.last; ++i) to[i] = line + x * pitch + i * step;
      copy(inside.last, s.count);
    }
  });
}

}  // namespace hone::cpu
