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
constexpr int64_t kBlock = kDepthwiseBlock;

typedef int32_t Eight __attribute__((vector_size(32)));
typedef float EightFloats __attribute__((vector_size(32)));

template <class T>
HONE_INLINE T load_eight(const void* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

// Output lines that share what they read.
constexpr int lines_at_once(int64_t stride) { return stride == 1 ? 2 : 1; }

// What sums start from, then the weights of each column and output line.
struct Weights {
  int32_t start[kBlock];
  int8_t quads[kTaps * 2][kBlock * kLines];
};

size_t ready_bytes(int64_t channels) { return static_cast<size_t>((channels + kBlock - 1) / kBlock) * sizeof(Weights); }

void ready(const int16_t* pairs, int64_t channels, int64_t stride, void* to) {
  auto* blocks = static_cast<Weights*>(to);
  std::memset(to, 0, ready_bytes(channels));
  for (int64_t c = 0; c < channels; ++c) {
    Weights& block = blocks[c / kBlock];
    const int64_t place = place_of(c % kBlock);
    for (int tap = 0; tap < kTaps * kTaps; ++tap) {
      const int16_t weight = pairs[2 * (tap / 2 * channels + c) + tap % 2];
      const int ky = tap / kTaps, kx = tap % kTaps, lines = lines_at_once(stride);
      for (int line = 0; line < lines; ++line)
        block.quads[kx * lines + line][place * kLines + ky + line] = static_cast<int8_t>(weight);
      block.start[place] -= 128 * weight;
    }
  }
}

// A column of kLines lines, by quarters of channels.
struct Column {
  Eight quads[kQuarters];
};

template <bool kSigned>
struct Reader {
  const std::byte* lines[kLines];
  int64_t step, width;
  __mmask32 inside;

  HONE_INLINE __m256i line(int i, int64_t at) const {
    const __m256i v = _mm256_maskz_loadu_epi8(inside, lines[i] + at);
    return kSigned ? _mm256_xor_si256(v, _mm256_set1_epi8(-128)) : v;
  }

  HONE_INLINE Column column(int64_t x) const {
    Column to;
    if (x < 0 || x >= width) {
      HONE_UNROLL
      for (auto& quad : to.quads) quad = (Eight)_mm256_set1_epi8(kSigned ? -128 : 0);
      return to;
    }
    const int64_t at = x * step;
    const __m256i a = line(0, at), b = line(1, at), c = line(2, at), d = line(3, at);
    const __m256i ab[2] = {_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b)};
    const __m256i cd[2] = {_mm256_unpacklo_epi8(c, d), _mm256_unpackhi_epi8(c, d)};
    HONE_UNROLL
    for (int i = 0; i < 2; ++i) {
      to.quads[2 * i] = (Eight)_mm256_unpacklo_epi16(ab[i], cd[i]);
      to.quads[2 * i + 1] = (Eight)_mm256_unpackhi_epi16(ab[i], cd[i]);
    }
    return to;
  }
};

template <int LINES>
HONE_INLINE void multiply(Eight (&sums)[LINES][kQuarters], const Column& column, const Weights& weights, int kx) {
  HONE_UNROLL
  for (int l = 0; l < LINES; ++l) {
    HONE_UNROLL
    for (int j = 0; j < kQuarters; ++j)
      sums[l][j] = (Eight)_mm256_dpbusd_epi32((__m256i)sums[l][j], (__m256i)column.quads[j],
                                              load_eight<__m256i>(weights.quads[kx * LINES + l] + 32 * j));
  }
}

// LINES lines of `width` results, the first column of whose windows is `left`.
template <bool kSigned, int STRIDE, class Out>
void run_lines(const Reader<kSigned>& in, int64_t left, int64_t width, const Weights& weights, const Out& out) {
  constexpr int LINES = lines_at_once(STRIDE);
  Column first = in.column(left), second = in.column(left + 1), third = in.column(left + 2);
  for (int64_t x = 0; x < width; ++x) {
    Eight sums[LINES][kQuarters];
    HONE_UNROLL
    for (int l = 0; l < LINES; ++l) {
      HONE_UNROLL
      for (int j = 0; j < kQuarters; ++j) sums[l][j] = kSigned ? load_eight<Eight>(weights.start + 8 * j) : Eight{};
    }
    multiply(sums, first, weights, 0);
    multiply(sums, second, weights, 1);
    multiply(sums, third, weights, 2);
    first = STRIDE == 1 ? second : third;
    second = STRIDE == 1 ? third : in.column(left + STRIDE * x + 3);
    third = in.column(left + STRIDE * (x + 1) + 2);
    out.store(sums, x);
  }
}

struct SumLines {
  int32_t* to;
  int64_t ld;  // from line to line

