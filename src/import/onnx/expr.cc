#include "import/onnx/expr.h"

#include "base/tensor.h"

namespace hone::import_onnx {

DType Expr::type() const { return formula_->program_.code[static_cast<size_t>(id_)].type; }
Expr Expr::like(double value) const { return formula_->constant(value, type()); }

Expr Formula::input(DType type) {
  program_.code.push_back({.fn = Fn::input, .type = type, .input = inputs_++});
  return {this, static_cast<int32_t>(program_.code.size() - 1)};
}

Expr Formula::constant(double value, DType type) {
  if (size_of(type) > 0) {  // else the program is refused when it becomes a node
    Tensor rounded(type, {});
    rounded.set(0, value);
    value = rounded.at(0);
  }
  program_.code.push_back({.fn = Fn::constant, .type = type, .value = value});
  return {this, static_cast<int32_t>(program_.code.size() - 1)};
}

Expr Formula::apply(Fn fn, DType type, std::initializer_list<Expr> operands) {
  PointwiseInstr instr{.fn = fn, .type = type};
  size_t k = 0;
  for (const Expr& operand : operands) instr.operand[k++] = operand.id_;
  program_.code.push_back(instr);
  return {this, static_cast<int32_t>(program_.code.size() - 1)};
}

PointwiseProgram Formula::program(Expr result) const {
  PointwiseProgram program = program_;
  program.code.resize(static_cast<size_t>(result.id_) + 1);
  return program;
}

bool is_predicate(Fn fn) {
  return (fn >= Fn::equal && fn <= Fn::logical_not) || fn == Fn::is_nan || fn == Fn::is_inf;
}

Expr apply(Fn fn, Expr a) { return a.formula().apply(fn, is_predicate(fn) ? DType::boolean : a.type(), {a}); }

Expr apply(Fn fn, Expr a, Expr b) {
  return a.formula().apply(fn, is_predicate(fn) ? DType::boolean : a.type(), {a, b});
}

Expr apply(Fn fn, Expr a, Expr b, Expr c) { return a.formula().apply(fn, a.type(), {a, b, c}); }

Expr where(Expr condition, Expr yes, Expr no) {
  return condition.formula().apply(Fn::where, yes.type(), {condition, yes, no});
}

Expr cast(Expr x, DType type) { return x.formula().apply(Fn::cast, type, {x}); }

}  // namespace hone::import_onnx
