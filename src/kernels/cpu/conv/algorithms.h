// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// The rows of the convolution table, each defined beside its kernels.
#pragma once

#include "kernels/cpu/conv/conv.h"

namespace hone::cpu {

extern const ConvAlgorithm conv_1x1;
extern const ConvAlgorithm conv_strassen;
extern const ConvAlgorithm conv_fip;
extern const ConvAlgorithm conv_strassen_fip;
extern const ConvAlgorithm conv_depthwise;
extern const ConvAlgorithm conv_winograd_f4;
extern const ConvAlgorithm conv_winograd_f5;
extern const ConvAlgorithm conv_winograd_f4_k4;
extern const ConvAlgorithm conv_winograd_f2;
extern const ConvAlgorithm conv_winograd_s2_f4;
extern const ConvAlgorithm conv_winograd_s2_f2;
extern const ConvAlgorithm conv_winograd_f2_bf16;
extern const ConvAlgorithm conv_winograd_s2_f2_bf16;
extern const ConvAlgorithm conv_winograd_phases;
extern const ConvAlgorithm conv_winograd_f4_fip;
extern const ConvAlgorithm conv_winograd_f5_fip;
extern const ConvAlgorithm conv_winograd_s2_f4_fip;
extern const ConvAlgorithm conv_dot;
extern const ConvAlgorithm conv_direct;
extern const ConvAlgorithm conv_grouped;
extern const ConvAlgorithm conv_reference;

}  // namespace hone::cpu
