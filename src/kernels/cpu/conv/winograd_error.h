// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cpu/conv/conv.h"

namespace hone::cpu {

// ConvAlgorithm::error_bound of a scheme: six standard deviations, over a range taken as four standard deviations of
// the widest output channel. The model: inputs independent, of mean square one; each rounding an independent error of
// standard deviation 2^-24 / sqrt(3) of the value rounded.
template <class W>
double winograd_error(const ConvProblem& p, const float* weights);

}  // namespace hone::cpu
