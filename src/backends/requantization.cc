#include "backends/requantization.h"

#include <algorithm>

#include "ops/pointwise.h"
#include "passes/fuse/body.h"
#include "passes/pointwise/program.h"
#include "passes/rewrite.h"

namespace hone {
namespace {

using namespace rewrite;

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

// The first instruction before the last that makes an i8 which is all that the result takes of input `sums`.
std::optional<size_t> waist_of(const PointwiseProgram& program, int sums) {
  const size_t last = program.code.size() - 1;
  for (size_t i = 0; i < last; ++i) {
    const PointwiseInstr& instr = program.code[i];
    if (instr.fn == Fn::cast && instr.type == DType::i8 && depends(program, i, sums, last) &&
        !depends(program, last, sums, i))
      return i;
  }
  return std::nullopt;
}

ValueId emit_simplified(Graph& graph, PointwiseProgram program, std::vector<ValueId> inputs, const Shape& shape,
                        const std::vector<std::string>& sources) {
  program = simplify(program);
  drop_unused_inputs(graph, shape, program, inputs);
  return emit(graph, Pointwise{program}, inputs, sources);
}

}  // namespace

bool is_sums(const Graph& graph, ValueId v) {
  const NodeId id = graph.value(v).producer;
  return id != NodeId::none && graph.type(v).dtype == DType::i32 && takes_epilogue(graph, id) && used_once(graph, v);
}

NodeId split_behind_i8(Graph& graph, NodeId id, ValueId sums) {
  const Node node = graph.node(id);
  const PointwiseProgram& program = node.op.as<Pointwise>()->program;
  const auto place = std::find(node.inputs.begin(), node.inputs.end(), sums) - node.inputs.begin();
  const auto waist = waist_of(program, static_cast<int>(place));
  const Shape shape = graph.type(output(graph, id)).shape;
  if (!waist || !same_shape(graph.type(sums).shape, shape)) return id;
  PointwiseProgram before = program, behind = program;
  before.code.resize(*waist + 1);
  const ValueId bytes = emit_simplified(graph, std::move(before), node.inputs, shape, {});
  std::vector<ValueId> inputs = node.inputs;
  behind.code[*waist] = {.fn = Fn::input, .type = DType::i8, .input = static_cast<int32_t>(inputs.size())};
  inputs.push_back(bytes);
  replace(graph, output(graph, id), emit_simplified(graph, std::move(behind), inputs, shape, node.sources));
  return graph.value(bytes).producer;
}

void separate_sums(Graph& graph) {
  for (NodeId id : graph.order()) {
    if (op_of<Pointwise>(graph, id) == nullptr) continue;
    std::vector<ValueId> sums;
    for (ValueId v : graph.node(id).inputs)
      if (is_sums(graph, v)) sums.push_back(v);
    for (size_t i = 0; i + 1 < sums.size(); ++i) {
      const NodeId first = split_behind_i8(graph, id, sums[i]);
      if (first != id) id = graph.value(output(graph, first)).users[0];
    }
  }
}

}  // namespace hone
