#include "base/counted.h"
#include "engine/manifest.h"
#include "runtime/context.h"
#include "runtime/control.h"

namespace hone {
namespace {

constexpr const char* kBuildAgain = "build the engine again, from its model or with hone build --from-engine";

// The first input that the problem has and the kernel reads, but the step does not give; -1: there is none.
int missing_input(const Tactic& tactic, const Step& step, std::span<const Tensor> packed) {
  for (size_t i = 0; i < step.inputs.size(); ++i) {
    if (step.inputs[i] >= 0 || !step.input_types[i].defined()) continue;
    const bool dropped = tactic.backend == Backend::cuda ? i > 0 : tactic.drops != nullptr && tactic.drops(i, packed);
    if (!dropped) return static_cast<int>(i);
  }
  return -1;
}

// Tactics rely on inputs that the op takes and on outputs that it gives: a file may say otherwise.
Status check_problem(const EngineData& data, const Step& step, const Problem& problem) {
  Tensors values;
  for (int s : step.inputs) values.push_back(s < 0 ? Tensor() : data.constants[static_cast<size_t>(s)]);
  HONE_TRY(const Types inferred, problem.op.infer({problem.inputs, values, problem.outputs.size()}));
  if (inferred.size() < problem.outputs.size())
    return invalid("{}, not {}", counted(inferred.size(), "output"), problem.outputs.size());
  for (size_t i = 0; i < problem.outputs.size(); ++i)
    if (!agree(inferred[i], problem.outputs[i]))
      return invalid("output {} is {}, not {}", i, to_text(inferred[i]), to_text(problem.outputs[i]));
  return {};
}

}  // namespace

Result<std::shared_ptr<const LoadedEngine>> LoadedEngine::make(EngineData data) {
  auto engine = std::make_shared<LoadedEngine>();
  engine->data_ = std::move(data);
  const Program& program = engine->program();
  const Machine machine{.threads = program.threads,
                        .max_tier = program.max_tier,
                        .cuda_arch = program.cuda_arch,
                        .cuda_device = cuda::ordinal_of(program.target).value_or(-1),
                        .tf32 = true,  // they were allowed, or no step has them
                        .bf16 = true};
  Machine one_thread = machine;
  one_thread.threads = 1;
  for (size_t i = 0; i < program.steps.size(); ++i) {
    const Step& step = program.steps[i];
    const Machine& own = step.threads == 1 ? one_thread : machine;
    if (!step.bodies.empty()) {
      HONE_TRY(Op op, make_op(step.op, step.attrs));
      HONE_CHECK(check_control(program, step, op));
      engine->control_.emplace(i, std::move(op));
      engine->kernels_.push_back(nullptr);
      engine->on_gpu_.push_back(false);
      continue;
    }
    const Tactic* tactic = find_tactic(step.tactic);
    if (tactic == nullptr)
      return Status(Code::device,
                    fmt::format("tactic '{}' is not in this build of Hone: {}", step.tactic, kBuildAgain));
    HONE_TRY(Op op, make_op(step.op, step.attrs));
    Problem problem{.op = std::move(op), .inputs = step.input_types};
    for (int s : step.outputs) problem.outputs.push_back(program.slots[static_cast<size_t>(s)].type);
    if (const Status status = check_problem(engine->data_, step, problem); !status.ok())
      return status.within(fmt::format("step '{}' is malformed", step.label));
    if (const std::string reason = tactic->supports(problem, own); !reason.empty())
      return Status(Code::device, fmt::format("step '{}': tactic '{}' does not run here ({}): {}", step.label,
                                              step.tactic, reason, kBuildAgain));
    Tensors packed;
    for (int s : step.packed) packed.push_back(engine->data_.constants[static_cast<size_t>(s)]);
    if (const int missing = missing_input(*tactic, step, packed); missing >= 0)
      return invalid("step '{}' lacks input {}, which tactic '{}' reads", step.label, missing, step.tactic);
    HONE_TRY(auto kernel, tactic->make(problem, packed, step.variant, own));
    if (kernel->workspace_bytes() > program.memory.arena_bytes - step.workspace_offset)
      return invalid("step '{}' needs more workspace than was planned", step.label);
    engine->reports_faults_ |= !kernel->fault().empty();
    engine->kernels_.push_back(std::move(kernel));
    engine->on_gpu_.push_back(tactic->backend == Backend::cuda);
  }
  if (!program.cuda_arch.empty()) {
    HONE_TRY(engine->device_weights_, DeviceWeights::upload(engine->data_));
  }
  return std::shared_ptr<const LoadedEngine>(std::move(engine));
}

bool LoadedEngine::all_on_gpu() const {
  return !on_gpu_.empty() && std::find(on_gpu_.begin(), on_gpu_.end(), false) == on_gpu_.end();
}

}  // namespace hone
