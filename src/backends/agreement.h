#pragma once

#include "tactics/tactic.h"

namespace hone {

// Whether kernels that compute the same problem agree, so that a wrong one is found before it is timed. Kernels of one
// product differ in the order of their sums, in what TF32 leaves of the factors, and in rounding the result.

// The plainest tactic of the machine's GPU for a product, whose numbers the others' are held against; null where there
// is nothing to compare.
const Tactic* witness_of(const Problem& problem, const Machine& machine);

// An error if an element of `got` is farther from that of `want` than the problem's kernels may be from each other.
Status agree(const Problem& problem, const Machine& machine, const Tensor& want, const Tensor& got);

}  // namespace hone
