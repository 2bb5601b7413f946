#include "backends/precision.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "backends/problem.h"
#include "base/thread_pool.h"
#include "ops/matmul.h"
#include "ops/pointwise.h"
#include "passes/rewrite.h"

namespace hone {
namespace {

// Why a node is computed in the smaller type.
enum class Kind {
  heavy,     // it is worth converting its inputs
  light,     // when its data comes in that type already
  movement,  // the same, and it computes nothing
};

struct Row {
  std::string_view op;
  Kind kind;
  size_t inputs = SIZE_MAX;  // the first ones are converted
};

constexpr Row kRows[] = {{"Conv", Kind::heavy},
                         {"MatMul", Kind::heavy},
                         {"MatMulNBits", Kind::heavy, 1},
                         {"Attention", Kind::heavy, 3},
                         {"ConvTranspose", Kind::light},
                         {"Pointwise", Kind::light},
                         {"Pool", Kind::light},
                         {"Softmax", Kind::light},
                         {"LayerNorm", Kind::light},
                         {"GroupNorm", Kind::light},
                         {"Lrn", Kind::light},
                         {"Reduce", Kind::light},
                         {"Resize", Kind::light, 1},
                         {"GridSample", Kind::light, 1},
                         {"Col2Im", Kind::light},
                         {"Rnn", Kind::light},
                         {"Transpose", Kind::movement},
                         {"Reshape", Kind::movement},
                         {"Concat", Kind::movement},
                         {"Split", Kind::movement},
                         {"Gather", Kind::movement},
                         {"GatherElements", Kind::movement},
                         {"GatherND", Kind::movement},
                         {"Slice", Kind::movement},
                         {"Squeeze", Kind::movement},
                         {"Unsqueeze", Kind::movement},
                         {"Expand", Kind::movement},
                         {"Tile", Kind::movement},
                         {"Pad", Kind::movement}};

const Row* find_row(std::string_view op) {
  const auto found = std::find_if(std::begin(kRows), std::end(kRows), [&](const Row& row) { return row.op == op; });
  return found == std::end(kRows) ? nullptr : found;
}

constexpr int64_t kPiece = 1 << 16;  // of a tensor's elements, for a thread

int64_t pieces_of(const Tensor& t) { return (t.count() + kPiece - 1) / kPiece; }

// Calls f(piece, its elements, the place of the first one).
template <class F>
void in_pieces(const Tensor& t, cpu::ThreadPool& pool, const F& f) {
  const std::span all(t.data<float>(), static_cast<size_t>(t.count()));
  pool.parallel(pieces_of(t), [&](int64_t piece, int) {
    const int64_t first = piece * kPiece;
    const int64_t count = std::min(kPiece, t.count() - first);
    f(piece, all.subspan(static_cast<size_t>(first), static_cast<size_t>(count)), first);
  });
}

// Infinities, which fp16 has, aside.
double magnitude_of(const Tensor& t, cpu::ThreadPool& pool) {
  std::vector<float> largest(static_cast<size_t>(pieces_of(t)));
  in_pieces(t, pool, [&](int64_t piece, std::span<const float> values, int64_t) {
    float own = 0;
    for (const float v : values)
      if (!std::isinf(v)) own = std::max(own, std::fabs(v));
    largest[static_cast<size_t>(piece)] = own;
  });
  return largest.empty() ? 0 : *std::ranges::max_element(largest);
}

Tensor converted(const Tensor& t, DType type, cpu::ThreadPool& pool) {
  Tensor result(type, t.dims());
  void* const memory = result.mutable_raw();
  in_pieces(t, pool, [&](int64_t, std::span<const float> values, int64_t first) {
    if (type == DType::f16) std::ranges::transform(values, static_cast<f16*>(memory) + first, to_f16);
    else std::ranges::transform(values, static_cast<bf16*>(memory) + first, to_bf16);
  });
  return result;
}

// The program over inputs some of which are of `type`; what it computes stays in f32.
PointwiseProgram reading(const PointwiseProgram& program, const std::vector<bool>& reduced, DType type) {
  PointwiseProgram out;
  std::vector<int32_t> place;
  for (PointwiseInstr instr : program.code) {
    for (int k = 0; k < arity(instr.fn); ++k) instr.operand[k] = place[static_cast<size_t>(instr.operand[k])];
    const bool cast = instr.fn == Fn::input && reduced[static_cast<size_t>(instr.input)];
    if (cast) instr.type = type;
    out.code.push_back(instr);
    if (cast)
      out.code.push_back(
          {.fn = Fn::cast, .type = DType::f32, .operand = {static_cast<int32_t>(out.code.size()) - 1, -1, -1}});
    place.push_back(static_cast<int32_t>(out.code.size()) - 1);
  }
  return out;
}

// With a result that f16 can hold or that is too large for it.
PointwiseProgram saturated(PointwiseProgram program) {
  const auto result = static_cast<int32_t>(program.code.size()) - 1;
  program.code.push_back({.fn = Fn::constant, .type = DType::f32, .value = -kLargestF16});
  program.code.push_back({.fn = Fn::max, .type = DType::f32, .operand = {result, result + 1, -1}});
  return program;
}

// With its result, when that is f32, in `type`.
PointwiseProgram storing(PointwiseProgram program, DType type) {
  if (program.result_type() != DType::f32) return program;
  const auto result = static_cast<int32_t>(program.code.size()) - 1;
  program.code.push_back({.fn = Fn::cast, .type = type, .operand = {result, -1, -1}});
  return program;
}

// A product that sums nothing is elementwise work, and not worth its inputs' digits: angles are made so of positions.
bool is_outer_product(const Graph& graph, const Node& node) {
  const auto* matmul = node.op.as<MatMul>();
  const Shape& a = graph.type(node.inputs[0]).shape;
  if (matmul == nullptr || !a.known() || a.rank() < 2) return false;
  return a.dims[static_cast<size_t>(a.rank() - (matmul->trans_a ? 2 : 1))].value == 1;
}

class Reducer {
 public:
  Reducer(Graph& graph, DType type, const Machine& machine, const Limits& limits)
      : graph_(graph), type_(type), machine_(machine), limits_(limits), pool_(machine.threads) {}

