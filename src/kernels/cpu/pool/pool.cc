// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/pool/pool.h"

#include "kernels/cpu/copy/strides.h"
#include "kernels/cpu/pool/pool_pixel.h"

namespace hone::cpu {

namespace scalar {
extern const PoolPixels kPoolPixels;
}
namespace avx2 {
extern const PoolPixels kPoolPixels;
}
namespace avx512 {
extern const PoolPixels kPoolPixels;
}

namespace {

constexpr int64_t kGrain = 16 << 10;  // values read that justify a task

const PoolPixels& pixels_of(Tier tier) {
  switch (tier) {
    case Tier::avx512: return avx512::kPoolPixels;
    case Tier::avx2: return avx2::kPoolPixels;
    case Tier::scalar: break;
  }
  return scalar::kPoolPixels;
}

// The window of one output position along one dim: first and count of the elements inside, and the divisor's share.
struct Window {
  int64_t first, count, padded;
};
Window window(const PoolProblem& p, int d, int64_t o) {
  const int64_t step = p.dilation[d], start = o * p.stride[d] - p.pads_begin[d];
  // Elements in so many steps; the division would take longer than a window of a few pixels.
  const auto steps = [&](int64_t elements) { return step == 1 ? elements : (elements + step - 1) / step; };
  const int64_t skip = start < 0 ? steps(-start) : 0;
  const auto inside = [&](int64_t end) {  // taps before `end`
    return std::clamp<int64_t>(steps(end - start), 0, p.kernel[d]);
  };
  const int64_t count = start >= p.in[d] ? 0 : std::max<int64_t>(inside(p.in[d]) - skip, 0);
  return {start + skip * step, count, inside(p.in[d] + p.pads_end[d])};
}

template <class T>
struct Runner {
  const PoolProblem& p;
  const T* x;
  T* y;
  void (*run)(const PoolPixelOf<T>&);
  int64_t in_ldc, out_ldc;

  // Output row (n, d, h), channels [c0, c1).
  void row(int64_t index, int64_t c0, int64_t c1) const {
    const int64_t oh = index % p.out[1], od = index / p.out[1] % p.out[0], n = index / p.out[1] / p.out[0];
    const Window wd = window(p, 0, od), wh = window(p, 1, oh);
    const int64_t image = p.in[0] * p.in[1] * p.in[2];
    PoolPixelOf<T> pixel{.channels = c1 - c0};
    pixel.step[2] = p.dilation[2] * in_ldc;
    pixel.step[1] = p.dilation[1] * p.in[2] * in_ldc;
    pixel.step[0] = p.dilation[0] * p.in[1] * p.in[2] * in_ldc;
    pixel.count[0] = wd.count;
    pixel.count[1] = wh.count;
    for (int64_t ow = 0; ow < p.out[2]; ++ow) {
      const Window ww = window(p, 2, ow);
      pixel.count[2] = ww.count;
      const bool empty = wd.count * wh.count * ww.count == 0;
      const int64_t at = n * image + (wd.first * p.in[1] + wh.first) * p.in[2] + ww.first;
      pixel.x = empty ? x : x + at * in_ldc + c0;
      if (empty) pixel.count[0] = 0;
      const int64_t divisor = p.count_include_pad ? wd.padded * wh.padded * ww.padded : wd.count * wh.count * ww.count;
      pixel.scale = divisor > 0 ? 1.f / static_cast<float>(divisor) : 0.f;
      pixel.y = y + (index * p.out[2] + ow) * out_ldc + c0;
      run(pixel);
      pixel.count[0] = wd.count;
    }
  }
};

template <class T>
void run_pool(const PoolProblem& p, void (*pixel)(const PoolPixelOf<T>&), const T* x, T* y, ThreadPool& threads) {
  const Runner<T> runner{p, x, y, pixel, p.in_ldc > 0 ? p.in_ldc : p.channels, p.out_ldc > 0 ? p.out_ldc : p.channels};
  const int64_t rows = p.batch * p.out[0] * p.out[1];
  const int64_t work = rows * p.out[2] * p.channels * p.kernel[0] * p.kernel[1] * p.kernel[2];
  const int64_t tasks = task_count(work, kGrain, threads.size());
  if (rows >= tasks) {
    threads.parallel(std::min(tasks, rows), [&](int64_t t, int) {
      const Part part = part_of(rows, t, std::min(tasks, rows));
      for (int64_t r = part.begin; r < part.end; ++r) runner.row(r, 0, p.channels);
    });
    return;
  }
  // Few rows: channels are shared out, in whole cache lines.
  constexpr int64_t kLine = 16;
  const int64_t lines = (p.channels + kLine - 1) / kLine, parts = std::min(lines, tasks);
  threads.parallel(rows * parts, [&](int64_t t, int) {
    const Part part = part_of(lines, t % parts, parts);
    runner.row(t / parts, part.begin * kLine, std::min(part.end * kLine, p.channels));
  });
}

}  // namespace

const char* pool_supports(const PoolProblem& p) {
  if (p.batch < 0 || p.channels < 1) return "no channels";
  for (int d = 0; d < 3; ++d) {
    if (p.in[d] < 1 || p.out[d] < 0) return "an empty image";
    if (p.kernel[d] < 1 || p.stride[d] < 1 || p.dilation[d] < 1) return "a kernel, stride or dilation below 1";
    if (p.pads_begin[d] < 0 || p.pads_end[d] < 0) return "negative padding";
  }
  if ((p.in_ldc != 0 && p.in_ldc < p.channels) || (p.out_ldc != 0 && p.out_ldc < p.channels))
    return "a pixel pitch below the channel count";
  return nullptr;
}

PoolProblem global_pool(PoolKind kind, int64_t batch, int64_t pixels, int64_t channels, int64_t in_ldc) {
  PoolProblem p{.kind = kind, .batch = batch, .channels = channels, .in_ldc = in_ldc};
  p.in[2] = p.kernel[2] = pixels;
  return p;
}

void pool(const PoolProblem& p, Tier tier, const float* x, float* y, ThreadPool& threads) {
  run_pool(p, pixels_of(tier).floats(p.kind), x, y, threads);
}

void max_pool(const PoolProblem& p, Tier tier, const int8_t* x, int8_t* y, ThreadPool& threads) {
  run_pool(p, pixels_of(tier).max_of_bytes, x, y, threads);
}

}  // namespace hone::cpu
