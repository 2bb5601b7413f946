// Depthwise convolution of i8: threads over lines of the output, vectors over channels.
#include <cstring>

#include "kernels/cpu/gemm/dense.h"
#include "kernels/cpu/int8/kernel.h"

namespace hone::cpu {
namespace {

constexpr auto kLine = static_cast<int64_t>(kAlign);

int64_t pairs_of(const ConvProblem& p) { return ceil_div(p.kh * p.kw, 2); }

// Of one worker: pointers to the taps of a pixel, then its sums, in whole vectors.
int64_t pointer_bytes(const ConvProblem& p) {
  return round_up(2 * pairs_of(p) * static_cast<int64_t>(sizeof(const std::byte*)), kLine);
}
int64_t worker_bytes(const ConvProblem& p) {
  return pointer_bytes(p) + round_up(p.cin * static_cast<int64_t>(sizeof(int32_t)), kLine);
}

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

}  // namespace

size_t int8_depthwise_packed_bytes(const ConvProblem& p) {
  return static_cast<size_t>(2 * pairs_of(p) * p.cin) * sizeof(int16_t);
}

void int8_depthwise_pack(const ConvProblem& p, const Int8Weights& weights, void* packed) {
  auto* to = static_cast<int16_t*>(packed);
  for (int64_t pair = 0; pair < pairs_of(p); ++pair)
    for (int64_t c = 0; c < p.cin; ++c)
      for (int64_t tap = 2 * pair; tap < 2 * pair + 2; ++tap)
        *to++ = tap < p.kh * p.kw ? weights.data[c * weights.stride_out + tap * weights.stride_tap] : 0;
}

size_t int8_depthwise_workspace_bytes(const ConvProblem& p, int threads) {
  return static_cast<size_t>(round_up(p.cin, kLine) + worker_bytes(p) * threads);
}

void int8_depthwise(const ConvProblem& p, Tier tier, bool unsigned_in, const Int8Args& args) {
  const Int8DepthwiseFn sum = int8_depthwise_kernel(tier, unsigned_in);
  const Int8FinishFn finish = int8_finish(tier);
  auto* zeros = static_cast<std::byte*>(args.workspace);
  std::byte* workers = zeros + round_up(p.cin, kLine);
  std::memset(zeros, 0, static_cast<size_t>(p.cin));
  const auto* in = static_cast<const std::byte*>(args.in);
  const int64_t oh = p.out_h(), ow = p.out_w();
  args.pool->parallel(p.n * oh, [&](int64_t line, int worker) {
    std::byte* memory = workers + worker * worker_bytes(p);
    auto** taps = reinterpret_cast<const std::byte**>(memory);
    auto* sums = reinterpret_cast<int32_t*>(memory + pointer_bytes(p));
    const std::byte* image = in + line / oh * p.h * p.w * p.in_pitch();
    const Int8DepthwisePixel pixel{.x = taps,
                                   .pairs = pairs_of(p),
                                   .weights = static_cast<const int16_t*>(args.packed),
                                   .channels = p.cin,
                                   .sums = sums};
    Int8Finish done{.sums = sums, .rows = 1, .columns = p.cin, .out = args.out, .epilogue = &args.epilogue};
    taps[2 * pairs_of(p) - 1] = in;  // where the last tap is alone: its partner's weights are zero
    for (int64_t x = 0; x < ow; ++x) {
      point_taps(p, image, zeros, line % oh * p.stride_h - p.pad_top, x * p.stride_w - p.pad_left, taps);
      sum(pixel);
      done.at = (line * ow + x) * p.out_pitch();
      finish(done);
    }
  });
}

}  // namespace hone::cpu
