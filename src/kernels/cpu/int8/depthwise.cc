// Depthwise convolution of i8: threads over lines of the output, vectors over channels.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/gemm/dense.h"
#include "kernels/cpu/int8/kernel.h"

namespace hone::cpu {
namespace {

constexpr auto kLine = static_cast<int64_t>(kAlign);
constexpr int64_t kBandBytes = 16 << 10;
constexpr int64_t kSumsAtOnce = 4096;  // which stay in the first cache until they are finished

const Int8DepthwiseKernel& kernel_of(const Int8Context& context) {
  return int8_depthwise_kernel(context.set, context.unsigned_in);
}

int64_t x_step(const ConvProblem& p) { return p.stride_w * p.in_pitch(); }
int64_t padded_taps(const ConvProblem& p, int64_t multiple) { return round_up(p.kh * p.kw, multiple); }
// Pairs are packed; what makes quads of them reads as many.
int64_t packed_taps(const ConvProblem& p) { return padded_taps(p, 4); }

// Zeros for the taps of all pixels that are computed at once; then, of each worker, pointers to the taps of the first
// pixel and sums.
struct Layout {
  int64_t sums_ld, pixels, zero_bytes, pointer_bytes, worker_bytes;
  explicit Layout(const ConvProblem& p) {
    sums_ld = round_up(p.cin, kDepthwiseBlock);
    pixels = std::clamp<int64_t>(kSumsAtOnce / sums_ld, 1, p.out_w());
    zero_bytes = round_up((pixels - 1) * x_step(p) + p.cin, kLine);
    pointer_bytes = round_up(packed_taps(p) * static_cast<int64_t>(sizeof(const std::byte*)), kLine);
    worker_bytes = pointer_bytes + round_up(pixels * sums_ld * static_cast<int64_t>(sizeof(int32_t)), kLine);
  }
};

void point_taps(const ConvProblem& p, const std::byte* image, const std::byte* zeros, int64_t y0, int64_t x0,
                const std::byte** taps) {
  for (int64_t ky = 0; ky < p.kh; ++ky) {
    const int64_t y = y0 + ky * p.dilation_h;
    for (int64_t kx = 0; kx < p.kw; ++kx) {
      const int64_t x = x0 + kx * p.dilation_w;
      const bool inside = y >= 0 && y < p.h && x >= 0 && x < p.w;
      *taps++ = inside ? image + (y * p.w + x) * p.in_pitch() : zeros;
    }
  }
}

// The first output columns whose windows start inside the image, and the first whose windows leave it.
struct Inner {
  int64_t first, last;
  explicit Inner(const ConvProblem& p) {
    const int64_t width = (p.kw - 1) * p.dilation_w + 1, room = p.w + p.pad_left - width;
    first = std::min(ceil_div(p.pad_left, p.stride_w), p.out_w());
    last = std::clamp(room < 0 ? 0 : room / p.stride_w + 1, first, p.out_w());
  }
};

const Int8LinesKernel* lines_kernel(const ConvProblem& p, const Int8Context& context) {
  const bool lines =
      p.kh == 3 && p.kw == 3 && p.dilation_h * p.dilation_w == 1 && p.stride_h == p.stride_w && p.stride_w <= 2;
  return lines ? int8_lines_kernel(context.set, context.unsigned_in) : nullptr;
}

// A line of zeros, then the sums of each worker. Tasks are bands of lines that stay in the first cache.
struct LinesLayout {
  int64_t zero_bytes, worker_bytes, blocks, band, bands;
  LinesLayout(const ConvProblem& p, int threads) {
    zero_bytes = round_up(p.w * p.in_pitch() + kLine, kLine);
    worker_bytes = 2 * p.out_w() * kLinesBlock * static_cast<int64_t>(sizeof(int32_t));
    blocks = ceil_div(p.cin, kLinesBlock);
    const int64_t most = std::max<int64_t>(kBandBytes / (2 * p.stride_h * p.w * p.in_pitch()), 1) * 2;
    bands = round_up(ceil_div(p.out_h(), most), threads);
    band = round_up(ceil_div(p.out_h(), bands), 2);
    bands = ceil_div(p.out_h(), band);
  }
};

void run_lines(const ConvProblem& p, const Int8Context& context, const Int8Args& args, const Int8LinesKernel& kernel) {
  const LinesLayout layout(p, context.threads);
  auto* zeros = static_cast<std::byte*>(args.workspace);
  std::memset(zeros, 0, static_cast<size_t>(layout.zero_bytes));
  args.pool->parallel(p.n * layout.bands * layout.blocks, [&](int64_t index, int worker) {
    const int64_t band = index / layout.blocks % layout.bands;
    Int8LinesTask task{.p = &p,
                       .args = &args,
                       .image = index / layout.blocks / layout.bands,
                       .block = index % layout.blocks,
                       .first = band * layout.band,
                       .last = std::min((band + 1) * layout.band, p.out_h()),
                       .zeros = zeros,
                       .finish = int8_finish(tier_of(context.set))};
    task.sums = reinterpret_cast<int32_t*>(zeros + layout.zero_bytes + worker * layout.worker_bytes);
    kernel.run(task);
  });
}

}  // namespace

size_t int8_depthwise_packed_bytes(const ConvProblem& p) {
  return static_cast<size_t>(packed_taps(p) * p.cin) * sizeof(int16_t);
}

void int8_depthwise_pack(const ConvProblem& p, const Int8Weights& weights, void* packed) {
  auto* to = static_cast<int16_t*>(packed);
  for (int64_t pair = 0; pair < packed_taps(p) / 2; ++pair)
    for (int64_t c = 0; c < p.cin; ++c)
      for (int64_t tap = 2 * pair; tap < 2 * pair + 2; ++tap)
        *to++ = tap < p.kh * p.kw ? weights.data[c * weights.stride_out + tap * weights.stride_tap] : 0;
}

size_t int8_depthwise_ready_bytes(const ConvProblem& p, const Int8Context& context) {
  if (const auto* lines = lines_kernel(p, context)) return lines->ready_bytes(p.cin);
  const Int8DepthwiseKernel& kernel = kernel_of(context);
  return kernel.ready == nullptr ? int8_depthwise_packed_bytes(p)
                                 : kernel.ready_bytes(padded_taps(p, kernel.taps), p.cin);
}

void int8_depthwise_ready(const ConvProblem& p, const Int8Context& context, const void* packed, void* ready) {
  if (const auto* lines = lines_kernel(p, context))
    return lines->ready(static_cast<const int16_t*>(packed), p.cin, p.stride_w, ready);
  const Int8DepthwiseKernel& kernel = kernel_of(context);
  if (kernel.ready == nullptr) std::memcpy(ready, packed, int8_depthwise_packed_bytes(p));
  else kernel.ready(static_cast<const int16_t*>(packed), padded_taps(p, kernel.taps), p.cin, ready);
}

size_t int8_depthwise_workspace_bytes(const ConvProblem& p, const Int8Context& context) {
  if (lines_kernel(p, context) != nullptr) {
    const LinesLayout layout(p, context.threads);
    return static_cast<size_t>(layout.zero_bytes + layout.worker_bytes * context.threads);
  }
  const Layout layout(p);
  return static_cast<size_t>(layout.zero_bytes + layout.worker_bytes * context.threads);
}

void int8_depthwise(const ConvProblem& p, const Int8Context& context, const Int8Args& args) {
  if (const auto* lines = lines_kernel(p, context)) return run_lines(p, context, args, *lines);
  const Int8DepthwiseKernel& kernel = kernel_of(context);
  const Int8FinishFn finish = int8_finish(tier_of(context.set));
  const Layout layout(p);
  auto* zeros = static_cast<std::byte*>(args.workspace);
  std::byte* workers = zeros + layout.zero_bytes;
  std::memset(zeros, 0, static_cast<size_t>(layout.zero_bytes));
  const auto* in = static_cast<const std::byte*>(args.in);
  const int64_t oh = p.out_h(), ow = p.out_w(), taps = padded_taps(p, kernel.taps);
  const Inner inner(p);
  args.pool->parallel(p.n * oh, [&](int64_t line, int worker) {
    std::byte* memory = workers + worker * layout.worker_bytes;
    auto** x = reinterpret_cast<const std::byte**>(memory);
    auto* sums = reinterpret_cast<int32_t*>(memory + layout.pointer_bytes);
    const std::byte* image = in + line / oh * p.h * p.w * p.in_pitch();
    std::fill(x + p.kh * p.kw, x + taps, zeros);  // whose weights are zero
    Int8DepthwisePixels pixels{.x = x,
                               .x_step = x_step(p),
                               .taps = taps,
                               .weights = args.packed,
                               .channels = p.cin,
                               .sums = sums,
                               .sums_ld = layout.sums_ld};
    Int8Finish done{.sums = sums,
                    .sums_ld = layout.sums_ld,
                    .columns = p.cin,
                    .ld = p.out_pitch(),
                    .out = args.out,
                    .epilogue = &args.epilogue};
    for (int64_t at = 0; at < ow; at += pixels.pixels) {
      const bool inside = at >= inner.first && at < inner.last;
      pixels.pixels = inside ? std::min(layout.pixels, inner.last - at) : 1;
      point_taps(p, image, zeros, line % oh * p.stride_h - p.pad_top, at * p.stride_w - p.pad_left, x);
      kernel.run(pixels);
      done.rows = pixels.pixels;
      done.at = (line * ow + at) * p.out_pitch();
      finish(done);
    }
  });
}

}  // namespace hone::cpu
