#include "tactics/rnn_cell.h"

namespace hone {
namespace {

// Appends f32 instructions to a program.
class Builder {
 public:
  Builder(const Rnn& op, int64_t direction) : op_(op), first_(static_cast<size_t>(direction) * op.functions()) {}

  int input(int i) { return append({.fn = Fn::input, .input = i}); }
  int number(double value) { return append({.fn = Fn::constant, .value = value}); }
  int apply(Fn fn, int a, int b = -1, int c = -1) { return append({.fn = fn, .operand = {a, b, c}}); }
  int add_product(int a, int b, int c) { return apply(Fn::add, a, apply(Fn::mul, b, c)); }

  // The direction's k-th activation of x, which is bounded first.
  int activate(size_t k, int x) {
    if (op_.clip > 0) x = apply(Fn::clip, x, number(-op_.clip), number(op_.clip));
    const std::string& name = op_.activations[first_ + k];
    const double alpha = op_.alpha[first_ + k], beta = op_.beta[first_ + k];
    if (name == "sigmoid") return apply(Fn::sigmoid, x);
    if (name == "tanh") return apply(Fn::tanh, x);
    if (name == "relu") return apply(Fn::relu, x);
    if (name == "softsign") return apply(Fn::softsign, x);
    if (name == "softplus") return apply(Fn::softplus, x);
    if (name == "leakyrelu") return apply(Fn::leaky_relu, x, number(alpha));
    if (name == "elu") return apply(Fn::elu, x, number(alpha));
    if (name == "hardsigmoid") return apply(Fn::hard_sigmoid, x, number(alpha), number(beta));
    if (name == "affine") return add_product(number(beta), number(alpha), x);
    if (name == "scaledtanh") return apply(Fn::mul, number(alpha), apply(Fn::tanh, apply(Fn::mul, number(beta), x)));
    // thresholdedrelu
    const int above = append({.fn = Fn::greater, .type = DType::boolean, .operand = {x, number(alpha), -1}});
    return apply(Fn::where, above, x, number(0));
  }

  PointwiseProgram take() { return std::move(program_); }

 private:
  int append(PointwiseInstr instr) {
    if (instr.fn == Fn::constant) instr.value = static_cast<double>(static_cast<float>(instr.value));
    program_.code.push_back(instr);
    return static_cast<int>(program_.code.size()) - 1;
  }

  const Rnn& op_;
  size_t first_;
  PointwiseProgram program_;
};

PointwiseProgram lstm_cell(const Rnn& op, int64_t direction, bool peepholes) {
  Builder b(op, direction);
  const int c = b.input(4);
  const auto gate = [&](int i, int peephole) {
    const int x = b.input(i);
    return b.activate(0, peepholes ? b.add_product(x, b.input(peephole), c) : x);
  };
  const int in = gate(0, 5);
  const int forget = op.input_forget ? b.apply(Fn::sub, b.number(1), in) : gate(2, 7);
  const int candidate = b.activate(1, b.input(3));
  b.add_product(b.apply(Fn::mul, forget, c), in, candidate);
  return b.take();
}

PointwiseProgram lstm_state(const Rnn& op, int64_t direction, bool peepholes) {
  Builder b(op, direction);
  const int c = b.input(4), x = b.input(1);
  const int out = b.activate(0, peepholes ? b.add_product(x, b.input(6), c) : x);
  b.apply(Fn::mul, out, b.activate(2, c));
  return b.take();
}

PointwiseProgram gru_reset(const Rnn& op, int64_t direction) {
  Builder b(op, direction);
  const int reset = b.activate(0, b.input(1));
  b.apply(Fn::mul, reset, b.input(3));
  return b.take();
}

PointwiseProgram gru_state(const Rnn& op, int64_t direction) {
  Builder b(op, direction);
  const int update = b.activate(0, b.input(0)), state = b.input(3);
  int candidate = b.input(2);
  if (op.linear_before_reset) {
    const int reset = b.activate(0, b.input(1));
    candidate = b.add_product(candidate, reset, b.input(4));
  }
  candidate = b.activate(1, candidate);
  const int kept = b.apply(Fn::mul, update, state);
  b.add_product(kept, b.apply(Fn::sub, b.number(1), update), candidate);
  return b.take();
}

PointwiseProgram plain_state(const Rnn& op, int64_t direction) {
  Builder b(op, direction);
  b.activate(0, b.input(0));
  return b.take();
}

}  // namespace

CellPrograms cell_programs(const Rnn& op, int64_t direction, bool peepholes) {
  if (op.cell == "lstm") return {lstm_cell(op, direction, peepholes), lstm_state(op, direction, peepholes)};
  if (op.cell == "gru") return {gru_reset(op, direction), gru_state(op, direction)};
  return {{}, plain_state(op, direction)};
}

}  // namespace hone
