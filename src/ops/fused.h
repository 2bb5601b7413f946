#pragma once

#include "ir/graph.h"
#include "ir/op.h"

namespace hone {

// Several nodes, in order, that one kernel computes over the inputs of `body`: an anchor (convolution, matrix product)
// and the pointwise work after it, or, on a CPU, what quantises an image and the Transpose behind it.
struct Fused {
  static constexpr std::string_view kName = "Fused";
  std::shared_ptr<const Graph> body;

  static void fields(auto& self, auto&& field) { field("body", self.body); }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// The epilogues that kernels apply to a result before they store it.
struct EpilogueForm {
  Fn activation = Fn::input;  // input: none
  double a = 0, b = 0;        // the activation's parameters
  int residual = -1;          // program input that is added, or -1
  bool residual_after_activation = false;
};

// `program` as an epilogue of the value that is its input `anchor`: act(x), act(x + r) or act(x) + r; nothing when it
// is none. It computes in f32; where `stored` is another type, its inputs and its result are of that type, and cast.
std::optional<EpilogueForm> as_epilogue(const PointwiseProgram& program, int anchor, DType stored = DType::f32);

// How an input of an epilogue's program lies over the result. Where the result is one row, both may be so.
struct Spread {
  bool by_channel = false;  // one value, or one for each index of the last axis
  bool by_element = false;  // the result's shape
  bool by_row = false;      // one for each index of all axes but the last
};
Spread spread_of(const Shape& input, const Shape& result);

// What an epilogue takes from one of its program's inputs, or from a constant.
struct EpilogueOperand {
  int input = -1;
  double value = 0;  // where it is no input
};

// The epilogues of i32 sums. First sum' = sum + offset + row_sum * factor in i32, which is the result where there is
// no scale. Else v = act(f32(sum') * scale + bias + residual), or act(..) + residual; then v itself, or
// i8(clip(round(v * step) + zero, low, high)). A residual in i8 is (r - residual_zero) * residual_scale.
struct RequantizeForm {
  std::optional<EpilogueOperand> offset, factor;  // by channel, in i32
  int row_sums = -1;                              // program input with one for each element of a channel, or -1
  std::optional<EpilogueOperand> scale;           // by channel, as the bias
  std::optional<EpilogueOperand> bias;
  EpilogueForm rest;                     // the activation and the residual, which is by element
  std::optional<double> residual_scale;  // of an i8 residual; an f32 residual has none
  double residual_zero = 0;
  bool quantized = false;
  EpilogueOperand step{.value = 1};  // by channel
  bool divides = false;              // v / step instead of v * step
  double zero = 0;
  double low = -128, high = 127;
};

// `program` as an epilogue of the sums that are its input `anchor`; nothing when it is none. `spreads` are its inputs'.
std::optional<RequantizeForm> as_requantize(const PointwiseProgram& program, int anchor,
                                            std::span<const Spread> spreads);

}  // namespace hone
