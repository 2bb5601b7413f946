// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// conv_1x1_fip: 1x1 convolutions as products by fast inner products.
#include <algorithm>

#include "kernels/cpu/conv/algorithms.h"
#include "kernels/cpu/conv/windows.h"
#include "kernels/cpu/gemm/dense.h"
#include "kernels/cpu/gemm/fip.h"

namespace hone::cpu {
namespace {

DenseShape shape_of(const ConvProblem& p) {
  return {.m = p.n * p.out_h() * p.out_w(), .n = p.cout, .depth = p.cin, .fip = true};
}

DenseBlocking blocking_of(const ConvProblem& p, const ConvContext& ctx) {
  return choose_blocking(shape_of(p), ctx.tier, ctx.threads, {ctx.variant.split, ctx.variant.row_block});
}

const char* supports(const ConvProblem& p) {
  if (const char* reason = conv_1x1.supports(p)) return reason;
  return refuse_fip(p.n * p.out_h() * p.out_w(), p.cin);
}

size_t packed_bytes(const ConvProblem& p, Tier tier) { return fip_packed_bytes(p.cout, p.cin, tier); }

void pack(const ConvProblem& p, Tier tier, const float* weights, void* packed) {
  fip_pack(weights, p.cin, true, p.cout, p.cin, tier, static_cast<float*>(packed));
}

size_t workspace_bytes(const ConvProblem& p, const ConvContext& ctx) {
  return dense_workspace_bytes(shape_of(p), ctx.tier, blocking_of(p, ctx), ctx.threads);
}

void run(const ConvProblem& p, const ConvContext& ctx, const ConvArgs& args) {
  const WindowSource source{&p, static_cast<const float*>(args.in), nullptr};
  DenseJob job;
  job.shape = shape_of(p);
  job.tier = ctx.tier;
  job.blocking = blocking_of(p, ctx);
  job.fill_rows = point_taps;
  job.context = &source;
  job.b = static_cast<const float*>(args.packed);
  job.b_ld = panel_kernel(ctx.tier).nr;
  job.panel_stride = fip_panel_floats(p.cin, job.b_ld);
  job.c = static_cast<float*>(args.out);
  job.ldc = p.out_pitch();
  job.epilogue = args.epilogue;
  run_dense(job, *args.pool, args.workspace);
}

size_t candidates(const ConvProblem& p, const ConvContext& ctx, std::span<ConvVariant> variants) {
  const auto tunings = fip_tunings(shape_of(p), ctx.tier, ctx.threads);
  const size_t count = std::min(tunings.size(), variants.size());
  for (size_t i = 0; i < count; ++i) variants[i] = {.split = tunings[i].split, .row_block = tunings[i].row_block};
  return count;
}

double error_bound(const ConvProblem& p, const float*) { return fip_error(p.cin); }

}  // namespace

const ConvAlgorithm conv_1x1_fip{.name = "conv_1x1_fip",
                                 .supports = supports,
                                 .packed_bytes = packed_bytes,
                                 .pack = pack,
                                 .workspace_bytes = workspace_bytes,
                                 .run = run,
                                 .candidates = candidates,
                                 .error_bound = error_bound,
                                 .least_tier = Tier::avx512};

}  // namespace hone::cpu
