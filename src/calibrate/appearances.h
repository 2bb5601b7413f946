#pragma once

#include <vector>

#include "engine/program.h"

namespace hone::calibrate {

// When a run that goes step by step has made the outputs of a program.
struct Appearances {
  std::vector<size_t> given;                // outputs that are inputs, constants, or parts of them
  std::vector<std::vector<size_t>> behind;  // for each step, the outputs that are whole when it has ended

  explicit Appearances(const Program& program);
};

}  // namespace hone::calibrate
