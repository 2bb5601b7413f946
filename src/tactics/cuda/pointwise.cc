#include <algorithm>

#include "ops/pointwise.h"

#include "tactics/cuda/gemm.h"
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

// All tensors are the output or one element: the dims do not matter.
bool is_flat(const Problem& problem) {
  const Dims out = dims_of(problem.outputs[0]);
  return std::all_of(problem.inputs.begin(), problem.inputs.end(),
                     [&](const TensorType& t) { return dims_of(t) == out || element_count(dims_of(t)) == 1; });
}

Dims dims_seen(const TensorType& type, bool flat) { return flat ? Dims{element_count(dims_of(type))} : dims_of(type); }

int run_of(const Problem& problem) {
  const Dims out = dims_seen(problem.outputs[0], is_flat(problem));
  return out.empty() ? 1 : cuda::run_of(problem.outputs[0].dtype, out.back());
}

Result<cuda::Source> source(const Problem& problem) {
  const bool flat = is_flat(problem);
  const Dims out = dims_seen(problem.outputs[0], flat);
  const char* type = cuda::element_type(problem.outputs[0].dtype);
  std::string parameters = fmt::format("{}* __restrict__ y", type);
  cuda::RunOperands operands;
  std::vector<std::string> expressions;
  for (size_t i = 0; i < problem.inputs.size(); ++i) {
    const std::string name = fmt::format("x{}", i);
    parameters += fmt::format(", const {}* {}", cuda::element_type(problem.inputs[i].dtype), name);
    expressions.push_back(operands.add(name, problem.inputs[i].dtype, dims_seen(problem.inputs[i], flat), out));
  }
  const auto& program = problem.op.as<Pointwise>()->program;
  return cuda::Source{fmt::format(R"cuda(
#define RUN {}
{}extern "C" __global__ void kernel({}) {{
  begin();
  const i64 index = ((i64)blockIdx.x * blockDim.x + threadIdx.x) * RUN;
  if (index >= {}) return;
  const Operands operands = operands_at({}, index);
{}  {} results[RUN];
#pragma unroll
  for (int j = 0; j < RUN; ++j) {{
  {}    results[j] = v{};
  }}
  store_run(y + index, results);
}}
)cuda",
                                  run_of(problem), operands.define(parameters), parameters, element_count(out),
                                  cuda::arguments_of(parameters), operands.loads,
                                  cuda::is_held_in_float(problem.outputs[0].dtype) ? "float" : "i64",
                                  cuda::statements(program, expressions), program.code.size() - 1)};
}

cuda::Launch launch(const Problem& problem) {
  return cuda::elementwise(element_count(dims_of(problem.outputs[0])) / run_of(problem));
}

}  // namespace

std::span<const Tactic> cuda_pointwise_tactics() {
  static constexpr Tactic kRows[] = {cuda::row<supports, source, launch>("cuda.pointwise")};
  return kRows;
}

}  // namespace hone
