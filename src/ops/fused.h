#pragma once

#include "ir/graph.h"
#include "ir/op.h"

namespace hone {

// Several nodes that one kernel computes: an anchor (convolution, matrix product) and the pointwise work after it.
// The inputs are those of `body`, in order; body's nodes are in order, the anchor first.
struct Fused {
  static constexpr std::string_view kName = "Fused";
  std::shared_ptr<const Graph> body;

  static void fields(auto& self, auto&& field) { field("body", self.body); }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// The epilogues that kernels apply to a result before they store it.
struct EpilogueForm {
  Fn activation = Fn::input;          // input: none
  double a = 0, b = 0;                // the activation's parameters
  int residual = -1;                  // program input that is added, or -1
  bool residual_after_activation = false;
};

// `program` as an epilogue of the value that is its input `anchor`: act(x), act(x + r) or act(x) + r; nothing when it
// is none.
std::optional<EpilogueForm> as_epilogue(const PointwiseProgram& program, int anchor);

}  // namespace hone
