#include "passes/pointwise/program.h"

#include <algorithm>
#include <cmath>

#include "ops/pointwise_eval.h"

namespace hone {
namespace {

bool is_constant(const PointwiseInstr& instr, double value) { return instr.fn == Fn::constant && instr.value == value; }

bool commutes(Fn fn) {
  return fn == Fn::add || fn == Fn::mul || fn == Fn::min || fn == Fn::max || fn == Fn::equal || fn == Fn::logical_and ||
         fn == Fn::logical_or || fn == Fn::logical_xor || fn == Fn::bit_and || fn == Fn::bit_or || fn == Fn::bit_xor;
}

// fn over constants -> a constant, where its type holds the result exactly.
bool compute(PointwiseInstr& instr, const std::vector<PointwiseInstr>& code) {
  const int operands = arity(instr.fn);
  if (operands == 0 || instr.type == DType::i64 || instr.type == DType::u64) return false;
  PointwiseProgram tiny;
  PointwiseInstr last = instr;
  for (int i = 0; i < operands; ++i) {
    const PointwiseInstr& operand = code[static_cast<size_t>(instr.operand[i])];
    if (operand.fn != Fn::constant) return false;
    tiny.code.push_back(operand);
    last.operand[i] = i;
  }
  tiny.code.push_back(last);
  Tensor out(instr.type, {});
  ScalarProgram(tiny).run({}, {}, out, 0);
  instr = {.fn = Fn::constant, .type = instr.type, .value = out.at(0)};
  return true;
}

// The operand that an instruction merely passes on; -1 when it does something.
int32_t passes_on(const PointwiseInstr& instr, const std::vector<PointwiseInstr>& code) {
  const auto at = [&](int i) -> const PointwiseInstr& { return code[static_cast<size_t>(instr.operand[i])]; };
  switch (instr.fn) {
    case Fn::cast:
    case Fn::cast_saturate: return at(0).type == instr.type && !is_float(instr.type) ? instr.operand[0] : -1;
    case Fn::add: return is_constant(at(1), 0) ? instr.operand[0] : is_constant(at(0), 0) ? instr.operand[1] : -1;
    case Fn::sub: return is_constant(at(1), 0) ? instr.operand[0] : -1;
    case Fn::mul: return is_constant(at(1), 1) ? instr.operand[0] : is_constant(at(0), 1) ? instr.operand[1] : -1;
    case Fn::div:
    case Fn::pow: return is_constant(at(1), 1) && at(0).type == instr.type ? instr.operand[0] : -1;
    case Fn::relu: return at(0).fn == Fn::relu || at(0).fn == Fn::sigmoid ? instr.operand[0] : -1;
    case Fn::neg: return at(0).fn == Fn::neg ? at(0).operand[0] : -1;
    default: return -1;
  }
}

// One function for two: pow(x, 2) is square(x), max(x, 0) is relu(x).
void shorten(PointwiseInstr& instr, const std::vector<PointwiseInstr>& code) {
  if (arity(instr.fn) != 2) return;
  const PointwiseInstr& a = code[static_cast<size_t>(instr.operand[0])];
  const PointwiseInstr& b = code[static_cast<size_t>(instr.operand[1])];
  const bool real = is_float(instr.type);
  const auto unary = [&](Fn fn, int32_t operand) {
    instr = {.fn = fn, .type = instr.type, .operand = {operand, -1, -1}};
  };
  if (instr.fn == Fn::pow && is_constant(b, 2) && a.type == instr.type) unary(Fn::square, instr.operand[0]);
  else if (instr.fn == Fn::pow && is_constant(b, 0.5) && real) unary(Fn::sqrt, instr.operand[0]);
  else if (instr.fn == Fn::mul && instr.operand[0] == instr.operand[1] && real) unary(Fn::square, instr.operand[0]);
  else if (instr.fn == Fn::max && is_constant(b, 0) && real) unary(Fn::relu, instr.operand[0]);
  else if (instr.fn == Fn::max && is_constant(a, 0) && real) unary(Fn::relu, instr.operand[1]);
  else if (instr.fn == Fn::div && is_constant(a, 1) && real) unary(Fn::reciprocal, instr.operand[1]);
}

// Rebuilds a program instruction by instruction, each merged with an equal one before it.
PointwiseProgram rebuild(const PointwiseProgram& program) {
  std::vector<PointwiseInstr> code;
  std::vector<int32_t> now(program.code.size());
  for (size_t i = 0; i < program.code.size(); ++i) {
    PointwiseInstr instr = program.code[i];
    for (int k = 0; k < arity(instr.fn); ++k) instr.operand[k] = now[static_cast<size_t>(instr.operand[k])];
    if (commutes(instr.fn) && instr.operand[0] > instr.operand[1]) std::swap(instr.operand[0], instr.operand[1]);
    shorten(instr, code);
    compute(instr, code);
    if (const int32_t same = passes_on(instr, code); same >= 0) {
      now[i] = same;
      continue;
    }
    const auto equal = std::find_if(code.begin(), code.end(), [&](const PointwiseInstr& c) {
      return c == instr && std::signbit(c.value) == std::signbit(instr.value);
    });
    now[i] = static_cast<int32_t>(equal - code.begin());
    if (equal == code.end()) code.push_back(instr);
  }
  // The last instruction is the result, and only what it needs stays.
  std::vector<bool> needed(code.size(), false);
  needed[static_cast<size_t>(now.back())] = true;
  for (size_t i = code.size(); i-- > 0;)
    for (int k = 0; needed[i] && k < arity(code[i].fn); ++k) needed[static_cast<size_t>(code[i].operand[k])] = true;
  PointwiseProgram out;
  std::vector<int32_t> place(code.size(), -1);
  for (size_t i = 0; i < code.size(); ++i) {
    if (!needed[i]) continue;
    PointwiseInstr instr = code[i];
    for (int k = 0; k < arity(instr.fn); ++k) instr.operand[k] = place[static_cast<size_t>(instr.operand[k])];
    place[i] = static_cast<int32_t>(out.code.size());
    out.code.push_back(instr);
  }
  return out;
}

}  // namespace

PointwiseProgram simplify(const PointwiseProgram& program) {
  PointwiseProgram out = rebuild(program);
  for (size_t steps = 0; steps <= program.code.size(); ++steps) {
    const PointwiseProgram before = out;
    (void)name_function(out);
    out = rebuild(out);
    if (out == before) break;
  }
  return out;
}

void drop_unused_inputs(const Graph& graph, const Shape& output, PointwiseProgram& program,
                        std::vector<ValueId>& inputs) {
  std::vector<ValueId> kept;
  std::vector<int32_t> place(inputs.size(), -1);
  std::vector<bool> used(inputs.size(), false);
  for (const PointwiseInstr& instr : program.code)
    if (instr.fn == Fn::input) used[static_cast<size_t>(instr.input)] = true;
  Shape shape;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!used[i]) continue;
    auto joined = broadcast(shape, graph.type(inputs[i]).shape);
    if (joined.ok()) shape = *joined;
  }
  const bool keep_all = !rewrite::same_shape(shape, output);
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!used[i] && !keep_all) continue;
    const auto same = std::find(kept.begin(), kept.end(), inputs[i]);
    place[i] = static_cast<int32_t>(same - kept.begin());
    if (same == kept.end()) kept.push_back(inputs[i]);
  }
  for (PointwiseInstr& instr : program.code)
    if (instr.fn == Fn::input) instr.input = place[static_cast<size_t>(instr.input)];
  inputs = std::move(kept);
}

}  // namespace hone
