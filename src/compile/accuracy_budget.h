#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "base/status.h"

namespace hone {

using InInt8 = std::vector<bool>;  // of a network's layers

// What the search asks of a network. Both may be slow: an engine is built for each question.
struct PrecisionMeasures {
  std::function<Result<bool>(const InInt8& layers)> keeps_budget;  // of the whole network, run for real
  std::function<Result<double>(size_t layer)> sensitivity;         // the error with this layer alone in int8
};

// Layers in int8, nearly as many as can be, with which a network keeps its budget; nothing when none may be. It is
// known to keep it with none. The last question that was answered with yes is about the layers that are returned.
//
// When the budget is exceeded with all in int8, the layers are sorted by their sensitivity, each measured once, and
// bisected for the fewest of the worst ones in floats that keep it, as if every layer more in int8 cost accuracy. Those
// that are not needed in floats, the least sensitive first and as many at once as possible, are then taken back.
Result<std::optional<InInt8>> most_in_int8(size_t layers, const PrecisionMeasures& measures);

}  // namespace hone
