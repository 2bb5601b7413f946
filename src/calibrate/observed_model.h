#pragma once

#include <map>

#include "calibrate/batches.h"
#include "compile/compile.h"
#include "runtime/context.h"

namespace hone::calibrate {

// A tensor of the source model whose range is wanted.
struct ObservedTensor {
  std::string name;
  std::string node;   // for messages: "node 'conv1' (Conv)", or "input"
  int64_t axis = -1;  // of the channels, in the order that the observed network has it; -1: it has none
};

// The model as its fp32 network for fixed input shapes, in which the tensors that a quantised network needs ranges for
// are kept as outputs: inputs and results of convolutions, matrix products, pooling, concatenation, elementwise and
// other arithmetic, in floats, outside the bodies of If, Loop and Scan. Nothing is fused across such a tensor, and it
// is seen in the order that the kernels make it in.
class ObservedModel {
 public:
  static Result<std::unique_ptr<ObservedModel>> make(const std::string& path, const std::map<std::string, Dims>& shapes,
                                                     const CompileOptions& options);

  const std::vector<ObservedTensor>& tensors() const { return tensors_; }
  // The values of tensors(), valid until the next run.
  Result<Tensors> run(const std::vector<Tensor>& inputs);
  // Where the values come from: output k is tensors()[k].
  const Graph& graph() const { return graph_; }

 private:
  ObservedModel(Graph graph, std::vector<ObservedTensor> tensors, std::shared_ptr<const LoadedEngine> engine)
      : graph_(std::move(graph)), tensors_(std::move(tensors)), context_(std::move(engine)) {}

  Graph graph_;
  std::vector<ObservedTensor> tensors_;
  ExecutionContext context_;
};

// The model's inputs, with the dims that it leaves open and `shapes` does not give.
Result<std::vector<Input>> inputs_of(const std::string& path, const std::map<std::string, Dims>& shapes);

// The names of what is observed, for a model whose open leading dims are 1: what a cache must have.
Result<std::vector<std::string>> tensors_of(const std::string& path, const std::map<std::string, Dims>& shapes);

}  // namespace hone::calibrate
