#include "kernels/cpu/conv/gathered.h"

#include <algorithm>

#include "kernels/cpu/gemm/dense.h"

namespace hone::cpu {
namespace {

// Groups narrower than a vector are merged into one block-diagonal group: the zeros multiplied cost what the empty
// lanes would have, and the loops get longer.
int64_t merged_groups(const ConvProblem& p, const TileForm& form) {
  const int64_t most = form.vector > 0 ? form.vector : form.panel / 2;
  int64_t merge = 1;
  while (merge * 2 * (p.cout / p.groups) <= most && p.groups % (merge * 2) == 0) merge *= 2;
  return merge;
}

// Narrow panels leave registers for more rows.
TileForm fitted(TileForm form, int64_t columns) {
  if (form.vector == 0) return form;
  const int64_t panels = ceil_div(columns, form.panel);
  const int vectors = static_cast<int>(ceil_div(ceil_div(columns, panels), form.vector));
  form.panel = vectors * form.vector;
  form.rows = std::min(form.rows, form.sums / vectors);
  return form;
}

// Whether windows are the pixels.
bool is_pixelwise(const ConvProblem& p) {
  return p.kh * p.kw * p.stride_h * p.stride_w == 1 && p.pad_top == 0 && p.pad_left == 0 && p.out_h() == p.h &&
         p.out_w() == p.w;
}

// One line of pixels where windows are the pixels.
ConvProblem as_line(const ConvProblem& p) {
  if (!is_pixelwise(p)) return p;
  ConvProblem line = p;
  line.w *= line.h * line.n;
  line.h = line.n = 1;
  return line;
}

// Threads that share out columns read all of the input, but only their part of the weights.
bool prefers_columns(const GatherPlan& plan, int threads) {
  if (plan.panels < threads) return false;
  return plan.pixels < int64_t{4} * threads * plan.form.rows || plan.cout > 2 * plan.pixels;
}

// Whether a line of a window lies in memory as it is gathered.
bool in_one_piece(const ConvProblem& p, const GatherPlan& plan) {
  return p.kw == 1 || (p.dilation_w == 1 && p.in_pitch() == plan.cin);
}

// Whether rows may be multiplied where they lie. Of windows of one pixel with a stride, fetching pointers takes longer.
bool can_stay(const ConvProblem& p, const GatherPlan& plan) {
  const TileForm& form = plan.form;
  return form.in_place && in_one_piece(p, plan) && p.kw * plan.cin % form.k_step == 0 &&
         (p.kh * p.kw > 1 || is_pixelwise(p));
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
  if (in_one_piece(p, plan)) form.gather({.from = from, .count = (last - first) * plan.cin, .to = to});
  else form.gather({.from = from, .lines = last - first, .line_step = step, .count = plan.cin, .to = to});
  to += (last - first) * pixel;
  zeros(p.kw - last);
  return to;
}

// The windows of a line of output pixels.
struct Windows {
  const ConvProblem& p;
  const GatherPlan& plan;
  int64_t line, width;          // bytes of a line of the image, and of a gathered line of a window
  int64_t first = 0, last = 0;  // output columns whose windows lie inside the image's lines, if they can be run through

  Windows(const ConvProblem& problem, const GatherPlan& gather) : p(problem), plan(gather) {
    line = p.w * p.in_pitch() * plan.form.in_bytes;
    width = p.kw * plan.cin * plan.form.a_bytes;
    if (!in_one_piece(p, plan) || p.w + p.pad_left < p.kw) return;
    first = ceil_div(p.pad_left, p.stride_w);
    last = std::min((p.w + p.pad_left - p.kw) / p.stride_w + 1, p.out_w());
  }

  void gather(const std::byte* image, int64_t y, int64_t x, int64_t end, std::byte* to) const {
    const TileForm& form = plan.form;
    const int64_t y0 = y * p.stride_h - p.pad_top, pixel = p.in_pitch() * form.in_bytes;
    const bool inside = y0 >= 0 && y0 + (p.kh - 1) * p.dilation_h < p.h;
    while (x < end) {
      const int64_t run = inside && x >= first ? std::min(end, last) - x : 0;
      if (run > 0) {
        form.gather({.from = image + y0 * line + (x * p.stride_w - p.pad_left) * pixel,
                     .pixels = run,
                     .pixel_step = p.stride_w * pixel,
                     .lines = p.kh,
                     .line_step = p.dilation_h * line,
                     .count = p.kw * plan.cin,
                     .to = to,
                     .to_step = plan.a_ld});
      } else {
        gather_window(image, y0, x * p.stride_w - p.pad_left, to);
      }
      x += std::max<int64_t>(run, 1);
      to += std::max<int64_t>(run, 1) * plan.a_ld;
    }
  }

  // One, part of which may be outside.
  void gather_window(const std::byte* image, int64_t y0, int64_t x0, std::byte* to) const {
    for (int64_t y = y0; y < y0 + p.kh * p.dilation_h; y += p.dilation_h) {
      if (y >= 0 && y < p.h) {
        to = gather_line(p, plan, image + y * line, x0, to);
      } else {
        std::memset(to, plan.form.zero, static_cast<size_t>(width));
        to += width;
      }
    }
  }
};

// Lines of windows where they lie. Those that lie partly outside are copied, one behind the other.
struct Pointers {
  const Windows& windows;
  const std::byte** at;
  std::byte *zeros = nullptr, *copies = nullptr;

  Pointers(const Windows& w, std::byte* memory) : windows(w), at(reinterpret_cast<const std::byte**>(memory)) {
    if (!w.plan.in_place) return;
    const auto align = static_cast<int64_t>(kAlign);
    zeros = memory + round_up(w.plan.pointer_bytes(), align);
    copies = zeros + round_up(w.plan.line_bytes(), align);
    std::memset(zeros, w.plan.form.zero, static_cast<size_t>(w.plan.line_bytes()));
  }

