// Depthwise convolution of i8 or u8 by four taps at once (vpdpbusd): of 32 channels the bytes of four taps are
// interleaved, which leaves the channels in an order of their own until the sums are stored. Values of i8 get 128
// added.
#include <algorithm>

#include "kernels/cpu/int8/quarters.h"

namespace hone::cpu::HONE_TIER_NS {
namespace {

constexpr int64_t kTaps = 4, kVectors = 4;  // of 8 channels each in a block
constexpr int64_t kQuadBytes = kTaps * kDepthwiseBlock;

int64_t blocks_of(int64_t channels) { return (channels + kDepthwiseBlock - 1) / kDepthwiseBlock; }
// The start of the sums, then the weights of every quad.
int64_t block_bytes(int64_t taps) { return kDepthwiseBlock * 4 + taps / kTaps * kQuadBytes; }

size_t ready_bytes(int64_t taps, int64_t channels) {
  return static_cast<size_t>(blocks_of(channels) * block_bytes(taps));
}

void ready(const int16_t* pairs, int64_t taps, int64_t channels, void* weights) {
  auto* to = static_cast<std::byte*>(weights);
  std::fill_n(to, ready_bytes(taps, channels), std::byte{0});
  for (int64_t c = 0; c < channels; ++c) {
    std::byte* block = to + c / kDepthwiseBlock * block_bytes(taps);
    const int64_t place = place_of(c % kDepthwiseBlock);
    auto* start = reinterpret_cast<int32_t*>(block);
    auto* w = reinterpret_cast<int8_t*>(block + kDepthwiseBlock * 4);
    for (int64_t t = 0; t < taps; ++t) {
      const int16_t weight = pairs[2 * (t / 2 * channels + c) + t % 2];
      w[t / kTaps * kQuadBytes + place * kTaps + t % kTaps] = static_cast<int8_t>(weight);
      start[place] -= 128 * weight;
    }
  }
}

template <bool kSigned>
HONE_INLINE __m256i load_tap(const std::byte* p, __mmask32 inside) {
  const __m256i v = _mm256_maskz_loadu_epi8(inside, p);
  return kSigned ? _mm256_xor_si256(v, _mm256_set1_epi8(-128)) : v;
}

template <bool kSigned>
void block_of_pixels(const Int8DepthwisePixels& p, int64_t c, const std::byte* block) {
  const int64_t left = p.channels - c;
  const __mmask32 inside = left >= kDepthwiseBlock ? ~0u : (1u << left) - 1;
  const auto* start = reinterpret_cast<const __m256i*>(block);
  for (int64_t i = 0; i < p.pixels; ++i) {
    __m256i sums[kVectors];
    HONE_UNROLL
    for (int j = 0; j < kVectors; ++j) sums[j] = kSigned ? _mm256_loadu_si256(start + j) : _mm256_setzero_si256();
    const __m256i* w = start + kVectors;
    const int64_t at = i * p.x_step + c;
    for (int64_t t = 0; t < p.taps; t += kTaps, w += kVectors) {
      const __m256i a = load_tap<kSigned>(p.x[t] + at, inside), b = load_tap<kSigned>(p.x[t + 1] + at, inside);
      const __m256i d = load_tap<kSigned>(p.x[t + 2] + at, inside), e = load_tap<kSigned>(p.x[t + 3] + at, inside);
      const __m256i ab[2] = {_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b)};
      const __m256i de[2] = {_mm256_unpacklo_epi8(d, e), _mm256_unpackhi_epi8(d, e)};
      HONE_UNROLL
      for (int j = 0; j < kVectors; ++j) {
        const __m256i quad =
            j % 2 == 0 ? _mm256_unpacklo_epi16(ab[j / 2], de[j / 2]) : _mm256_unpackhi_epi16(ab[j / 2], de[j / 2]);
        sums[j] = _mm256_dpbusd_epi32(sums[j], quad, _mm256_loadu_si256(w + j));
      }
    }
    store_in_order(p.sums + i * p.sums_ld + c, sums[0], sums[1], sums[2], sums[3]);
  }
}

template <bool kSigned>
void depthwise_quads(const Int8DepthwisePixels& p) {
  const auto* block = static_cast<const std::byte*>(p.weights);
  for (int64_t c = 0; c < p.channels; c += kDepthwiseBlock, block += block_bytes(p.taps))
    block_of_pixels<kSigned>(p, c, block);
}

}  // namespace

extern const Int8DepthwiseKernel kInt8DepthwiseQuads{kTaps, depthwise_quads<true>, ready_bytes, ready},
    kUint8DepthwiseQuads{kTaps, depthwise_quads<false>, ready_bytes, ready};

}  // namespace hone::cpu::HONE_TIER_NS
