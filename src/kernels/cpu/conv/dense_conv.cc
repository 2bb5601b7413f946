// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// conv_1x1, conv_direct and conv_grouped: implicit GEMM over output pixels. Row pointers into the
// input, one per pixel and tap, take the place of im2col. Where a tap has too few channels to loop over
// (the stem), a whole line of a window is one tap.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/conv/algorithms.h"
#include "kernels/cpu/conv/windows.h"
#include "kernels/cpu/gemm/dense.h"

namespace hone::cpu {
namespace {

// Groups narrower than a vector are merged into one block-diagonal group: the zeros multiplied cost
// what the empty lanes would have, and the loops get longer.
int64_t merged_groups(const ConvProblem& p, Tier tier) {
  const int64_t lanes = panel_kernel(tier).nr / 2, cout = p.cout / p.groups;
  int64_t merge = 1;
  while (merge * 2 * cout <= lanes && p.groups % (merge * 2) == 0) merge *= 2;
  return merge;
}

// The convolution as the GEMM driver sees it.
struct Geometry {
  int64_t groups, cin, cout;  // after merging: per group
  int64_t panels;             // of one group
};

Geometry geometry_of(const ConvProblem& p, Tier tier) {
  const int64_t groups = p.groups / merged_groups(p, tier);
  const int64_t cout = p.cout / groups;
  return {groups, p.cin / groups, cout, ceil_div(cout, panel_kernel(tier).nr)};
}

bool joins_lines(const ConvProblem& p, const ConvVariant& v) {
  if (p.groups != 1 || p.kw == 1) return false;
  return v.join_lines != 0 ? v.join_lines == 1 : p.cin < 16;
}

DenseShape shape_of(const ConvProblem& p, const ConvContext& ctx) {
  const Geometry g = geometry_of(p, ctx.tier);
  const bool lines = joins_lines(p, ctx.variant);
  return {.m = p.n * p.out_h() * p.out_w(),
          .n = g.cout,
          .taps = lines ? p.kh : p.kh * p.kw,
          .depth = lines ? p.kw * g.cin : g.cin,
          .batch = g.groups,
          .scratch = lines};
}

DenseBlocking blocking_of(const ConvProblem& p, const ConvContext& ctx) {
  const ConvVariant& v = ctx.variant;
  return choose_blocking(shape_of(p, ctx), ctx.tier, ctx.threads, {v.split, v.row_block, v.k_block});
}

size_t packed_bytes(const ConvProblem& p, Tier tier) {
  const Geometry g = geometry_of(p, tier);
  return static_cast<size_t>(g.groups * g.panels * panel_kernel(tier).nr * p.kh * p.kw * g.cin) * sizeof(float);
}

// [group][panel][tap][cin][nr]
void pack(const ConvProblem& p, Tier tier, const float* weights, void* packed) {
  const Geometry g = geometry_of(p, tier);
  const int64_t nr = panel_kernel(tier).nr, taps = p.kh * p.kw, cin = p.cin / p.groups, cout = p.cout / p.groups;
  std::memset(packed, 0, packed_bytes(p, tier));
  for (int64_t oc = 0; oc < p.cout; ++oc) {
    const int64_t column = oc % g.cout, first = oc / cout * cin % g.cin;
    float* panel = static_cast<float*>(packed) + (oc / g.cout * g.panels + column / nr) * taps * g.cin * nr;
    for (int64_t c = 0; c < cin; ++c)
      for (int64_t t = 0; t < taps; ++t)
        panel[(t * g.cin + first + c) * nr + column % nr] = weights[(oc * cin + c) * taps + t];
  }
}

size_t zero_row_bytes(const ConvProblem& p) {
  return static_cast<size_t>(round_up(p.kw * p.cin, kAlign / sizeof(float))) * sizeof(float);
}

size_t workspace_bytes(const ConvProblem& p, const ConvContext& ctx) {
  return zero_row_bytes(p) + dense_workspace_bytes(shape_of(p, ctx), ctx.tier, blocking_of(p, ctx), ctx.threads);
}

void run(const ConvProblem& p, const ConvContext& ctx, const ConvArgs& args) {
  const Geometry g = geometry_of(p, ctx.tier);
  const WindowSource source{&p, static_cast<const float*>(args.in), static_cast<float*>(args.workspace)};
  std::memset(args.workspace, 0, zero_row_bytes(p));
  DenseJob job;
  job.shape = shape_of(p, ctx);
  job.tier = ctx.tier;
  job.blocking = blocking_of(p, ctx);
  job.fill_rows = job.shape.scratch ? point_lines : point_taps;
  job.context = &source;
  job.a_stride = g.cin;
  job.b = static_cast<const float*>(args.packed);
  job.b_ld = panel_kernel(ctx.tier).nr;
  job.panel_stride = job.b_ld * p.kh * p.kw * g.cin;
  job.b_stride = job.panel_stride * g.panels;
  job.c = static_cast<float*>(args.out);
  job.ldc = p.out_pitch();
  job.c_stride = g.cout;
  job.bias_stride = g.cout;
  job.epilogue = args.epilogue;
  run_dense(job, *args.pool, static_cast<char*>(args.workspace) + zero_row_bytes(p));
}

const char* supports_1x1(const ConvProblem& p) {
  if (p.kh != 1 || p.kw != 1) return "kernel is not 1x1";
  if (p.groups != 1) return "grouped";
  if (p.pad_top != 0 || p.pad_left != 0 || p.pad_bottom != 0 || p.pad_right != 0) return "padded";
  return nullptr;
}

const char* supports_direct(const ConvProblem& p) { return p.groups == 1 ? nullptr : "grouped"; }

const char* supports_grouped(const ConvProblem& p) { return p.groups > 1 ? nullptr : "one group"; }

size_t candidates(const ConvProblem& p, const ConvContext& ctx, std::span<ConvVariant> variants) {
  const int mr = panel_kernel(ctx.tier).mr;
  std::vector<ConvVariant> all{{}};
  for (int split = 1; split <= (ctx.threads > 1 ? 2 : 1); ++split) {
    for (int rows : {4, 8, 16, 32}) all.push_back({.split = split, .row_block = rows * mr});
    all.push_back({.split = split, .k_block = 1 << 30});
    all.push_back({.split = split, .k_block = 512});
  }
  all = distinct(std::span<const ConvVariant>(all), [&](const ConvVariant& v) {
    ConvContext as = ctx;
    as.variant = v;
    const DenseShape shape = shape_of(p, as);
    DenseBlocking b = blocking_of(p, as);
    b.k_block = v.k_block > 0 && is_whole(shape.taps * shape.depth, v.k_block) ? INT64_MAX : v.k_block;
    if (v.row_block == 0) b.row_block = 0;
    return b;
  });
  if (p.kw > 1 && p.groups == 1) all.push_back({.join_lines = p.cin < 16 ? 2 : 1});
  const size_t count = std::min(all.size(), variants.size());
  std::copy_n(all.begin(), count, variants.begin());
  return count;
}

}  // namespace

const ConvAlgorithm conv_1x1{"conv_1x1", supports_1x1, packed_bytes, pack, workspace_bytes, run, candidates};
const ConvAlgorithm conv_direct{"conv_direct", supports_direct, packed_bytes, pack, workspace_bytes, run, candidates};
const ConvAlgorithm conv_grouped{"conv_grouped", supports_grouped, packed_bytes, pack, workspace_bytes, run,
                                 candidates};

}  // namespace hone::cpu
