#pragma once

#include "base/pointwise.h"

namespace hone::import_onnx {

class Formula;

// A term of a pointwise program, so that a program reads as its formula:
//   Formula f;
//   const Expr x = f.input(type);
//   f.program(gamma * apply(Fn::elu, x, alpha))
// Numbers become constants of the type of the term they meet, rounded to it.
class Expr {
 public:
  DType type() const;
  Expr like(double value) const;  // a constant of this type

 private:
  friend class Formula;
  Expr(Formula* formula, int32_t id) : formula_(formula), id_(id) {}
  Formula* formula_;
  int32_t id_;

 public:
  Formula& formula() const { return *formula_; }
};

class Formula {
 public:
  Expr input(DType type);  // the next input
  Expr constant(double value, DType type);
  // `fn` over operands, giving a value of `type`.
  Expr apply(Fn fn, DType type, std::initializer_list<Expr> operands);
  // The program whose result is `result`.
  PointwiseProgram program(Expr result) const;

 private:
  friend class Expr;
  PointwiseProgram program_;
  int32_t inputs_ = 0;
};

// The result is boolean for predicates, else of the first operand's type.
Expr apply(Fn fn, Expr a);
Expr apply(Fn fn, Expr a, Expr b);
Expr apply(Fn fn, Expr a, Expr b, Expr c);
inline Expr apply(Fn fn, Expr a, double b) { return apply(fn, a, a.like(b)); }
inline Expr apply(Fn fn, Expr a, double b, double c) { return apply(fn, a, a.like(b), a.like(c)); }
Expr where(Expr condition, Expr yes, Expr no);
Expr cast(Expr x, DType type);
bool is_predicate(Fn fn);

inline Expr operator+(Expr a, Expr b) { return apply(Fn::add, a, b); }
inline Expr operator-(Expr a, Expr b) { return apply(Fn::sub, a, b); }
inline Expr operator*(Expr a, Expr b) { return apply(Fn::mul, a, b); }
inline Expr operator/(Expr a, Expr b) { return apply(Fn::div, a, b); }
inline Expr operator+(Expr a, double b) { return a + a.like(b); }
inline Expr operator-(Expr a, double b) { return a - a.like(b); }
inline Expr operator*(Expr a, double b) { return a * a.like(b); }
inline Expr operator*(double a, Expr b) { return b.like(a) * b; }
inline Expr operator/(Expr a, double b) { return a / a.like(b); }

}  // namespace hone::import_onnx
