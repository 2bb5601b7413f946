#include "ops/pool.h"

#include <numeric>

#include "import/onnx/importer.h"
#include "import/onnx/pads.h"
#include "ops/reduce.h"

namespace hone::import_onnx {
namespace {

Pool window_pool(NodeImport& n, const char* kind) {
  WindowAttributes a = window_attributes(n, n.input(0), n.ints("kernel_shape"));
  if (a.kernel.empty() && n.rank(n.input(0)) != 2) n.invalid("kernel_shape is missing");
  return {.kind = kind,
          .kernel = std::move(a.kernel),
          .strides = std::move(a.strides),
          .dilations = std::move(a.dilations),
          .pads = std::move(a.pads),
          .ceil_mode = n.i("ceil_mode") != 0};
}

void import_max_pool(NodeImport& n) {
  Pool op = window_pool(n, "max");
  op.column_major = n.i("storage_order") != 0;
  if (!n.has_output(1)) {
    op.column_major = false;
    return n.output(0, n.add(std::move(op), {n.input(0)}));
  }
  const auto results = n.add(std::move(op), {n.input(0)}, 2);
  if (n.failed()) return;
  n.output(0, results[0]);
  n.output(1, results[1]);
}

void import_average_pool(NodeImport& n) {
  Pool op = window_pool(n, "average");
  op.count_include_pad = n.i("count_include_pad") != 0;
  n.output(0, n.add(std::move(op), {n.input(0)}));
}

void import_lp_pool(NodeImport& n) {
  Pool op = window_pool(n, "lp");
  op.p = n.i("p", 2);
  n.output(0, n.add(std::move(op), {n.input(0)}));
}

// All dims after the channels, kept as 1.
ValueId reduce_spatial(NodeImport& n, const char* kind, ValueId x) {
  const int64_t rank = n.rank(x);
  if (!n.failed() && rank < 2) n.invalid("{} has no channels", to_text(n.type(x)));
  if (n.failed() || rank == 2) return x;
  std::vector<int64_t> axes(static_cast<size_t>(rank - 2));
  std::iota(axes.begin(), axes.end(), 2);
  return n.add(Reduce{.kind = kind}, {x, n.ints(axes)});
}

void import_global_average_pool(NodeImport& n) { n.output(0, reduce_spatial(n, "mean", n.input(0))); }
void import_global_max_pool(NodeImport& n) { n.output(0, reduce_spatial(n, "max", n.input(0))); }

void import_global_lp_pool(NodeImport& n) {
  const ValueId x = n.input(0);
  const int64_t p = n.i("p", 2);
  if (p < 1) return n.invalid("p is {}", p);
  // The 2-d case has nothing to reduce, but its norm is still the magnitude.
  if (p <= 2 && n.rank(x) > 2) return n.output(0, reduce_spatial(n, p == 1 ? "l1" : "l2", x));
  if (n.failed()) return;
  const DType type = n.type(x).dtype;
  const ValueId powers = n.pointwise(Fn::pow, {n.pointwise(Fn::abs, {x}), n.scalar(static_cast<double>(p), type)});
  const ValueId sum = reduce_spatial(n, "sum", powers);
  n.output(0, n.pointwise(Fn::pow, {sum, n.scalar(1.0 / static_cast<double>(p), type)}));
}

}  // namespace

std::span<const ImporterRow> pool_importers() {
  static constexpr ImporterRow kRows[] = {
      {"MaxPool", import_max_pool},
      {"AveragePool", import_average_pool},
      {"LpPool", import_lp_pool},
      {"GlobalAveragePool", import_global_average_pool},
      {"GlobalMaxPool", import_global_max_pool},
      {"GlobalLpPool", import_global_lp_pool},
  };
  return kRows;
}

}  // namespace hone::import_onnx
