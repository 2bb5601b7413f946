#include "ops/fused.h"

#include "base/counted.h"
#include "ops/table.h"

namespace hone {
namespace {

bool is_activation(Fn fn) {
  switch (fn) {
    case Fn::relu:
    case Fn::clip:
    case Fn::leaky_relu:
    case Fn::hard_swish:
    case Fn::hard_sigmoid:
    case Fn::sigmoid:
    case Fn::silu:
    case Fn::tanh:
    case Fn::gelu_erf: return true;
    default: return false;
  }
}

// Puts an activation whose parameters are constants into `form`.
bool take_activation(const PointwiseProgram& program, const PointwiseInstr& instr, EpilogueForm& form) {
  if (!is_activation(instr.fn)) return false;
  double* const parameters[] = {&form.a, &form.b};
  for (int i = 1; i < arity(instr.fn); ++i) {
    const PointwiseInstr& parameter = program.code[static_cast<size_t>(instr.operand[i])];
    if (parameter.fn != Fn::constant) return false;
    *parameters[i - 1] = parameter.value;
  }
  form.activation = instr.fn;
  return true;
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
    if (!take_activation(program_, last, form_)) return std::nullopt;
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
    return is_activation(instr.fn) && is_anchor(at(instr, 0)) && take_activation(program_, instr, form_);
  }

  const PointwiseProgram& program_;
  int anchor_;
  EpilogueForm form_;
};

// Goes from the result back to the sums, along the one operand of each instruction that depends on them.
class RequantizeMatcher {
 public:
  RequantizeMatcher(const PointwiseProgram& program, int anchor, std::span<const Spread> spreads)
      : program_(program), spreads_(spreads) {
    for (const PointwiseInstr& instr : program.code) {
      bool depends = instr.fn == Fn::input && instr.input == anchor;
      for (int i = 0; i < arity(instr.fn); ++i) depends = depends || depends_[static_cast<size_t>(instr.operand[i])];
      depends_.push_back(depends);
    }
  }

  std::optional<RequantizeForm> match() {
    const PointwiseInstr* v = &program_.code.back();
    if (v->type == DType::i32) return v->fn != Fn::input && take_sums(v) ? std::optional(form_) : std::nullopt;
    if (v->type == DType::i8) v = take_quantization(*v);
    if (v == nullptr) return std::nullopt;
    std::vector<const PointwiseInstr*> before, after;  // what is added, the last first
    while (v->fn != Fn::mul) {
      if (v->type != DType::f32) return std::nullopt;
      if (form_.rest.activation == Fn::input && take_activation(program_, *v, form_.rest)) {
        after.swap(before);
        v = &at(*v, 0);
      } else if (v->fn == Fn::add && side_of_sums(*v) >= 0) {
        before.push_back(&at(*v, 1 - side_of_sums(*v)));
        v = &at(*v, side_of_sums(*v));
      } else {
        return std::nullopt;
      }
    }
    if (!take_scale(*v) || !take_addends(before, after)) return std::nullopt;
    return form_;
  }

 private:
  const PointwiseInstr& at(const PointwiseInstr& user, int operand) const {
    return program_.code[static_cast<size_t>(user.operand[operand])];
  }
  Spread spread(const PointwiseInstr& input) const { return spreads_[static_cast<size_t>(input.input)]; }

  // The operand that depends on the sums while the other does not, or -1.
  int side_of_sums(const PointwiseInstr& instr) const {
    const bool first = depends_[static_cast<size_t>(instr.operand[0])],
               second = depends_[static_cast<size_t>(instr.operand[1])];
    return first == second ? -1 : first ? 0 : 1;
  }

  static bool is_cast(const PointwiseInstr& instr) { return instr.fn == Fn::cast || instr.fn == Fn::cast_saturate; }

  // An operand that is a constant whole number which i8 holds.
  static bool is_whole(const PointwiseInstr& instr) {
    const double x = instr.value;
    return instr.fn == Fn::constant && x >= -128 && x <= 127 && x == static_cast<int>(x);
  }

