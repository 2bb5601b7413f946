#include "ops/pointwise.h"

#include "tactics/cuda/kernel.h"
#include "tactics/cuda/source.h"

namespace hone {
namespace {

std::string supports(const Problem& problem) {
  const auto* op = problem.op.as<Pointwise>();
  if (op == nullptr) return kAnotherOp;
  if (!problem.is_static()) return "shapes are not fixed";
  if (element_count(dims_of(problem.outputs[0])) == 0) return "empty";
  return cuda::refuse_program(op->program);
}

Result<cuda::Source> source(const Problem& problem) {
  const Dims out = dims_of(problem.outputs[0]);
  std::string parameters = fmt::format("{}* __restrict__ y", cuda::element_type(problem.outputs[0].dtype));
  std::vector<std::string> inputs;
  for (size_t i = 0; i < problem.inputs.size(); ++i) {
    parameters += fmt::format(", const {}* x{}", cuda::element_type(problem.inputs[i].dtype), i);
    inputs.push_back(fmt::format("x{}[{}]", i, cuda::broadcast_index(dims_of(problem.inputs[i]), out, "i")));
  }
  const auto& program = problem.op.as<Pointwise>()->program;
  return cuda::Source{fmt::format(R"cuda(
extern "C" __global__ void kernel({}) {{
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= {}) return;
{}  y[i] = v{};
}}
)cuda", parameters, element_count(out), cuda::statements(program, inputs), program.code.size() - 1)};
}

cuda::Launch launch(const Problem& problem) { return cuda::elementwise(element_count(dims_of(problem.outputs[0]))); }

}  // namespace

std::span<const Tactic> cuda_pointwise_tactics() {
  static constexpr Tactic kRows[] = {cuda::row<supports, source, launch>("cuda.pointwise")};
  return kRows;
}

}  // namespace hone
