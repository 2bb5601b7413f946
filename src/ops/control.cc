#include "ops/control.h"

#include <algorithm>

#include "base/counted.h"
#include "ir/graph.h"
#include "ops/stack.h"
#include "ops/table.h"

namespace hone {
namespace {

// What both may be: the dims that agree, else unknown ones.
Shape join(const Shape& a, const Shape& b) {
  if (!a.ranked || !b.ranked || a.dims.size() != b.dims.size()) return Shape::unranked();
  Shape out = a;
  for (size_t i = 0; i < out.dims.size(); ++i)
    if (!(a.dims[i] == b.dims[i])) out.dims[i] = Dim();
  return out;
}

Result<TensorType> join(const TensorType& a, const TensorType& b) {
  if (a.dtype != b.dtype || (a.element != b.element && a.element != DType::none && b.element != DType::none))
    return invalid("{} in one case and {} in the other", to_text(a), to_text(b));
  return TensorType{a.dtype, join(a.shape, b.shape), a.element == DType::none ? b.element : a.element};
}

// Names inside a body mean nothing outside: they differ from one iteration to the next.
Shape without_symbols(Shape shape) {
  for (Dim& d : shape.dims)
    if (!d.known()) d = Dim();
  return shape;
}

Shape with_dim(Shape shape, int64_t axis, Dim dim) {
  if (!shape.ranked) return shape;
  const auto rank = static_cast<int64_t>(shape.dims.size()) + 1;
  if (axis < -rank || axis >= rank) return Shape::unranked();
  shape.dims.insert(shape.dims.begin() + (axis < 0 ? axis + rank : axis), std::move(dim));
  return shape;
}

const TensorType& output_type(const Graph& graph, size_t i) { return graph.type(graph.outputs()[i]); }

Tensors tail(std::span<const Tensor> values, size_t from) {
  return from < values.size() ? Tensors(values.begin() + static_cast<std::ptrdiff_t>(from), values.end()) : Tensors();
}

}  // namespace

Result<bool> truth(const Tensor& condition) {
  if (condition.type() != DType::boolean || condition.count() != 1)
    return invalid("condition must be one boolean, not {} {}", name(condition.type()), to_string(condition.dims()));
  return condition.int_at(0) != 0;
}

Result<Types> If::infer(const InferArgs& args) const {
  if (!then_branch || !else_branch) return invalid("a branch is missing");
  if (args.type(0).dtype != DType::boolean) return invalid("condition is {}, not bool", name(args.type(0).dtype));
  const size_t outputs = then_branch->outputs().size();
  if (else_branch->outputs().size() != outputs)
    return invalid("one branch has {}, the other {}", counted(outputs, "output"), else_branch->outputs().size());
  const size_t captures = then_branch->inputs().size() + else_branch->inputs().size();
  if (args.types.size() != 1 + captures)
    return invalid("has {}, its branches need {}", counted(args.types.size() - 1, "input"), captures);
  Types types;
  for (size_t i = 0; i < outputs; ++i) {
    HONE_TRY(TensorType type, join(output_type(*then_branch, i), output_type(*else_branch, i)));
    types.push_back(std::move(type));
  }
  return types;
}

Result<Tensors> If::evaluate(const EvalArgs& args) const {
  HONE_TRY(const bool condition, truth(args[0]));
  const size_t split = std::min(args.inputs.size(), 1 + then_branch->inputs().size());
  const auto captures = condition ? args.inputs.subspan(1, split - 1) : args.inputs.subspan(split);
  return interpret(condition ? *then_branch : *else_branch, captures);
}

Result<Types> Raise::infer(const InferArgs& args) const {
  if (args.outputs != types.size())
    return invalid("has {} and {}", counted(args.outputs, "output"), counted(types.size(), "type"));
  Types out;
  for (const std::string& text : types) {
    HONE_TRY(TensorType type, type_from_text(text));
    out.push_back(std::move(type));
  }
  return out;
}

Result<Tensors> Raise::evaluate(const EvalArgs&) const { return invalid("{}", message); }

Result<Types> Loop::infer(const InferArgs& args) const {
  if (!body) return invalid("the body is missing");
  const auto n = static_cast<size_t>(states);
  if (states < 0 || args.types.size() < 2 + n || body->inputs().size() != args.types.size())
    return invalid("body has {}, the node {}", counted(body->inputs().size(), "input"), args.types.size());
  if (body->outputs().size() < 1 + n)
    return invalid("body has {} for {}", counted(body->outputs().size(), "output"), counted(n, "state"));
  if (!args.has(0) && !args.has(1)) return unsupported("a loop without trip count and condition never ends");
  Types types;
  for (size_t i = 0; i < n; ++i) {
    TensorType next = output_type(*body, 1 + i);
    next.shape = without_symbols(next.shape);
    HONE_TRY(TensorType type, join(args.type(2 + i), next));
    types.push_back(std::move(type));
  }
  Dim trips;
  if (args.value(0).defined() && args.value(0).count() == 1 && !args.has(1))
    trips = std::max<int64_t>(args.value(0).int_at(0), 0);
  for (size_t i = 1 + n; i < body->outputs().size(); ++i) {
    const TensorType& element = output_type(*body, i);
    types.push_back({element.dtype, with_dim(without_symbols(element.shape), 0, trips)});
  }
  return types;
}

Result<Tensors> Loop::evaluate(const EvalArgs& args) const {
  const auto n = static_cast<size_t>(states);
  int64_t trips = INT64_MAX;
  if (args.has(0)) {
    if (args[0].count() != 1) return invalid("trip count has {}", counted(args[0].count(), "element"));
    trips = args[0].int_at(0);
  }
  bool running = true;
  if (args.has(1)) {
    HONE_TRY(running, truth(args[1]));
  }
  Tensors state(args.inputs.begin() + 2, args.inputs.begin() + 2 + static_cast<std::ptrdiff_t>(n));
  const Tensors captures = tail(args.inputs, 2 + n);
  std::vector<Tensors> elements(body->outputs().size() - 1 - n);
  for (int64_t i = 0; i < trips && running; ++i) {
    Tensors inputs{Tensor::scalar(i), Tensor::scalar(1.0, DType::boolean)};
    inputs.insert(inputs.end(), state.begin(), state.end());
    inputs.insert(inputs.end(), captures.begin(), captures.end());
    HONE_TRY(Tensors results, interpret(*body, inputs));
    if (args.has(1)) {
      HONE_TRY(running, truth(results[0]));
    }
    std::copy_n(results.begin() + 1, n, state.begin());
    for (size_t k = 0; k < elements.size(); ++k) elements[k].push_back(results[1 + n + k]);
  }
  for (size_t k = 0; k < elements.size(); ++k) {
    if (elements[k].empty()) {
      state.push_back(empty_stack(output_type(*body, 1 + n + k), 0));
      continue;
    }
    HONE_TRY(Tensor stacked, stack(elements[k], 0));
    state.push_back(std::move(stacked));
  }
  return state;
}

namespace {

// The parts of a Scan that infer and evaluate both need, checked.
struct ScanCounts {
  size_t states, scanned, elements;
  size_t first;  // node input of the first state
};

Result<ScanCounts> counts_of(const Scan& op, size_t node_inputs) {
  if (!op.body) return invalid("the body is missing");
  ScanCounts c{static_cast<size_t>(op.states), op.input_axes.size(), op.output_axes.size(),
               op.batched ? size_t{1} : size_t{0}};
  if (op.states < 0 || op.input_reverse.size() != c.scanned || op.output_reverse.size() != c.elements)
    return invalid("as many directions as axes are needed");
  if (c.scanned == 0) return invalid("has no input to scan");
  if (node_inputs < c.first || op.body->inputs().size() != node_inputs - c.first ||
      op.body->inputs().size() < c.states + c.scanned)
    return invalid("body has {}, the node {}", counted(op.body->inputs().size(), "input"), node_inputs);
  if (op.body->outputs().size() != c.states + c.elements)
    return invalid("body has {}, not {}", counted(op.body->outputs().size(), "output"), c.states + c.elements);
  return c;
}

// The axis as a position in a tensor of this rank.
Result<int64_t> position(int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank) return invalid("axis {} of rank {}", axis, rank);
  return axis < 0 ? axis + rank : axis;
}

// One sequence without batch, of at most `limit` steps; the stacks are filled with zeros to the full length.
Result<Tensors> scan_one(const Scan& op, const ScanCounts& c, Tensors state, const Tensors& scanned,
                         const Tensors& captures, int64_t limit) {
  std::vector<int64_t> axes;
  int64_t length = -1;
  for (size_t k = 0; k < c.scanned; ++k) {
    HONE_TRY(const int64_t axis, position(op.input_axes[k], scanned[k].rank()));
    const int64_t own = scanned[k].dims()[static_cast<size_t>(axis)];
    if (length >= 0 && own != length) return invalid("scanned inputs have lengths {} and {}", length, own);
    length = own;
    axes.push_back(axis);
  }
  std::vector<Tensors> elements(c.elements);
  const int64_t steps = std::min(length, limit);
  for (int64_t t = 0; t < steps; ++t) {
    Tensors inputs = state;
    for (size_t k = 0; k < c.scanned; ++k) {
      HONE_TRY(Tensor slice, slice_at(scanned[k], axes[k], op.input_reverse[k] ? steps - 1 - t : t));
      inputs.push_back(std::move(slice));
    }
    inputs.insert(inputs.end(), captures.begin(), captures.end());
    HONE_TRY(Tensors results, interpret(*op.body, inputs));
    std::copy_n(results.begin(), c.states, state.begin());
    for (size_t k = 0; k < c.elements; ++k) elements[k].push_back(results[c.states + k]);
  }
  for (size_t k = 0; k < c.elements; ++k) {
    Tensors& parts = elements[k];
    if (parts.empty()) {
      state.push_back(empty_stack(output_type(*op.body, c.states + k), op.output_axes[k]));
      continue;
    }
    if (op.output_reverse[k]) std::reverse(parts.begin(), parts.end());
    parts.resize(static_cast<size_t>(length), Tensor(parts[0].type(), parts[0].dims()));
    HONE_TRY(Tensor stacked, stack(parts, op.output_axes[k]));
    state.push_back(std::move(stacked));
  }
  return state;
}

Result<Tensors> scan_batch(const Scan& op, const ScanCounts& c, const EvalArgs& args, const Tensors& captures) {
  const Tensor& first = args[1];
  if (first.rank() < 1) return invalid("a batched input has rank 0");
  const int64_t batch = first.dims()[0];
  if (args.has(0) && args[0].count() != batch)
    return invalid("{} sequence lengths for a batch of {}", args[0].count(), batch);
  std::vector<Tensors> results(c.states + c.elements);
  for (int64_t b = 0; b < batch; ++b) {
    Tensors parts;
    for (size_t i = 0; i < c.states + c.scanned; ++i) {
      HONE_TRY(Tensor part, slice_at(args[1 + i], 0, b));
      parts.push_back(std::move(part));
    }
    const Tensors scanned = tail(parts, c.states);
    parts.resize(c.states);
    const int64_t limit = args.has(0) ? args[0].int_at(b) : INT64_MAX;
    HONE_TRY(Tensors one, scan_one(op, c, std::move(parts), scanned, captures, std::max<int64_t>(limit, 0)));
    for (size_t i = 0; i < one.size(); ++i) results[i].push_back(std::move(one[i]));
  }
  Tensors out;
  for (const Tensors& parts : results) {
    HONE_TRY(Tensor stacked, stack(parts, 0));
    out.push_back(std::move(stacked));
  }
  return out;
}

}  // namespace

