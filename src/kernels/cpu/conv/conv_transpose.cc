// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// Transposed convolution by phases. Output pixels that agree in (y + pad) mod stride and (x + pad) mod
// stride see the same taps, so each such phase is an ordinary convolution with some of the taps, and
// no column buffer is written. Weights are packed [group][panel][tap][cin][nr], taps of one phase
// together; the pixels of a phase in one output row are `stride` apart.
#include "kernels/cpu/conv/conv_transpose.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "kernels/cpu/gemm/dense.h"

namespace hone::cpu {
namespace {

using Taps = TransposedTaps;

// A position in the packed weights: phases in order, each a block of whole panels.
int64_t phase_floats(const ConvTransposeProblem& p, int nr, const Taps& ty, const Taps& tx) {
  return ceil_div(p.cout / p.groups, nr) * nr * ty.count * tx.count * (p.cin / p.groups);
}

// Calls f(taps_y, taps_x, residue_y, residue_x, offset of the phase's weights within a group).
template <class F>
int64_t for_each_phase(const ConvTransposeProblem& p, int nr, F&& f) {
  int64_t offset = 0;
  for (int64_t ry = 0; ry < p.stride_h; ++ry)
    for (int64_t rx = 0; rx < p.stride_w; ++rx) {
      const Taps ty = taps_of(p.kh, p.stride_h, p.dilation_h, ry), tx = taps_of(p.kw, p.stride_w, p.dilation_w, rx);
      f(ty, tx, ry, rx, offset);
      offset += phase_floats(p, nr, ty, tx);
    }
  return offset;
}

// A worker's area: row pointers for a block of pixels, then the panel kernel's partial sums.
struct Layout {
  int64_t block, pointer_bytes, worker_bytes, zero_bytes;
};

Layout layout_of(const ConvTransposeProblem& p, const ConvContext& ctx) {
  const PanelKernel& kernel = panel_kernel(ctx.tier);
  const int64_t wanted = ctx.variant.row_block > 0 ? ctx.variant.row_block : 16 * kernel.mr;
  const int64_t line = static_cast<int64_t>(kAlign), f = sizeof(float), ptr = sizeof(float*);
  Layout l{};
  l.block = std::min(wanted, ceil_div(p.out_w(), p.stride_w));
  l.pointer_bytes = round_up(l.block * p.kh * p.kw * ptr, line);
  l.worker_bytes = l.pointer_bytes + round_up(l.block * kernel.nr * f, line) + line;
  l.zero_bytes = round_up(p.cin * f, line);
  return l;
}

struct Run {
  const ConvTransposeProblem& p;
  const ConvArgs& args;
  const PanelKernel& kernel;
  const Layout layout;
  int64_t group_floats;

  char* worker(int id) const {
    return static_cast<char*>(args.workspace) + layout.zero_bytes + id * layout.worker_bytes;
  }

  // Input pixel under each tap of output pixels (y, x + i * stride).
  void point_rows(int64_t n, int64_t y, int64_t x, int64_t m, const Taps& ty, const Taps& tx,
                  const float** rows) const {
    const auto* zeros = static_cast<const float*>(args.workspace);
    for (int64_t a = 0; a < ty.count; ++a) {
      const int64_t top = y + p.pad_top - (ty.first + a * ty.step) * p.dilation_h, iy = top / p.stride_h;
      const bool row_inside = top >= 0 && iy < p.h;
      for (int64_t b = 0; b < tx.count; ++b, rows += layout.block)
        for (int64_t i = 0; i < m; ++i) {
          const int64_t left = x + i * p.stride_w + p.pad_left - (tx.first + b * tx.step) * p.dilation_w;
          const int64_t ix = left / p.stride_w;
          const bool inside = row_inside && left >= 0 && ix < p.w;
          rows[i] = inside ? static_cast<const float*>(args.in) + ((n * p.h + iy) * p.w + ix) * p.in_pitch() : zeros;
        }
    }
  }

  void call_hook(const PanelJob& job, int64_t pixel, int64_t col) const {
    const Epilogue& ep = args.epilogue;
    if (ep.tile_hook == nullptr) return;
    for (int64_t i = 0; i < job.m; ++i)
      ep.tile_hook(ep.hook_user, job.c + i * job.ldc, pixel + i * p.stride_w, 1, col, job.n, p.out_pitch());
  }

