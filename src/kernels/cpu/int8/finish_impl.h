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
  if constexpr (kResidual == Int8Residual::real) return v + load_part(e.real.residual + at, n);
  if constexpr (kResidual == Int8Residual::bytes)
    return v + to_float(widen_part(e.residual + at, n)) * set1(e.residual_scale);
  return v;
}

// Nearest even, then clipped; NaN gives 0. The bounds are whole, so that clipping first is the same.
HONE_INLINE VI quantize(V v, const Int8Epilogue& e) {
  v = e.divides ? v / set1(e.step) : v * set1(e.step);
  v = as_float(as_int(v) & (v == v));
  return to_int(min(max(v, set1(e.low)), set1(e.high)));
}

template <Int8Residual kResidual, bool kQuantized>
void finish_rows(const Int8Finish& job) {
  const Int8Epilogue& e = *job.epilogue;
  const bool after = e.real.residual_after_activation;
  for (int64_t r = 0; r < job.rows; ++r) {
    for (int64_t c = 0; c < job.columns; c += kLanes) {
      const int n = job.columns - c < kLanes ? static_cast<int>(job.columns - c) : kLanes;
      const int64_t at = job.at + r * job.ld + c;
      V v[1][1] = {{to_float(load_i32(job.sums + r * job.sums_ld + c)) * load_part(e.scale + job.channel + c, n)}};
      if (e.real.bias != nullptr) v[0][0] += load_part(e.real.bias + job.channel + c, n);
      if (!after) v[0][0] = add_residual_to<kResidual>(v[0][0], e, at, n);
      activate(e.real, v);
      if (after) v[0][0] = add_residual_to<kResidual>(v[0][0], e, at, n);
      if constexpr (kQuantized) store_i8_part(static_cast<int8_t*>(job.out) + at, quantize(v[0][0], e), n);
      else store_part(static_cast<float*>(job.out) + at, v[0][0], n);
    }
  }
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

static void finish_sums(const Int8Finish& job) {
  const Int8Epilogue& e = *job.epilogue;
  if (e.scale == nullptr) return copy_sums(job);
  if (e.residual != nullptr) return finish_as<Int8Residual::bytes>(job);
  e.real.residual != nullptr ? finish_as<Int8Residual::real>(job) : finish_as<Int8Residual::none>(job);
}

extern const Int8FinishFn kInt8Finish;
const Int8FinishFn kInt8Finish = finish_sums;

}  // namespace hone::cpu::HONE_TIER_NS
