#pragma once

#include <set>
#include <span>

#include "compile/compile.h"
#include "runtime/context.h"

namespace hone {

// A graph as it is, untuned and without Winograd; threads and instruction sets are those of `options`.
Result<EngineData> compile_on_cpu(const Graph& graph, const CompileOptions& options);

// The nodes of a graph that make `outputs`, in order, as a network of their own.
struct CompiledPart {
  std::vector<ValueId> inputs;  // of the graph, which the part's inputs "0", "1", ... stand for
  std::shared_ptr<const LoadedEngine> engine;
};
Result<CompiledPart> compile_part(const Graph& graph, std::span<const NodeId> nodes, std::span<const ValueId> outputs,
                                  const CompileOptions& options);

// The nodes that a graph needs for some values beside those that are `known`, in order.
std::vector<NodeId> nodes_for(const Graph& graph, std::span<const ValueId> values, const std::set<NodeId>& known = {});

// So many samples that the largest tensor of all of them together takes 512 MB at most, but one at least.
std::span<const Tensors> as_many_as_fit(const Graph& graph, std::span<const Tensors> samples);

// A graph that is run on several samples at once, as far as it is asked to: what makes a value that is asked for is
// compiled, and run on every sample, once. Of what was run only values that other nodes still need are kept. The graph
// must outlive this.
class PiecewiseRun {
 public:
  // `samples`: values of the graph's inputs. Threads and instruction sets are those of `options`.
  PiecewiseRun(const Graph& graph, std::span<const Tensors> samples, const CompileOptions& options);

  // A value for each sample, until the next one is asked for. What the caller makes of it is what later nodes read.
  Result<std::vector<Tensor>*> values(ValueId v);

 private:
  std::vector<ValueId> needed_after(const std::vector<NodeId>& nodes, ValueId wanted) const;
  void drop_unneeded(ValueId wanted);

  const Graph& graph_;
  const CompileOptions& options_;
  size_t samples_;
  std::set<NodeId> ran_;
  std::map<ValueId, std::vector<Tensor>> values_;
};

}  // namespace hone
