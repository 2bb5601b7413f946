#include "compile/input_moments.h"

#include <algorithm>
#include <cmath>

#include "ops/matmul.h"
#include "passes/layout/layout.h"

namespace hone {
namespace {

// Of columns and rows, which are the same values.
Result<std::shared_ptr<const LoadedEngine>> own_product(const Dims& columns, const Dims& rows,
                                                        const CompileOptions& options) {
  Graph graph;
  const ValueId a = graph.add_input("columns", {DType::f32, Shape::of(columns)});
  const ValueId b = graph.add_input("rows", {DType::f32, Shape::of(rows)});
  HONE_TRY(const NodeId product, graph.add_node(MatMul{}, {a, b}));
  graph.add_output(graph.node(product).outputs[0], "y");
  HONE_TRY(EngineData data, compile_on_cpu(graph, options));
  return LoadedEngine::make(std::move(data));
}

// Of n samples; they are drawn towards 0 by n / (n + 1), as those of one sample say little of others.
std::vector<double> means_of(const std::vector<Tensor>& values, int64_t columns) {
  std::vector<double> means(static_cast<size_t>(columns));
  int64_t count = 0;
  for (const Tensor& value : values) {
    const float* x = value.data<float>();
    for (int64_t i = 0; i < value.count(); ++i) means[static_cast<size_t>(i % columns)] += static_cast<double>(x[i]);
    count += value.count();
  }
  const auto n = static_cast<double>(values.size());
  for (double& m : means) m *= static_cast<double>(columns) / static_cast<double>(count) * n / (n + 1);
  return means;
}

// The rows of a value, less the means.
Tensor centred(const Tensor& value, const std::vector<double>& means) {
  const auto columns = static_cast<int64_t>(means.size());
  Tensor rows(DType::f32, {value.count() / columns, columns});
  for (int64_t i = 0; i < value.count(); ++i)
    rows.mutable_data<float>()[i] =
        static_cast<float>(static_cast<double>(value.data<float>()[i]) - means[static_cast<size_t>(i % columns)]);
  return rows;
}

Tensor transposed(const Tensor& rows) {
  const int64_t m = rows.dims()[0], n = rows.dims()[1];
  Tensor columns(DType::f32, {n, m});
  const float* from = rows.data<float>();
  float* to = columns.mutable_data<float>();
  for (int64_t r = 0; r < m; ++r)
    for (int64_t c = 0; c < n; ++c) to[c * m + r] = from[r * n + c];
  return columns;
}

}  // namespace

InputMoments::InputMoments(const Graph& graph, std::span<const Tensors> samples, const CompileOptions& options)
    : graph_(graph), options_(options), run_(graph, as_many_as_fit(graph, samples), options) {}

Result<SecondMoments> InputMoments::of(ValueId v) {
  HONE_TRY(const std::vector<Tensor>* const values, run_.values(v));
  const Tensor& first = values->front();
  if (first.type() != DType::f32 || first.rank() == 0 || first.count() == 0) return SecondMoments();
  SecondMoments moments{.columns = first.dims().back()};
  moments.means = means_of(*values, moments.columns);
  if (!std::ranges::all_of(moments.means, [](double m) { return std::isfinite(m); }))
    return invalid("tensor '{}' holds NaN or infinite values when run on the data: weights cannot be rounded for it",
                   layout::framework_name(graph_, v));
  const Dims rows{first.count() / moments.columns, moments.columns};
  HONE_TRY(auto engine, own_product({rows[1], rows[0]}, rows, options_));
  ExecutionContext context(std::move(engine));
  moments.sums.assign(static_cast<size_t>(moments.columns * moments.columns), 0);
  for (const Tensor& value : *values) {
    const Tensor x = centred(value, moments.means);
    HONE_CHECK(context.bind_input("columns", transposed(x)));
    HONE_CHECK(context.bind_input("rows", x));
    HONE_CHECK(context.run());
    const float* sums = context.outputs()[0].data<float>();
    for (double& sum : moments.sums) sum += static_cast<double>(*sums++);
    moments.rows += rows[0];
  }
  return moments;
}

}  // namespace hone
