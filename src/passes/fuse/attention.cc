#include <cmath>

#include "ops/attention.h"
#include "ops/gather.h"
#include "ops/matmul.h"
#include "ops/movement.h"
#include "ops/norm.h"
#include "ops/shape.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace hone {
namespace {

using namespace rewrite;

constexpr size_t kMask = 3;
const Perm kSwapMiddle{0, 2, 1, 3};

bool same_dim(const Dim& a, const Dim& b) { return a == b && (a.known() || !a.symbol.empty()); }

// v = x * factor, or x / (1 / factor), for a factor that is one finite number other than 0.
struct Scaled {
  ValueId x;
  double factor = 1;
};

Scaled scaled(const Graph& graph, ValueId v) {
  const auto c = call(graph, v);
  if (!c || (c->fn != Fn::mul && c->fn != Fn::div)) return {v};
  for (int k = 0; k < 2; ++k) {
    if (c->args[k].value == ValueId::none || c->args[1 - k].value != ValueId::none || (c->fn == Fn::div && k == 1))
      continue;
    const double by = c->args[1 - k].constant, factor = c->fn == Fn::mul ? by : 1 / by;
    if (std::isfinite(factor) && factor != 0) return {c->args[k].value, factor};
  }
  return {v};
}

// q, keys and values are [batch, heads, length, size] with dims that surely agree: nothing broadcasts.
bool operands_fit(const TensorType& q, const TensorType& keys, const TensorType& values) {
  if (!is_float(q.dtype) || keys.dtype != q.dtype || values.dtype != q.dtype) return false;
  if (q.shape.rank() != 4 || keys.shape.rank() != 4 || values.shape.rank() != 4) return false;
  const auto &dq = q.shape.dims, &dk = keys.shape.dims, &dv = values.shape.dims;
  return same_dim(dq[0], dk[0]) && same_dim(dq[0], dv[0]) && same_dim(dq[1], dk[1]) && same_dim(dq[1], dv[1]) &&
         same_dim(dq[3], dk[3]) && same_dim(dk[2], dv[2]);
}

// A mask that broadcasts to the scores without making them larger, and says something of every key.
bool is_mask(const Graph& graph, ValueId v, const Shape& scores) {
  const Shape& mask = graph.type(v).shape;
  if (mask.rank() < 1 || mask.rank() > 4 || scores.rank() != 4) return false;
  for (int64_t i = 1; i <= mask.rank(); ++i) {
    const Dim &m = mask.dims[static_cast<size_t>(mask.rank() - i)], &s = scores.dims[static_cast<size_t>(4 - i)];
    if (!same_dim(m, s) && (i == 1 || m.value != 1)) return false;
  }
  return true;
}

// The scores under a softmax: (q k) * scale + mask.
struct Scores {
  NodeId product = NodeId::none;
  double scale = 1;
  ValueId mask = ValueId::none;
};

std::optional<Scores> scores_of(const Graph& graph, ValueId v) {
  Scores out;
  if (!used_once(graph, v)) return std::nullopt;
  if (const auto sum = call(graph, v); sum && sum->fn == Fn::add) {
    for (int k = 0; k < 2 && out.mask == ValueId::none; ++k) {
      const ValueId x = sum->args[k].value, mask = sum->args[1 - k].value;
      if (x == ValueId::none || mask == ValueId::none || x == mask || !used_once(graph, x)) continue;
      if (producer<MatMul>(graph, scaled(graph, x).x) == nullptr || !is_mask(graph, mask, graph.type(v).shape))
        continue;
      if (!same_shape(graph.type(x).shape, graph.type(v).shape)) continue;
      out.mask = mask;
      v = x;
    }
    if (out.mask == ValueId::none) return std::nullopt;
  }
  const Scaled product = scaled(graph, v);
  out.scale = product.factor;
  out.product = graph.value(product.x).producer;
  if (op_of<MatMul>(graph, out.product) == nullptr || !used_once(graph, product.x)) return std::nullopt;
  return out;
}

// Softmax((q k^T) * scale + mask) v -> Attention.
bool recognise(Graph& graph, NodeId id) {
  const auto* product = op_of<MatMul>(graph, id);
  if (product == nullptr || product->trans_a || product->trans_b || input(graph, id, 2) != ValueId::none) return false;
  const ValueId weights = input(graph, id, 0), values = input(graph, id, 1);
  const auto* softmax = producer<Softmax>(graph, weights);
  if (softmax == nullptr || softmax->log || !used_once(graph, weights)) return false;
  if (normal_axis(softmax->axis, graph.type(weights).shape.rank()) != 3) return false;
  const NodeId softmax_node = graph.value(weights).producer;
  const auto scores = scores_of(graph, input(graph, softmax_node, 0));
  if (!scores || op_of<MatMul>(graph, scores->product)->trans_a) return false;
  if (input(graph, scores->product, 2) != ValueId::none) return false;
  const Scaled q = scaled(graph, input(graph, scores->product, 0)), k = scaled(graph, input(graph, scores->product, 1));
  // The product reads the keys as [.., size, keys] or, transposed, as [.., keys, size].
  const bool as_rows = op_of<MatMul>(graph, scores->product)->trans_b;
  TensorType keys = graph.type(k.x);
  if (!as_rows && keys.shape.rank() == 4) std::swap(keys.shape.dims[2], keys.shape.dims[3]);
  if (!operands_fit(graph.type(q.x), keys, graph.type(values))) return false;
  const ValueId rows = as_rows ? k.x : emit(graph, Transpose{{0, 1, 3, 2}}, {k.x}, {scores->product});
  std::vector<ValueId> inputs{q.x, rows, values};
  if (scores->mask != ValueId::none) inputs.push_back(scores->mask);
  const Attention op{.scale = scores->scale * q.factor * k.factor};
  return replace(graph, output(graph, id), emit(graph, op, inputs, {scores->product, softmax_node, id}));
}

const Attention* single_output(const Graph& graph, NodeId id) {
  const auto* op = op_of<Attention>(graph, id);
  return op != nullptr && graph.node(id).outputs.size() == 1 ? op : nullptr;
}

// A mask that was expanded over batch, heads or queries -> the mask itself.
bool drop_mask_expand(Graph& graph, NodeId id) {
  if (op_of<Attention>(graph, id) == nullptr) return false;
  const ValueId mask = input(graph, id, kMask);
  if (mask == ValueId::none || producer<Expand>(graph, mask) == nullptr) return false;
  const ValueId x = input(graph, graph.value(mask).producer, 0);
  const Shape &from = graph.type(x).shape, &to = graph.type(mask).shape;
  if (from.rank() < 1 || to.rank() < 1 || !same_dim(from.dims.back(), to.dims.back())) return false;
  graph.set_input(id, kMask, x);
  return true;
}

// [batch, heads, length, size] that was transposed from rows -> those rows.
ValueId rows_of(const Graph& graph, ValueId v) {
  const auto* t = producer<Transpose>(graph, v);
  return t != nullptr && t->perm == kSwapMiddle ? input(graph, graph.value(v).producer, 0) : ValueId::none;
}

// Attention among Transposes of [batch, length, heads, size] -> Attention that reads and writes rows.
bool read_rows(Graph& graph, NodeId id) {
  const auto* op = single_output(graph, id);
  if (op == nullptr || op->layout != "heads") return false;
  std::vector<ValueId> inputs = graph.node(id).inputs;
  for (size_t i = 0; i < 3; ++i) {
    inputs[i] = rows_of(graph, inputs[i]);
    if (inputs[i] == ValueId::none) return false;
  }
  Attention rows = *op;
  rows.layout = "rows";
  const ValueId y = emit(graph, rows, inputs, {id});
  if (y == ValueId::none) return false;
  return replace(graph, output(graph, id), emit(graph, Transpose{kSwapMiddle}, {y}, {id}));
}

// v is x[part] of the first dim, whatever views are in between; its dims are those of x without the first.
struct Part {
  ValueId x;
  int64_t index;
};

std::optional<Part> part_of(const Graph& graph, ValueId v) {
  const Shape& shape = graph.type(v).shape;
  NodeId id = graph.value(v).producer;
  for (int views = 0; id != NodeId::none && graph.node(id).op.view() && views < 4; ++views)
    id = graph.value(input(graph, id, 0)).producer;
  if (id == NodeId::none) return std::nullopt;
  Part part{input(graph, id, 0), 0};
  if (const auto* gather = op_of<Gather>(graph, id)) {
    const auto index = const_ints(graph, input(graph, id, 1));
    if (gather->axis != 0 || !index || index->size() != 1) return std::nullopt;
    part.index = (*index)[0];
  } else if (op_of<Slice>(graph, id) != nullptr) {
    const auto is = [&](size_t slot, int64_t expected) {
      const auto values = const_ints(graph, input(graph, id, slot));
      return values && values->size() == 1 && (*values)[0] == expected;
    };
    const auto start = const_ints(graph, input(graph, id, 1));
    if (!start || start->size() != 1 || !is(2, (*start)[0] + 1) || !is(3, 0)) return std::nullopt;
    if (input(graph, id, 4) != ValueId::none && !is(4, 1)) return std::nullopt;
    part.index = (*start)[0];
  } else {
    return std::nullopt;
  }
  const Shape& whole = graph.type(part.x).shape;
  if (whole.rank() < 1) return std::nullopt;
  if (!same_shape(shape, Shape(std::vector<Dim>(whole.dims.begin() + 1, whole.dims.end())))) return std::nullopt;
  return part;
}

// Attention on the three parts of one transposed [batch, length, 3, heads, size] -> packed Attention.
bool read_packed(Graph& graph, NodeId id) {
  const auto* op = single_output(graph, id);
  if (op == nullptr || op->layout != "heads") return false;
  std::vector<ValueId> inputs = graph.node(id).inputs;
  ValueId whole = ValueId::none;
  for (size_t i = 0; i < 3; ++i) {
    const auto part = part_of(graph, inputs[i]);
    if (!part || part->index != static_cast<int64_t>(i) || (i > 0 && part->x != whole)) return false;
    whole = part->x;
  }
  const auto* t = producer<Transpose>(graph, whole);
  if (t == nullptr || t->perm != Perm{2, 0, 3, 1, 4}) return false;
  const NodeId transpose = graph.value(whole).producer;
  inputs[0] = input(graph, transpose, 0);
  inputs[1] = inputs[2] = ValueId::none;
  const Shape& from = graph.type(inputs[0]).shape;
  if (from.rank() != 5 || from.dims[2].value != 3) return false;
  Attention packed = *op;
  packed.layout = "packed";
  const ValueId y = emit(graph, packed, inputs, {transpose, id});
  if (y == ValueId::none) return false;
  return replace(graph, output(graph, id), emit(graph, Transpose{kSwapMiddle}, {y}, {id}));
}

}  // namespace

Result<int> recognise_attention(Graph& graph, int limit) {
  return apply(graph, limit, {recognise, drop_mask_expand, read_rows, read_packed});
}

}  // namespace hone
