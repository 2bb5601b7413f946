#pragma once

#include "tactics/cuda/kernel.h"
#include "tactics/cuda/source.h"

// What kernels share that move elements of any fixed size.
namespace hone::cuda {

template <class T>
std::string refuse_unless_movable(const Problem& problem) {
  if (problem.op.as<T>() == nullptr) return kAnotherOp;
  if (!problem.is_static()) return "shapes are not fixed";
  if (unsigned_type(size_of(problem.inputs[0].dtype)) == nullptr)
    return fmt::format("{} elements", name(problem.inputs[0].dtype));
  for (const TensorType& t : problem.outputs)
    if (element_count(dims_of(t)) == 0) return "empty";
  return {};
}

inline const char* moved_type(const Problem& problem) { return unsigned_type(size_of(problem.inputs[0].dtype)); }

// Of the inputs from `first` on but `except`: they are absent or constant, or the problem comes from an engine.
inline std::string refuse_unless_constant(const Problem& problem, size_t first, size_t except = 0) {
  for (size_t i = first; i < problem.constants.size(); ++i)
    if (i != except && has(problem, i) && !problem.is_constant(i)) return "its parameters are known only at run time";
  return {};
}

inline std::vector<bool> drops_from(const Problem& problem, size_t first) {
  std::vector<bool> drops(problem.inputs.size(), true);
  std::fill_n(drops.begin(), first, false);
  return drops;
}

// Neighbouring elements of the output that a thread moves at once.
inline int output_run(const Problem& problem) {
  const Dims y = dims_of(problem.outputs[0]);
  return y.empty() ? 1 : run_of(problem.outputs[0].dtype, y.back());
}

inline Launch launch_output(const Problem& problem) { return elementwise(element_count(dims_of(problem.outputs[0]))); }

inline Launch launch_runs(const Problem& problem) {
  return elementwise(element_count(dims_of(problem.outputs[0])) / output_run(problem));
}

}  // namespace hone::cuda
