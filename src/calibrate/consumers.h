#pragma once

#include <set>

#include "calibrate/observed_model.h"

namespace hone::calibrate {

// What clipping and rounding a tensor does to the layers that read it.
class Consumers {
 public:
  // `model` must outlive this. Nothing is compiled before it is needed.
  Consumers(const ObservedModel& model, const CompileOptions& options);

  // Whether a convolution or matrix product reads tensor k, and all its inputs are constant or observed.
  bool has(size_t k) const { return !layers_[k].empty(); }
  // What add_errors() reads for tensor k: the tensors that its layers do.
  std::set<size_t> needs(size_t k) const;
  // Adds, for each of `thresholds`, the error that int8 at that threshold in tensor k makes in the outputs of its
  // layers: the sum of squares relative to that of the output, summed over the layers. Layers and tensor are as an int8
  // network has them: weights rounded for each output channel, and a scale for each channel of the tensor where that
  // network has these. `magnitudes`: of the tensor's channels; empty where they are not known. `values` are of one run,
  // those that are needed. Different tensors may be asked for at the same time; each layer runs on one thread.
  Status add_errors(size_t k, const Tensors& values, std::span<const double> magnitudes,
                    std::span<const double> thresholds, std::span<double> errors);

 private:
  struct Layer {
    NodeId node = NodeId::none;
    std::vector<size_t> inputs;  // observed tensors that are not constant inputs of the node, in its order
    std::shared_ptr<const LoadedEngine> exact, rounded;  // by the weights
  };
  Status compile(Layer& layer, std::span<const double> steps);
  Result<std::shared_ptr<const LoadedEngine>> engine_of(const Layer& layer, const Tensor& weights);
  // Of the channels of tensor k at a threshold; empty where it has one.
  std::vector<double> steps_of(size_t k, std::span<const double> magnitudes, double threshold) const;

  const ObservedModel& model_;
  CompileOptions options_;
  std::vector<std::vector<Layer>> layers_;  // of each tensor
};

}  // namespace hone::calibrate
