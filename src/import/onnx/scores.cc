#include "import/onnx/scores.h"

#include "ops/norm.h"
#include "ops/reduce.h"

namespace hone::import_onnx {
namespace {

ValueId binary(NodeImport& n, Fn fn, ValueId a, ValueId b) { return n.pointwise(fn, {a, b}); }

// Softmax in which scores of 0 weigh nothing; rows of nothing but zeros become 0.5.
ValueId softmax_zero(NodeImport& n, ValueId scores) {
  const DType type = n.type(scores).dtype;
  const auto number = [&](double v) { return n.scalar(v, type); };
  const ValueId highest = n.add(Reduce{.kind = "max"}, {scores, n.ints({-1})});
  const ValueId zero = binary(n, Fn::less_equal, n.pointwise(Fn::abs, {scores}), number(1e-7));
  const ValueId scaled = binary(n, Fn::mul, scores, n.pointwise(Fn::exp, {n.pointwise(Fn::neg, {highest})}));
  const ValueId weights =
      n.pointwise(Fn::where, {zero, scaled, n.pointwise(Fn::exp, {binary(n, Fn::sub, scores, highest)})});
  const ValueId sum = n.add(Reduce{.kind = "sum"}, {weights, n.ints({-1})});
  const ValueId empty = binary(n, Fn::equal, sum, number(0));
  return n.pointwise(Fn::where, {empty, number(0.5), binary(n, Fn::div, weights, sum)});
}

// sqrt(2) * erfinv(2p - 1), by Winitzki's approximation of the inverse, which ONNX's definition uses.
ValueId probit(NodeImport& n, ValueId p) {
  constexpr double kA = 0.147, kPi = 3.141592653589793, kSqrt2 = 1.41421356;
  const DType type = n.type(p).dtype;
  const auto number = [&](double v) { return n.scalar(v, type); };
  const ValueId x = binary(n, Fn::sub, binary(n, Fn::mul, p, number(2)), number(1));
  const ValueId rest = binary(n, Fn::sub, number(1), n.pointwise(Fn::square, {x}));
  const ValueId log = n.pointwise(Fn::log, {rest});
  const ValueId half = binary(n, Fn::add, binary(n, Fn::mul, log, number(0.5)), number(2 / (kPi * kA)));
  const ValueId root = n.pointwise(
      Fn::sqrt, {binary(n, Fn::sub, n.pointwise(Fn::square, {half}), binary(n, Fn::mul, log, number(1 / kA)))});
  const ValueId size = n.pointwise(Fn::sqrt, {binary(n, Fn::sub, root, half)});
  const ValueId signed_size = binary(n, Fn::mul, binary(n, Fn::mul, n.pointwise(Fn::sign, {x}), size), number(kSqrt2));
  return n.pointwise(Fn::where, {binary(n, Fn::equal, rest, number(0)), number(0), signed_size});
}

}  // namespace

ValueId post_transform(NodeImport& n, ValueId scores, const std::string& kind) {
  if (kind == "NONE") return scores;
  if (kind == "SOFTMAX") return n.add(Softmax{.axis = -1}, {scores});
  if (kind == "LOGISTIC") return n.pointwise(Fn::sigmoid, {scores});
  if (kind == "SOFTMAX_ZERO") return softmax_zero(n, scores);
  if (kind == "PROBIT") return probit(n, scores);
  n.invalid("there is no post transform '{}'", kind);
  return scores;
}

}  // namespace hone::import_onnx