  Reduction run() {
    for (NodeId id : graph_.order())
      if (limits_.kept.contains(id) || !convert(id)) keep(id);
    for (ValueId v : std::vector(graph_.outputs()))
      if (reduced_.contains(v)) graph_.replace_uses(v, full(v));
    graph_.remove_dead();
    Reduction result{.wide = std::move(wide_constants_)};
    for (const auto* values : {&reduced_, &casts_})
      for (const auto& [old, now] : *values) result.values.insert(old);
    return result;
  }

 private:
  bool is_f32(ValueId v) const { return v != ValueId::none && graph_.type(v).dtype == DType::f32; }

  // Whether a node makes floats of what was computed in 8 bits. The network's results keep all digits.
  bool ends_integers(const Node& node) const {
    if (node.op.as<Pointwise>() == nullptr || !is_f32(node.outputs[0]) || graph_.is_output(node.outputs[0]))
      return false;
    return std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId v) {
      const DType type = graph_.type(v).dtype;
      return type == DType::i8 || type == DType::f8e4m3fn || rewrite::is_sum_of_bytes(graph_, v);
    });
  }

  bool is_wide(ValueId v) const { return limits_.wide.contains(v); }

  // A Concat of what is reduced and constants, whichever comes first.
  bool joins_constants(const Node& node) const {
    return node.op.name() == "Concat" && std::all_of(node.inputs.begin(), node.inputs.end(), [&](ValueId v) {
             return reduced_.contains(v) || graph_.value(v).is_constant();
           });
  }

