#pragma once

#include "ops/elements.h"
#include "ops/reduce.h"
#include "tactics/common.h"

namespace hone::cuda {

// The dims of a Reduce's input that it keeps and those that go, with their strides.
struct ReducedDims {
  Dims kept, kept_strides, gone, gone_strides;
};

inline Result<ReducedDims> reduced_dims(const Problem& problem) {
  const Dims x = dims_of(problem.inputs[0]), strides = strides_of(x);
  std::vector<bool> reduced(x.size(), !problem.op.as<Reduce>()->noop_without_axes);
  if (has(problem, 1) && problem.constants[1].count() > 0) {
    HONE_TRY(const auto axes, normalize_axes(problem.constants[1].to_ints(), static_cast<int64_t>(x.size())));
    reduced.assign(x.size(), false);
    for (int64_t a : axes) reduced[static_cast<size_t>(a)] = true;
  }
  ReducedDims dims;
  for (size_t d = 0; d < x.size(); ++d) {
    (reduced[d] ? dims.gone : dims.kept).push_back(x[d]);
    (reduced[d] ? dims.gone_strides : dims.kept_strides).push_back(strides[d]);
  }
  return dims;
}

// How many elements make one result; 0 when there is none.
inline int64_t reduced_count(const Problem& problem) {
  const int64_t results = element_count(dims_of(problem.outputs[0]));
  return results == 0 ? 0 : element_count(dims_of(problem.inputs[0])) / results;
}

}  // namespace hone::cuda
