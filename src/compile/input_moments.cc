#include "compile/input_moments.h"

#include "ops/matmul.h"

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
    : options_(options), run_(graph, as_many_as_fit(graph, samples), options) {}

Result<SecondMoments> InputMoments::of(ValueId v) {
  HONE_TRY(const std::vector<Tensor>* const values, run_.values(v));
  const Tensor& first = values->front();
  if (first.type() != DType::f32 || first.rank() == 0 || first.count() == 0) return SecondMoments();
  SecondMoments moments{.columns = first.dims().back()};
  const Dims rows{first.count() / moments.columns, moments.columns};
  HONE_TRY(auto engine, own_product({rows[1], rows[0]}, rows, options_));
  ExecutionContext context(std::move(engine));
  moments.sums.assign(static_cast<size_t>(moments.columns * moments.columns), 0);
  for (const Tensor& value : *values) {
    const Tensor x = value.reshaped(rows);
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