  template <int LINES>
  HONE_INLINE void store(const Eight (&sums)[LINES][kQuarters], int64_t x) const {
    HONE_UNROLL
    for (int l = 0; l < LINES; ++l)
      store_in_order(to + l * ld + x * kBlock, (__m256i)sums[l][0], (__m256i)sums[l][1], (__m256i)sums[l][2],
                     (__m256i)sums[l][3]);
  }
};

// A block's scales and biases, by quarters.
struct PlainBlock {
  alignas(64) float scale[kBlock], bias[kBlock];
  __m256i low, high;
  int columns;

  explicit PlainBlock(const PlainColumns& c) : columns(c.columns) {
    for (int64_t i = 0; i < kBlock; i += 4) {  // which stay together
      std::copy_n(c.scale + i, 4, scale + place_of(i));
      std::copy_n(c.bias + i, 4, bias + place_of(i));
    }
    low = _mm256_set1_epi8(c.low);
    high = _mm256_set1_epi8(c.high);
  }
};

struct PlainLines {
  const PlainBlock& block;
  int8_t* to;
  int64_t step, ld;  // from pixel to pixel, and from line to line
  int lines;

  template <int LINES>
  HONE_INLINE void store(const Eight (&sums)[LINES][kQuarters], int64_t x) const {
    __m256i bytes[LINES];
    HONE_UNROLL
    for (int l = 0; l < LINES; ++l) {
      __m256i whole[kQuarters];
      HONE_UNROLL
      for (int j = 0; j < kQuarters; ++j) {
        const EightFloats v =
            __builtin_convertvector(sums[l][j], EightFloats) * load_eight<EightFloats>(block.scale + 8 * j) +
            load_eight<EightFloats>(block.bias + 8 * j);
        whole[j] = _mm256_cvtps_epi32(v);
      }
      const __m256i halves[2] = {_mm256_packs_epi32(whole[0], whole[1]), _mm256_packs_epi32(whole[2], whole[3])};
      bytes[l] = _mm256_packs_epi16(halves[0], halves[1]);
    }
    HONE_UNROLL
    for (int l = 0; l < LINES; ++l)
      if (l < lines) write(to + l * ld + x * step, _mm256_min_epi8(_mm256_max_epi8(bytes[l], block.low), block.high));
  }

  HONE_INLINE void write(int8_t* at, __m256i bytes) const {
    if (block.columns == kBlock) return _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), bytes);
    if (block.columns % 4 == 0) return _mm256_mask_storeu_epi32(at, lanes_below(block.columns / 4), bytes);
    _mm256_mask_storeu_epi8(at, (1u << block.columns) - 1, bytes);
  }
};

template <bool kSigned, int STRIDE>
void run_block(const Int8LinesTask& t) {
  const ConvProblem& p = *t.p;
  const Int8Epilogue& e = t.args->epilogue;
  const int64_t c = t.block * kBlock, ow = p.out_w(), left = std::min(kBlock, p.cin - c);
  const int64_t line = p.w * p.in_pitch(), out_line = ow * p.out_pitch();
  const auto& weights = static_cast<const Weights*>(t.args->packed)[t.block];
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
  const PlainBlock block(columns);
  Reader<kSigned> in{.step = p.in_pitch(), .width = p.w};
  in.inside = left == kBlock ? ~0u : (1u << left) - 1;
  constexpr int LINES = lines_at_once(STRIDE);
  for (int64_t y = t.first; y < t.last; y += LINES) {
    for (int i = 0; i < kLines; ++i) {
      const int64_t from = y * STRIDE - p.pad_top + i;
      in.lines[i] = from >= 0 && from < p.h && i < LINES + 2 ? image + from * line : t.zeros;
    }
    const int lines = static_cast<int>(std::min<int64_t>(LINES, t.last - y));
    done.at = (t.image * p.out_h() + y) * out_line + c;
    if (plain) {
      const PlainLines out{block, static_cast<int8_t*>(done.out) + done.at, p.out_pitch(), out_line, lines};
      run_lines<kSigned, STRIDE>(in, -p.pad_left, ow, weights, out);
      continue;
    }
    run_lines<kSigned, STRIDE>(in, -p.pad_left, ow, weights, SumLines{t.sums, ow * kBlock});
    for (int l = 0; l < lines; ++l, done.sums += ow * kBlock, done.at += out_line) t.finish(done);
    done.sums = t.sums;
  }
}

template <bool kSigned>
void run(const Int8LinesTask& task) {
  task.p->stride_w == 1 ? run_block<kSigned, 1>(task) : run_block<kSigned, 2>(task);
}

}  // namespace

extern const Int8LinesKernel kInt8Lines, kUint8Lines;
const Int8LinesKernel kInt8Lines{ready_bytes, ready, run<true>}, kUint8Lines{ready_bytes, ready, run<false>};

}  // namespace hone::cpu::HONE_TIER_NS
