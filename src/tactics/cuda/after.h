#pragma once

#include "base/pointwise.h"
#include "tactics/tactic.h"

namespace hone::cuda {

// A problem seen as one op and the elementwise work that is joined to its result, if any.
struct AfterView {
  Problem plain;  // the op alone; the problem itself where something else is joined
  std::optional<PointwiseProgram> after;
  std::vector<int> operands;  // the program's inputs: of the problem, or -1, the op's result
};

AfterView view_after(const Problem& problem);

}  // namespace hone::cuda
