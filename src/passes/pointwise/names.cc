#include <algorithm>
#include <cmath>

#include "passes/pointwise/program.h"

namespace hone {
namespace {

// Reads a program as expressions. Products and sums are flattened, so that the order in which factors were multiplied
// does not matter.
class Reader {
 public:
  explicit Reader(const PointwiseProgram& program) : code_(program.code) {}

  const PointwiseInstr& at(int32_t i) const { return code_[static_cast<size_t>(i)]; }

  // A product: a constant times some other instructions.
  struct Product {
    double constant = 1;
    std::vector<int32_t> factors;

    // Removes one occurrence.
    bool take(int32_t factor) {
      const auto found = std::find(factors.begin(), factors.end(), factor);
      if (found == factors.end()) return false;
      factors.erase(found);
      return true;
    }
  };

  Product product(int32_t i) const {
    Product out;
    collect(i, out, 0);
    return out;
  }

  // i = x + c for some constant c; the other operand's index, else -1.
  int32_t plus_constant(int32_t i, double& c) const {
    const PointwiseInstr& instr = at(i);
    if (instr.fn != Fn::add && instr.fn != Fn::sub) return -1;
    if (at(instr.operand[1]).fn == Fn::constant) {
      c = instr.fn == Fn::add ? at(instr.operand[1]).value : -at(instr.operand[1]).value;
      return instr.operand[0];
    }
    if (instr.fn == Fn::add && at(instr.operand[0]).fn == Fn::constant) {
      c = at(instr.operand[0]).value;
      return instr.operand[1];
    }
    return -1;
  }

  // i = clip(x, lo, hi) in any spelling; the index of x, else -1.
  int32_t clipped(int32_t i, double& lo, double& hi) const {
    const PointwiseInstr& instr = at(i);
    if (instr.fn == Fn::clip && at(instr.operand[1]).fn == Fn::constant && at(instr.operand[2]).fn == Fn::constant) {
      lo = at(instr.operand[1]).value;
      hi = at(instr.operand[2]).value;
      return instr.operand[0];
    }
    if (const int32_t inner = with_constant(i, Fn::min, hi); inner >= 0) return lower_bounded(inner, lo);
    if (const int32_t inner = lower_bounded(i, lo); inner >= 0) return with_constant(inner, Fn::min, hi);
    return -1;
  }

 private:
  void collect(int32_t i, Product& out, int depth) const {
    const PointwiseInstr& instr = at(i);
    if (depth < 32 && instr.fn == Fn::mul) {
      collect(instr.operand[0], out, depth + 1);
      collect(instr.operand[1], out, depth + 1);
    } else if (depth < 32 && instr.fn == Fn::div && at(instr.operand[1]).fn == Fn::constant) {
      collect(instr.operand[0], out, depth + 1);
      out.constant /= at(instr.operand[1]).value;
    } else if (instr.fn == Fn::square) {
      collect(instr.operand[0], out, 32);
      collect(instr.operand[0], out, 32);
    } else if (instr.fn == Fn::neg) {
      out.constant = -out.constant;
      collect(instr.operand[0], out, depth + 1);
    } else if (instr.fn == Fn::constant) {
      out.constant *= instr.value;
    } else {
      out.factors.push_back(i);
    }
  }

  // i = fn(x, c): the index of x, else -1.
  int32_t with_constant(int32_t i, Fn fn, double& c) const {
    const PointwiseInstr& instr = at(i);
    if (instr.fn != fn) return -1;
    for (int k = 0; k < 2; ++k) {
      if (at(instr.operand[k]).fn != Fn::constant) continue;
      c = at(instr.operand[k]).value;
      return instr.operand[1 - k];
    }
    return -1;
  }

  int32_t lower_bounded(int32_t i, double& lo) const {
    if (at(i).fn == Fn::relu) {
      lo = 0;
      return at(i).operand[0];
    }
    return with_constant(i, Fn::max, lo);
  }

