#pragma once

#include "backends/error_feedback.h"
#include "compile/piecewise.h"

namespace hone {

// Second moments of what products of a graph read, from runs of it in fp32 on the CPU. The graph must outlive this.
class InputMoments {
 public:
  // `samples`: values of the graph's inputs. Threads and instruction sets are those of `options`.
  InputMoments(const Graph& graph, std::span<const Tensors> samples, const CompileOptions& options);

  // Of the rows along the last axis of a value; of one that is not in fp32, nothing. Values are to be asked for in the
  // order of the network. Errors: invalid, where a value is not finite.
  Result<SecondMoments> of(ValueId v);

 private:
  const Graph& graph_;
  const CompileOptions& options_;
  PiecewiseRun run_;
};

}  // namespace hone
