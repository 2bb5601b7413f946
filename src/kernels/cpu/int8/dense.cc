// Dense and grouped convolution of i8, by gathered rows.
#include <algorithm>

#include "kernels/cpu/copy/strides.h"
#include "kernels/cpu/gemm/dense.h"
#include "kernels/cpu/int8/kernel.h"

namespace hone::cpu {
namespace {

GatherPlan plan_of(const ConvProblem& p, const Int8Context& context) {
  return gather_plan(p, int8_kernel(context.set, context.unsigned_in).form,
                     {context.threads, context.split, context.row_block, true});
}

// The rows of a task, which are gathered at `a`, by its panels.
void multiply(const ConvProblem& p, const Int8Kernel& kernel, const GatherPlan& plan, const Int8Args& args,
              Int8FinishFn finish, const GatherTask& task, const TileRows& a, int32_t* sums) {
  const TileForm& form = plan.form;
  for (int64_t panel = task.first; panel < task.last; ++panel) {
    const auto* start =
        static_cast<const std::byte*>(args.packed) + (task.group * plan.panels + panel) * plan.panel_bytes;
    const int64_t column = panel * form.panel;
    Int8Tile tile{.steps = plan.steps(), .panel = form.panel, .sums = sums};
    tile.start = reinterpret_cast<const int32_t*>(start);
    tile.b = reinterpret_cast<const int8_t*>(tile.start + form.panel);
    tile.columns = static_cast<int>(std::min<int64_t>(form.panel, plan.cout - column));
    Int8Finish done{.sums = sums,
                    .sums_ld = form.panel,
                    .columns = tile.columns,
                    .ld = p.out_pitch(),
                    .out = args.out,
                    .epilogue = &args.epilogue};
    done.channel = task.group * plan.cout + column;
    if (kernel.run_plain != nullptr && is_plain(args.epilogue)) {
      tile.rows = static_cast<int>(task.count);
      tile.a = a;
      done.at = task.row * done.ld + done.channel;
      if (kernel.run_plain(tile, done)) continue;
    }
    for_tiles(task.count, form.rows, [&](int64_t from, int height) {
      tile.rows = height;
      tile.a = a.from(from);
      done.rows = tile.rows;
      done.row = task.row + from;
      done.at = done.row * done.ld + done.channel;
      kernel.run(tile);
      finish(done);
    });
  }
}

}  // namespace

size_t int8_packed_bytes(const ConvProblem& p, Int8Set set) {
  return packed_plan(p, int8_kernel(set, false).form).packed_bytes();
}

void int8_pack(const ConvProblem& p, const Int8Context& context, const Int8Weights& weights, void* packed) {
  const Int8Kernel& kernel = int8_kernel(context.set, context.unsigned_in);
  const GatherPlan plan = packed_plan(p, kernel.form);
  for_each_weight(p, plan, weights, packed, [&](std::byte* panel, int64_t lane, int64_t place, int8_t w) {
    auto* start = reinterpret_cast<int32_t*>(panel);
    reinterpret_cast<int8_t*>(start + plan.form.panel)[place] = w;
    start[lane] -= kernel.excess * w;
  });
}

size_t int8_workspace_bytes(const ConvProblem& p, const Int8Context& context) {
  return static_cast<size_t>(plan_of(p, context).worker_bytes() * context.threads);
}

void int8_conv(const ConvProblem& p, const Int8Context& context, const Int8Args& args) {
  const Int8Kernel& kernel = int8_kernel(context.set, context.unsigned_in);
  const GatherPlan plan = plan_of(p, context);
  const Int8FinishFn finish = int8_finish(tier_of(context.set));
  args.pool->parallel(plan.tasks(), [&](int64_t index, int worker) {
    const GatherTask task = task_of(plan, index);
    std::byte* a = static_cast<std::byte*>(args.workspace) + worker * plan.worker_bytes();
    const TileRows rows = rows_of(p, plan, args.in, task, a);
    if (plan.form.begin != nullptr) plan.form.begin();
    multiply(p, kernel, plan, args, finish, task, rows, reinterpret_cast<int32_t*>(a + plan.rows_bytes()));
    if (plan.form.end != nullptr) plan.form.end();
  });
}

}  // namespace hone::cpu
