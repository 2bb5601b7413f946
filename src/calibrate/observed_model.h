#pragma once

#include <map>

#include "base/thread_pool.h"
#include "calibrate/appearances.h"
#include "calibrate/batches.h"
#include "calibrate/device_statistics.h"
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
  // Called with each of tensors(), by its number, in memory of the host, as it is made. Its memory is used again: the
  // values are valid until this returns.
  using Sink = std::function<Status(size_t tensor, const Tensor& values)>;
  Status run(const std::vector<Tensor>& inputs, const Sink& sink);

  // What is not finite in each of tensors() in a run, and how many values it has.
  struct Seen {
    NotFinite odd;
    int64_t values = 0;
  };
  // Runs the network and takes all tensors into their statistics: on the GPU where it computed them, else here.
  Result<std::vector<Seen>> observe(const std::vector<Tensor>& inputs, cpu::ThreadPool& pool);
  // The statistics of tensors() in all runs that were observed; they begin anew.
  Result<std::vector<Statistics>> take_statistics();
  // Where the values come from: output k is tensors()[k].
  const Graph& graph() const { return graph_; }

 private:
  ObservedModel(Graph graph, std::vector<ObservedTensor> tensors, std::shared_ptr<const LoadedEngine> engine)
      : graph_(std::move(graph)),
        tensors_(std::move(tensors)),
        appearances_(engine->program()),
        context_(std::move(engine)),
        statistics_(tensors_.size()) {}

  // Runs, and calls for each of tensors() as soon as it is whole.
  Status run_and_show(const std::vector<Tensor>& inputs, const std::function<Status(size_t tensor)>& show);

  Graph graph_;
  std::vector<ObservedTensor> tensors_;
  Appearances appearances_;
  ExecutionContext context_;
  std::vector<Statistics> statistics_;        // of what the host observed
  std::unique_ptr<DeviceStatistics> device_;  // null without a GPU
};

// The model's inputs, with the dims that it leaves open and `shapes` does not give.
Result<std::vector<Input>> inputs_of(const std::string& path, const std::map<std::string, Dims>& shapes);

// "its constant 'w' holds nan (element 3)", of the node of the source model that makes an observed tensor, or empty.
Result<std::string> broken_constant(const std::string& path, const std::map<std::string, Dims>& shapes,
                                    const std::string& tensor);

// The names of what is observed, for a model whose open leading dims are 1: what a cache must have.
Result<std::vector<std::string>> tensors_of(const std::string& path, const std::map<std::string, Dims>& shapes);

}  // namespace hone::calibrate
