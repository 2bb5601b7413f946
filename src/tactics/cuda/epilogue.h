#pragma once

#include "tactics/tactic.h"

namespace hone::cuda {

// A problem seen as an anchor and what is done to each of its results before it is stored.
struct AnchorView {
  Op op;
  size_t inputs = 0;       // the first ones of the problem
  std::string parameters;  // of the kernel: the bias, which is the anchor's input 2, and the epilogue's operands
  // Defines `void store(PARAMETERS, i64 z, int m, int n, const float (&sums)[RUN])` for the parameter `y`, which is
  // [batch][M][N], and RUN neighbouring columns.
  std::string store;
};

// The problem's anchor when it is a T, alone or fused with one pointwise node; else nothing.
std::optional<AnchorView> view_anchor(const Problem& problem, std::string_view op);

// Why the epilogue cannot be computed, or empty.
std::string refuse_epilogue(const Problem& problem);

}  // namespace hone::cuda
