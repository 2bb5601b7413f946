// Products of two activations in bf16.
#include <algorithm>

#include "base/dtype.h"
#include "kernels/cpu/bf16/block.h"
#include "kernels/cpu/gemm/dense.h"

namespace hone::cpu {
namespace {

// Rows of one item of a batch, and the panels that are packed at once.
struct ProductPlan {
  GatherPlan rows;
  int64_t parts = 1;   // tasks of an item
  int64_t panels = 1;  // as many as half of a second-level cache holds

  int64_t packed_bytes() const { return panels * rows.panel_bytes; }
  int64_t scratch_bytes() const { return round_up(bf16_panel_scratch(rows.depth), static_cast<int64_t>(kAlign)); }
  int64_t worker_bytes() const { return packed_bytes() + scratch_bytes() + rows.worker_bytes(); }
};

ConvProblem rows_of_product(const Bf16Product& p, int64_t rows) { return {.w = rows, .cin = p.k, .cout = p.n}; }

ProductPlan product_plan(const Bf16Product& p, const TileForm& form, const ProductSharing& sharing) {
  const int64_t wanted = ceil_div(int64_t{sharing.threads} * sharing.tasks, p.batch);
  ProductPlan plan{.parts = std::clamp<int64_t>(wanted, 1, ceil_div(p.m, form.rows))};
  plan.rows = gather_plan(rows_of_product(p, ceil_div(p.m, plan.parts)), form, {.in_place = sharing.in_place});
  plan.panels = std::clamp<int64_t>(cpu_info().l2 / 2 / plan.rows.panel_bytes, 1, plan.rows.panels);
  return plan;
}

// Panels [first, last) of an item's B.
void pack_panels(const Bf16Product& p, const Bf16Kernel& kernel, const ProductPlan& plan, const Bf16Args& args,
                 int64_t item, int64_t first, int64_t last, std::byte* packed) {
  const int64_t bytes = args.in_bf16 ? sizeof(bf16) : sizeof(float), step = p.transposed ? p.k : 1;
  for (int64_t panel = first; panel < last; ++panel) {
    const int64_t column = panel * kBf16Panel;
    const Bf16Panel one{.from = static_cast<const std::byte*>(args.packed) + (item * p.k * p.n + column * step) * bytes,
                        .ld = p.transposed ? p.k : p.n,
                        .transposed = p.transposed,
                        .columns = std::min(kBf16Panel, p.n - column),
                        .k = p.k,
                        .depth = plan.rows.depth,
                        .to = reinterpret_cast<uint16_t*>(packed + (panel - first) * plan.rows.panel_bytes),
                        .scratch = packed + plan.packed_bytes()};
    (args.in_bf16 ? kernel.pack_bf16 : kernel.pack_f32)(one);
  }
}

}  // namespace

size_t bf16_product_workspace_bytes(const Bf16Product& p, const Bf16Kernel& kernel, const ProductSharing& sharing) {
  const int64_t bytes = std::max(product_plan(p, kernel.from_f32, sharing).worker_bytes(),
                                 product_plan(p, kernel.from_bf16, sharing).worker_bytes());
  return static_cast<size_t>(bytes * sharing.threads);
}

void bf16_product(const Bf16Product& p, const Bf16Kernel& kernel, const ProductSharing& sharing, const Bf16Args& args) {
  const ProductPlan plan = product_plan(p, args.in_bf16 ? kernel.from_bf16 : kernel.from_f32, sharing);
  const GatherPlan& rows = plan.rows;
  const int64_t bytes = args.in_bf16 ? sizeof(bf16) : sizeof(float);
  args.pool->parallel(p.batch * plan.parts, [&](int64_t task, int worker) {
    const int64_t item = task / plan.parts, part = task % plan.parts;
    const int64_t begin = p.m * part / plan.parts, count = p.m * (part + 1) / plan.parts - begin;
    const int64_t first_row = item * p.m + begin;
    const ConvProblem own = rows_of_product(p, count);
    const std::byte* in = static_cast<const std::byte*>(args.in) + first_row * p.k * bytes;
    std::byte* packed = static_cast<std::byte*>(args.workspace) + worker * plan.worker_bytes();
    std::byte* mine = packed + plan.packed_bytes() + plan.scratch_bytes();
    if (rows.form.begin != nullptr) rows.form.begin();
    for (int64_t first = 0; first < rows.panels; first += plan.panels) {
      const int64_t last = std::min(rows.panels, first + plan.panels);
      pack_panels(p, kernel, plan, args, item, first, last, packed);
      for (int64_t row = 0; row < count; row += rows.row_block) {
        const GatherTask gathered{0, first, last, row, std::min(rows.row_block, count - row)};
        multiply(kernel, rows, args,
                 {.a = rows_of(own, rows, in, gathered, mine),
                  .rows = gathered.count,
                  .first = first,
                  .last = last,
                  .packed = packed,
                  .at = (first_row + row) * p.n,
                  .ld = p.n,
                  .sums = reinterpret_cast<float*>(mine + rows.rows_bytes())});
      }
    }
    if (rows.form.end != nullptr) rows.form.end();
  });
}

}  // namespace hone::cpu
