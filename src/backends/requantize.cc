#include "backends/requantize.h"

#include <algorithm>
#include <cmath>

#include "backends/integers.h"
#include "ops/pointwise.h"
#include "passes/rewrite.h"

namespace hone {
namespace {

using namespace rewrite;

struct Folding {
  Graph& graph;
  const Node node;
  const RequantizeForm& form;
  std::vector<ValueId> inputs = {};
  PointwiseProgram program = {};

  int32_t push(PointwiseInstr instr) {
    program.code.push_back(instr);
    return static_cast<int32_t>(program.code.size()) - 1;
  }
  int32_t read(ValueId v) {
    inputs.push_back(v);
    return push({.fn = Fn::input, .type = graph.type(v).dtype, .input = static_cast<int32_t>(inputs.size()) - 1});
  }
  int32_t apply(Fn fn, int32_t a, int32_t b = -1, int32_t c = -1) { return push({.fn = fn, .operand = {a, b, c}}); }
  int32_t constant(double value) { return push({.fn = Fn::constant, .value = static_cast<float>(value)}); }
  ValueId input(int index) const { return node.inputs[static_cast<size_t>(index)]; }

  bool is_constant(const EpilogueOperand& operand) const {
    return operand.input < 0 || graph.value(input(operand.input)).is_constant();
  }

  // Element i of an operand that is a constant.
  double element(const EpilogueOperand& operand, int64_t i) const {
    if (operand.input < 0) return operand.value;
    const Tensor& t = graph.value(input(operand.input)).constant;
    return t.at(t.count() == 1 ? 0 : i);
  }
  int64_t count(const EpilogueOperand& operand) const {
    return operand.input < 0 ? 1 : graph.value(input(operand.input)).constant.count();
  }

  // The operand times the step.
  int32_t product(const EpilogueOperand& operand, const EpilogueOperand& step) {
    Tensor scaled(DType::f32, {std::max(count(operand), count(step))});
    for (int64_t i = 0; i < scaled.count(); ++i)
      scaled.mutable_data<float>()[i] = static_cast<float>(element(operand, i) * element(step, i));
    if (scaled.count() == 1) return constant(scaled.at(0));
    return read(graph.add_constant(std::move(scaled), operand.input < 0 ? "" : graph.value(input(operand.input)).name));
  }
};

using Bounds = std::pair<double, double>;

// The bounds of the result in which those of an activation that clips are, too, where a value has this step.
Bounds clipped(const RequantizeForm& form, double step) {
  const auto rounded = [&](double v) -> double { return std::nearbyint(static_cast<float>(v * step)); };
  const double low = std::clamp(rounded(form.rest.a), form.low, form.high);
  return {low, std::clamp(rounded(form.rest.b), low, form.high)};
}

// The same of any activation; nothing when it does more than clip, or not all channels have the same bounds.
std::optional<Bounds> bounds(const Folding& f) {
  const RequantizeForm& form = f.form;
  if (form.rest.activation == Fn::input) return Bounds(form.low, form.high);
  if (form.rest.activation == Fn::relu) return Bounds(std::max(form.low, 0.0), form.high);
  if (form.rest.activation != Fn::clip) return std::nullopt;
  const Bounds first = clipped(form, f.element(form.step, 0));
  for (int64_t i = 1; i < f.count(form.step); ++i)
    if (clipped(form, f.element(form.step, i)) != first) return std::nullopt;
  return first;
}

bool fold_steps_of(Graph& graph, NodeId id) {
  if (op_of<Pointwise>(graph, id) == nullptr || graph.type(output(graph, id)).dtype != DType::i8) return false;
  const Node& node = graph.node(id);
  const auto sums = std::find_if(node.inputs.begin(), node.inputs.end(),
                                 [&](ValueId v) { return graph.type(v).dtype == DType::i32; });
  if (sums == node.inputs.end()) return false;
  const auto form = requantization_of(graph, id, *sums);
  if (!form || !form->quantized || form->divides || form->rest.residual_after_activation) return false;
  if (form->zero != 0 || form->residual_zero != 0 || form->offset || form->row_sums >= 0) return false;
  if (form->rest.residual >= 0 && !form->residual_scale) return false;
  Folding f{graph, node, *form};
  if (!f.is_constant(*form->scale) || !f.is_constant(form->step)) return false;
  const auto clip = bounds(f);
  if (!clip) return false;
  if (form->bias && !f.is_constant(*form->bias)) return false;
  for (int64_t i = 0; i < f.count(form->step); ++i)
    if (!(f.element(form->step, i) > 0)) return false;
  // A residual has one scale: behind it, steps by channel stay.
  const bool stays = form->rest.residual >= 0 && form->step.input >= 0;
  const bool folded = stays || (form->step.input < 0 && form->step.value == 1);
  if (folded && form->rest.activation == Fn::input) return false;

  int32_t v = f.apply(Fn::cast, f.read(*sums));
  const EpilogueOperand one{.value = 1}, &step = stays ? one : form->step;
  v = f.apply(Fn::mul, v, f.product(*form->scale, step));
  if (form->bias) v = f.apply(Fn::add, v, f.product(*form->bias, step));
  if (form->rest.residual >= 0) {
    const int32_t residual = f.apply(Fn::cast, f.read(f.input(form->rest.residual)));
    v = f.apply(Fn::add, v, f.apply(Fn::mul, residual, f.constant(*form->residual_scale * step.value)));
  }
  if (stays) v = f.apply(Fn::mul, v, f.read(f.input(form->step.input)));
  const int32_t rounded = f.apply(Fn::round, v), low = f.constant(clip->first), high = f.constant(clip->second);
  f.push({.fn = Fn::cast, .type = DType::i8, .operand = {f.apply(Fn::clip, rounded, low, high), -1, -1}});
  return replace(graph, output(graph, id), emit(graph, Pointwise{f.program}, f.inputs, {id}));
}

}  // namespace

void fold_steps(Graph& graph) {
  for (NodeId id : graph.order())
    if (graph.alive(id)) fold_steps_of(graph, id);
}

}  // namespace hone
