// Depthwise convolution of i8 or u8 by 3x3 windows: the bytes of four lines are interleaved, channel by channel
// (vpdpbusd takes four at once), once for the three windows that a column is part of, and for two lines of the output
// where the stride is 1. Values of i8 get 128 added.
#include <algorithm>

#include "kernels/cpu/int8/kernel.h"
#include "kernels/cpu/int8/plain_vnni.h"
#include "kernels/cpu/int8/quarters.h"

namespace hone::cpu::HONE_TIER_NS {
namespace {

constexpr int kTaps = 3, kLines = 4, kQuarters = 4;

// A vector of a byte for each channel of a block, and the sums of a quarter of them.
template <int64_t kBlock>
struct Channels;

template <>
struct Channels<32> {
  typedef int32_t Sums __attribute__((vector_size(32)));
  typedef float Floats __attribute__((vector_size(32)));
  using Bytes = __m256i;
  using Mask = __mmask32;

  HONE_INLINE static Bytes load(const void* p, Mask inside) { return _mm256_maskz_loadu_epi8(inside, p); }
  HONE_INLINE static Bytes all(int8_t v) { return _mm256_set1_epi8(v); }
  HONE_INLINE static Bytes low_bytes(Bytes a, Bytes b) { return _mm256_unpacklo_epi8(a, b); }
  HONE_INLINE static Bytes high_bytes(Bytes a, Bytes b) { return _mm256_unpackhi_epi8(a, b); }
  HONE_INLINE static Bytes low_pairs(Bytes a, Bytes b) { return _mm256_unpacklo_epi16(a, b); }
  HONE_INLINE static Bytes high_pairs(Bytes a, Bytes b) { return _mm256_unpackhi_epi16(a, b); }
  HONE_INLINE static Sums add_quads(Sums sums, Bytes quads, const int8_t* weights) {
    return (Sums)_mm256_dpbusd_epi32((__m256i)sums, quads, _mm256_loadu_si256((const __m256i*)weights));
  }
  HONE_INLINE static Bytes rounded(Floats v) { return _mm256_cvtps_epi32(v); }
  HONE_INLINE static Bytes packed(const Bytes (&w)[kQuarters]) {
    return _mm256_packs_epi16(_mm256_packs_epi32(w[0], w[1]), _mm256_packs_epi32(w[2], w[3]));
  }
  HONE_INLINE static Bytes clipped(Bytes v, Bytes low, Bytes high) {
    return _mm256_min_epi8(_mm256_max_epi8(v, low), high);
  }
  HONE_INLINE static void store(int8_t* to, Bytes v) { _mm256_storeu_si256((__m256i*)to, v); }
  HONE_INLINE static void store_fours(int8_t* to, Bytes v, int n) {
    _mm256_mask_storeu_epi32(to, static_cast<__mmask8>(lanes_below(n)), v);
  }
  HONE_INLINE static void store_some(int8_t* to, Bytes v, Mask inside) { _mm256_mask_storeu_epi8(to, inside, v); }
  HONE_INLINE static void store_in_order(int32_t* to, const Sums (&s)[kQuarters]) {
    HONE_TIER_NS::store_in_order(to, (__m256i)s[0], (__m256i)s[1], (__m256i)s[2], (__m256i)s[3]);
  }
};

template <>
struct Channels<64> {
  typedef VI Sums;
  typedef V Floats;
  using Bytes = __m512i;
  using Mask = __mmask64;

