#include "compile/input_moments.h"

#include "ops/matmul.h"

namespace hone {
namespace {

// x^T x.
Result<std::shared_ptr<const LoadedEngine>> own_product(const Dims& dims, const CompileOptions& options) {
  Graph graph;
  const ValueId x = graph.add_input("x", {DType::f32, Shape::of(dims)});
  HONE_TRY(const NodeId product, graph.add_node(MatMul{.trans_a = true}, {x, x}));
  graph.add_output(graph.node(product).outputs[0], "y");
  HONE_TRY(EngineData data, compile_on_cpu(graph, options));
  return LoadedEngine::make(std::move(data));
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
  HONE_TRY(auto engine, own_product(rows, options_));
  ExecutionContext context(std::move(engine));
  moments.sums.assign(static_cast<size_t>(moments.columns * moments.columns), 0);
  for (const Tensor& value : *values) {
    HONE_CHECK(context.bind_input("x", value.reshaped(rows)));
    HONE_CHECK(context.run());
    const float* sums = context.outputs()[0].data<float>();
    for (double& sum : moments.sums) sum += static_cast<double>(*sums++);
    moments.rows += rows[0];
  }
  return moments;
}

}  // namespace hone
