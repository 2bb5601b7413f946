#include "ops/fused.h"

#include "ops/table.h"

namespace hone {
namespace {

bool is_activation(Fn fn) {
  switch (fn) {
    case Fn::relu: case Fn::clip: case Fn::leaky_relu: case Fn::hard_swish: case Fn::hard_sigmoid:
    case Fn::sigmoid: case Fn::silu: case Fn::tanh: case Fn::gelu_erf: return true;
    default: return false;
  }
}

class Matcher {
 public:
  Matcher(const PointwiseProgram& program, int anchor) : program_(program), anchor_(anchor) {}

  std::optional<EpilogueForm> match() {
    const PointwiseInstr& last = program_.code.back();
    if (last.fn == Fn::add) {
      for (int side : {0, 1}) {
        const PointwiseInstr &x = at(last, side), &r = at(last, 1 - side);
        if (r.fn != Fn::input || r.input == anchor_) continue;
        if (is_anchor(x) || activation_of_anchor(x)) {
          form_.residual = r.input;
          form_.residual_after_activation = !is_anchor(x);
          return form_;
        }
      }
      return std::nullopt;
    }
    if (!take_activation(last)) return std::nullopt;
    const PointwiseInstr& x = at(last, 0);
    if (is_anchor(x)) return form_;
    if (x.fn != Fn::add) return std::nullopt;
    for (int side : {0, 1}) {
      const PointwiseInstr& r = at(x, 1 - side);
      if (!is_anchor(at(x, side)) || r.fn != Fn::input || r.input == anchor_) continue;
      form_.residual = r.input;
      return form_;
    }
    return std::nullopt;
  }

 private:
  const PointwiseInstr& at(const PointwiseInstr& user, int operand) const {
    return program_.code[static_cast<size_t>(user.operand[operand])];
  }
  bool is_anchor(const PointwiseInstr& instr) const { return instr.fn == Fn::input && instr.input == anchor_; }
  bool activation_of_anchor(const PointwiseInstr& instr) {
    return is_activation(instr.fn) && is_anchor(at(instr, 0)) && take_activation(instr);
  }

  bool take_activation(const PointwiseInstr& instr) {
    if (!is_activation(instr.fn)) return false;
    double* const parameters[] = {&form_.a, &form_.b};
    for (int i = 1; i < arity(instr.fn); ++i) {
      if (at(instr, i).fn != Fn::constant) return false;
      *parameters[i - 1] = at(instr, i).value;
    }
    form_.activation = instr.fn;
    return true;
  }

  const PointwiseProgram& program_;
  int anchor_;
  EpilogueForm form_;
};

}  // namespace

std::optional<EpilogueForm> as_epilogue(const PointwiseProgram& program, int anchor) {
  for (const PointwiseInstr& instr : program.code)
    if (instr.type != DType::f32) return std::nullopt;
  return Matcher(program, anchor).match();
}

Result<Types> Fused::infer(const InferArgs& args) const {
  if (!body || args.types.size() != body->inputs().size())
    return invalid("Fused: {} inputs for its body", args.types.size());
  Types types;
  for (ValueId v : body->outputs()) types.push_back(body->type(v));
  return types;
}

Result<Tensors> Fused::evaluate(const EvalArgs& args) const { return interpret(*body, args.inputs); }

std::span<const OpRow> fused_ops() {
  static constexpr OpRow kRows[] = {op_row<Fused>()};
  return kRows;
}

}  // namespace hone
