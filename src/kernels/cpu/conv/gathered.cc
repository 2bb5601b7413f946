#include "kernels/cpu/conv/gathered.h"

#include <algorithm>

#include "kernels/cpu/gemm/dense.h"

namespace hone::cpu {
namespace {

// Groups narrower than a vector are merged into one block-diagonal group: the zeros multiplied cost what the empty
// lanes would have, and the loops get longer.
int64_t merged_groups(const ConvProblem& p, const TileForm& form) {
  int64_t merge = 1;
  while (merge * 2 * (p.cout / p.groups) <= form.panel / 2 && p.groups % (merge * 2) == 0) merge *= 2;
  return merge;
}

// Threads that share out columns read all of the input, but only their part of the weights.
bool prefers_columns(const GatherPlan& plan, int threads) {
  if (plan.panels < threads) return false;
  return plan.pixels < 4 * threads * plan.form.rows || plan.cout > 2 * plan.pixels;
}

// Whether a line of a window lies in memory as it is gathered.
bool in_one_piece(const ConvProblem& p, const GatherPlan& plan) {
  return p.dilation_w == 1 && p.in_pitch() == plan.cin;
}

// One line of a window, part of which may be outside, to `to`, and where its end is.
std::byte* gather_line(const ConvProblem& p, const GatherPlan& plan, const std::byte* line, int64_t x0, std::byte* to) {
  const TileForm& form = plan.form;
  const int64_t pixel = plan.cin * form.a_bytes, step = p.dilation_w * p.in_pitch() * form.in_bytes;
  const int64_t first = std::clamp<int64_t>(ceil_div(-x0, p.dilation_w), 0, p.kw);
  const int64_t last = std::clamp<int64_t>(ceil_div(p.w - x0, p.dilation_w), first, p.kw);
  const auto zeros = [&](int64_t pixels) {
    if (pixels > 0) std::memset(to, form.zero, static_cast<size_t>(pixels * pixel));
    to += pixels * pixel;
  };
  zeros(first);
  const std::byte* from = line + (x0 + first * p.dilation_w) * p.in_pitch() * form.in_bytes;
  if (in_one_piece(p, plan)) form.gather(from, 0, 1, (last - first) * plan.cin, to);
  else form.gather(from, step, last - first, plan.cin, to);
  to += (last - first) * pixel;
  zeros(p.kw - last);
  return to;
}

}  // namespace

int64_t GatherPlan::rows_bytes() const { return round_up(row_block, form.rows) * a_ld; }

int64_t GatherPlan::worker_bytes() const {
  const int64_t sums = int64_t{form.rows} * form.panel * 4;
  return rows_bytes() + round_up(sums, static_cast<int64_t>(kAlign));
}

GatherPlan packed_plan(const ConvProblem& p, const TileForm& form) {
  GatherPlan plan{.form = form};
  plan.groups = p.groups / merged_groups(p, form);
  plan.cin = p.cin / plan.groups;
  plan.cout = p.cout / plan.groups;
  plan.depth = round_up(p.kh * p.kw * plan.cin, form.k_step);
  plan.panels = ceil_div(plan.cout, form.panel);
  const auto align = static_cast<int64_t>(kAlign);
  plan.panel_bytes = round_up(form.panel * (form.start_bytes + plan.depth * form.b_bytes), align);
  // An odd number of cache lines, so that rows do not share the sets of a cache.
  plan.a_ld = (ceil_div(plan.depth * form.a_bytes, align) | 1) * align;
  return plan;
}

GatherPlan gather_plan(const ConvProblem& p, const TileForm& form, const GatherSharing& sharing) {
  GatherPlan plan = packed_plan(p, form);
  plan.pixels = p.n * p.out_h() * p.out_w();
  const int64_t rows = form.rows;
  const int64_t most = sharing.row_block > 0 ? sharing.row_block
                                             : std::clamp(cpu_info().l2 / 2 / plan.a_ld / rows * rows, rows, 16 * rows);
  const bool columns = sharing.split > 0 ? sharing.split == 2 : prefers_columns(plan, sharing.threads);
  int64_t blocks = ceil_div(plan.pixels, most);
  if (columns) plan.column_blocks = std::min<int64_t>(plan.panels, sharing.threads);
  else blocks = round_up(blocks, sharing.threads);
  plan.row_block = ceil_div(plan.pixels, blocks);
  plan.row_blocks = ceil_div(plan.pixels, plan.row_block);
  return plan;
}

GatherTask task_of(const GatherPlan& plan, int64_t index) {
  const int64_t block = index / plan.row_blocks / plan.groups;
  GatherTask task{.group = index / plan.row_blocks % plan.groups,
                  .first = plan.panels * block / plan.column_blocks,
                  .last = plan.panels * (block + 1) / plan.column_blocks,
                  .row = index % plan.row_blocks * plan.row_block,
                  .count = 0};
  task.count = std::min(plan.row_block, plan.pixels - task.row);
  return task;
}

void gather_rows(const ConvProblem& p, const GatherPlan& plan, const void* in, const GatherTask& task, std::byte* to) {
  const TileForm& form = plan.form;
  const int64_t oh = p.out_h(), ow = p.out_w(), line = p.w * p.in_pitch() * form.in_bytes;
  const int64_t width = p.kw * plan.cin * form.a_bytes, padding = plan.depth * form.a_bytes - p.kh * width;
  const int64_t inner_w = p.w - p.kw, inner_h = p.h - (p.kh - 1) * p.dilation_h - 1;
  const bool whole = in_one_piece(p, plan);
  const auto* group = static_cast<const std::byte*>(in) + task.group * plan.cin * form.in_bytes;
  int64_t x = task.row % ow, y = task.row / ow % oh, n = task.row / ow / oh;
  for (int64_t i = 0; i < task.count; ++i, to += plan.a_ld) {
    const int64_t x0 = x * p.stride_w - p.pad_left, y0 = y * p.stride_h - p.pad_top;
    const std::byte* image = group + n * p.h * line;
    if (whole && x0 >= 0 && x0 <= inner_w && y0 >= 0 && y0 <= inner_h) {
      form.gather(image + y0 * line + x0 * p.in_pitch() * form.in_bytes, p.dilation_h * line, p.kh, p.kw * plan.cin,
                  to);
    } else {
      std::byte* at = to;
      for (int64_t ky = 0; ky < p.kh; ++ky) {
        const int64_t in_y = y0 + ky * p.dilation_h;
        if (in_y >= 0 && in_y < p.h) {
          at = gather_line(p, plan, image + in_y * line, x0, at);
        } else {
          std::memset(at, form.zero, static_cast<size_t>(width));
          at += width;
        }
      }
    }
    // Weights are 0 there, but what memory holds may be no number.
    if (padding > 0) std::memset(to + p.kh * width, form.zero, static_cast<size_t>(padding));
    if (++x < ow) continue;
    x = 0;
    if (++y < oh) continue;
    y = 0;
    ++n;
  }
}

}  // namespace hone::cpu
