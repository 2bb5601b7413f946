#include "kernels/cpu/attention/attention.h"

#include <cmath>

#include "ops/attention.h"
#include "tactics/in_bf16.h"

namespace hone {
namespace {

constexpr size_t kMask = 3, kLengths = 4, kOffset = 5;

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
  p.scale = static_cast<float>(op.scale != 0 ? op.scale : 1 / std::sqrt(static_cast<double>(p.depth)));
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

template <class T>
void run(const Plan& plan, cpu::Tier tier, const float* mask, const KernelArgs& args, int64_t mask_bytes) {
  const T* operands[3];
  for (size_t i = 0; i < 3; ++i) operands[i] = args.inputs[plan.input[i]]->data<T>() + plan.begin[i];
  cpu::attention(plan.kernel, tier, operands[0], operands[1], operands[2], mask, args.outputs[0]->mutable_data<T>(),
                 args.workspace + mask_bytes, args.pool);
}

Result<std::unique_ptr<const Kernel>> make(const Problem& problem, std::span<const Tensor>, int,
                                           const Machine& machine) {
  Plan plan;
  if (const std::string reason = plan_of(problem, plan); !reason.empty()) return invalid("attention: {}", reason);
  const cpu::Tier tier = tier_of(machine);
  const bool masked = input_type(problem, kMask).defined();
  const auto mask_bytes = (plan.mask_elements * static_cast<int64_t>(sizeof(float)) + 63) / 64 * 64;
  const bool stored = in_bf16(problem);
  return kernel(
      [=](const KernelArgs& args) -> Status {
        const float* mask = masked && plan.mask_elements == 0 ? args.inputs[kMask]->data<float>() : nullptr;
        if (plan.mask_elements > 0) {
          auto* numbers = reinterpret_cast<float*>(args.workspace);
          const auto* keep = args.inputs[kMask]->data<bool>();
          for (int64_t i = 0; i < plan.mask_elements; ++i) numbers[i] = keep[i] ? 0.f : -HUGE_VALF;
          mask = numbers;
        }
        if (stored) run<bf16>(plan, tier, mask, args, mask_bytes);
        else run<float>(plan, tier, mask, args, mask_bytes);
        return {};
      },
      mask_bytes + static_cast<int64_t>(cpu::attention_workspace_bytes(plan.kernel, tier, machine.threads, stored)));
}

}  // namespace

std::span<const Tactic> attention_tactics() {
  static constexpr Tactic kRows[] = {{"attention", supports, one_variant, prepare, make, nullptr, drops_offset}};
  return kRows;
}

}  // namespace hone
