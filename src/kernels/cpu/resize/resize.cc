// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/resize/resize.h"

#include <cmath>

#include "kernels/cpu/copy/strides.h"
#include "kernels/cpu/resize/pixel.h"

namespace hone::cpu {

namespace scalar {
extern const ResizePixelFn<float> kResizePixel;
}
namespace avx2 {
extern const ResizePixelFn<float> kResizePixel;
}
namespace avx512 {
extern const ResizePixelFn<float> kResizePixel;
}
namespace avx512_bf16 {
extern const ResizePixelFn<bf16> kResizePixel;
}

namespace {

constexpr int64_t kGrain = 16 << 10;  // values that justify a task

ResizePixelFn<float> pixel_fn(Tier tier, float) {
  switch (tier) {
    case Tier::avx512: return avx512::kResizePixel;
    case Tier::avx2: return avx2::kResizePixel;
    case Tier::scalar: break;
  }
  return scalar::kResizePixel;
}
ResizePixelFn<bf16> pixel_fn(Tier, bf16) { return avx512_bf16::kResizePixel; }

bool inside(const std::vector<ResizeTap>& taps, int64_t n) {
  return std::all_of(taps.begin(), taps.end(), [n](const ResizeTap& t) {
    return t.first >= 0 && t.first < n && t.second >= 0 && t.second < n;
  });
}

}  // namespace

std::vector<ResizeTap> linear_taps(std::span<const double> coordinates, int64_t in) {
  std::vector<ResizeTap> taps;
  for (double c : coordinates) {
    const double at = std::isnan(c) ? 0 : std::clamp(c, 0.0, static_cast<double>(in - 1)), low = std::floor(at);
    const auto first = static_cast<int64_t>(low);
    taps.push_back({first, std::min(first + 1, in - 1), static_cast<float>(at - low)});
  }
  return taps;
}

Result<ResizePlan> ResizePlan::make(const ResizeProblem& p, std::vector<ResizeTap> rows, std::vector<ResizeTap> columns,
                                    Tier tier) {
  if (p.batch < 0 || p.channels < 1 || p.in_height < 1 || p.in_width < 1) return invalid("resize of an empty image");
  if (!inside(rows, p.in_height) || !inside(columns, p.in_width))
    return invalid("resize reads outside the image of {} by {}", p.in_height, p.in_width);
  ResizePlan plan;
  plan.p_ = p;
  plan.p_.in_ldc = p.in_ldc > 0 ? p.in_ldc : p.channels;
  plan.p_.out_ldc = p.out_ldc > 0 ? p.out_ldc : p.channels;
  if (plan.p_.in_ldc < p.channels || plan.p_.out_ldc < p.channels)
    return invalid("resize with a pitch below {} channels", p.channels);
  plan.rows_ = std::move(rows);
  plan.columns_ = std::move(columns);
  plan.tier_ = tier;
  return plan;
}

void ResizePlan::run(const float* x, float* y, ThreadPool& pool) const { resize(x, y, pool); }
void ResizePlan::run(const bf16* x, bf16* y, ThreadPool& pool) const { resize(x, y, pool); }

template <class T>
void ResizePlan::resize(const T* x, T* y, ThreadPool& pool) const {
  const ResizePixelFn<T> pixel = pixel_fn(tier_, T());
  const auto height = static_cast<int64_t>(rows_.size()), width = static_cast<int64_t>(columns_.size());
  const int64_t units = p_.batch * height;
  const int64_t tasks = std::min(units, task_count(units * width * p_.channels, kGrain, pool.size()));
  pool.parallel(tasks, [&](int64_t t, int) {
    const Part part = part_of(units, t, tasks);
    for (int64_t u = part.begin; u < part.end; ++u) {
      const ResizeTap& r = rows_[static_cast<size_t>(u % height)];
      const T* image = x + u / height * p_.in_height * p_.in_width * p_.in_ldc;
      const T* top = image + r.first * p_.in_width * p_.in_ldc;
      const T* bottom = r.weight == 0 ? nullptr : image + r.second * p_.in_width * p_.in_ldc;
      T* out = y + u * width * p_.out_ldc;
      for (const ResizeTap& c : columns_) {
        const int64_t left = c.first * p_.in_ldc, right = c.second * p_.in_ldc;
        pixel({top + left, c.weight == 0 ? nullptr : top + right, bottom == nullptr ? nullptr : bottom + left,
               bottom == nullptr ? nullptr : bottom + right, c.weight, r.weight, out, p_.channels});
        out += p_.out_ldc;
      }
    }
  });
}

}  // namespace hone::cpu
