// From i32 sums to results, each step rounded to f32: compiled once per tier, without contraction to FMA.
#pragma once

#include "kernels/cpu/gemm/activation.inc"
#include "kernels/cpu/int8/kernel.h"
#include "kernels/cpu/int8/vector.h"

namespace hone::cpu::HONE_TIER_NS {

enum class Int8Residual { none, real, bytes };

// The first n of kLanes values.
HONE_INLINE VI widen_part(const int8_t* p, int n) {
  if (n >= kLanes) return widen(p);
  int8_t copy[kLanes] = {};
  for (int i = 0; i < n; ++i) copy[i] = p[i];
  return widen(copy);
}
HONE_INLINE void store_i8_part(int8_t* p, VI v, int n) {
  if (n >= kLanes) return store_i8(p, v);
  int8_t copy[kLanes];
  store_i8(copy, v);
  for (int i = 0; i < n; ++i) p[i] = copy[i];
}

template <Int8Residual kResidual>
HONE_INLINE V add_residual_to(V v, const Int8Epilogue& e, int64_t at, int n) {
  if constexpr (kResidual == Int8Residual::real) return v + load_part(e.real.residual_at<float>(at), n);
  if constexpr (kResidual == Int8Residual::bytes)
    return v + (to_float(widen_part(e.residual + at, n)) - set1(e.residual_zero)) * set1(e.residual_scale);
  return v;
}

// Nearest even, then clipped; NaN, which only a residual brings, gives 0. The bounds are whole, so that clipping first
// is the same.
template <Int8Residual kResidual>
HONE_INLINE VI quantize(V v, const Int8Epilogue& e, int64_t channel, int n) {
  if (e.step != nullptr) {
    const V step = load_part(e.step + channel, n);
    v = e.divides ? v / step : v * step;
  }
  if constexpr (kResidual == Int8Residual::real) v = as_float(as_int(v) & (v == v));
  const auto zero = static_cast<float>(e.zero);
  return to_int(min(max(v, set1(e.low - zero)), set1(e.high - zero))) + e.zero;
}

// VECTORS vectors of a row; only one that is alone may be partial, of n lanes. `c` is its column, `at` its index in the
// result.
template <Int8Residual kResidual, bool kQuantized, int VECTORS>
HONE_INLINE void finish_vectors(const Int8Finish& job, const int32_t* sums, int64_t c, int64_t at, int n) {
  const Int8Epilogue& e = *job.epilogue;
  const bool after = e.real.residual_after_activation;
  V v[1][VECTORS];
  HONE_UNROLL
  for (int j = 0; j < VECTORS; ++j) {
    const int64_t channel = job.channel + c + j * kLanes;
    v[0][j] = to_float(load_i32(sums + c + j * kLanes)) * load_part(e.scale + channel, n);
    if (e.real.bias != nullptr) v[0][j] += load_part(e.real.bias + channel, n);
    if (!after) v[0][j] = add_residual_to<kResidual>(v[0][j], e, at + j * kLanes, n);
  }
  activate(e.real, v);
  HONE_UNROLL
  for (int j = 0; j < VECTORS; ++j)
    if (after) v[0][j] = add_residual_to<kResidual>(v[0][j], e, at + j * kLanes, n);
  if constexpr (!kQuantized) {
    HONE_UNROLL
    for (int j = 0; j < VECTORS; ++j) store_part(static_cast<float*>(job.out) + at + j * kLanes, v[0][j], n);
  } else if constexpr (VECTORS == 2) {
    store_i8(static_cast<int8_t*>(job.out) + at, quantize<kResidual>(v[0][0], e, job.channel + c, n),
             quantize<kResidual>(v[0][1], e, job.channel + c + kLanes, n));
  } else {
    store_i8_part(static_cast<int8_t*>(job.out) + at, quantize<kResidual>(v[0][0], e, job.channel + c, n), n);
  }
}

template <Int8Residual kResidual, bool kQuantized>
void finish_rows(const Int8Finish& job) {
  for (int64_t r = 0; r < job.rows; ++r) {
    const int32_t* sums = job.sums + r * job.sums_ld;
    const int64_t at = job.at + r * job.ld;
    int64_t c = 0;
    for (; c + 2 * kLanes <= job.columns; c += 2 * kLanes)
      finish_vectors<kResidual, kQuantized, 2>(job, sums, c, at + c, kLanes);
    for (; c < job.columns; c += kLanes) {
      const int n = job.columns - c < kLanes ? static_cast<int>(job.columns - c) : kLanes;
      finish_vectors<kResidual, kQuantized, 1>(job, sums, c, at + c, n);
    }
  }
}

template <bool kResidual, int VECTORS>
HONE_INLINE void finish_plain_columns(const Int8Finish& job, int64_t c, int n) {
  const Int8Epilogue& e = *job.epilogue;
  const V low = set1(e.low), high = set1(e.high), residual_scale = set1(e.residual_scale);
  V scale[VECTORS], bias[VECTORS], step[VECTORS];
  HONE_UNROLL
  for (int j = 0; j < VECTORS; ++j) {
    const int64_t channel = job.channel + c + j * kLanes;
    scale[j] = load_part(e.scale + channel, n);
    bias[j] = e.real.bias == nullptr ? zero() : load_part(e.real.bias + channel, n);
    step[j] = e.step == nullptr ? set1(1) : load_part(e.step + channel, n);
  }
  const int32_t* sums = job.sums + c;
  int64_t at = job.at + c;
  for (int64_t r = 0; r < job.rows; ++r, sums += job.sums_ld, at += job.ld) {
    VI whole[VECTORS];
    HONE_UNROLL
    for (int j = 0; j < VECTORS; ++j) {
      V v = to_float(load_i32(sums + j * kLanes)) * scale[j] + bias[j];
      if constexpr (kResidual)
        v = (v + to_float(widen_part(e.residual + at + j * kLanes, n)) * residual_scale) * step[j];
      whole[j] = to_int(min(max(v, low), high));
    }
    auto* out = static_cast<int8_t*>(job.out) + at;
    if constexpr (VECTORS == 2) store_i8(out, whole[0], whole[1]);
    else store_i8_part(out, whole[0], n);
  }
}

template <bool kResidual>
void finish_plain(const Int8Finish& job) {
  int64_t c = 0;
  for (; c + 2 * kLanes <= job.columns; c += 2 * kLanes) finish_plain_columns<kResidual, 2>(job, c, kLanes);
  for (; c + kLanes <= job.columns; c += kLanes) finish_plain_columns<kResidual, 1>(job, c, kLanes);
  if (c < job.columns) finish_plain_columns<kResidual, 1>(job, c, static_cast<int>(job.columns - c));
}

static void copy_sums(const Int8Finish& job) {
  for (int64_t r = 0; r < job.rows; ++r)
    std::memcpy(static_cast<int32_t*>(job.out) + job.at + r * job.ld, job.sums + r * job.sums_ld,
                static_cast<size_t>(job.columns) * sizeof(int32_t));
}

template <Int8Residual kResidual>
void finish_as(const Int8Finish& job) {
  job.epilogue->quantized ? finish_rows<kResidual, true>(job) : finish_rows<kResidual, false>(job);
}

// In i32, which wraps.
static void correct(const Int8Finish& job) {
  const Int8Epilogue& e = *job.epilogue;
  const int32_t* offset = e.offset == nullptr ? nullptr : e.offset + job.channel;
  const int32_t* factor = e.row_sums == nullptr ? nullptr : e.factor + job.channel;
  for (int64_t r = 0; r < job.rows; ++r) {
    auto* sums = reinterpret_cast<uint32_t*>(job.sums + r * job.sums_ld);
    const uint32_t row = factor == nullptr ? 0 : static_cast<uint32_t>(e.row_sums[job.row + r]);
    for (int64_t c = 0; offset != nullptr && c < job.columns; ++c) sums[c] += static_cast<uint32_t>(offset[c]);
    for (int64_t c = 0; factor != nullptr && c < job.columns; ++c) sums[c] += row * static_cast<uint32_t>(factor[c]);
  }
}

static void finish_sums(const Int8Finish& job) {
  const Int8Epilogue& e = *job.epilogue;
  if (is_plain(e)) return e.residual != nullptr ? finish_plain<true>(job) : finish_plain<false>(job);
  if (e.offset != nullptr || e.row_sums != nullptr) correct(job);
  if (e.scale == nullptr) return copy_sums(job);
  if (e.residual != nullptr) return finish_as<Int8Residual::bytes>(job);
  e.real.residual != nullptr ? finish_as<Int8Residual::real>(job) : finish_as<Int8Residual::none>(job);
}

extern const Int8FinishFn kInt8Finish;
const Int8FinishFn kInt8Finish = finish_sums;

}  // namespace hone::cpu::HONE_TIER_NS
