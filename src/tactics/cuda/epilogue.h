#pragma once

#include "base/pointwise.h"
#include "tactics/tactic.h"

namespace hone::cuda {

// A problem seen as an anchor, what is done to each element of its input 0 before (a prologue: a Transpose, an
// elementwise node of one input, or both), and what is done to each of its results before it is stored (an epilogue).
struct AnchorView {
  Op op;
  size_t inputs = 0;  // the first ones of the problem
  TensorType data;    // the anchor's input 0: the problem's, or what a prologue makes of it
  // Of the problem's input 0: strides for the dims of `data`, and statements that turn `raw`, an element of it, into
  // `value`.
  bool prologue = false;
  Dims strides;
  std::string value;
  std::string parameters;  // of the kernel: the bias (see bias_input), and the epilogue's operands
  // Defines `void store(PARAMETERS, i64 z, int m, int n, const Sum (&sums)[RUN])` for the parameter `y`, which is
  // [batch][M][N], and RUN neighbouring columns. `Operands operands_at(PARAMETERS, i64 index)` loads what it reads for
  // the element `index` of y on, `Columns columns_at(PARAMETERS, int n)` what it reads for the columns from n on; store
  // may be given both before `sums`. `void results_of(PARAMETERS, i64 index, Operands, Columns, sums, Result
  // (&results)[RUN])` is what store stores.
  std::string store;
};

// The problem's anchor when it is a T, alone or fused with one pointwise node; else nothing.
std::optional<AnchorView> view_anchor(const Problem& problem, std::string_view op);

// activation(product + bias + residual), in f32: all that libraries of products know. Fn::input is no activation; the
// others are inputs of the problem, or -1. The bias is [N], and the residual of the output's shape.
struct SimpleEpilogue {
  Fn activation = Fn::input;
  int bias = -1, residual = -1;
};

// Nothing when the epilogue is another one, for a problem of view_anchor.
std::optional<SimpleEpilogue> simple_epilogue(const Problem& problem);

// Whether no result falls as its sum grows, so that a maximum may be taken before the epilogue; for a problem of
// view_anchor.
bool rises_with_sum(const Problem& problem);

// Why the epilogue cannot be computed, or empty.
std::string refuse_epilogue(const Problem& problem);

}  // namespace hone::cuda
