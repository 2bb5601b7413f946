// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// conv_strassen and conv_strassen_fip: 1x1 convolutions as products by Strassen's algorithm, by itself or with fast
// inner products.
#include <algorithm>

#include "kernels/cpu/conv/algorithms.h"
#include "kernels/cpu/conv/windows.h"
#include "kernels/cpu/gemm/strassen.h"

namespace hone::cpu {
namespace {

template <bool FIP>
StrassenShape shape_of(const ConvProblem& p) {
  return {.items = p.n, .rows = p.out_h() * p.out_w(), .n = p.cout, .k = p.cin, .fip = FIP};
}

DenseTuning tuning_of(const ConvVariant& v) { return {v.split, v.row_block, v.k_block}; }

template <bool FIP>
const char* supports(const ConvProblem& p) {
  if (const char* reason = conv_1x1.supports(p)) return reason;
  return refuse_strassen(shape_of<FIP>(p));
}

template <bool FIP>
size_t packed_bytes(const ConvProblem& p, Tier tier) {
  return strassen_packed_bytes(p.cout, p.cin, tier, FIP);
}

template <bool FIP>
void pack(const ConvProblem& p, Tier tier, const float* weights, void* packed) {
  strassen_pack(weights, p.cin, true, p.cout, p.cin, tier, FIP, static_cast<float*>(packed));
}

template <bool FIP>
size_t workspace_bytes(const ConvProblem& p, const ConvContext& ctx) {
  return strassen_workspace_bytes(shape_of<FIP>(p), ctx.tier, ctx.threads, tuning_of(ctx.variant));
}

template <bool FIP>
void run(const ConvProblem& p, const ConvContext& ctx, const ConvArgs& args) {
  const WindowSource source{&p, static_cast<const float*>(args.in), nullptr};
  DenseJob job;
  job.tier = ctx.tier;
  job.fill_rows = point_taps;
  job.context = &source;
  job.b = static_cast<const float*>(args.packed);
  job.c = static_cast<float*>(args.out);
  job.ldc = p.out_pitch();
  job.epilogue = args.epilogue;
  run_strassen(shape_of<FIP>(p), tuning_of(ctx.variant), job, *args.pool, args.workspace);
}

template <bool FIP>
size_t candidates(const ConvProblem& p, const ConvContext& ctx, std::span<ConvVariant> variants) {
  const auto tunings = strassen_tunings(shape_of<FIP>(p), ctx.tier, ctx.threads);
  const size_t count = std::min(tunings.size(), variants.size());
  for (size_t i = 0; i < count; ++i)
    variants[i] = {.split = tunings[i].split, .row_block = tunings[i].row_block, .k_block = tunings[i].k_block};
  return count;
}

template <bool FIP>
double error_bound(const ConvProblem& p, const float*) {
  return strassen_error(p.cin, FIP);
}

template <bool FIP>
constexpr ConvAlgorithm algorithm(const char* name) {
  return {.name = name,
          .supports = supports<FIP>,
          .packed_bytes = packed_bytes<FIP>,
          .pack = pack<FIP>,
          .workspace_bytes = workspace_bytes<FIP>,
          .run = run<FIP>,
          .candidates = candidates<FIP>,
          .error_bound = error_bound<FIP>,
          .least_tier = FIP ? Tier::avx512 : Tier::scalar};
}

}  // namespace

const ConvAlgorithm conv_strassen = algorithm<false>("conv_strassen");
const ConvAlgorithm conv_strassen_fip = algorithm<true>("conv_strassen_fip");

}  // namespace hone::cpu
