// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// conv_depthwise: each channel with its own kernel, vectors over channels, threads over output rows.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/conv/algorithms.h"
#include "kernels/cpu/conv/depthwise_kernel.h"
#include "kernels/cpu/gemm/dense.h"

namespace hone::cpu {

namespace scalar {
extern const DepthwiseKernel<float> kDepthwiseKernel;
}
namespace avx2 {
extern const DepthwiseKernel<float> kDepthwiseKernel;
}
namespace avx512 {
extern const DepthwiseKernel<float> kDepthwiseKernel;
}
namespace avx512_bf16 {
extern const DepthwiseKernel<bf16> kDepthwiseKernel;
}

namespace {

DepthwiseKernel<float> kernel_for(Tier tier, float) {
  switch (tier) {
    case Tier::avx512: return avx512::kDepthwiseKernel;
    case Tier::avx2: return avx2::kDepthwiseKernel;
    case Tier::scalar: break;
  }
  return scalar::kDepthwiseKernel;
}
DepthwiseKernel<bf16> kernel_for(Tier, bf16) { return avx512_bf16::kDepthwiseKernel; }

constexpr int64_t kChannelUnit = 16;

const char* supports(const ConvProblem& p) {
  if (p.groups != p.cin || p.cin != p.cout) return "not one channel a group";
  return nullptr;
}

int64_t padded_channels(const ConvProblem& p) { return round_up(p.cin, kChannelUnit); }

size_t packed_bytes(const ConvProblem& p, Tier) {
  return static_cast<size_t>(p.kh * p.kw * padded_channels(p)) * sizeof(float);
}

// [tap][channel]
void pack(const ConvProblem& p, Tier tier, const float* weights, void* packed) {
  std::memset(packed, 0, packed_bytes(p, tier));
  const int64_t taps = p.kh * p.kw, ld = padded_channels(p);
  for (int64_t c = 0; c < p.cin; ++c)
    for (int64_t t = 0; t < taps; ++t) static_cast<float*>(packed)[t * ld + c] = weights[c * taps + t];
}

size_t workspace_bytes(const ConvProblem&, const ConvContext&) { return 0; }

// Each thread gets neighbouring rows, as many as the others, so that it reads what it wrote of the layer before; in a
// few pieces, so that who runs out can help.
template <class T>
void run_on(const ConvProblem& p, const ConvContext& ctx, const ConvArgs& args) {
  const DepthwiseKernel<T> kernel = kernel_for(ctx.tier, T());
  const Epilogue& ep = args.epilogue;
  const int64_t oh = p.out_h(), ow = p.out_w(), rows = p.n * oh, units = ceil_div(p.cin, kChannelUnit);
  const int64_t pieces = std::min(rows, ctx.threads * std::clamp<int64_t>(rows / (int64_t{4} * ctx.threads), 1, 8));
  const int64_t cuts = ctx.variant.split == 2 ? std::min<int64_t>(units, ctx.threads) : 1;
  const auto two_rows = [&](int64_t row, int64_t count, int64_t cut) {
    const int64_t n = row / oh;
    DepthwiseRows<T> job{};
    job.problem = &p;
    job.image = static_cast<const T*>(args.in) + n * p.h * p.w * p.in_pitch();
    job.weights = static_cast<const float*>(args.packed);
    job.weights_ld = padded_channels(p);
    job.oy = row % oh;
    job.rows = static_cast<int>(count);
    job.c0 = units * cut / cuts * kChannelUnit;
    job.c1 = std::min(p.cin, units * (cut + 1) / cuts * kChannelUnit);
    job.out = static_cast<T*>(args.out) + row * ow * p.out_pitch();
    job.residual = ep.residual_at<T>(row * ow * p.out_pitch());
    job.epilogue = &ep;
    kernel(job);
    if (ep.tile_hook != nullptr)
      ep.tile_hook(ep.hook_user, job.out + job.c0, row * ow, count * ow, job.c0, job.c1 - job.c0, p.out_pitch());
  };
  args.pool->parallel(pieces * cuts, [&](int64_t i, int) {
    const int64_t piece = i % pieces, end = rows * (piece + 1) / pieces;
    for (int64_t row = rows * piece / pieces, count = 0; row < end; row += count) {
      count = std::min({int64_t{2}, end - row, oh - row % oh});
      two_rows(row, count, i / pieces);
    }
  });
}

void run(const ConvProblem& p, const ConvContext& ctx, const ConvArgs& args) {
  ctx.in_bf16 ? run_on<bf16>(p, ctx, args) : run_on<float>(p, ctx, args);
}

size_t candidates(const ConvProblem&, const ConvContext& ctx, std::span<ConvVariant> variants) {
  size_t count = 0;
  if (count < variants.size()) variants[count++] = {};
  if (count < variants.size() && ctx.threads > 1) variants[count++] = {.split = 2};
  return count;
}

}  // namespace

const ConvAlgorithm conv_depthwise{"conv_depthwise", supports, packed_bytes, pack, workspace_bytes, run,
                                   candidates,       nullptr,  true};

}  // namespace hone::cpu
