#include "ops/pointwise.h"

#include <algorithm>

#include "passes/passes.h"
#include "passes/pointwise/program.h"
#include "passes/rewrite.h"

namespace hone {
namespace {

using namespace rewrite;

constexpr size_t kMaxInstructions = 64;
constexpr size_t kMaxOfByte = 128;  // instructions on one input of 8 bits, which may become a table
constexpr size_t kMaxInputs = 16;

// The user's program with the producer's in the place of its input `v`.
PointwiseProgram join(const Node& producer, const Node& user, ValueId v, std::vector<ValueId>& inputs) {
  const auto& before = producer.op.as<Pointwise>()->program.code;
  const auto& after = user.op.as<Pointwise>()->program.code;
  PointwiseProgram out;
  out.code = before;
  inputs = producer.inputs;
  const auto shift = static_cast<int32_t>(inputs.size());
  inputs.insert(inputs.end(), user.inputs.begin(), user.inputs.end());
  std::vector<int32_t> place(after.size());
  for (size_t i = 0; i < after.size(); ++i) {
    PointwiseInstr instr = after[i];
    if (instr.fn == Fn::input && user.inputs[static_cast<size_t>(instr.input)] == v) {
      place[i] = static_cast<int32_t>(before.size()) - 1;
      continue;
    }
    if (instr.fn == Fn::input) instr.input += shift;
    for (int k = 0; k < arity(instr.fn); ++k) instr.operand[k] = place[static_cast<size_t>(instr.operand[k])];
    place[i] = static_cast<int32_t>(out.code.size());
    out.code.push_back(instr);
  }
  // The user may return its input unchanged, which is not the last instruction then.
  if (place.back() + 1 != static_cast<int32_t>(out.code.size())) out.code.resize(static_cast<size_t>(place.back()) + 1);
  return out;
}

// No dim is known to be broadcast on the way from `a` to `b`. Joining would be right even then, but compute more.
bool may_be_same(const Shape& a, const Shape& b) {
  if (!a.ranked || !b.ranked || a.dims.size() != b.dims.size()) return false;
  for (size_t i = 0; i < a.dims.size(); ++i)
    if (a.dims[i].known() && !(a.dims[i] == b.dims[i])) return false;
  return true;
}

// Whether a node quantises sums of 8-bit factors again: that is work for the node before it.
bool requantizes(const Graph& graph, NodeId id) {
  const DType type = graph.type(output(graph, id)).dtype;
  if (type != DType::i8 && type != DType::f8e4m3fn) return false;
  const auto& inputs = graph.node(id).inputs;
  return std::any_of(inputs.begin(), inputs.end(),
                     [&](ValueId v) { return graph.type(v).dtype == DType::i32 || is_sum_of_bytes(graph, v); });
}

// Pointwise whose only user is a Pointwise of the same shape -> one Pointwise.
bool merge_into_user(Graph& graph, NodeId id) {
  if (op_of<Pointwise>(graph, id) == nullptr || requantizes(graph, id)) return false;
  const ValueId v = output(graph, id);
  const NodeId user = only_user(graph, v);
  if (op_of<Pointwise>(graph, user) == nullptr) return false;
  const Shape shape = graph.type(output(graph, user)).shape;
  if (!may_be_same(graph.type(v).shape, shape)) return false;
  std::vector<ValueId> inputs;
  PointwiseProgram program = join(graph.node(id), graph.node(user), v, inputs);
  // The joined slots of v itself are no longer read.
  std::vector<ValueId> kept;
  std::vector<int32_t> place;
  for (ValueId in : inputs) {
    place.push_back(in == v ? -1 : static_cast<int32_t>(kept.size()));
    if (in != v) kept.push_back(in);
  }
  for (PointwiseInstr& instr : program.code)
    if (instr.fn == Fn::input) instr.input = place[static_cast<size_t>(instr.input)];
  drop_unused_inputs(graph, shape, program, kept);
  program = simplify(program);
  drop_unused_inputs(graph, shape, program, kept);
  const bool of_byte = kept.size() == 1 && size_of(graph.type(kept[0]).dtype) == 1;
  if (program.code.size() > (of_byte ? kMaxOfByte : kMaxInstructions) || kept.size() > kMaxInputs) return false;
  return replace(graph, output(graph, user), emit(graph, Pointwise{program}, kept, {id, user}));
}

}  // namespace

Result<int> merge_pointwise(Graph& graph, int limit) { return apply(graph, limit, {merge_into_user}); }

}  // namespace hone
