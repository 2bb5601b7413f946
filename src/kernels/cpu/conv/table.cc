// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/cpu/conv/algorithms.h"

namespace hone::cpu {

std::span<const ConvAlgorithm* const> conv_algorithms() {
  static constexpr const ConvAlgorithm* kTable[] = {
      &conv_1x1,
      &conv_strassen,
      &conv_fip,
      &conv_strassen_fip,
      &conv_depthwise,
      &conv_winograd_f4,
      &conv_winograd_f5,
      &conv_winograd_f2,
      &conv_winograd_s2_f4,
      &conv_winograd_s2_f2,
      &conv_winograd_f4_fip,
      &conv_winograd_f5_fip,
      &conv_winograd_s2_f4_fip,
      &conv_winograd_f2_bf16,
      &conv_winograd_s2_f2_bf16,
      &conv_winograd_f4_k4,
      &conv_winograd_phases,
      &conv_dot,
      &conv_direct,
      &conv_grouped,
      &conv_reference,
  };
  return kTable;
}

const ConvAlgorithm* find_conv_algorithm(const char* name) {
  for (const ConvAlgorithm* a : conv_algorithms())
    if (std::strcmp(a->name, name) == 0) return a;
  return nullptr;
}

}  // namespace hone::cpu
