// Transposed convolution in bf16. Output pixels that agree in (y + pad) mod stride and (x + pad) mod stride see the
// same taps: each such phase is a convolution of stride 1 by these, last tap first, whose outputs lie `stride` pixels
// apart.
#include <algorithm>
#include <vector>

#include "kernels/cpu/bf16/block.h"
#include "kernels/cpu/gemm/dense.h"

namespace hone::cpu {
namespace {

// One dim of a phase.
struct Axis {
  TransposedTaps taps;
  int64_t first = 0, count = 0;                      // of its output pixels; the others are `stride` apart
  int64_t dilation = 1, pad_begin = 0, pad_end = 0;  // of its convolution; negative where input is left out

  int64_t size() const { return std::max<int64_t>(taps.count, 1); }
};

// A phase that sees no tap has one of zeros, all of whose windows lie outside.
Axis axis_of(int64_t phase, int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t dilation, int64_t pad) {
  Axis axis{.taps = taps_of(kernel, stride, dilation, (phase + pad) % stride), .first = phase};
  axis.count = phase < out ? (out - phase - 1) / stride + 1 : 0;
  axis.dilation = axis.taps.step * dilation / stride;
  int64_t newest = (phase + pad - axis.taps.first * dilation) / stride;  // of the inputs that the first pixel sees
  if (axis.taps.count == 0) newest = -axis.count;
  const int64_t reach = axis.dilation * (axis.size() - 1);
  axis.pad_begin = reach - newest;
  axis.pad_end = axis.count + reach - in - axis.pad_begin;
  return axis;
}

struct Phase {
  Axis y, x;
  ConvProblem conv;
};

// Calls f(phase) for each of them.
template <class F>
void for_each_phase(const ConvTransposeProblem& p, F f) {
  for (int64_t py = 0; py < p.stride_h; ++py)
    for (int64_t px = 0; px < p.stride_w; ++px) {
      Phase phase{axis_of(py, p.h, p.out_h(), p.kh, p.stride_h, p.dilation_h, p.pad_top),
                  axis_of(px, p.w, p.out_w(), p.kw, p.stride_w, p.dilation_w, p.pad_left),
                  {}};
      phase.conv = {.n = p.n,
                    .h = p.h,
                    .w = p.w,
                    .cin = p.cin,
                    .cout = p.cout,
                    .kh = phase.y.size(),
                    .kw = phase.x.size(),
                    .dilation_h = phase.y.dilation,
                    .dilation_w = phase.x.dilation,
                    .pad_top = phase.y.pad_begin,
                    .pad_left = phase.x.pad_begin,
                    .pad_bottom = phase.y.pad_end,
                    .pad_right = phase.x.pad_end,
                    .groups = p.groups,
                    .in_ldc = p.in_ldc,
                    .out_ldc = p.out_ldc};
      f(phase);
    }
}

// A task: lines of a phase, or part of a line.
struct Lines {
  GatherPlan plan;
  int64_t lines, line_blocks, parts;

