#pragma once

#include "kernels/cpu/gemm/epilogue.h"
#include "ops/fused.h"
#include "tactics/common.h"

namespace hone {

// A problem seen as an anchor with an optional epilogue: a plain node, or a Fused one.
struct Anchor {
  Op op;
  size_t inputs = 0;     // the first ones of the problem
  EpilogueForm form;
  int residual = -1;     // problem input, or -1
};

// Nothing when a fused body is not one anchor and an epilogue that kernels know.
inline std::optional<Anchor> view_anchor(const Problem& problem) {
  const auto* fused = problem.op.as<Fused>();
  if (fused == nullptr) return Anchor{.op = problem.op, .inputs = problem.inputs.size()};
  const auto order = fused->body->order();
  if (order.size() != 2) return std::nullopt;
  const Node &first = fused->body->node(order[0]), &second = fused->body->node(order[1]);
  const auto call = second.op.attrs();
  const auto text = call.find("program");
  if (text == call.end()) return std::nullopt;
  const auto program = pointwise_from_text(std::get<std::string>(text->second));
  if (!program.ok()) return std::nullopt;
  const auto at = std::find(second.inputs.begin(), second.inputs.end(), first.outputs[0]);
  const auto form = as_epilogue(*program, static_cast<int>(at - second.inputs.begin()));
  if (!form) return std::nullopt;
  Anchor anchor{.op = first.op, .inputs = first.inputs.size(), .form = *form};
  if (form->residual >= 0) anchor.residual = static_cast<int>(first.inputs.size());
  return anchor;
}

inline cpu::Activation activation_of(Fn fn) {
  switch (fn) {
    case Fn::relu: return cpu::Activation::relu;
    case Fn::clip: return cpu::Activation::clip;
    case Fn::leaky_relu: return cpu::Activation::leaky_relu;
    case Fn::hard_swish: return cpu::Activation::hard_swish;
    case Fn::hard_sigmoid: return cpu::Activation::hard_sigmoid;
    case Fn::sigmoid: return cpu::Activation::sigmoid;
    case Fn::silu: return cpu::Activation::silu;
    case Fn::tanh: return cpu::Activation::tanh;
    case Fn::gelu_erf: return cpu::Activation::gelu_erf;
    default: return cpu::Activation::none;
  }
}

// The kernels' epilogue for one run. `bias` is the problem input of the bias, or -1.
inline cpu::Epilogue epilogue_of(const EpilogueForm& form, int bias, int residual, const KernelArgs& args) {
  cpu::Epilogue epilogue;
  if (bias >= 0 && args.inputs[static_cast<size_t>(bias)]->defined()) epilogue.bias = args.inputs[static_cast<size_t>(bias)]->data<float>();
  if (residual >= 0) epilogue.residual = args.inputs[static_cast<size_t>(residual)]->data<float>();
  epilogue.act = activation_of(form.activation);
  epilogue.a = static_cast<float>(form.a);
  epilogue.b = static_cast<float>(form.b);
  epilogue.residual_after_activation = form.residual_after_activation;
  return epilogue;
}

// The residual may be overwritten by the result: each element is read before it is written.
inline int residual_in_place(const Problem& problem) {
  const auto anchor = view_anchor(problem);
  return anchor ? anchor->residual : -1;
}

// Packed constants carry the instruction tier that they are packed for.
inline Tensor tier_tensor(cpu::Tier tier) { return Tensor::scalar(static_cast<int64_t>(tier)); }
inline Result<cpu::Tier> packed_tier(const Tensor& t) {
  const auto tier = static_cast<cpu::Tier>(t.int_at(0));
  if (tier < cpu::Tier::scalar || tier > cpu::best_tier())
    return Status(Code::device, fmt::format("the engine's weights are packed for {}, which this CPU lacks: build the engine again", cpu::tier_name(tier)));
  return tier;
}

}  // namespace hone
