#pragma once

#include "tactics/common.h"

// What Slice and Pad say in their constant inputs.
namespace hone {

// The starts of all dims, then their steps, for an output of the problem's shape.
Result<std::vector<int64_t>> slice_window(const Problem& problem);
// The amounts before all dims, then those after; an empty vector when they do not fit the problem.
std::vector<int64_t> all_pads(const Problem& problem);

}  // namespace hone
