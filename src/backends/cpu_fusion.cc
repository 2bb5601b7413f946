#include "backends/cpu_fusion.h"

#include <algorithm>

#include "ops/fused.h"
#include "ops/pointwise.h"
#include "passes/fuse/body.h"
#include "passes/pointwise/program.h"
#include "passes/rewrite.h"

namespace hone {
namespace {

using namespace rewrite;

struct Elementwise {
  PointwiseProgram program;
  std::vector<ValueId> inputs;
};

Elementwise simplified(const Graph& graph, const Shape& shape, Elementwise work) {
  work.program = simplify(work.program);
  drop_unused_inputs(graph, shape, work.program, work.inputs);
  return work;
}

// Whether instruction `at` depends on input `from` other than through instruction `through`.
bool depends(const PointwiseProgram& program, size_t at, int from, size_t through) {
  std::vector<bool> marks;
  for (size_t i = 0; i <= at; ++i) {
    const PointwiseInstr& instr = program.code[i];
    bool mark = instr.fn == Fn::input && instr.input == from;
    for (int k = 0; k < arity(instr.fn); ++k) mark = mark || marks[static_cast<size_t>(instr.operand[k])];
    marks.push_back(mark && i != through);
  }
  return marks.back();
}

// The first instruction before the last that makes an i8 of the input `sums` which is all that the result takes of it;
// as many as there are when there is none.
size_t waist_of(const PointwiseProgram& program, int sums) {
  const size_t last = program.code.size() - 1;
  for (size_t i = 0; i < last; ++i) {
    const PointwiseInstr& instr = program.code[i];
    if (instr.fn == Fn::cast && instr.type == DType::i8 && depends(program, i, sums, last) &&
        !depends(program, last, sums, i))
      return i;
  }
  return last + 1;
}

bool is_requantization(const Graph& graph, const Shape& shape, const Elementwise& work, ValueId sums) {
  std::vector<Spread> spreads;
  for (ValueId v : work.inputs) spreads.push_back(spread_of(graph.type(v).shape, shape));
  const auto at = std::find(work.inputs.begin(), work.inputs.end(), sums) - work.inputs.begin();
  return as_requantize(work.program, static_cast<int>(at), spreads).has_value();
}

// Leaves to a second node what comes after the first i8 of the sums; true where the first can be fused then.
bool split(Graph& graph, NodeId id, ValueId sums) {
  const Node node = graph.node(id);
  const PointwiseProgram& program = node.op.as<Pointwise>()->program;
  const Shape shape = graph.type(output(graph, id)).shape;
  const auto anchor = std::find(node.inputs.begin(), node.inputs.end(), sums) - node.inputs.begin();
  const size_t waist = waist_of(program, static_cast<int>(anchor));
  if (waist >= program.code.size()) return false;
  Elementwise first{program, node.inputs};
  first.program.code.resize(waist + 1);
  first = simplified(graph, shape, std::move(first));
  if (!is_requantization(graph, shape, first, sums)) return false;
  const ValueId bytes = emit(graph, Pointwise{first.program}, first.inputs, {});
  Elementwise second{program, node.inputs};
  second.program.code[waist] = {
      .fn = Fn::input, .type = DType::i8, .input = static_cast<int32_t>(second.inputs.size())};
  second.inputs.push_back(bytes);
  second = simplified(graph, shape, std::move(second));
  return replace(graph, output(graph, id), emit(graph, Pointwise{second.program}, second.inputs, {id}));
}

// The product of i8 that makes a value for one reader, whose kernels take what is elementwise; else none.
NodeId product_of(const Graph& graph, ValueId v, const Shape& shape) {
  const NodeId id = graph.value(v).producer;
  const bool sums = graph.type(v).dtype == DType::i32 && graph.type(v).shape == shape && shape.known();
  return id != NodeId::none && sums && takes_epilogue(graph, id) && used_once(graph, v) ? id : NodeId::none;
}

bool fuse_requantization(Graph& graph, NodeId id) {
  const auto* pointwise = op_of<Pointwise>(graph, id);
  if (pointwise == nullptr) return false;
  const Node node = graph.node(id);
  const Shape shape = graph.type(output(graph, id)).shape;
  for (ValueId v : node.inputs) {
    const NodeId product = product_of(graph, v, shape);
    if (product == NodeId::none) continue;
    NodeId behind = id;
    if (!is_requantization(graph, shape, {pointwise->program, node.inputs}, v)) {
      if (!split(graph, id, v)) continue;
      behind = graph.value(v).users[0];
    }
    std::vector<ValueId> inputs;
    Op fused = fused_op(graph, product, behind, inputs);
    return replace(graph, output(graph, behind), emit(graph, std::move(fused), std::move(inputs), {product, behind}));
  }
  return false;
}

}  // namespace

void fuse_for_cpu(Graph& graph) {
  for (NodeId id : graph.order())
    if (graph.alive(id)) fuse_requantization(graph, id);
}

}  // namespace hone
