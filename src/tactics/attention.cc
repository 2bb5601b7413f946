#include "kernels/cpu/attention/attention.h"

#include <cmath>

#include "kernels/cpu/attention/attention_int8.h"
#include "kernels/cpu/int8/int8.h"
#include "ops/attention.h"
#include "tactics/in_bf16.h"

namespace hone {
namespace {

constexpr size_t kMask = 3, kLengths = 4, kOffset = 5;
constexpr int64_t kFewestQueries = 8;  // that bytes are packed for

const TensorType& input_type(const Problem& problem, size_t i) {
  static const TensorType kNone;
  return i < problem.inputs.size() ? problem.inputs[i] : kNone;
}

// The problem as the kernel sees it, and where q, k and v are: input and first element.
struct Plan {
  cpu::AttentionProblem kernel;
  size_t input[3] = {0, 1, 2};
  int64_t begin[3] = {0, 0, 0};
  int64_t mask_elements = 0;  // of a boolean mask, which becomes numbers in the workspace
};

cpu::AttentionStrides strides_in(const Dims& dims, std::string_view layout) {
  const Dims s = strides_of(dims);
  if (layout == "heads") return {s[0], s[1], s[2]};
  if (layout == "rows") return {s[0], s[2], s[1]};
  return {s[0], s[3], s[1]};
}

void set_operands(Plan& plan, const Problem& problem, const Attention& op) {
  cpu::AttentionProblem& p = plan.kernel;
  const size_t heads = op.layout == "heads" ? 1 : op.layout == "rows" ? 2 : 3, length = op.layout == "heads" ? 2 : 1;
  cpu::AttentionStrides* const strides[] = {&p.q, &p.k, &p.v};
  Dims dims[3];
  for (size_t i = 0; i < 3; ++i) {
    if (op.layout == "packed") plan.input[i] = 0;
    dims[i] = dims_of(problem.inputs[plan.input[i]]);
    *strides[i] = strides_in(dims[i], op.layout);
    if (op.layout == "packed") plan.begin[i] = static_cast<int64_t>(i) * strides_of(dims[i])[2];
  }
  p.batch = dims[0][0];
  p.heads = dims[0][heads];
  p.kv_heads = dims[1][heads];
  p.queries = dims[0][length];
  p.keys = dims[1][length];
  p.depth = dims[0].back();
  p.value_depth = dims[2].back();
  p.y = strides_in(dims_of(problem.outputs[0]), op.layout == "heads" ? "heads" : "rows");
  p.scale = static_cast<float>(op.scale_of(problem.inputs[0].shape));
  p.causal = op.causal;
}

// The reason why the mask does not do, or empty.
std::string set_mask(Plan& plan, const TensorType& type) {
  Dims dims = dims_of(type);
  if (type.dtype != DType::f32 && type.dtype != DType::boolean) return fmt::format("a mask of {}", name(type.dtype));
  if (dims.back() != plan.kernel.keys) return "a mask of fewer keys";
  dims.insert(dims.begin(), 4 - dims.size(), 1);
  const Dims strides = strides_of(dims);
  const auto step = [&](size_t i) { return dims[i] == 1 ? 0 : strides[i]; };
  plan.kernel.mask = {step(0), step(1), step(2)};
  if (type.dtype == DType::boolean) plan.mask_elements = element_count(dims);
  return {};
}

std::string plan_of(const Problem& problem, Plan& plan) {
  const auto* op = problem.op.as<Attention>();
  if (op == nullptr) return kAnotherOp;
  if (!problem.is_static()) return "shapes are not fixed";
  if (problem.outputs.size() != 1) return "the scores are an output";
  if (op->softcap != 0) return "capped scores";
  if (input_type(problem, kLengths).defined()) return "key lengths";
  set_operands(plan, problem, *op);
  if (const TensorType& mask = input_type(problem, kMask); mask.defined())
    if (std::string reason = set_mask(plan, mask); !reason.empty()) return reason;
  // The kernel lets the last query see the last key.
  const int64_t offset = plan.kernel.keys - plan.kernel.queries;
  if (op->causal && !input_type(problem, kOffset).defined() && offset != 0) return "more keys than queries, no offset";
  if (op->causal && input_type(problem, kOffset).defined() && !problem.constants.empty() &&
      (!problem.is_constant(kOffset) || problem.constants[kOffset].int_at(0) != offset))
    return "another causal offset than keys - queries";
  const char* reason = cpu::attention_supports(plan.kernel);
  return reason != nullptr ? reason : "";
}

std::string supports(const Problem& problem, const Machine& machine) {
  Plan plan;
  if (std::string reason = plan_of(problem, plan); !reason.empty()) return reason;
  const DType type = problem.inputs[0].dtype;
  for (size_t i : {size_t{1}, size_t{2}})
    if (has(problem, i) && problem.inputs[i].dtype != type) return "operands of several types";
  if (problem.outputs[0].dtype != type) return "a result of another type";
  return refuse_type_or_machine(type, machine);
}

bool drops_offset(size_t input, std::span<const Tensor>) { return input == kOffset; }

Result<Prepared> prepare(const Problem& problem, int, const Machine&) {
  Prepared prepared;
  prepared.drops.assign(problem.inputs.size(), false);
  if (problem.inputs.size() > kOffset) prepared.drops[kOffset] = true;
  return prepared;
}

int64_t mask_bytes_of(const Plan& plan) {
  return (plan.mask_elements * static_cast<int64_t>(sizeof(float)) + 63) / 64 * 64;
}

// The numbers that are added, or null; those of booleans are written to the workspace.
const float* mask_of(const Plan& plan, const KernelArgs& args) {
  if (args.inputs.size() <= kMask || args.inputs[kMask] == nullptr) return nullptr;
  if (plan.mask_elements == 0) return args.inputs[kMask]->data<float>();
  auto* numbers = reinterpret_cast<float*>(args.workspace);
  const auto* keep = args.inputs[kMask]->data<bool>();
  for (int64_t i = 0; i < plan.mask_elements; ++i) numbers[i] = keep[i] ? 0.f : -HUGE_VALF;
  return numbers;
}

template <class T>
void run(const Plan& plan, cpu::Tier tier, const float* mask, const KernelArgs& args, int64_t mask_bytes) {
  const T* operands[3];
  for (size_t i = 0; i < 3; ++i) operands[i] = args.inputs[plan.input[i]]->data<T>() + plan.begin[i];
  const cpu::AttentionTensors<T> tensors{operands[0], operands[1], operands[2], mask,
                                         args.outputs[0]->mutable_data<T>()};
  cpu::attention(plan.kernel, tier, tensors, args.workspace + mask_bytes, args.pool);
}

Result<std::unique_ptr<const Kernel>> make(const Problem& problem, std::span<const Tensor>, int,
                                           const Machine& machine) {
  Plan plan;
  if (const std::string reason = plan_of(problem, plan); !reason.empty()) return invalid("attention: {}", reason);
  const cpu::Tier tier = tier_of(machine);
  const int64_t mask_bytes = mask_bytes_of(plan);
  const bool stored = in_bf16(problem);
  return kernel(
      [=](const KernelArgs& args) -> Status {
        const float* mask = mask_of(plan, args);
        if (stored) run<bf16>(plan, tier, mask, args, mask_bytes);
        else run<float>(plan, tier, mask, args, mask_bytes);
        return {};
      },
      mask_bytes + static_cast<int64_t>(cpu::attention_workspace_bytes(plan.kernel, tier, machine.threads, stored)));
}

std::string supports_int8(const Problem& problem, const Machine& machine) {
  Plan plan;
  if (std::string reason = plan_of(problem, plan); !reason.empty()) return reason;
  for (size_t i : {size_t{0}, size_t{1}, size_t{2}})
    if (has(problem, i) && problem.inputs[i].dtype != DType::i8)
      return fmt::format("an input of {}", name(problem.inputs[i].dtype));
  if (tier_of(machine) < cpu::Tier::avx512 || !cpu::has_int8_set(cpu::Int8Set::vnni))
    return fmt::format("needs {}", cpu::int8_set_name(cpu::Int8Set::vnni));
  if (plan.kernel.queries < kFewestQueries) return fmt::format("fewer than {} queries", kFewestQueries);
  const char* reason = cpu::attention_int8_supports(plan.kernel);
  return reason != nullptr ? reason : "";
}

Result<std::unique_ptr<const Kernel>> make_int8(const Problem& problem, std::span<const Tensor>, int,
                                                const Machine& machine) {
  Plan plan;
  if (const std::string reason = plan_of(problem, plan); !reason.empty()) return invalid("attention: {}", reason);
  const auto* op = problem.op.as<Attention>();
  const auto scale = static_cast<float>(op->result_scale);
  const bool quantizes = op->quantizes;
  const int64_t mask_bytes = mask_bytes_of(plan);
  return kernel(
      [=](const KernelArgs& args) -> Status {
        const auto operand = [&](size_t i) { return args.inputs[plan.input[i]]->data<int8_t>() + plan.begin[i]; };
        cpu::attention_int8(plan.kernel, {.q = operand(0),
                                          .k = operand(1),
                                          .v = operand(2),
                                          .mask = mask_of(plan, args),
                                          .result_scale = scale,
                                          .quantizes = quantizes,
                                          .y = args.outputs[0]->mutable_raw(),
                                          .workspace = args.workspace + mask_bytes,
                                          .pool = &args.pool});
        return {};
      },
      mask_bytes + static_cast<int64_t>(cpu::attention_int8_workspace_bytes(plan.kernel, machine.threads)));
}

}  // namespace

std::span<const Tactic> attention_tactics() {
  static constexpr Tactic kRows[] = {
      {"attention", supports, one_variant, prepare, make, nullptr, drops_offset},
      {"attention_int8", supports_int8, one_variant, prepare, make_int8, nullptr, drops_offset}};
  return kRows;
}

}  // namespace hone
