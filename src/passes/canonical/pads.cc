#include <algorithm>

#include "ops/conv.h"
#include "ops/movement.h"
#include "ops/pool.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace hone {
namespace {

using namespace rewrite;

// The zero or lowest-value padding that a Pad node adds around the spatial dims: begins, then ends.
struct Border {
  std::vector<int64_t> pads;
  double value = 0;
};

// The pads of all dims: begins, then ends.
std::optional<std::vector<int64_t>> full_pads(const Graph& graph, NodeId id, int64_t rank) {
  const auto pads = const_ints(graph, input(graph, id, 1));
  if (!pads) return std::nullopt;
  const auto n = static_cast<size_t>(rank);
  if (input(graph, id, 3) == ValueId::none) return pads->size() == 2 * n ? pads : std::nullopt;
  const auto axes = const_ints(graph, input(graph, id, 3));
  if (!axes || pads->size() != 2 * axes->size()) return std::nullopt;
  std::vector<int64_t> full(2 * n, 0);
  for (size_t i = 0; i < axes->size(); ++i) {
    const auto axis = normal_axis((*axes)[i], rank);
    if (!axis) return std::nullopt;
    full[static_cast<size_t>(*axis)] = (*pads)[i];
    full[static_cast<size_t>(*axis) + n] = (*pads)[i + axes->size()];
  }
  return full;
}

std::optional<Border> border(const Graph& graph, ValueId v, bool channels_last) {
  const auto* pad = producer<Pad>(graph, v);
  if (pad == nullptr || pad->mode != "constant" || !is_float(graph.type(v).dtype)) return std::nullopt;
  const NodeId id = graph.value(v).producer;
  const int64_t rank = graph.type(v).shape.rank();
  if (rank < 3) return std::nullopt;
  const auto full = full_pads(graph, id, rank);
  if (!full || std::any_of(full->begin(), full->end(), [](int64_t p) { return p < 0; })) return std::nullopt;
  Border out;
  const auto n = static_cast<size_t>(rank), channel = channels_last ? n - 1 : 1;
  for (size_t i = 0; i < 2 * n; ++i) {
    const size_t dim = i % n;
    if (dim != 0 && dim != channel) out.pads.push_back((*full)[i]);
    else if ((*full)[i] != 0) return std::nullopt;
  }
  if (const ValueId value = input(graph, id, 2); value != ValueId::none) {
    const auto scalar = const_scalar(graph, value);
    if (!scalar) return std::nullopt;
    out.value = *scalar;
  }
  return out;
}

std::vector<int64_t> sum(const std::vector<int64_t>& a, const std::vector<int64_t>& b) {
  std::vector<int64_t> out = b;
  for (size_t i = 0; i < a.size() && i < out.size(); ++i) out[i] += a[i];
  return out;
}

bool replace_padded(Graph& graph, NodeId id, Op op) {
  auto inputs = graph.node(id).inputs;
  const NodeId pad = graph.value(inputs[0]).producer;
  inputs[0] = input(graph, pad, 0);
  return replace(graph, output(graph, id), emit(graph, std::move(op), inputs, {pad, id}));
}

// Conv(Pad(x)) with zeros -> Conv with larger pads.
bool pad_into_conv(Graph& graph, NodeId id) {
  const auto* conv = op_of<Conv>(graph, id);
  if (conv == nullptr) return false;
  const auto frame = border(graph, input(graph, id, 0), conv->channels_last);
  if (!frame || frame->value != 0) return false;
  Conv op = *conv;
  op.pads = sum(op.pads, frame->pads);
  return replace_padded(graph, id, op);
}

// Average Pool(Pad(x)) with zeros -> Pool that counts its padding; max Pool(Pad(x)) with the lowest value -> Pool with
// pads.
bool pad_into_pool(Graph& graph, NodeId id) {
  const auto* pool = op_of<Pool>(graph, id);
  if (pool == nullptr || pool->ceil_mode || graph.node(id).outputs.size() != 1) return false;
  const auto frame = border(graph, input(graph, id, 0), pool->channels_last);
  if (!frame) return false;
  const bool no_pads = std::all_of(pool->pads.begin(), pool->pads.end(), [](int64_t p) { return p == 0; });
  const bool average = pool->kind == "average" && frame->value == 0 && (no_pads || pool->count_include_pad);
  const bool max = pool->kind == "max" && frame->value <= -3.4028234e38;
  if (!average && !max) return false;
  Pool op = *pool;
  op.pads = sum(op.pads, frame->pads);
  op.count_include_pad = average;
  // A window of padding only has no maximum.
  for (size_t i = 0; i < op.pads.size(); ++i)
    if (op.pads[i] >= op.kernel[i % op.kernel.size()]) return false;
  return replace_padded(graph, id, op);
}

}  // namespace

Result<int> fold_pads(Graph& graph, int limit) { return apply(graph, limit, {pad_into_conv, pad_into_pool}); }

}  // namespace hone
