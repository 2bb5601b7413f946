#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <string>
#include <vector>

#include "engine/program.h"

namespace hone::tools {

using NamedTensors = std::map<std::string, Tensor>;

// What --input gave. A number has its input's dtype and shape only once the engine is known.
struct GivenInputs {
  NamedTensors files;
  std::map<std::string, std::string> numbers;  // name to the number as text

  bool empty() const { return files.empty() && numbers.empty(); }
  bool contains(const std::string& name) const { return files.contains(name) || numbers.contains(name); }
  // Of the files: what a model with open dims is built for.
  std::map<std::string, Dims> shapes() const;
  // A value for every input, one that is not given at random from `seed`. Errors: a name that no input has, a number
  // that the input's dtype cannot hold, an input whose dims are open.
  Result<NamedTensors> values(const std::vector<Binding>& inputs, uint64_t seed) const;

 private:
  Status check_names(const std::vector<Binding>& inputs) const;
};

// --input NAME=FILE.npy, or NAME=NUMBER for all elements of an input; --seed.
struct InputOptions {
  std::vector<std::string> given;
  uint64_t seed = 0;

  void add_to(CLI::App& app);
  Result<GivenInputs> read() const;
};

// Values from `seed`: floats in [-1, 1), integers 0 or 1 (valid as ids of tokens and of token types alike), booleans.
Tensor random_input(const TensorType& type, uint64_t seed);

}  // namespace hone::tools
