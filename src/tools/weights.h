#pragma once

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "backends/quantize_weights.h"
#include "compile/compile.h"

namespace hone::tools {

// --weights and --block.
struct WeightOptions {
  std::string name;  // int4 or int8; empty: weights stay as they are
  int64_t block = WeightFormat().block;

  void add_to(CLI::App& app);
  bool given() const { return !name.empty(); }
  WeightFormat format() const;  // of a name that is given
  // Quantises the weights of a graph, which becomes canonical, where a format is given. `samples`: values of its
  // inputs, for which the results are to be exact; may be none. They are run as `options` say.
  Result<std::vector<WeightReport>> apply(Graph& graph, std::span<const Tensors> samples,
                                          const CompileOptions& options) const;
};

void print_weights(const std::vector<WeightReport>& weights);
nlohmann::json weights_json(const std::vector<WeightReport>& weights);

}  // namespace hone::tools
