// Dense and grouped convolution of i8. A block of output pixels is gathered into rows, one a pixel, in the form that
// the set's kernel multiplies: widened or shifted, zeros where the window is outside, and padded to the kernel's step.
// That is a small part of the work, since each row meets every panel of columns.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/gemm/dense.h"
#include "kernels/cpu/int8/kernel.h"

namespace hone::cpu {
namespace {

struct Plan {
  const Int8Kernel& kernel;
  int64_t pixels = 0;
  int64_t groups = 1, cin = 0, cout = 0;  // after merging; channels of one group
  int64_t depth = 0;                      // of a sum, padded
  int64_t panels = 0, panel_bytes = 0;    // of one group; a panel is its starting sums, then its columns
  int64_t a_ld = 0;                       // bytes from row to row of gathered values
  int64_t row_block = 0, row_blocks = 0, column_blocks = 1;
};

// Groups narrower than a vector are merged into one block-diagonal group: the zeros multiplied cost what the empty
// lanes would have, and the loops get longer.
int64_t merged_groups(const ConvProblem& p, const Int8Kernel& kernel) {
  int64_t merge = 1;
  while (merge * 2 * (p.cout / p.groups) <= kernel.panel / 2 && p.groups % (merge * 2) == 0) merge *= 2;
  return merge;
}

Plan packed_plan(const ConvProblem& p, Int8Set set) {
  Plan plan{.kernel = int8_kernel(set)};
  plan.groups = p.groups / merged_groups(p, plan.kernel);
  plan.cin = p.cin / plan.groups;
  plan.cout = p.cout / plan.groups;
  plan.depth = round_up(p.kh * p.kw * plan.cin, plan.kernel.k_step);
  plan.panels = ceil_div(plan.cout, plan.kernel.panel);
  const auto align = static_cast<int64_t>(kAlign);
  plan.panel_bytes = round_up(plan.kernel.panel * (static_cast<int64_t>(sizeof(int32_t)) + plan.depth), align);
  // An odd number of cache lines, so that rows do not share the sets of a cache.
  plan.a_ld = (ceil_div(plan.depth * plan.kernel.a_bytes, align) | 1) * align;
  return plan;
}

// Threads that share out columns read all of the input, but only their part of the weights.
bool prefers_columns(const Plan& plan, int threads) {
  if (plan.panels < threads) return false;
  return plan.pixels < 4 * threads * plan.kernel.rows || plan.cout > 2 * plan.pixels;
}

Plan plan_of(const ConvProblem& p, const Int8Context& context) {
  Plan plan = packed_plan(p, context.set);
  plan.pixels = p.n * p.out_h() * p.out_w();
  const int64_t rows = plan.kernel.rows;
  const int64_t most = context.row_block > 0 ? context.row_block
                                             : std::clamp(cpu_info().l2 / 2 / plan.a_ld / rows * rows, rows, 16 * rows);
  const bool columns = context.split > 0 ? context.split == 2 : prefers_columns(plan, context.threads);
  int64_t blocks = ceil_div(plan.pixels, most);
  if (columns) plan.column_blocks = std::min<int64_t>(plan.panels, context.threads);
  else blocks = round_up(blocks, context.threads);
  plan.row_block = ceil_div(plan.pixels, blocks);
  plan.row_blocks = ceil_div(plan.pixels, plan.row_block);
  return plan;
}

// Of one worker: gathered rows, then the sums of a tile.
int64_t rows_bytes(const Plan& plan) { return round_up(plan.row_block, plan.kernel.rows) * plan.a_ld; }
int64_t worker_bytes(const Plan& plan) {
  const int64_t sums = plan.kernel.rows * plan.kernel.panel * static_cast<int64_t>(sizeof(int32_t));
  return rows_bytes(plan) + round_up(sums, static_cast<int64_t>(kAlign));
}

// One line of a window to `to`, and where its end is.
std::byte* gather_line(const ConvProblem& p, const Plan& plan, const int8_t* line, int64_t x0, std::byte* to) {
  const Int8Kernel& kernel = plan.kernel;
  const int64_t pixel = plan.cin * kernel.a_bytes, pitch = p.in_pitch();
  const auto zeros = [&](int64_t pixels) {
    std::memset(to, kernel.zero, static_cast<size_t>(pixels * pixel));
    to += pixels * pixel;
  };
  if (p.dilation_w == 1 && pitch == plan.cin) {
    const int64_t first = std::clamp<int64_t>(-x0, 0, p.kw), last = std::clamp<int64_t>(p.w - x0, first, p.kw);
    zeros(first);
    kernel.gather(line + (x0 + first) * pitch, (last - first) * plan.cin, to);
    to += (last - first) * pixel;
    zeros(p.kw - last);
    return to;
  }
  for (int64_t kx = 0; kx < p.kw; ++kx) {
    const int64_t x = x0 + kx * p.dilation_w;
    if (x < 0 || x >= p.w) {
      zeros(1);
      continue;
    }
    kernel.gather(line + x * pitch, plan.cin, to);
    to += pixel;
  }
  return to;
}

void gather_rows(const ConvProblem& p, const Plan& plan, const int8_t* in, int64_t row, int64_t count, std::byte* to) {
  const int64_t oh = p.out_h(), ow = p.out_w(), line = p.w * p.in_pitch();
  const int64_t width = p.kw * plan.cin * plan.kernel.a_bytes;
  for (int64_t i = 0; i < count; ++i, to += plan.a_ld) {
    const int64_t index = row + i, x = index % ow, y = index / ow % oh, n = index / ow / oh;
    std::byte* at = to;
    for (int64_t ky = 0; ky < p.kh; ++ky) {
      const int64_t in_y = y * p.stride_h - p.pad_top + ky * p.dilation_h;
      if (in_y >= 0 && in_y < p.h) {
        at = gather_line(p, plan, in + (n * p.h + in_y) * line, x * p.stride_w - p.pad_left, at);
      } else {
        std::memset(at, plan.kernel.zero, static_cast<size_t>(width));
        at += width;
      }
    }
  }
}

// Rows [row, row + count), which are gathered at `a`, by the panels [first, last) of a group.
void multiply(const ConvProblem& p, const Plan& plan, const Int8Args& args, Int8FinishFn finish, int64_t group,
              int64_t first, int64_t last, int64_t row, int64_t count, const std::byte* a, int32_t* sums) {
  const Int8Kernel& kernel = plan.kernel;
  const int64_t tiles = ceil_div(count, kernel.rows);
  for (int64_t panel = first; panel < last; ++panel) {
    const auto* start = static_cast<const std::byte*>(args.packed) + (group * plan.panels + panel) * plan.panel_bytes;
    const int64_t column = panel * kernel.panel;
    Int8Tile tile{.a_ld = plan.a_ld, .steps = plan.depth / kernel.k_unit, .sums = sums};
    tile.start = reinterpret_cast<const int32_t*>(start);
    tile.b = reinterpret_cast<const int8_t*>(tile.start + kernel.panel);
    tile.columns = static_cast<int>(std::min<int64_t>(kernel.panel, plan.cout - column));
    Int8Finish done{.sums = sums,
                    .sums_ld = kernel.panel,
                    .columns = tile.columns,
                    .ld = p.out_pitch(),
                    .out = args.out,
                    .epilogue = &args.epilogue};
    done.channel = group * plan.cout + column;
    for (int64_t t = 0; t < tiles; ++t) {  // of as equal heights as can be
      const int64_t from = count * t / tiles;
      tile.rows = static_cast<int>(count * (t + 1) / tiles - from);
      tile.a = a + from * plan.a_ld;
      kernel.run(tile);
      done.rows = tile.rows;
      done.at = (row + from) * done.ld + done.channel;
      finish(done);
    }
  }
}

}  // namespace

size_t int8_packed_bytes(const ConvProblem& p, Int8Set set) {
  const Plan plan = packed_plan(p, set);
  return static_cast<size_t>(plan.groups * plan.panels * plan.panel_bytes);
}

void int8_pack(const ConvProblem& p, Int8Set set, const Int8Weights& weights, void* packed) {
  const Plan plan = packed_plan(p, set);
  const Int8Kernel& kernel = plan.kernel;
  const int64_t cin = p.cin / p.groups, cout = p.cout / p.groups;
  std::memset(packed, 0, int8_packed_bytes(p, set));
  for (int64_t out = 0; out < p.cout; ++out) {
    const int64_t column = out % plan.cout, first = out / cout * cin % plan.cin;
    auto* panel =
        static_cast<std::byte*>(packed) + (out / plan.cout * plan.panels + column / kernel.panel) * plan.panel_bytes;
    auto* start = reinterpret_cast<int32_t*>(panel);
    auto* b = reinterpret_cast<int8_t*>(start + kernel.panel);
    const int64_t lane = column % kernel.panel;
    for (int64_t tap = 0; tap < p.kh * p.kw; ++tap) {
      for (int64_t c = 0; c < cin; ++c) {
        const int64_t k = tap * plan.cin + first + c;
        const int8_t w = weights.data[out * weights.stride_out + c * weights.stride_in + tap * weights.stride_tap];
        b[(k / kernel.k_unit * kernel.panel + lane) * kernel.k_unit + k % kernel.k_unit] = w;
        start[lane] -= kernel.zero * w;
      }
    }
  }
}

size_t int8_workspace_bytes(const ConvProblem& p, const Int8Context& context) {
  return static_cast<size_t>(worker_bytes(plan_of(p, context)) * context.threads);
}

void int8_conv(const ConvProblem& p, const Int8Context& context, const Int8Args& args) {
  const Plan plan = plan_of(p, context);
  const Int8FinishFn finish = int8_finish(tier_of(context.set));
  args.pool->parallel(plan.column_blocks * plan.groups * plan.row_blocks, [&](int64_t task, int worker) {
    const int64_t row = task % plan.row_blocks * plan.row_block, group = task / plan.row_blocks % plan.groups;
    const int64_t block = task / plan.row_blocks / plan.groups;
    const int64_t count = std::min(plan.row_block, plan.pixels - row);
    std::byte* a = static_cast<std::byte*>(args.workspace) + worker * worker_bytes(plan);
    gather_rows(p, plan, args.in + group * plan.cin, row, count, a);
    if (plan.kernel.begin != nullptr) plan.kernel.begin();
    multiply(p, plan, args, finish, group, plan.panels * block / plan.column_blocks,
             plan.panels * (block + 1) / plan.column_blocks, row, count, a,
             reinterpret_cast<int32_t*>(a + rows_bytes(plan)));
    if (plan.kernel.end != nullptr) plan.kernel.end();
  });
}

}  // namespace hone::cpu