  // i8(clip(round(v * step) + zero, low, high)): v.
  const PointwiseInstr* take_quantization(const PointwiseInstr& last) {
    const auto is = [](const PointwiseInstr& instr, Fn fn) { return instr.fn == fn && instr.type == DType::f32; };
    if (!is_cast(last) || !is(at(last, 0), Fn::clip)) return nullptr;
    const PointwiseInstr &clip = at(last, 0), &low = at(clip, 1), &high = at(clip, 2);
    if (!is_whole(low) || !is_whole(high) || low.value > high.value) return nullptr;
    const PointwiseInstr* round = &at(clip, 0);
    if (is(*round, Fn::add)) {
      const int side = side_of_sums(*round);
      if (side < 0 || !is_whole(at(*round, 1 - side))) return nullptr;
      form_.zero = at(*round, 1 - side).value;
      round = &at(*round, side);
    }
    if (!is(*round, Fn::round)) return nullptr;
    form_.quantized = true;
    form_.low = low.value;
    form_.high = high.value;
    const PointwiseInstr& scaled = at(*round, 0);
    if (!is(scaled, Fn::mul) && !is(scaled, Fn::div)) return &scaled;
    const int side = side_of_sums(scaled);
    if (side < 0 || (scaled.fn == Fn::div && side != 0)) return nullptr;
    // What multiplies the sums themselves is their scale.
    if (scaled.fn == Fn::mul && is_cast(at(scaled, side))) return &scaled;
    const auto step = by_channel(at(scaled, 1 - side));
    if (!step) return nullptr;
    form_.step = *step;
    form_.divides = scaled.fn == Fn::div;
    return &at(scaled, side);
  }

  std::optional<EpilogueOperand> by_channel(const PointwiseInstr& instr, DType type = DType::f32) const {
    if (instr.type != type) return std::nullopt;
    if (instr.fn == Fn::constant) return EpilogueOperand{.value = instr.value};
    if (instr.fn == Fn::input && spread(instr).by_channel) return EpilogueOperand{.input = instr.input};
    return std::nullopt;
  }

  bool take_scale(const PointwiseInstr& product) {
    const int side = side_of_sums(product);
    if (side < 0 || product.type != DType::f32) return false;
    const PointwiseInstr& sums = at(product, side);
    if (!is_cast(sums) || !take_sums(&at(sums, 0))) return false;
    form_.scale = by_channel(at(product, 1 - side));
    return form_.scale.has_value();
  }

  // The sums themselves, or with what zero points add to them.
  bool take_sums(const PointwiseInstr* v) {
    while (v->fn == Fn::add && v->type == DType::i32) {
      const int side = side_of_sums(*v);
      if (side < 0 || !take_correction(at(*v, 1 - side))) return false;
      v = &at(*v, side);
    }
    return v->fn == Fn::input && v->type == DType::i32;
  }

  bool take_correction(const PointwiseInstr& instr) {
    if (const auto offset = by_channel(instr, DType::i32); offset && !form_.offset) {
      form_.offset = offset;
      return true;
    }
    const auto is_rows = [&](const PointwiseInstr& i) {
      return i.fn == Fn::input && i.type == DType::i32 && spread(i).by_row;
    };
    if (form_.row_sums >= 0 || instr.type != DType::i32) return false;
    if (is_rows(instr)) {  // times 1
      form_.row_sums = instr.input;
      form_.factor = EpilogueOperand{.value = 1};
      return true;
    }
    if (instr.fn != Fn::mul) return false;
    for (int side : {0, 1}) {
      const PointwiseInstr& rows = at(instr, side);
      const auto factor = by_channel(at(instr, 1 - side), DType::i32);
      if (!is_rows(rows) || !factor) continue;
      form_.row_sums = rows.input;
      form_.factor = factor;
      return true;
    }
    return false;
  }

