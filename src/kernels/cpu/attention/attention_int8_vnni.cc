#include "kernels/cpu/attention/attention_int8_kernel.h"
#include "kernels/cpu/simd_math.h"

namespace hone::cpu::HONE_TIER_NS {
namespace {

constexpr int64_t kQuad = 4;
constexpr float kMost = 255;

// Four rows of 16 bytes, column by column.
void interleave(const __m128i (&rows)[kQuad], int8_t* to) {
  const __m128i low = _mm_unpacklo_epi8(rows[0], rows[1]), high = _mm_unpackhi_epi8(rows[0], rows[1]),
                next_low = _mm_unpacklo_epi8(rows[2], rows[3]), next_high = _mm_unpackhi_epi8(rows[2], rows[3]);
  auto* const out = reinterpret_cast<__m128i*>(to);
  _mm_storeu_si128(out, _mm_unpacklo_epi16(low, next_low));
  _mm_storeu_si128(out + 1, _mm_unpackhi_epi16(low, next_low));
  _mm_storeu_si128(out + 2, _mm_unpacklo_epi16(high, next_high));
  _mm_storeu_si128(out + 3, _mm_unpackhi_epi16(high, next_high));
}

void pack(const BytesPanel& panel) {
  int8_t* to = panel.to;
  for (int64_t first = 0; first < panel.rows; first += kQuad, to += kBytesPanel * kQuad)
    for (int64_t c = 0; c < panel.columns; c += 16) {
      const auto some = static_cast<__mmask16>(panel.columns - c < 16 ? (1u << (panel.columns - c)) - 1 : 0xffff);
      __m128i rows[kQuad];
      for (int64_t r = 0; r < kQuad; ++r)
        rows[r] = first + r < panel.rows ? _mm_maskz_loadu_epi8(some, panel.from + (first + r) * panel.ld + c)
                                         : _mm_setzero_si128();
      interleave(rows, to + c * kQuad);
    }
}

void take_off(const int8_t* panel, int64_t quads, int32_t* start) {
  const __m512i excess = _mm512_set1_epi8(-128);  // 128, unsigned
  for (int64_t c = 0; c < kBytesPanel; c += kLanes) {
    __m512i sum = _mm512_setzero_si512();
    for (int64_t s = 0; s < quads; ++s)
      sum = _mm512_dpbusd_epi32(sum, excess, _mm512_loadu_si512(panel + (s * kBytesPanel + c) * kQuad));
    _mm512_storeu_si512(start + c, _mm512_sub_epi32(_mm512_setzero_si512(), sum));
  }
}

// 255 * 2^x for x <= 0, to 7.5e-5 of it (the polynomial of degree 3 with the least largest relative error over
// [-1/2, 1/2]); 0 where that rounds to 0.
HONE_INLINE V most_times_exp2(V x) {
  const V within = math::at_least(x, set1(-30.f)), whole = _mm512_maskz_roundscale_ps(0xffff, within, 0),
          part = within - whole;
  V y = fma(part, set1(kMost * 0.05517167f), set1(kMost * 0.24261113f));
  y = fma(part, y, set1(kMost * 0.69326099f));
  return _mm512_maskz_scalef_ps(0xffff, fma(part, y, set1(kMost * 0.99992807f)), whole);
}

struct Lanes {
  const AttentionScores& s;
  int64_t query;
  int count;

  float* at(int64_t key) const { return s.scores + key * s.ld + query; }

  // The largest score; scores become f32, in units of log2(e).
  V largest() const {
    const V scale = set1(s.scale * 1.44269504f);
    V top = -math::infinity(), number{};
    for (int i = 0; i < kLanes; ++i) number[i] = static_cast<float>(i);
    const float* mask = s.mask == nullptr ? nullptr : s.mask + query * s.mask_query;
    for (int64_t key = 0; key < s.keys; ++key) {
      V x = __builtin_convertvector(as_int(load_part(at(key), count)), V) * scale;
      if (mask != nullptr) {
        const float* own = mask + key * s.mask_key;
        x = fma(s.mask_query == 0 ? set1(*own) : load_part(own, count), set1(1.44269504f), x);
      }
      const int64_t hidden = key - s.seen - query;  // lanes up to this one do not see the key
      if (hidden >= 0) x = number > set1(static_cast<float>(hidden)) ? x : -math::infinity();
      store_part(at(key), x, count);
      top = math::maximum(top, x);
    }
    return top;
  }

  // The sum of the weights, which go to `weights`.
  VI weigh(V shift, uint8_t* weights) const {
    VI sum{};
    for (int64_t first = 0; first < s.keys; first += kQuad) {
      VI quad{};
      for (int64_t key = first; key < first + kQuad && key < s.keys; ++key) {
        const auto weight =
            reinterpret_cast<VI>(_mm512_maskz_cvtps_epi32(0xffff, most_times_exp2(load_part(at(key), count) - shift)));
        sum += weight;
        quad |= weight << static_cast<int32_t>(8 * (key - first));
      }
      store_part(reinterpret_cast<float*>(weights + (first / kQuad * s.ld + query) * kQuad), as_float(quad), count);
    }
    return sum;
  }
};

void softmax(const AttentionScores& s, uint8_t* weights) {
  for (int64_t query = 0; query < s.queries; query += kLanes) {
    const Lanes lanes{s, query, static_cast<int>(s.queries - query < kLanes ? s.queries - query : kLanes)};
    const V top = lanes.largest();
    const V shift = top == -math::infinity() ? zero() : top;  // a query that sees no key
    const V sum = __builtin_convertvector(lanes.weigh(shift, weights), V);
    const V inverse = sum == zero() ? zero() : set1(1.f) / sum;
    store_part(s.inverse + query, math::is_nan(top) ? top : inverse, lanes.count);
  }
}

void finish(const BytesResult& r) {
  for (int64_t i = 0; i < r.rows; ++i) {
    const V scale = set1(r.inverse[i] * r.scale);
    for (int64_t c = 0; c < r.columns; c += kLanes) {
      const V y =
          __builtin_convertvector(as_int(load(reinterpret_cast<const float*>(r.sums + i * kBytesPanel + c))), V) *
          scale;
      const int64_t rest = r.columns - c;
      const auto some = static_cast<__mmask16>(rest < kLanes ? (1u << rest) - 1 : 0xffff);
      if (r.quantizes)
        _mm512_mask_cvtsepi32_storeu_epi8(static_cast<int8_t*>(r.y) + i * r.ld + c, some,
                                          _mm512_maskz_cvtps_epi32(0xffff, y));
      else _mm512_mask_storeu_ps(static_cast<float*>(r.y) + i * r.ld + c, some, y);
    }
  }
}

}  // namespace

const AttentionInt8Kernel kAttentionInt8Kernel{pack, take_off, softmax, finish};

}  // namespace hone::cpu::HONE_TIER_NS