Result<Types> Scan::infer(const InferArgs& args) const {
  HONE_TRY(const ScanCounts c, counts_of(*this, args.types.size()));
  Types types;
  for (size_t i = 0; i < c.states; ++i) {
    const TensorType& initial = args.type(c.first + i);
    TensorType next = output_type(*body, i);
    next.shape = without_symbols(next.shape);
    if (batched) next.shape = with_dim(next.shape, 0, Dim());
    HONE_TRY(TensorType type, join(initial, next));
    types.push_back(std::move(type));
  }
  const Shape& scanned = args.type(c.first + c.states).shape;
  Dim length;
  if (scanned.ranked) {
    const int64_t shift = batched ? 1 : 0;
    HONE_TRY(const int64_t axis, position(input_axes[0], scanned.rank() - shift));
    length = scanned.dims[static_cast<size_t>(axis + shift)];
  }
  for (size_t k = 0; k < c.elements; ++k) {
    const TensorType& element = output_type(*body, c.states + k);
    Shape shape = with_dim(without_symbols(element.shape), output_axes[k], length);
    if (batched) shape = with_dim(shape, 0, Dim());
    types.push_back({element.dtype, std::move(shape)});
  }
  return types;
}

Result<Tensors> Scan::evaluate(const EvalArgs& args) const {
  HONE_TRY(const ScanCounts c, counts_of(*this, args.inputs.size()));
  const Tensors captures = tail(args.inputs, c.first + c.states + c.scanned);
  if (batched) return scan_batch(*this, c, args, captures);
  Tensors state(args.inputs.begin(), args.inputs.begin() + static_cast<std::ptrdiff_t>(c.states));
  Tensors scanned = tail(args.inputs, c.states);
  scanned.resize(c.scanned);
  return scan_one(*this, c, std::move(state), scanned, captures, INT64_MAX);
}

