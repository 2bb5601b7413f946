#pragma once

#include "kernels/cpu/conv/gathered.h"
#include "ops/matmul.h"
#include "tactics/conv_problem.h"

namespace hone {

// A convolution or a matrix product by constant weights, as kernels of gathered rows see it: a product of matrices is a
// 1x1 convolution of one line of pixels.
inline cpu::ConvProblem product_geometry(const Problem& problem, const Op& op) {
  if (const auto* conv = op.as<Conv>()) return conv_problem(problem, *conv);
  const Dims a = dims_of(problem.inputs[0]), b = dims_of(problem.inputs[1]);
  return {
      .w = element_count(a) / a.back(), .cin = a.back(), .cout = op.as<MatMul>()->trans_b ? b[b.size() - 2] : b.back()};
}

template <class T>
cpu::WeightView<T> product_weights(const Problem& problem, const Op& op, const cpu::ConvProblem& p) {
  const T* data = problem.constants[1].data<T>();
  if (const auto* matmul = op.as<MatMul>())
    return matmul->trans_b ? cpu::WeightView<T>{data, p.cin, 1, 0} : cpu::WeightView<T>{data, 1, p.cout, 0};
  const int64_t taps = p.kh * p.kw;
  return {data, p.cin / p.groups * taps, taps, 1};
}

inline bool is_depthwise(const cpu::ConvProblem& p) { return p.groups == p.cin && p.cin == p.cout && p.groups > 1; }

// Why kernels of gathered rows cannot do it, or empty. The types are those of the factors.
inline std::string refuse_product(const Problem& problem, const Op& op, DType type, DType weights) {
  if (!problem.is_static()) return "shapes are not fixed";
  if (problem.inputs[0].dtype != type || problem.inputs[1].dtype != weights)
    return fmt::format("not {}", name(weights));
  if (!problem.constants.empty() && !problem.is_constant(1)) return "weights are not constant";
  if (element_count(dims_of(problem.outputs[0])) == 0 || element_count(dims_of(problem.inputs[0])) == 0) return "empty";
  if (const auto* conv = op.as<Conv>()) {
    if (!conv->channels_last) return "activations are not channels-last";
    const int64_t rank = problem.inputs[0].shape.rank();
    return rank != 3 && rank != 4 ? "neither 1-D nor 2-D" : "";
  }
  const auto* matmul = op.as<MatMul>();
  const Dims a = dims_of(problem.inputs[0]), b = dims_of(problem.inputs[1]);
  if (a.size() < 2 || b.size() < 2) return "an operand is a vector";
  if (matmul->trans_a) return "the left operand is transposed";
  return element_count(b) != b[b.size() - 2] * b.back() ? "one right operand a batch item" : "";
}

}  // namespace hone
