// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cpu/conv/conv.h"

namespace hone::cpu {

// ConvAlgorithm::error_bound of a scheme: six standard deviations, over a range taken as four standard deviations of
// the widest output channel. The model: inputs independent, of mean square one; each rounding an independent error of
// standard deviation 2^-24 / sqrt(3) of the value rounded, of which those that sums of products meet add up to the
// variance of `roundings` of the result.
template <class W>
double winograd_error(const ConvProblem& p, const float* weights, double roundings);

// Of sums of `channels` products as they are: the k-th partial sum has k / channels of the variance.
constexpr double plain_roundings(int64_t channels) { return (static_cast<double>(channels) + 1) / 2; }

// The same where inputs and weights, once transformed, are rounded to bf16: two errors of 2^-8 / sqrt(3), beside which
// those in fp32 are nothing. What the products themselves are of would be as much as with a transform that adds
// nothing.
template <class W>
double winograd_error_in_bf16(const ConvProblem& p, const float* weights);

}  // namespace hone::cpu
