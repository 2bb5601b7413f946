#pragma once

#include "compile/compile.h"

namespace hone {

// Rounding and clipping move the means of what a network computes. This takes the difference out of the biases of its
// int8 layers again: for each output channel, the mean of the layer in floats less that of the layer in int8, which
// reads what the layers before it make in int8, corrected already.
class BiasCorrection {
 public:
  // `samples`: values of the network's inputs; without any nothing is corrected. Both must outlive this.
  BiasCorrection(std::span<const Tensors> samples, const CompileOptions& options)
      : samples_(samples), options_(options) {}

  // `layers` are what quantize() made of `floats` in `integers`. May be asked for again with other layers in int8.
  Status correct(const Graph& floats, std::span<const Int8Layer> layers, Graph& integers);

 private:
  Status find_means(const Graph& floats, std::span<const Int8Layer> layers);

  std::span<const Tensors> samples_;
  const CompileOptions& options_;
  std::map<ValueId, std::vector<double>> means_;  // of layers in floats, by channel
};

}  // namespace hone
