#pragma once

#include "kernels/cpu/gemm/epilogue.h"
#include "ops/fused.h"
#include "ops/pointwise.h"
#include "tactics/common.h"

namespace hone {

// A problem seen as an anchor with an optional epilogue: a plain node, or a Fused one.
struct Anchor {
  Op op;
  size_t inputs = 0;  // the first ones of the problem
  EpilogueForm form;
  int residual = -1;  // problem input, or -1

  // The problem input that is the bias, or -1.
  int bias() const {
    const size_t at = bias_input(op.name());
    return inputs > at ? static_cast<int>(at) : -1;
  }
};

// Nothing when a fused body is not one anchor and an epilogue that kernels know.
inline std::optional<Anchor> view_anchor(const Problem& problem) {
  const auto* fused = problem.op.as<Fused>();
  if (fused == nullptr) return Anchor{.op = problem.op, .inputs = problem.inputs.size()};
  const auto order = fused->body->order();
  if (order.size() != 2) return std::nullopt;
  const Node &first = fused->body->node(order[0]), &second = fused->body->node(order[1]);
  const auto* pointwise = second.op.as<Pointwise>();
  if (pointwise == nullptr) return std::nullopt;
  const auto at = std::find(second.inputs.begin(), second.inputs.end(), first.outputs[0]);
  const auto form = as_epilogue(pointwise->program, static_cast<int>(at - second.inputs.begin()),
                                fused->body->type(first.outputs[0]).dtype);
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

// The kernels' epilogue for one run.
inline cpu::Epilogue epilogue_of(const Anchor& anchor, const KernelArgs& args) {
  const auto floats_at = [&](int i) {
    return i >= 0 && args.inputs[static_cast<size_t>(i)]->defined() ? args.inputs[static_cast<size_t>(i)]->data<float>()
                                                                    : nullptr;
  };
  const EpilogueForm& form = anchor.form;
  cpu::Epilogue epilogue;
  epilogue.bias = floats_at(anchor.bias());
  epilogue.residual = anchor.residual >= 0 ? args.inputs[static_cast<size_t>(anchor.residual)]->raw() : nullptr;
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

// Weights in a kernel's own format, which depends on the instruction tier: it is packed with them.
inline Prepared packed_weights(Tensor weights, cpu::Tier tier) {
  return {{std::move(weights), Tensor::scalar(static_cast<int64_t>(tier))}, {false, true}};
}

// The tier of packed weights, once it is sure that this CPU has it and that they are of the size `bytes(tier)`.
template <class F>
Result<cpu::Tier> check_packed(std::span<const Tensor> packed, F&& bytes) {
  if (packed.size() != 2) return invalid("packed weights are missing");
  const auto tier = static_cast<cpu::Tier>(packed[1].int_at(0));
  if (tier < cpu::Tier::scalar || tier > cpu::best_tier())
    return Status(Code::device,
                  fmt::format("the engine's weights are packed for {}, which this CPU lacks: build the engine again",
                              cpu::tier_name(tier)));
  if (packed[0].count() < static_cast<int64_t>(bytes(tier))) return invalid("packed weights are too small");
  return tier;
}

}  // namespace hone
