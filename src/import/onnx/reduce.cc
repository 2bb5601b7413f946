#include "ops/reduce.h"

#include <array>

#include "import/onnx/importer.h"

namespace hone::import_onnx {
namespace {

constexpr std::array<std::pair<std::string_view, std::string_view>, 10> kKinds = {{
    {"ReduceSum", "sum"},
    {"ReduceMean", "mean"},
    {"ReduceMax", "max"},
    {"ReduceMin", "min"},
    {"ReduceProd", "prod"},
    {"ReduceSumSquare", "sum_square"},
    {"ReduceL1", "l1"},
    {"ReduceL2", "l2"},
    {"ReduceLogSum", "log_sum"},
    {"ReduceLogSumExp", "log_sum_exp"},
}};

template <size_t row>
void import_reduce(NodeImport& n) {
  const Reduce op{std::string(kKinds[row].second), n.i("keepdims", 1) != 0, n.i("noop_with_empty_axes") != 0};
  std::vector<ValueId> inputs{n.input(0)};
  if (n.has_input(1)) inputs.push_back(n.input(1));
  else if (n.has("axes")) inputs.push_back(n.ints(n.ints("axes")));
  n.output(0, n.add(op, std::move(inputs)));
}

template <bool smallest>
void import_arg_reduce(NodeImport& n) {
  const ArgReduce op{n.i("axis"), smallest, n.i("keepdims", 1) != 0, n.i("select_last_index") != 0};
  n.output(0, n.add(op, {n.input(0)}));
}

template <size_t... rows>
constexpr auto reduce_rows(std::index_sequence<rows...>) {
  return std::array{ImporterRow{kKinds[rows].first, import_reduce<rows>}...,
                    ImporterRow{"ArgMax", import_arg_reduce<false>}, ImporterRow{"ArgMin", import_arg_reduce<true>}};
}

}  // namespace

std::span<const ImporterRow> reduce_importers() {
  static constexpr auto kRows = reduce_rows(std::make_index_sequence<kKinds.size()>());
  return kRows;
}

}  // namespace hone::import_onnx
