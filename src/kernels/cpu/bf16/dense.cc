// Dense and grouped convolution in bf16, by gathered rows.
#include <algorithm>

#include "base/dtype.h"
#include "kernels/cpu/bf16/block.h"
#include "kernels/cpu/copy/strides.h"
#include "kernels/cpu/gemm/dense.h"

namespace hone::cpu {

void multiply_rows(const Bf16Kernel& kernel, bool in_bf16, const Bf16Tile& first, int64_t rows, int64_t most) {
  const auto run = in_bf16 ? kernel.to_bf16 : kernel.to_f32;
  const int64_t row_bytes = first.ld * static_cast<int64_t>(in_bf16 ? sizeof(bf16) : sizeof(float));
  Bf16Tile tile = first;
  for_tiles(rows, most, [&](int64_t from, int height) {
    tile.rows = height;
    tile.a = first.a.from(from);
    tile.out = static_cast<std::byte*>(first.out) + from * row_bytes;
    if (first.residual != nullptr) tile.residual = static_cast<const std::byte*>(first.residual) + from * row_bytes;
    run(tile);
  });
}

void multiply(const Bf16Kernel& kernel, const GatherPlan& plan, const Bf16Args& args, const Bf16Block& block) {
  const int64_t bytes = args.in_bf16 ? sizeof(bf16) : sizeof(float);
  const TileForm& form = plan.form;
  const Epilogue& epilogue = args.epilogue;
  Bf16Tile tile{.a = block.a, .steps = plan.steps(), .sums = block.sums, .ld = block.ld, .epilogue = &epilogue};
  for (int64_t panel = block.first; panel < block.last; ++panel) {
    const int64_t column = panel * form.panel, channel = block.group * plan.cout + column;
    tile.b = reinterpret_cast<const uint16_t*>(block.packed + (panel - block.first) * plan.panel_bytes);
    tile.columns = static_cast<int>(std::min<int64_t>(form.panel, plan.cout - column));
    tile.bias = epilogue.bias == nullptr ? nullptr : epilogue.bias + channel;
    const int64_t at = (block.at + channel) * bytes;
    tile.out = static_cast<std::byte*>(args.out) + at;
    tile.residual = epilogue.residual_at<std::byte>(at);
    multiply_rows(kernel, args.in_bf16, tile, block.rows, plan.tile_rows());
  }
}

size_t bf16_packed_bytes(const ConvProblem& p, const Bf16Kernel& kernel) {
  return packed_plan(p, kernel.from_f32).packed_bytes();
}

void bf16_pack(const ConvProblem& p, const Bf16Kernel& kernel, const WeightView<float>& weights, void* packed) {
  for_each_weight(p, packed_plan(p, kernel.from_f32), weights, packed,
                  [](std::byte* panel, int64_t, int64_t place, float w) {
                    reinterpret_cast<uint16_t*>(panel)[place] = to_bf16(w).bits;
                  });
}

size_t bf16_workspace_bytes(const ConvProblem& p, const Bf16Kernel& kernel, const GatherSharing& sharing) {
  const int64_t bytes = std::max(gather_plan(p, kernel.from_f32, sharing).worker_bytes(),
                                 gather_plan(p, kernel.from_bf16, sharing).worker_bytes());
  return static_cast<size_t>(bytes * sharing.threads);
}

void bf16_conv(const ConvProblem& p, const Bf16Kernel& kernel, const GatherSharing& sharing, const Bf16Args& args) {
  const GatherPlan plan = gather_plan(p, args.in_bf16 ? kernel.from_bf16 : kernel.from_f32, sharing);
  args.pool->parallel(plan.tasks(), [&](int64_t index, int worker) {
    const GatherTask task = task_of(plan, index);
    std::byte* mine = static_cast<std::byte*>(args.workspace) + worker * plan.worker_bytes();
    Bf16Block block{.a = rows_of(p, plan, args.in, task, mine),
                    .rows = task.count,
                    .group = task.group,
                    .first = task.first,
                    .last = task.last,
                    .packed = static_cast<const std::byte*>(args.packed) +
                              (task.group * plan.panels + task.first) * plan.panel_bytes,
                    .at = task.row * p.out_pitch(),
                    .ld = p.out_pitch(),
                    .sums = reinterpret_cast<float*>(mine + plan.rows_bytes())};
    if (plan.form.begin != nullptr) plan.form.begin();
    multiply(kernel, plan, args, block);
    if (plan.form.end != nullptr) plan.form.end();
  });
}

}  // namespace hone::cpu
