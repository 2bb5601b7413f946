#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>

#include "runtime/context.h"
#include "tools/inputs.h"

namespace hone::tools {

// A tensor under the name that it has in the framework, and with the framework's order of dims.
struct Shown {
  std::string name;
  Tensor value;
  std::string layer;  // what computed it: its source nodes and tactic; may be empty
};
using Sink = std::function<void(const Shown& shown)>;

// One of the two sides of a comparison.
class Subject {
 public:
  virtual ~Subject() = default;

  // The tensors that it can show; nothing when it can show all that the model has.
  virtual std::optional<std::set<std::string>> names() const = 0;
  // Runs once and shows each of the `wanted` that it has at most once, in the order in which they are computed.
  virtual Status run(const NamedTensors& inputs, const std::set<std::string>& wanted, const Sink& sink) const = 0;
};

// An engine shows the outputs of its steps that have names, but not those inside control steps, and its outputs.
std::unique_ptr<Subject> engine_subject(std::shared_ptr<const LoadedEngine> engine);

// `model` in ONNX Runtime, without its graph optimisations, by the Python interpreter `python`.
std::unique_ptr<Subject> onnxruntime_subject(std::string model, std::string python);

}  // namespace hone::tools