  const std::vector<PointwiseInstr>& code_;
};

bool near(double a, double b) { return std::fabs(a - b) <= 2e-5 * std::fabs(b); }

// What an instruction turns out to be: fn(x) or fn(x, alpha, beta).
struct Named {
  Fn fn;
  int32_t x;
  double alpha = 0, beta = 0;
};

// x * sigmoid(x)
std::optional<Named> silu(const Reader& read, int32_t i) {
  Reader::Product p = read.product(i);
  if (p.constant != 1 || p.factors.size() != 2) return std::nullopt;
  for (int k = 0; k < 2; ++k)
    if (read.at(p.factors[k]).fn == Fn::sigmoid && read.at(p.factors[k]).operand[0] == p.factors[1 - k])
      return Named{Fn::silu, p.factors[1 - k]};
  return std::nullopt;
}

// 0.5 * x * (1 + erf(x / sqrt(2)))
std::optional<Named> gelu_erf(const Reader& read, int32_t i) {
  const Reader::Product p = read.product(i);
  if (!near(p.constant, 0.5) || p.factors.size() != 2) return std::nullopt;
  for (int k = 0; k < 2; ++k) {
    double one = 0;
    const int32_t erf = read.plus_constant(p.factors[k], one);
    if (erf < 0 || one != 1 || read.at(erf).fn != Fn::erf) continue;
    const Reader::Product inner = read.product(read.at(erf).operand[0]);
    if (near(inner.constant, std::sqrt(0.5)) && inner.factors == std::vector{p.factors[1 - k]})
      return Named{Fn::gelu_erf, p.factors[1 - k]};
  }
  return std::nullopt;
}

// x + 0.044715 x^3, or x * (1 + 0.044715 x^2)
bool is_cubic(const Reader& read, const Reader::Product& p, int32_t x) {
  if (p.factors.size() == 2) {
    Reader::Product rest = p;
    double one = 0;
    if (!rest.take(x)) return false;
    const int32_t term = read.plus_constant(rest.factors[0], one);
    if (term < 0 || one != 1) return false;
    const Reader::Product square = read.product(term);
    return near(square.constant, 0.044715) && square.factors == std::vector{x, x};
  }
  if (p.factors.size() != 1 || read.at(p.factors[0]).fn != Fn::add) return false;
  const PointwiseInstr& sum = read.at(p.factors[0]);
  for (int k = 0; k < 2; ++k) {
    if (sum.operand[k] != x) continue;
    const PointwiseInstr& other = read.at(sum.operand[1 - k]);
    Reader::Product cube = read.product(sum.operand[1 - k]);
    // pow(x, 3) counts as three factors.
    for (size_t f = 0; f < cube.factors.size() && other.fn != Fn::input; ++f) {
      const PointwiseInstr& power = read.at(cube.factors[f]);
      if (power.fn != Fn::pow || read.at(power.operand[1]).fn != Fn::constant || read.at(power.operand[1]).value != 3)
        continue;
      cube.factors[f] = power.operand[0];
      cube.factors.insert(cube.factors.end(), 2, power.operand[0]);
      break;
    }
    if (near(cube.constant, 0.044715) && cube.factors == std::vector{x, x, x}) return true;
  }
  return false;
}

// 0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))
std::optional<Named> gelu_tanh(const Reader& read, int32_t i) {
  const Reader::Product p = read.product(i);
  if (!near(p.constant, 0.5) || p.factors.size() != 2) return std::nullopt;
  for (int k = 0; k < 2; ++k) {
    double one = 0;
    const int32_t x = p.factors[1 - k], tanh = read.plus_constant(p.factors[k], one);
    if (tanh < 0 || one != 1 || read.at(tanh).fn != Fn::tanh) continue;
    const Reader::Product inner = read.product(read.at(tanh).operand[0]);
    if (near(inner.constant, 0.7978845608028654) && is_cubic(read, inner, x)) return Named{Fn::gelu_tanh, x};
  }
  return std::nullopt;
}

// clip(alpha * x + beta, 0, 1), or clip(x + b, 0, c) / c: hard_sigmoid(x, alpha, beta)
std::optional<Named> hard_sigmoid(const Reader& read, int32_t i) {
  if (read.at(i).fn == Fn::hard_sigmoid) return std::nullopt;
  const Reader::Product outer = read.product(i);
  if (outer.factors.size() != 1 || outer.constant <= 0) return std::nullopt;
  double lo = 0, hi = 0, beta = 0;
  const int32_t linear = read.clipped(outer.factors[0], lo, hi);
  if (linear < 0 || lo != 0 || !near(hi * outer.constant, 1)) return std::nullopt;
  int32_t scaled = read.plus_constant(linear, beta);
  if (scaled < 0) return std::nullopt;
  const Reader::Product p = read.product(scaled);
  if (p.factors.size() != 1) return std::nullopt;
  const double alpha = p.constant * outer.constant;
  return Named{Fn::hard_sigmoid, p.factors[0], near(alpha, 1.0 / 6) ? 1.0 / 6 : alpha, beta * outer.constant};
}

// x * hard_sigmoid(x, 1/6, 1/2), the factor 1/6 anywhere.
std::optional<Named> hard_swish(const Reader& read, int32_t i) {
  const Reader::Product p = read.product(i);
  if (p.factors.size() != 2) return std::nullopt;
  for (int k = 0; k < 2; ++k) {
    const int32_t x = p.factors[1 - k];
    const PointwiseInstr& gate = read.at(p.factors[k]);
    if (gate.fn == Fn::hard_sigmoid) {
      const double alpha = read.at(gate.operand[1]).value, beta = read.at(gate.operand[2]).value;
      if (gate.operand[0] == x && p.constant == 1 && near(alpha, 1.0 / 6) && near(beta, 0.5))
        return Named{Fn::hard_swish, x};
      continue;
    }
    double lo = 0, hi = 0, three = 0;
    const int32_t shifted = read.clipped(p.factors[k], lo, hi);
    if (shifted < 0 || lo != 0 || hi != 6 || !near(p.constant, 1.0 / 6)) continue;
    if (read.plus_constant(shifted, three) == x && three == 3) return Named{Fn::hard_swish, x};
  }
  return std::nullopt;
}

}  // namespace

bool name_function(PointwiseProgram& program) {
  const Reader read(program);
  for (int32_t i = static_cast<int32_t>(program.code.size()) - 1; i >= 0; --i) {
    const DType type = read.at(i).type;
    if (!is_float(type) || arity(read.at(i).fn) == 0) continue;
    std::optional<Named> named;
    for (const auto rule : {silu, gelu_erf, gelu_tanh, hard_swish, hard_sigmoid})
      if (!named) named = rule(read, i);
    if (!named || named->x >= i || read.at(named->x).type != type || read.at(named->x).fn == Fn::constant) continue;
    PointwiseProgram out;
    out.code.assign(program.code.begin(), program.code.begin() + i);
    PointwiseInstr instr{.fn = named->fn, .type = type, .operand = {named->x, -1, -1}};
    if (named->fn == Fn::hard_sigmoid) {
      for (double value : {named->alpha, named->beta})
        out.code.push_back({.fn = Fn::constant, .type = type, .value = Tensor::scalar(value, type).at(0)});
      instr.operand[1] = i;
      instr.operand[2] = i + 1;
    }
    out.code.push_back(instr);
    const auto shift = static_cast<int32_t>(out.code.size()) - 1 - i;
    for (size_t j = static_cast<size_t>(i) + 1; j < program.code.size(); ++j) {
      PointwiseInstr moved = program.code[j];
      for (int k = 0; k < arity(moved.fn); ++k)
        if (moved.operand[k] >= i) moved.operand[k] += shift;
      out.code.push_back(moved);
    }
    program = std::move(out);
    return true;
  }
  return false;
}

}  // namespace hone