  // The windows of columns [x, end) of a line of outputs, of which the first is row i.
  void point(const std::byte* image, int64_t y, int64_t x, int64_t end, int64_t i) {
    const ConvProblem& p = windows.p;
    const int64_t step = p.stride_w * p.in_pitch() * windows.plan.form.in_bytes;
    const int64_t first = std::clamp(windows.first, x, end), last = std::clamp(windows.last, first, end);
    for (int64_t l = 0; l < p.kh; ++l) {
      const std::byte** to = at + l * windows.plan.row_block + i;
      const int64_t from = y * p.stride_h - p.pad_top + l * p.dilation_h;
      if (from < 0 || from >= p.h) {
        std::fill(to, to + (end - x), zeros);
        continue;
      }
      const std::byte* line = image + from * windows.line;
      for (int64_t c = x; c < first; ++c) *to++ = copy(line, c);
      const std::byte* inside = line + (first * p.stride_w - p.pad_left) * p.in_pitch() * windows.plan.form.in_bytes;
      for (int64_t c = first; c < last; ++c, inside += step) *to++ = inside;
      for (int64_t c = last; c < end; ++c) *to++ = copy(line, c);
    }
  }

  const std::byte* copy(const std::byte* line, int64_t x) {
    const std::byte* start = copies;
    copies = gather_line(windows.p, windows.plan, line, x * windows.p.stride_w - windows.p.pad_left, copies);
    return start;
  }
};

}  // namespace

int64_t GatherPlan::rows_bytes() const {
  const auto align = static_cast<int64_t>(kAlign);
  const int64_t rows = round_up(round_up(row_block, form.rows) * a_ld, align) + align;
  return in_place ? rows + round_up(line_bytes(), align) + round_up(pointer_bytes(), align) : rows;
}

int64_t GatherPlan::worker_bytes() const {
  const int64_t sums = int64_t{form.rows} * form.panel * 4;
  return rows_bytes() + round_up(sums, static_cast<int64_t>(kAlign));
}

GatherPlan packed_plan(const ConvProblem& p, const TileForm& form) {
  GatherPlan plan{.form = form};
  plan.groups = p.groups / merged_groups(p, form);
  plan.cin = p.cin / plan.groups;
  plan.cout = p.cout / plan.groups;
  plan.form = fitted(form, plan.cout);
  plan.depth = round_up(p.kh * p.kw * plan.cin, form.k_step);
  plan.panels = ceil_div(plan.cout, plan.form.panel);
  const auto align = static_cast<int64_t>(kAlign);
  plan.panel_bytes = round_up(plan.form.panel * (form.start_bytes + plan.depth * form.b_bytes), align);
  // Rows of more than a cache line take an odd number of them, so that they do not share the sets of a cache.
  const int64_t row = plan.depth * form.a_bytes;
  plan.a_ld = row <= align ? row : (ceil_div(row, align) | 1) * align;
  return plan;
}

GatherPlan gather_plan(const ConvProblem& p, const TileForm& form, const GatherSharing& sharing) {
  GatherPlan plan = packed_plan(p, form);
  plan.pixels = p.n * p.out_h() * p.out_w();
  const int64_t rows = plan.form.rows;
  const int64_t most = sharing.row_block > 0
                           ? sharing.row_block
                           : std::clamp(cpu_info().l2 / 2 / plan.a_ld / rows * rows, rows, int64_t{16} * form.rows);
  const bool columns = sharing.split > 0 ? sharing.split == 2 : prefers_columns(plan, sharing.threads);
  int64_t blocks = ceil_div(plan.pixels, most);
  if (columns) plan.column_blocks = std::min<int64_t>(plan.panels, sharing.threads);
  else blocks = round_up(blocks, sharing.threads);
  plan.row_block = ceil_div(plan.pixels, blocks);
  plan.row_blocks = ceil_div(plan.pixels, plan.row_block);
  plan.in_place = sharing.in_place && can_stay(p, plan);
  if (plan.in_place) plan.lines = p.kh;
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

TileRows rows_of(const ConvProblem& problem, const GatherPlan& plan, const void* in, const GatherTask& task,
                 std::byte* to) {
  const ConvProblem p = as_line(problem);
  const Windows windows(p, plan);
  const int64_t oh = p.out_h(), ow = p.out_w();
  const auto* group = static_cast<const std::byte*>(in) + task.group * plan.cin * plan.form.in_bytes;
  if (plan.in_place && is_pixelwise(problem)) {  // no pointers, which would be waited for where rows are short
    const int64_t pixel = p.in_pitch() * plan.form.in_bytes;
    return {.first = group + task.row * pixel, .ld = pixel};
  }
  Pointers pointers(windows, to);
  for (int64_t row = task.row; row < task.row + task.count;) {
    const int64_t x = row % ow, last = std::min(ow, x + task.row + task.count - row), i = row - task.row;
    const std::byte* image = group + row / ow / oh * p.h * windows.line;
    if (plan.in_place) pointers.point(image, row / ow % oh, x, last, i);
    else windows.gather(image, row / ow % oh, x, last, to + i * plan.a_ld);
    row += last - x;
  }
  if (plan.in_place) return {.pointers = pointers.at, .pointers_ld = plan.row_block, .lines = plan.lines};
  const int64_t filled = p.kh * windows.width, padding = plan.depth * plan.form.a_bytes - filled;
  for (int64_t i = 0; plan.form.pads && padding > 0 && i < task.count; ++i)
    std::memset(to + i * plan.a_ld + filled, plan.form.zero, static_cast<size_t>(padding));
  return {.first = to, .ld = plan.a_ld};
}

}  // namespace hone::cpu
