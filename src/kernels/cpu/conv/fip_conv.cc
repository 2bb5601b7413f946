// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// conv_fip: convolutions as products of windows by fast inner products.
#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/cpu/conv/algorithms.h"
#include "kernels/cpu/conv/windows.h"
#include "kernels/cpu/gemm/dense.h"
#include "kernels/cpu/gemm/fip.h"

namespace hone::cpu {
namespace {

bool is_1x1(const ConvProblem& p) { return conv_1x1.supports(p) == nullptr; }

DenseShape shape_of(const ConvProblem& p) {
  const int64_t rows = p.n * p.out_h() * p.out_w();
  if (is_1x1(p)) return {.m = rows, .n = p.cout, .depth = p.cin, .fip = true};
  return {.m = rows, .n = p.cout, .taps = p.kh, .depth = p.kw * p.cin, .scratch = true, .fip = true};
}

int64_t window_values(const ConvProblem& p) { return p.kh * p.kw * p.cin; }

DenseBlocking blocking_of(const ConvProblem& p, const ConvContext& ctx) {
  return choose_blocking(shape_of(p), ctx.tier, ctx.threads, {ctx.variant.split, ctx.variant.row_block});
}

const char* supports(const ConvProblem& p) {
  if (p.groups != 1) return "grouped";
  if (!is_1x1(p) && p.cout < 64) return "too few channels of the output for windows to be copied";
  return refuse_fip(p.n * p.out_h() * p.out_w(), window_values(p));
}

size_t packed_bytes(const ConvProblem& p, Tier tier) { return fip_packed_bytes(p.cout, window_values(p), tier); }

void pack(const ConvProblem& p, Tier tier, const float* weights, void* packed) {
  const int64_t taps = p.kh * p.kw;
  std::vector<float> windows(static_cast<size_t>(p.cout * p.cin * taps));  // [cout][tap][cin]
  for (int64_t i = 0; i < p.cout * p.cin; ++i)
    for (int64_t t = 0; t < taps; ++t)
      windows[static_cast<size_t>((i / p.cin * taps + t) * p.cin + i % p.cin)] = weights[i * taps + t];
  fip_pack(windows.data(), taps * p.cin, true, p.cout, taps * p.cin, tier, static_cast<float*>(packed));
}

// Of zeros, for lines of windows outside the image.
size_t zero_row_bytes(const ConvProblem& p) {
  return static_cast<size_t>(round_up(p.kw * p.cin, kAlign / sizeof(float))) * sizeof(float);
}

size_t workspace_bytes(const ConvProblem& p, const ConvContext& ctx) {
  return zero_row_bytes(p) + dense_workspace_bytes(shape_of(p), ctx.tier, blocking_of(p, ctx), ctx.threads);
}

void run(const ConvProblem& p, const ConvContext& ctx, const ConvArgs& args) {
  const WindowSource source{&p, static_cast<const float*>(args.in), static_cast<float*>(args.workspace)};
  std::memset(args.workspace, 0, zero_row_bytes(p));
  DenseJob job;
  job.shape = shape_of(p);
  job.tier = ctx.tier;
  job.blocking = blocking_of(p, ctx);
  job.fill_rows = job.shape.scratch ? point_lines : point_taps;
  job.context = &source;
  job.b = static_cast<const float*>(args.packed);
  job.b_ld = panel_kernel(ctx.tier).nr;
  job.panel_stride = fip_panel_floats(window_values(p), job.b_ld);
  job.c = static_cast<float*>(args.out);
  job.ldc = p.out_pitch();
  job.epilogue = args.epilogue;
  run_dense(job, *args.pool, static_cast<char*>(args.workspace) + zero_row_bytes(p));
}

size_t candidates(const ConvProblem& p, const ConvContext& ctx, std::span<ConvVariant> variants) {
  const auto tunings = fip_tunings(shape_of(p), ctx.tier, ctx.threads);
  const size_t count = std::min(tunings.size(), variants.size());
  for (size_t i = 0; i < count; ++i) variants[i] = {.split = tunings[i].split, .row_block = tunings[i].row_block};
  return count;
}

double error_bound(const ConvProblem& p, const float*) { return fip_error(window_values(p)); }

}  // namespace

const ConvAlgorithm conv_fip{.name = "conv_fip",
                             .supports = supports,
                             .packed_bytes = packed_bytes,
                             .pack = pack,
                             .workspace_bytes = workspace_bytes,
                             .run = run,
                             .candidates = candidates,
                             .error_bound = error_bound,
                             .least_tier = Tier::avx512};

}  // namespace hone::cpu
