// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// One output pixel of a pool, compiled once per tier.
#pragma once

#include <cstring>

#include "kernels/cpu/pool/pool_pixel.h"
#include "kernels/cpu/simd_math.h"

namespace hone::cpu::HONE_TIER_NS {

using PoolPixel = PoolPixelOf<Stored>;

// What is summed or compared, per kind.
template <PoolKind kKind>
HONE_INLINE V pool_step(V acc, V x) {
  switch (kKind) {
    case PoolKind::max: return math::maximum(x, acc);
    case PoolKind::average: return acc + x;
    case PoolKind::l1: return acc + abs(x);
    case PoolKind::l2: return fma(x, x, acc);
  }
}

template <PoolKind kKind>
HONE_INLINE V pool_finish(V acc, const PoolPixel& p) {
  if constexpr (kKind == PoolKind::average) return acc * set1(p.scale);
  if constexpr (kKind == PoolKind::l2) return math::sqrt(acc);
  return acc;
}

// kVectors vectors of channels from c on; only the last may be partial, of `last` lanes.
template <PoolKind kKind, int kVectors>
HONE_INLINE void pool_channels(const PoolPixel& p, int64_t c, int last) {
  V acc[kVectors];
  HONE_UNROLL
  for (int j = 0; j < kVectors; ++j) acc[j] = kKind == PoolKind::max ? -math::infinity() : zero();
  // Long sums go through partial ones, so that errors stay those of short sums.
  V part[kVectors];
  for (int64_t d = 0; d < p.count[0]; ++d) {
    for (int64_t h = 0; h < p.count[1]; ++h) {
      const Stored* row = p.x + d * p.step[0] + h * p.step[1] + c;
      for (int64_t w0 = 0; w0 < p.count[2]; w0 += kPoolRun) {
        const int64_t w1 = w0 + kPoolRun < p.count[2] ? w0 + kPoolRun : p.count[2];
        HONE_UNROLL
        for (int j = 0; j < kVectors; ++j) part[j] = kKind == PoolKind::max ? acc[j] : zero();
        for (int64_t w = w0; w < w1; ++w) {
          const Stored* x = row + w * p.step[2];
          HONE_UNROLL
          for (int j = 0; j < kVectors; ++j) {
            const bool whole = j + 1 < kVectors || last == kLanes;
            part[j] = pool_step<kKind>(part[j], whole ? load(x + j * kLanes) : load_n(x + j * kLanes, last));
          }
        }
        HONE_UNROLL
        for (int j = 0; j < kVectors; ++j) acc[j] = kKind == PoolKind::max ? part[j] : acc[j] + part[j];
      }
    }
  }
  HONE_UNROLL
  for (int j = 0; j < kVectors; ++j) {
    const V y = pool_finish<kKind>(acc[j], p);
    j + 1 < kVectors || last == kLanes ? store(p.y + c + j * kLanes, y) : store_n(p.y + c + j * kLanes, y, last);
  }
}

template <PoolKind kKind>
void pool_pixel(const PoolPixel& p) {
  int64_t c = 0;
  for (; c + 4 * kLanes <= p.channels; c += 4 * kLanes) pool_channels<kKind, 4>(p, c, kLanes);
  for (; c + kLanes <= p.channels; c += kLanes) pool_channels<kKind, 1>(p, c, kLanes);
  if (c < p.channels) pool_channels<kKind, 1>(p, c, static_cast<int>(p.channels - c));
}

typedef int8_t Bytes __attribute__((vector_size(kLanes * 4)));

// Channels [c, c + sizeof(B)) of a pixel; B is a vector of bytes, or one.
template <class B>
HONE_INLINE void max_channels(const PoolPixelOf<int8_t>& p, int64_t c) {
  B top = static_cast<int8_t>(INT8_MIN) + B{};
  for (int64_t d = 0; d < p.count[0]; ++d) {
    for (int64_t h = 0; h < p.count[1]; ++h) {
      for (int64_t w = 0; w < p.count[2]; ++w) {
        B x;
        std::memcpy(&x, p.x + d * p.step[0] + h * p.step[1] + w * p.step[2] + c, sizeof x);
        top = x > top ? x : top;
      }
    }
  }
  std::memcpy(p.y + c, &top, sizeof top);
}

static void max_pixel(const PoolPixelOf<int8_t>& p) {
  constexpr int64_t kBytes = sizeof(Bytes);
  int64_t c = 0;
  for (; c + kBytes <= p.channels; c += kBytes) max_channels<Bytes>(p, c);
  for (; c < p.channels; ++c) max_channels<int8_t>(p, c);
}

static PoolPixelFn<Stored> pool_pixel_fn(PoolKind kind) {
  switch (kind) {
    case PoolKind::max: return pool_pixel<PoolKind::max>;
    case PoolKind::average: return pool_pixel<PoolKind::average>;
    case PoolKind::l1: return pool_pixel<PoolKind::l1>;
    case PoolKind::l2: return pool_pixel<PoolKind::l2>;
  }
  return nullptr;
}

extern const PoolPixels<Stored> kPoolPixels;
const PoolPixels<Stored> kPoolPixels{pool_pixel_fn, max_pixel};

}  // namespace hone::cpu::HONE_TIER_NS