Result<Types> SequenceMap::infer(const InferArgs& args) const {
  if (!body) return invalid("the body is missing");
  if (inputs < 1 || args.types.size() < static_cast<size_t>(inputs) || body->inputs().size() != args.types.size())
    return invalid("body has {}, the node {}", counted(body->inputs().size(), "input"), args.types.size());
  if (args.type(0).dtype != DType::sequence) return invalid("input 0 is {}, not a sequence", to_text(args.type(0)));
  Types types;
  for (size_t i = 0; i < body->outputs().size(); ++i)
    types.push_back({DType::sequence, Shape(), output_type(*body, i).dtype});
  return types;
}

Result<Tensors> SequenceMap::evaluate(const EvalArgs& args) const {
  const auto mapped = static_cast<size_t>(inputs);
  if (args[0].type() != DType::sequence) return invalid("input 0 is not a sequence");
  const size_t count = args[0].items().size();
  std::vector<Tensors> results(body->outputs().size());
  for (size_t i = 0; i < count; ++i) {
    Tensors call(args.inputs.begin(), args.inputs.end());
    for (size_t k = 0; k < mapped; ++k) {
      if (call[k].type() != DType::sequence) continue;
      if (args[k].items().size() != count)
        return invalid("sequences have {} and {}", count, counted(args[k].items().size(), "item"));
      call[k] = args[k].items()[i];
    }
    HONE_TRY(Tensors one, interpret(*body, call));
    for (size_t k = 0; k < results.size(); ++k) results[k].push_back(one[k]);
  }
  Tensors out;
  for (Tensors& items : results) out.push_back(Tensor::sequence(std::move(items)));
  return out;
}