  Lines(const Phase& phase, const TileForm& form, int threads) : plan(gather_plan(phase.conv, form, {})) {
    const int64_t all = phase.conv.n * phase.y.count, width = phase.x.count;
    parts = ceil_div(width, plan.row_block);
    lines = std::clamp<int64_t>(plan.row_block / width, 1, ceil_div(all, threads));
    line_blocks = ceil_div(all, lines);
    plan.row_block = lines * ceil_div(width, parts) + plan.form.rows;  // a tile may read behind the rows of its line
  }
};

void run_phase(const ConvTransposeProblem& p, const Bf16Kernel& kernel, const Phase& phase, int threads,
               const std::byte* weights, const Bf16Args& args) {
  const Lines lines(phase, args.in_bf16 ? kernel.from_bf16 : kernel.from_f32, threads);
  const GatherPlan& plan = lines.plan;
  const int64_t width = phase.x.count, all = p.n * phase.y.count;
  args.pool->parallel(lines.line_blocks * lines.parts, [&](int64_t task, int worker) {
    const int64_t block = task / lines.parts, part = task % lines.parts;
    const int64_t first = block * lines.lines, last = std::min(all, first + lines.lines);
    const int64_t x = width * part / lines.parts, count = width * (part + 1) / lines.parts - x;
    std::byte* mine = static_cast<std::byte*>(args.workspace) + worker * plan.worker_bytes();
    if (plan.form.begin != nullptr) plan.form.begin();
    for (int64_t group = 0; group < plan.groups; ++group) {
      const TileRows rows =
          rows_of(phase.conv, plan, args.in,
                  {group, 0, plan.panels, first * width + x, (last - first - 1) * width + count}, mine);
      for (int64_t panel = 0; panel < plan.panels; ++panel)
        for (int64_t line = first; line < last; ++line) {
          const int64_t item = line / phase.y.count, y = phase.y.first + line % phase.y.count * p.stride_h;
          const int64_t pixel = (item * p.out_h() + y) * p.out_w() + phase.x.first + x * p.stride_w;
          multiply(kernel, plan, args,
                   {.a = rows.from((line - first) * width),
                    .rows = count,
                    .group = group,
                    .first = panel,
                    .last = panel + 1,
                    .packed = weights + (group * plan.panels + panel) * plan.panel_bytes,
                    .at = pixel * p.out_pitch(),
                    .ld = p.stride_w * p.out_pitch(),
                    .sums = reinterpret_cast<float*>(mine + plan.rows_bytes())});
        }
    }
    if (plan.form.end != nullptr) plan.form.end();
  });
}

}  // namespace

size_t bf16_transposed_packed_bytes(const ConvTransposeProblem& p, const Bf16Kernel& kernel) {
  size_t bytes = 0;
  for_each_phase(p, [&](const Phase& phase) { bytes += packed_plan(phase.conv, kernel.from_f32).packed_bytes(); });
  return bytes;
}

void bf16_transposed_pack(const ConvTransposeProblem& p, const Bf16Kernel& kernel, const float* weights, void* packed) {
  const int64_t cin = p.cin / p.groups, cout = p.cout / p.groups;
  auto* to = static_cast<std::byte*>(packed);
  for_each_phase(p, [&](const Phase& phase) {
    const TransposedTaps &ty = phase.y.taps, &tx = phase.x.taps;
    const int64_t taps = phase.conv.kh * phase.conv.kw;
    std::vector<float> own(static_cast<size_t>(p.cout * cin * taps));  // [cout][cin of a group][taps]
    auto* next = own.data();
    for (int64_t out = 0; out < p.cout && ty.count * tx.count > 0; ++out)
      for (int64_t in = out / cout * cin; in < (out / cout + 1) * cin; ++in)
        for (int64_t a = ty.count; a-- > 0;)
          for (int64_t b = tx.count; b-- > 0;) {
            const int64_t ky = ty.first + a * ty.step, kx = tx.first + b * tx.step;
            *next++ = weights[((in * cout + out % cout) * p.kh + ky) * p.kw + kx];
          }
    bf16_pack(phase.conv, kernel, {own.data(), cin * taps, taps, 1}, to);
    to += packed_plan(phase.conv, kernel.from_f32).packed_bytes();
  });
}

size_t bf16_transposed_workspace_bytes(const ConvTransposeProblem& p, const Bf16Kernel& kernel, int threads) {
  int64_t most = 0;
  for_each_phase(p, [&](const Phase& phase) {
    if (phase.y.count == 0 || phase.x.count == 0) return;
    for (const TileForm* form : {&kernel.from_f32, &kernel.from_bf16})
      most = std::max(most, Lines(phase, *form, threads).plan.worker_bytes());
  });
  return static_cast<size_t>(most * threads);
}

void bf16_conv_transpose(const ConvTransposeProblem& p, const Bf16Kernel& kernel, int threads, const Bf16Args& args) {
  const auto* weights = static_cast<const std::byte*>(args.packed);
  for_each_phase(p, [&](const Phase& phase) {
    if (phase.y.count > 0 && phase.x.count > 0) run_phase(p, kernel, phase, threads, weights, args);
    weights += packed_plan(phase.conv, kernel.from_f32).packed_bytes();
  });
}

}  // namespace hone::cpu