  bool take_residual(const PointwiseInstr& instr) {
    if (instr.type != DType::f32) return false;
    const PointwiseInstr* input = &instr;
    if (instr.fn == Fn::mul) {
      const int side = at(instr, 0).fn == Fn::constant ? 1 : 0;
      const PointwiseInstr *cast = &at(instr, side), &scale = at(instr, 1 - side);
      if (cast->fn == Fn::sub && cast->type == DType::f32 && is_whole(at(*cast, 1))) {
        form_.residual_zero = at(*cast, 1).value;
        cast = &at(*cast, 0);
      }
      if (!is_cast(*cast) || cast->type != DType::f32 || scale.fn != Fn::constant) return false;
      input = &at(*cast, 0);
      if (input->type != DType::i8) return false;
      form_.residual_scale = scale.value;
    }
    if (input->fn != Fn::input || !spread(*input).by_element) return false;
    form_.rest.residual = input->input;
    return true;
  }

  bool take_addends(std::span<const PointwiseInstr* const> before, std::span<const PointwiseInstr* const> after) {
    if (before.size() + after.size() > 2 || after.size() > 1) return false;
    if (!before.empty()) form_.bias = by_channel(*before.back());
    if (form_.bias) before = before.first(before.size() - 1);
    form_.rest.residual_after_activation = !after.empty();
    if (before.size() + after.size() > 1) return false;
    return before.empty() && after.empty() ? true : take_residual(*(after.empty() ? before : after)[0]);
  }

  const PointwiseProgram& program_;
  std::span<const Spread> spreads_;
  std::vector<bool> depends_;
  RequantizeForm form_;
};

// The program over f32 of one whose inputs and result are `stored` and cast; empty where it is none.
PointwiseProgram in_f32(const PointwiseProgram& program, DType stored) {
  PointwiseProgram out;
  std::vector<int32_t> place;
  if (program.result_type() != stored || program.code.back().fn != Fn::cast) return out;
  for (size_t i = 0; i + 1 < program.code.size(); ++i) {
    PointwiseInstr instr = program.code[i];
    const auto operand = [&](int k) { return place[static_cast<size_t>(instr.operand[k])]; };
    if (instr.fn == Fn::cast && (instr.type == DType::f32 || instr.type == stored)) {
      place.push_back(operand(0));
      continue;
    }
    if (instr.fn == Fn::input) {
      if (instr.type != stored) return {};
      instr.type = DType::f32;
    }
    for (int k = 0; k < arity(instr.fn); ++k) instr.operand[k] = operand(k);
    place.push_back(static_cast<int32_t>(out.code.size()));
    out.code.push_back(instr);
  }
  return out;
}

}  // namespace

std::optional<EpilogueForm> as_epilogue(const PointwiseProgram& program, int anchor, DType stored) {
  const auto plain = stored == DType::f32 ? program : in_f32(program, stored);
  for (const PointwiseInstr& instr : plain.code)
    if (instr.type != DType::f32) return std::nullopt;
  return plain.code.empty() ? std::nullopt : Matcher(plain, anchor).match();
}

Spread spread_of(const Shape& input, const Shape& result) {
  if (!input.ranked || !result.known() || input.rank() > result.rank()) return {};
  Spread spread{.by_channel = true, .by_element = input == result};
  Shape rows = result;
  if (!rows.dims.empty()) rows.dims.back() = Dim(1);
  spread.by_row = input == rows;
  for (size_t i = 0; i < input.dims.size(); ++i) {
    const bool last = i + 1 == input.dims.size();
    spread.by_channel &= input.dims[i] == Dim(1) || (last && input.dims[i] == result.dims.back());
  }
  return spread;
}

std::optional<RequantizeForm> as_requantize(const PointwiseProgram& program, int anchor,
                                            std::span<const Spread> spreads) {
  return RequantizeMatcher(program, anchor, spreads).match();
}

Result<Types> Fused::infer(const InferArgs& args) const {
  if (!body || args.types.size() != body->inputs().size())
    return invalid("Fused: {} for its body", counted(args.types.size(), "input"));
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
