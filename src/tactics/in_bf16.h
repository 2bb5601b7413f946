#pragma once

#include "kernels/cpu/bf16/bf16.h"
#include "tactics/anchor.h"

namespace hone {

// Problems whose tensors lie in memory as bf16: kernels compute them in f32, or products of bf16 with sums in f32.

inline bool in_bf16(const Problem& problem) { return problem.inputs[0].dtype == DType::bf16; }

// Why kernels for tensors of `type` in memory cannot do it, or empty.
inline std::string refuse_other_types(const Problem& problem, DType type) {
  for (const Types* types : {&problem.inputs, &problem.outputs})
    for (const TensorType& t : *types)
      if (t.defined() && t.dtype != type) return fmt::format("beside {}, a tensor is {}", name(type), name(t.dtype));
  return {};
}

// Why tensors of `type`, f32 or bf16, cannot be computed here, or empty; bf16 needs instructions of its own.
inline std::string refuse_type_or_machine(DType type, const Machine& machine) {
  if (type != DType::f32 && type != DType::bf16) return fmt::format("{} elements", name(type));
  if (type == DType::bf16 && (tier_of(machine) < cpu::Tier::avx512 || !cpu::has_bf16_set(cpu::Bf16Set::avx512)))
    return fmt::format("bf16 needs {}", cpu::bf16_set_name(cpu::Bf16Set::avx512));
  return {};
}

// The same for a problem, whose first input decides.
inline std::string refuse_types_or_machine(const Problem& problem, const Machine& machine) {
  const DType type = problem.inputs[0].dtype;
  if (std::string reason = refuse_type_or_machine(type, machine); !reason.empty()) return reason;
  return refuse_other_types(problem, type);
}

inline Tensor in_f32(const Tensor& t) {
  if (!t.defined() || t.type() != DType::bf16) return t;
  Tensor result(DType::f32, t.dims());
  for (int64_t i = 0; i < t.count(); ++i) result.mutable_data<float>()[i] = to_float(t.data<bf16>()[i]);
  return result;
}

// What kernels pack comes in f32.
inline Problem with_constants_in_f32(Problem problem) {
  for (Tensor& t : problem.constants) t = in_f32(t);
  return problem;
}

// Kernels read a bias in f32: of a problem in bf16 it is packed, behind what else is.
inline std::string refuse_bias(const Problem& problem, const Anchor& anchor) {
  const int bias = anchor.bias();
  const bool open = in_bf16(problem) && bias >= 0 && has(problem, static_cast<size_t>(bias)) &&
                    !problem.constants.empty() && !problem.is_constant(static_cast<size_t>(bias));
  return open ? "a bias in bf16 is not constant" : "";
}

// Of what a product in bf16 reads: f32 is rounded.
inline DType factor_type(const Problem& problem) { return in_bf16(problem) ? DType::bf16 : DType::f32; }

// Why products of bf16 by these instructions cannot do it, whatever the op, or empty.
inline std::string refuse_bf16_product(const Problem& problem, const Anchor& anchor, const Machine& machine,
                                       cpu::Bf16Set set) {
  if (!in_bf16(problem) && !machine.bf16) return "bf16 is not allowed";
  if (tier_of(machine) < cpu::Tier::avx512 || !cpu::has_bf16_set(set))
    return fmt::format("needs {}", cpu::bf16_set_name(set));
  if (std::string reason = refuse_other_types(problem, factor_type(problem)); !reason.empty()) return reason;
  return refuse_bias(problem, anchor);
}

inline void pack_bias(const Problem& problem, const Anchor& anchor, Prepared& prepared) {
  const int bias = anchor.bias();
  if (!in_bf16(problem) || bias < 0 || !has(problem, static_cast<size_t>(bias))) return;
  prepared.packed.push_back(in_f32(problem.constants[static_cast<size_t>(bias)]));
  prepared.drops.resize(static_cast<size_t>(bias) + 1, true);
}

// The packed bias behind `others`, or an undefined tensor where the problem has none.
inline Result<Tensor> packed_bias(const Problem& problem, const Anchor& anchor, std::span<const Tensor> packed,
                                  size_t others, int64_t channels) {
  const int bias = anchor.bias();
  if (!in_bf16(problem) || bias < 0 || !has(problem, static_cast<size_t>(bias)))
    return packed.size() == others ? Result<Tensor>(Tensor()) : invalid("packed weights are missing");
  if (packed.size() != others + 1 || packed[others].type() != DType::f32 || packed[others].count() != channels)
    return invalid("a packed bias is missing or of another size");
  return packed[others];
}

// A value of Tactic::drops: the weights, and a bias that is packed behind `kOthers`.
template <size_t kOthers>
bool drops_weights_and_bias(size_t input, std::span<const Tensor> packed) {
  return input == 1 || (input == 2 && packed.size() > kOthers);
}

inline cpu::Epilogue epilogue_of(const Anchor& anchor, const KernelArgs& args, const Tensor& bias) {
  cpu::Epilogue epilogue = epilogue_of(anchor, args);
  if (bias.defined()) epilogue.bias = bias.data<float>();
  return epilogue;
}

// Of a kernel that multiplies its first input by what `packed` holds.
inline cpu::Bf16Args bf16_args(const Anchor& anchor, const KernelArgs& args, const Tensor& packed, const Tensor& bias) {
  return {.in_bf16 = args.inputs[0]->type() == DType::bf16,
          .in = args.inputs[0]->raw(),
          .packed = packed.raw(),
          .out = args.outputs[0]->mutable_raw(),
          .epilogue = epilogue_of(anchor, args, bias),
          .workspace = args.workspace,
          .pool = &args.pool};
}

}  // namespace hone
