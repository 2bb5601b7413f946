#pragma once

#include "tactics/tactic.h"

namespace hone::cuda {

// A problem seen as an anchor and what is done to each of its results before it is stored.
struct AnchorView {
  Op op;
  size_t inputs = 0;  // the first ones of the problem
  // Further kernel parameters, and statements that turn `acc`, the element `index` of the output, into `result`.
  std::string parameters, epilogue;
};

// The problem's anchor when it is a T, alone or fused with one pointwise node; else nothing.
std::optional<AnchorView> view_anchor(const Problem& problem, std::string_view op);

// Why the epilogue cannot be computed, or empty.
std::string refuse_epilogue(const Problem& problem);

}  // namespace hone::cuda
