#pragma once

#include <functional>

#include "engine/program.h"

namespace hone {

// A control step in a running program. Its bodies' steps follow it.
struct ControlArgs {
  const Program& program;
  size_t index;  // of the step
  std::span<Tensor> slots;
  std::function<Status(size_t begin, size_t end)> run;  // runs the steps [begin, end)
};

// Whether the step's slots and bodies are those that its op needs.
Status check_control(const Program& program, const Step& step, const Op& op);
Status run_control(const Op& op, const ControlArgs& args);

}  // namespace hone