  HONE_INLINE static Bytes load(const void* p, Mask inside) { return _mm512_maskz_loadu_epi8(inside, p); }
  HONE_INLINE static Bytes all(int8_t v) { return _mm512_set1_epi8(v); }
  HONE_INLINE static Bytes low_bytes(Bytes a, Bytes b) { return _mm512_unpacklo_epi8(a, b); }
  HONE_INLINE static Bytes high_bytes(Bytes a, Bytes b) { return _mm512_unpackhi_epi8(a, b); }
  HONE_INLINE static Bytes low_pairs(Bytes a, Bytes b) { return _mm512_unpacklo_epi16(a, b); }
  HONE_INLINE static Bytes high_pairs(Bytes a, Bytes b) { return _mm512_unpackhi_epi16(a, b); }
  HONE_INLINE static Sums add_quads(Sums sums, Bytes quads, const int8_t* weights) {
    return (Sums)_mm512_dpbusd_epi32((__m512i)sums, quads, _mm512_loadu_si512(weights));
  }
  HONE_INLINE static Bytes rounded(Floats v) { return (__m512i)to_int(v); }
  HONE_INLINE static Bytes packed(const Bytes (&w)[kQuarters]) { return pack_quarters(w[0], w[1], w[2], w[3]); }
  HONE_INLINE static Bytes clipped(Bytes v, Bytes low, Bytes high) {
    return _mm512_min_epi8(_mm512_max_epi8(v, low), high);
  }
  HONE_INLINE static void store(int8_t* to, Bytes v) { _mm512_storeu_si512(to, v); }
  HONE_INLINE static void store_fours(int8_t* to, Bytes v, int n) { _mm512_mask_storeu_epi32(to, lanes_below(n), v); }
  HONE_INLINE static void store_some(int8_t* to, Bytes v, Mask inside) { _mm512_mask_storeu_epi8(to, inside, v); }
  HONE_INLINE static void store_in_order(int32_t* to, const Sums (&s)[kQuarters]) {
    for (int64_t lane = 0; lane < 4; ++lane) {
      HONE_UNROLL
      for (int64_t q = 0; q < kQuarters; ++q)
        std::memcpy(to + 16 * lane + 4 * q, reinterpret_cast<const int32_t*>(&s[q]) + 4 * lane, 16);
    }
  }
};

template <class T>
HONE_INLINE T load_as(const void* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

// Output lines that share what they read.
constexpr int lines_at_once(int64_t stride) { return stride == 1 ? 2 : 1; }

// What sums start from, then the weights of each column and output line.
template <int64_t kBlock>
struct Weights {
  int32_t start[kBlock];
  int8_t quads[kTaps * 2][kBlock * kLines];
};
static_assert(sizeof(Weights<kLinesBlock>) >= sizeof(Weights<kLinesBlock / 2>));

int64_t blocks_of(int64_t channels) { return (channels + kLinesBlock - 1) / kLinesBlock; }

size_t ready_bytes(int64_t channels) { return static_cast<size_t>(blocks_of(channels)) * sizeof(Weights<kLinesBlock>); }

template <int64_t kBlock>
void ready_block(const int16_t* pairs, int64_t channels, int64_t first, int64_t stride, void* to) {
  auto& block = *static_cast<Weights<kBlock>*>(to);
  for (int64_t c = first; c < std::min(channels, first + kBlock); ++c) {
    const int64_t place = place_of<kBlock>(c - first);
    for (int tap = 0; tap < kTaps * kTaps; ++tap) {
      const int16_t weight = pairs[2 * (tap / 2 * channels + c) + tap % 2];
      const int ky = tap / kTaps, kx = tap % kTaps, lines = lines_at_once(stride);
      for (int line = 0; line < lines; ++line)
        block.quads[kx * lines + line][place * kLines + ky + line] = static_cast<int8_t>(weight);
      block.start[place] -= 128 * weight;
    }
  }
}

// A block of few channels is done by half of a vector.
bool is_narrow(int64_t channels, int64_t first) { return channels - first <= kLinesBlock / 2; }

void ready(const int16_t* pairs, int64_t channels, int64_t stride, void* to) {
  std::memset(to, 0, ready_bytes(channels));
  auto* blocks = static_cast<Weights<kLinesBlock>*>(to);
  for (int64_t c = 0; c < channels; c += kLinesBlock, ++blocks)
    is_narrow(channels, c) ? ready_block<kLinesBlock / 2>(pairs, channels, c, stride, blocks)
                           : ready_block<kLinesBlock>(pairs, channels, c, stride, blocks);
}

// A column of kLines lines, by quarters of channels.
template <int64_t kBlock>
struct Column {
  typename Channels<kBlock>::Bytes quads[kQuarters];
};

template <bool kSigned, int64_t kBlock>
struct Reader {
  using C = Channels<kBlock>;
  using Bytes = typename C::Bytes;

  const std::byte* lines[kLines];
  int64_t step, width;
  typename C::Mask inside;

  HONE_INLINE Bytes line(int i, int64_t at) const {
    const Bytes v = C::load(lines[i] + at, inside);
    return kSigned ? v ^ C::all(-128) : v;
  }

  HONE_INLINE Column<kBlock> column(int64_t x) const {
    Column<kBlock> to;
    if (x < 0 || x >= width) {
      HONE_UNROLL
      for (auto& quad : to.quads) quad = C::all(kSigned ? -128 : 0);
      return to;
    }
    const int64_t at = x * step;
    const Bytes a = line(0, at), b = line(1, at), c = line(2, at), d = line(3, at);
    const Bytes ab[2] = {C::low_bytes(a, b), C::high_bytes(a, b)}, cd[2] = {C::low_bytes(c, d), C::high_bytes(c, d)};
    HONE_UNROLL
    for (int64_t i = 0; i < 2; ++i) {
      to.quads[2 * i] = C::low_pairs(ab[i], cd[i]);
      to.quads[2 * i + 1] = C::high_pairs(ab[i], cd[i]);
    }
    return to;
  }
};

template <int64_t kBlock, int LINES>
HONE_INLINE void multiply(typename Channels<kBlock>::Sums (&sums)[LINES][kQuarters], const Column<kBlock>& column,
                          const Weights<kBlock>& weights, int kx) {
  HONE_UNROLL
  for (int l = 0; l < LINES; ++l) {
    HONE_UNROLL
    for (int j = 0; j < kQuarters; ++j)
      sums[l][j] = Channels<kBlock>::add_quads(sums[l][j], column.quads[j], weights.quads[kx * LINES + l] + kBlock * j);
  }
}

// LINES lines of `width` results, the first column of whose windows is `left`.
template <int STRIDE, bool kSigned, int64_t kBlock, class Out>
void run_lines(const Reader<kSigned, kBlock>& in, int64_t left, int64_t width, const Weights<kBlock>& weights,
               const Out& out) {
  constexpr int LINES = lines_at_once(STRIDE);
  using Sums = typename Channels<kBlock>::Sums;
  Column<kBlock> first = in.column(left), second = in.column(left + 1), third = in.column(left + 2);
  for (int64_t x = 0; x < width; ++x) {
    Sums sums[LINES][kQuarters];
    HONE_UNROLL
    for (int l = 0; l < LINES; ++l) {
      HONE_UNROLL
      for (int j = 0; j < kQuarters; ++j) sums[l][j] = kSigned ? load_as<Sums>(weights.start + kBlock / 4 * j) : Sums{};
    }
    multiply<kBlock>(sums, first, weights, 0);
    multiply<kBlock>(sums, second, weights, 1);
    multiply<kBlock>(sums, third, weights, 2);
    first = STRIDE == 1 ? second : third;
    second = STRIDE == 1 ? third : in.column(left + STRIDE * x + 3);
    third = in.column(left + STRIDE * (x + 1) + 2);
    out.store(sums, x);
  }
}

template <int64_t kBlock>
struct SumLines {
  int32_t* to;
  int64_t ld;  // from line to line

  template <int LINES>
  HONE_INLINE void store(const typename Channels<kBlock>::Sums (&sums)[LINES][kQuarters], int64_t x) const {
    HONE_UNROLL
    for (int l = 0; l < LINES; ++l) Channels<kBlock>::store_in_order(to + l * ld + x * kBlock, sums[l]);
  }
};

// A block's scales and biases, by quarters.
template <int64_t kBlock>
struct PlainBlock {
  using C = Channels<kBlock>;

  alignas(64) float scale[kBlock], bias[kBlock];
  typename C::Bytes low, high;
  typename C::Mask inside;
  int columns;

  PlainBlock(const PlainColumns& c, typename C::Mask mask)
      : low(C::all(c.low)), high(C::all(c.high)), inside(mask), columns(c.columns) {
    for (int64_t i = 0; i < kBlock; i += 4) {  // which stay together
      std::copy_n(c.scale + i, 4, scale + place_of<kBlock>(i));
      std::copy_n(c.bias + i, 4, bias + place_of<kBlock>(i));
    }
  }
};

template <int64_t kBlock>
struct PlainLines {
  using C = Channels<kBlock>;
  using Floats = typename C::Floats;

  const PlainBlock<kBlock>& block;
  int8_t* to;
  int64_t step, ld;  // from pixel to pixel, and from line to line
  int lines;

  template <int LINES>
  HONE_INLINE void store(const typename C::Sums (&sums)[LINES][kQuarters], int64_t x) const {
    typename C::Bytes bytes[LINES];
    HONE_UNROLL
    for (int l = 0; l < LINES; ++l) {
      typename C::Bytes whole[kQuarters];
      HONE_UNROLL
      for (int j = 0; j < kQuarters; ++j)
        whole[j] =
            C::rounded(__builtin_convertvector(sums[l][j], Floats) * load_as<Floats>(block.scale + kBlock / 4 * j) +
                       load_as<Floats>(block.bias + kBlock / 4 * j));
      bytes[l] = C::packed(whole);
    }
    HONE_UNROLL
    for (int l = 0; l < LINES; ++l)
      if (l < lines) write(to + l * ld + x * step, C::clipped(bytes[l], block.low, block.high));
  }

  HONE_INLINE void write(int8_t* at, typename C::Bytes bytes) const {
    if (block.columns == kBlock) return C::store(at, bytes);
    if (block.columns % 4 == 0) return C::store_fours(at, bytes, block.columns / 4);
    C::store_some(at, bytes, block.inside);
  }
};

template <bool kSigned, int STRIDE, int64_t kBlock>
void run_block(const Int8LinesTask& t) {
  const ConvProblem& p = *t.p;
  const Int8Epilogue& e = t.args->epilogue;
  const int64_t c = t.block * kLinesBlock, ow = p.out_w(), left = std::min(kBlock, p.cin - c);
  const int64_t line = p.w * p.in_pitch(), out_line = ow * p.out_pitch();
  const void* const packed = static_cast<const Weights<kLinesBlock>*>(t.args->packed) + t.block;
  const auto& weights = *static_cast<const Weights<kBlock>*>(packed);
  const auto* image = static_cast<const std::byte*>(t.args->in) + t.image * p.h * line + c;
  Int8Finish done{.sums = t.sums,
                  .sums_ld = kBlock,
                  .rows = ow,
                  .columns = left,
                  .channel = c,
                  .ld = p.out_pitch(),
                  .out = t.args->out,
                  .epilogue = &e};
  const PlainColumns columns = is_plain(e) ? PlainColumns(done) : PlainColumns();
  const bool plain = is_plain(e) && e.residual == nullptr && columns.bounded(kTaps * kTaps * 255.f * 128.f);
  Reader<kSigned, kBlock> in{.step = p.in_pitch(), .width = p.w};
  in.inside = static_cast<decltype(in.inside)>(~uint64_t{0} >> (64 - left));
  const PlainBlock<kBlock> block(columns, in.inside);
  constexpr int LINES = lines_at_once(STRIDE);
  for (int64_t y = t.first; y < t.last; y += LINES) {
    for (int i = 0; i < kLines; ++i) {
      const int64_t from = y * STRIDE - p.pad_top + i;
      in.lines[i] = from >= 0 && from < p.h && i < LINES + 2 ? image + from * line : t.zeros;
    }
    const int lines = static_cast<int>(std::min<int64_t>(LINES, t.last - y));
    done.at = (t.image * p.out_h() + y) * out_line + c;
    if (plain) {
      const PlainLines<kBlock> out{block, static_cast<int8_t*>(done.out) + done.at, p.out_pitch(), out_line, lines};
      run_lines<STRIDE>(in, -p.pad_left, ow, weights, out);
      continue;
    }
    run_lines<STRIDE>(in, -p.pad_left, ow, weights, SumLines<kBlock>{t.sums, ow * kBlock});
    for (int l = 0; l < lines; ++l, done.sums += ow * kBlock, done.at += out_line) t.finish(done);
    done.sums = t.sums;
  }
}

template <bool kSigned, int STRIDE>
void run_stride(const Int8LinesTask& t) {
  is_narrow(t.p->cin, t.block * kLinesBlock) ? run_block<kSigned, STRIDE, kLinesBlock / 2>(t)
                                             : run_block<kSigned, STRIDE, kLinesBlock>(t);
}

template <bool kSigned>
void run(const Int8LinesTask& task) {
  task.p->stride_w == 1 ? run_stride<kSigned, 1>(task) : run_stride<kSigned, 2>(task);
}

}  // namespace

extern const Int8LinesKernel kInt8Lines{ready_bytes, ready, run<true>}, kUint8Lines{ready_bytes, ready, run<false>};

}  // namespace hone::cpu::HONE_TIER_NS
