#include "backends/channel_factors.h"

#include <algorithm>

#include "ops/conv.h"
#include "ops/matmul.h"
#include "ops/matmul_nbits.h"
#include "ops/norm.h"
#include "ops/pointwise.h"
#include "passes/rewrite.h"

namespace hone {
namespace {

using namespace rewrite;

bool is_product(const Op& op) {
  return op.as<MatMul>() || op.as<MatMulNBits>() || op.as<Conv>() || op.as<ConvTranspose>();
}

// Whether all inputs of a node from a slot on are constants; there may be none.
bool are_constant_from(const Graph& graph, NodeId id, size_t slot) {
  const auto& inputs = graph.node(id).inputs;
  return std::all_of(inputs.begin() + static_cast<std::ptrdiff_t>(slot), inputs.end(),
                     [&](ValueId v) { return v != ValueId::none && graph.value(v).is_constant(); });
}

// Elementwise work that begins with a product's results, under whatever shape.
bool is_behind_product(const Graph& graph, NodeId id) {
  return std::ranges::any_of(graph.node(id).inputs, [&](ValueId v) {
    const NodeId producer = graph.value(v).producer;
    if (producer == NodeId::none) return false;
    const Op& op = graph.node(producer).op;
    return is_product(op) || ((op.as<Pointwise>() != nullptr || op.view()) && is_behind_product(graph, producer));
  });
}

}  // namespace

bool takes_channel_factors(const Graph& graph, ValueId v) {
  const NodeId id = graph.value(v).producer;
  if (id == NodeId::none || graph.node(id).outputs.size() != 1) return false;
  const int64_t last = graph.type(v).shape.rank() - 1;
  if (const auto* norm = op_of<LayerNorm>(graph, id))
    return normal_axis(norm->axis, last + 1) == last && are_constant_from(graph, id, 1);
  if (op_of<MatMul>(graph, id) || op_of<MatMulNBits>(graph, id)) return are_constant_from(graph, id, 1);
  return op_of<Pointwise>(graph, id) != nullptr && !is_behind_product(graph, id);
}

ValueId divide_channels(Graph& graph, ValueId v, std::span<const double> factors) {
  const DType type = graph.type(v).dtype;
  Tensor each(type, {static_cast<int64_t>(factors.size())});
  for (size_t c = 0; c < factors.size(); ++c) each.set(static_cast<int64_t>(c), 1 / factors[c]);
  return emit(graph, Pointwise{single(Fn::mul, type, type)}, {v, graph.add_constant(each)}, std::vector<std::string>());
}

}  // namespace hone