std::vector<ControlBody> bodies_of(const Op& op) {
  if (const auto* branch = op.as<If>())
    return {{.attr = "then_branch", .graph = branch->then_branch.get(), .first_input = 1},
            {.attr = "else_branch",
             .graph = branch->else_branch.get(),
             .first_input = 1 + branch->then_branch->inputs().size()}};
  if (const auto* loop = op.as<Loop>()) {
    const auto states = static_cast<size_t>(loop->states);
    return {{.attr = "body", .graph = loop->body.get(), .formals = 2 + states, .first_state = 2, .states = states}};
  }
  if (const auto* scan = op.as<Scan>()) {
    const auto states = static_cast<size_t>(scan->states);
    return {{.attr = "body",
             .graph = scan->body.get(),
             .formals = states + scan->input_axes.size(),
             .states = states,
             .first_input = scan->batched ? size_t{1} : size_t{0}}};
  }
  if (const auto* map = op.as<SequenceMap>())
    return {{.attr = "body", .graph = map->body.get(), .formals = static_cast<size_t>(map->inputs)}};
  return {};
}

Result<Op> with_body(const Op& op, std::string_view attr, Graph body) {
  Attrs attrs = op.attrs();
  attrs[std::string(attr)] = std::make_shared<const Graph>(std::move(body));
  return make_op(op.name(), attrs);
}

std::span<const OpRow> control_ops() {
  static constexpr OpRow kRows[] = {op_row<If>(), op_row<Raise>(), op_row<Loop>(), op_row<Scan>(),
                                    op_row<SequenceMap>()};
  return kRows;
}

}  // namespace hone