  bool convert(NodeId id) {
    const Node node = graph_.node(id);
    const Row* row = find_row(node.op.name());
    if (row == nullptr) return false;
    bool any = false, data = false;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      any |= is_f32(node.inputs[i]);
      data |= reduced_.contains(node.inputs[i]);
    }
    if (ends_integers(node)) any = data = true;
    const bool heavy = row->kind == Kind::heavy && !is_outer_product(graph_, node);
    if (!any || (!heavy && !data)) return false;
    if (row->kind == Kind::movement && !reduced_.contains(node.inputs[0]) && !joins_constants(node)) return false;
    const auto* pointwise = node.op.as<Pointwise>();
    const bool makes_wide =
        std::any_of(node.outputs.begin(), node.outputs.end(), [&](ValueId v) { return is_wide(v); });
    if (pointwise == nullptr && makes_wide) return false;
    Op op = node.op;
    std::vector<bool> reduce;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId v = node.inputs[i];
      const bool constant = v != ValueId::none && graph_.value(v).is_constant();
      // A pointwise node reads either type, so that it needs no casts, and its constants keep all digits.
      reduce.push_back(is_f32(v) && i < row->inputs && (pointwise == nullptr || reduced_.contains(v)));
      if (reduce.back() && is_wide(v)) return false;
      if (reduce.back() && constant && !fits(id, v)) return false;
    }
    if (pointwise != nullptr) {
      PointwiseProgram program = reading(pointwise->program, reduce, type_);
      if (limits_.saturated.contains(node.outputs[0])) program = saturated(std::move(program));
      op = Pointwise{makes_wide ? program : storing(std::move(program), type_)};
    }
    Problem problem = problem_of(graph_, id);
    problem.op = op;
    for (size_t i = 0; i < reduce.size(); ++i)
      if (reduce[i]) problem.inputs[i].dtype = type_;
    const auto inferred = op.infer({problem.inputs, problem.constants, problem.outputs.size()});
    if (!inferred.ok() || inferred->size() < problem.outputs.size()) return false;
    for (size_t i = 0; i < problem.outputs.size(); ++i) problem.outputs[i].dtype = (*inferred)[i].dtype;
    if (!op.view() && !has_kernel(problem, machine_)) return false;

    std::vector<ValueId> inputs;
    for (size_t i = 0; i < reduce.size(); ++i)
      inputs.push_back(reduce[i] ? reduced(node.inputs[i]) : as_it_is(node.inputs[i]));
    const NodeId now = graph_.add_node_typed(op, inputs, problem.outputs, node.sources);
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      const ValueId old = node.outputs[i], made = graph_.node(now).outputs[i];
      graph_.set_name(made, graph_.value(old).name);
      if (graph_.type(made).dtype == graph_.type(old).dtype) graph_.replace_uses(old, made);
      else reduced_[old] = made;
      if (is_wide(old)) limits_.wide.insert(made);
    }
    return true;
  }

  bool fits(NodeId id, ValueId constant) {
    if (type_ != DType::f16) return true;
    const double magnitude = magnitude_of(graph_.value(constant).constant, pool_);
    if (magnitude > kLargestF16) wide_constants_.push_back({id, constant, magnitude});
    return magnitude <= kLargestF16;
  }

  // A node that stays reads values of their old types.
  void keep(NodeId id) {
    const auto inputs = graph_.node(id).inputs;
    for (size_t i = 0; i < inputs.size(); ++i)
      if (reduced_.contains(inputs[i])) graph_.set_input(id, i, full(inputs[i]));
  }

  ValueId as_it_is(ValueId v) { return reduced_.contains(v) ? full(v) : v; }

  ValueId reduced(ValueId v) {
    if (const auto found = reduced_.find(v); found != reduced_.end()) return found->second;
    const auto& value = graph_.value(v);
    if (value.is_constant())
      return reduced_constants_.contains(v)
                 ? reduced_constants_[v]
                 : reduced_constants_[v] = graph_.add_constant(converted(value.constant, type_, pool_), value.name);
    const auto made = casts_.find(v);
    return made != casts_.end() ? made->second : casts_[v] = cast(v, type_);
  }

  ValueId full(ValueId v) {
    const auto made = restored_.find(v);
    return made != restored_.end() ? made->second : restored_[v] = cast(reduced_.at(v), DType::f32);
  }

  ValueId cast(ValueId v, DType to) {
    const TensorType from = graph_.type(v);
    const auto name = graph_.value(v).name;
    std::vector<std::string> sources;
    if (!name.empty()) sources.push_back("cast of " + name);  // what has the same source counts as one layer
    const NodeId node = graph_.add_node_typed(Pointwise{single(Fn::cast, from.dtype, to)}, {v}, {{to, from.shape}},
                                              std::move(sources));
    graph_.set_name(graph_.node(node).outputs[0], name);
    return graph_.node(node).outputs[0];
  }

  Graph& graph_;
  DType type_;
  const Machine& machine_;
  Limits limits_;  // of values made here as well
  cpu::ThreadPool pool_;
  std::vector<WideConstant> wide_constants_;
  std::map<ValueId, ValueId> reduced_;  // values of converted nodes
  std::map<ValueId, ValueId> reduced_constants_, casts_;
  std::map<ValueId, ValueId> restored_;  // by the value that was converted
};

bool has_elementwise_reader(const Graph& graph, ValueId v) {
  return std::ranges::any_of(graph.value(v).users,
                             [&](NodeId user) { return graph.node(user).op.as<Pointwise>() != nullptr; });
}

}  // namespace

std::set<NodeId> nodes_of(const Graph& graph, const std::set<std::string>& layers) {
  std::set<NodeId> nodes;
  for (const NodeId id : graph.order())
    if (std::ranges::any_of(graph.node(id).sources, [&](const std::string& s) { return layers.contains(s); }))
      nodes.insert(id);
  return nodes;
}

std::set<ValueId> statistics(const Graph& graph) {
  std::set<ValueId> found;
  for (NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    const ValueId result = node.outputs[0];
    if (node.op.name() == "Reduce" && has_elementwise_reader(graph, result)) {
      found.insert(result);
      if (rewrite::producer<Pointwise>(graph, node.inputs[0]) != nullptr && rewrite::used_once(graph, node.inputs[0]))
        found.insert(node.inputs[0]);
    }
    if (node.op.as<Pointwise>() == nullptr) continue;
    const auto is_statistic = [&](ValueId v) { return found.contains(v) || graph.value(v).is_constant(); };
    const bool any = std::ranges::any_of(node.inputs, [&](ValueId v) { return found.contains(v); });
    if (any && std::ranges::all_of(node.inputs, is_statistic)) found.insert(result);
  }
  return found;
}

Reduction reduce_precision(Graph& graph, DType type, const Machine& machine, const Limits& limits) {
  return Reducer(graph, type, machine, limits).run();
}

}  // namespace hone
