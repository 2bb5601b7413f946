// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// One output pixel of a resize, compiled once per tier.
#pragma once

#include "kernels/cpu/resize/pixel.h"
#include "kernels/cpu/simd.h"

namespace hone::cpu::HONE_TIER_NS {

HONE_INLINE V between(V a, V b, V weight) { return fma(b - a, weight, a); }

template <class F>
HONE_INLINE void each_vector(const ResizePixel<Stored>& p, F f) {
  int64_t i = 0;
  for (; i + kLanes <= p.channels; i += kLanes) store(p.y + i, f([i](const Stored* x) { return load(x + i); }));
  const int rest = static_cast<int>(p.channels - i);
  if (rest > 0) store_n(p.y + i, f([=](const Stored* x) { return load_n(x + i, rest); }), rest);
}

static void resize_pixel(const ResizePixel<Stored>& p) {
  const V xw = set1(p.x_weight), yw = set1(p.y_weight);
  if (p.b == nullptr && p.c == nullptr) return each_vector(p, [&](auto get) { return get(p.a); });
  if (p.b == nullptr) return each_vector(p, [&](auto get) { return between(get(p.a), get(p.c), yw); });
  if (p.c == nullptr) return each_vector(p, [&](auto get) { return between(get(p.a), get(p.b), xw); });
  each_vector(p, [&](auto get) {
    return between(between(get(p.a), get(p.b), xw), between(get(p.c), get(p.d), xw), yw);
  });
}

extern const ResizePixelFn<Stored> kResizePixel;
const ResizePixelFn<Stored> kResizePixel = resize_pixel;

}  // namespace hone::cpu::HONE_TIER_NS
