#pragma once

#include <cstddef>
#include <cstring>

#include "base/dtype.h"
#include "kernels/cpu/conv/gathered.h"
#include "kernels/cpu/simd.h"

namespace hone::cpu::HONE_TIER_NS {

// f32 to bf16, to nearest even; denormals may become 0.
HONE_INLINE void gather_line(const float* from, int64_t count, std::byte* to) {
  int64_t i = 0;
#if defined(__AVX512BF16__)
  for (; i + 32 <= count; i += 32) {
    const __m512bh both = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + i + 16), _mm512_loadu_ps(from + i));
    std::memcpy(to + 2 * i, &both, sizeof both);
  }
  if (i == count) return;
  // A store of all lanes is faster than one of some.
  const uint32_t rest = (1u << (count - i)) - 1;
  const __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(rest), from + i),
               high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(rest >> 16), from + i + 16);
  const __m512bh both = _mm512_cvtne2ps_pbh(high, low);
  std::memcpy(to + 2 * i, &both, sizeof both);
#else
  for (; i < count; ++i) {
    const uint16_t bits = to_bf16(from[i]).bits;
    std::memcpy(to + 2 * i, &bits, sizeof bits);
  }
#endif
}

HONE_INLINE void gather_line(const bf16* from, int64_t count, std::byte* to) {
#if defined(__AVX512BF16__)
  int64_t i = 0;
  for (; i + 32 <= count; i += 32) _mm512_storeu_si512(to + 2 * i, _mm512_loadu_si512(from + i));
  if (i == count) return;
  _mm512_storeu_si512(to + 2 * i, _mm512_maskz_loadu_epi16((1u << (count - i)) - 1, from + i));
#else
  std::memcpy(to, from, static_cast<size_t>(count) * sizeof(bf16));
#endif
}

#if defined(__AVX512BF16__)
// At most 16 values, whose stores seldom cross the lines of the cache.
HONE_INLINE void gather_few(const bf16* from, __mmask16 values, std::byte* to) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_maskz_loadu_epi16(values, from));
}

HONE_INLINE void gather_short_lines(const WindowRun& run) {
  const auto few = static_cast<__mmask16>((1u << run.count) - 1);
  for (int64_t i = 0; i < run.pixels; ++i)
    for (int64_t l = 0; l < run.lines; ++l)
      gather_few(reinterpret_cast<const bf16*>(run.from + i * run.pixel_step + l * run.line_step), few,
                 run.to + i * run.to_step + l * 2 * run.count);
}
#endif

template <class T>
void gather_runs(WindowRun run) {
#if defined(__AVX512BF16__)
  if (sizeof(T) == 2 && run.count <= 16) return gather_short_lines(run);
#endif
  for (int64_t i = 0; i < run.pixels; ++i)
    for (int64_t l = 0; l < run.lines; ++l)
      gather_line(reinterpret_cast<const T*>(run.from + i * run.pixel_step + l * run.line_step), run.count,
                  run.to + i * run.to_step + l * 2 * run.count);
}

}  // namespace hone::cpu::HONE_TIER_NS