  // Pixels x, x + stride, ... (m of them) of one output row, all channels.
  void run_pixels(int64_t row, int64_t x, int64_t m, const Taps& ty, const Taps& tx, int64_t offset, int id) const {
    const int64_t oh = p.out_h(), ow = p.out_w(), cin = p.cin / p.groups, cout = p.cout / p.groups;
    auto** rows = reinterpret_cast<const float**>(worker(id));
    point_rows(row / oh, row % oh, x, m, ty, tx, rows);
    const Epilogue& ep = args.epilogue;
    PanelJob job;
    job.rows = rows;
    job.rows_ld = layout.block;
    job.m = m;
    job.taps = ty.count * tx.count;
    job.depth = cin;
    job.b_ld = kernel.nr;
    job.k_block = cpu_info().l1d / (kernel.nr * static_cast<int64_t>(sizeof(float)));
    job.partial = reinterpret_cast<float*>(worker(id) + layout.pointer_bytes);
    job.ldc = p.stride_w * p.out_pitch();
    job.epilogue = &ep;
    for (int64_t g = 0; g < p.groups; ++g) {
      job.a_offset = g * cin;
      job.b = static_cast<const float*>(args.packed) + g * group_floats + offset;
      for (int64_t col = 0; col < cout; col += kernel.nr, job.b += kernel.nr * job.taps * cin) {
        const int64_t channel = g * cout + col, at = (row * ow + x) * p.out_pitch() + channel;
        job.n = std::min<int64_t>(kernel.nr, cout - col);
        job.c = static_cast<float*>(args.out) + at;
        job.bias = ep.bias == nullptr ? nullptr : ep.bias + channel;
        job.residual = ep.residual_at<float>(at);
        kernel.run(job);
        call_hook(job, row * ow + x, channel);
      }
    }
  }

  void run_row(int64_t row, int id) const {
    const int64_t ow = p.out_w(), ry = (row % p.out_h() + p.pad_top) % p.stride_h;
    for_each_phase(p, kernel.nr, [&](const Taps& ty, const Taps& tx, int64_t phase_y, int64_t phase_x, int64_t offset) {
      if (phase_y != ry) return;
      const int64_t shift = (phase_x - p.pad_left) % p.stride_w;
      int64_t x = shift < 0 ? shift + p.stride_w : shift;
      for (int64_t left = x < ow ? (ow - x - 1) / p.stride_w + 1 : 0; left > 0;) {
        const int64_t m = std::min(left, layout.block);
        run_pixels(row, x, m, ty, tx, offset, id);
        x += m * p.stride_w;
        left -= m;
      }
    });
  }
};

}  // namespace

TransposedTaps taps_of(int64_t kernel, int64_t stride, int64_t dilation, int64_t residue) {
  const int64_t step = stride / std::gcd(stride, dilation);
  for (int64_t k = 0; k < std::min(step, kernel); ++k)
    if (k * dilation % stride == residue) return {k, step, (kernel - k - 1) / step + 1};
  return {0, step, 0};
}

size_t conv_transpose_packed_bytes(const ConvTransposeProblem& p, Tier tier) {
  const int64_t group = for_each_phase(p, panel_kernel(tier).nr, [](auto&&...) {});
  return static_cast<size_t>(p.groups * group) * sizeof(float);
}

void conv_transpose_pack(const ConvTransposeProblem& p, Tier tier, const float* weights, void* packed) {
  const int nr = panel_kernel(tier).nr;
  const int64_t cin = p.cin / p.groups, cout = p.cout / p.groups;
  const int64_t group_floats = for_each_phase(p, nr, [](auto&&...) {});
  std::memset(packed, 0, conv_transpose_packed_bytes(p, tier));
  for_each_phase(p, nr, [&](const Taps& ty, const Taps& tx, int64_t, int64_t, int64_t offset) {
    for (int64_t ic = 0; ic < p.cin; ++ic)
      for (int64_t oc = 0; oc < cout; ++oc)
        for (int64_t t = 0; t < ty.count * tx.count; ++t) {
          const int64_t ky = ty.first + t / tx.count * ty.step, kx = tx.first + t % tx.count * tx.step;
          float* group = static_cast<float*>(packed) + ic / cin * group_floats + offset;
          group[((oc / nr * ty.count * tx.count + t) * cin + ic % cin) * nr + oc % nr] =
              weights[((ic * cout + oc) * p.kh + ky) * p.kw + kx];
        }
  });
}

size_t conv_transpose_workspace_bytes(const ConvTransposeProblem& p, const ConvContext& ctx) {
  const Layout l = layout_of(p, ctx);
  return static_cast<size_t>(l.zero_bytes + ctx.threads * l.worker_bytes);
}

void conv_transpose(const ConvTransposeProblem& p, const ConvContext& ctx, const ConvArgs& args) {
  const PanelKernel& kernel = panel_kernel(ctx.tier);
  const int64_t group_floats = for_each_phase(p, kernel.nr, [](auto&&...) {});
  const Run run{p, args, kernel, layout_of(p, ctx), group_floats};
  std::memset(args.workspace, 0, static_cast<size_t>(run.layout.zero_bytes));
  args.pool->parallel(p.n * p.out_h(), [&](int64_t row, int id) { run.run_row(row, id); });
}

}  // namespace hone::cpu
