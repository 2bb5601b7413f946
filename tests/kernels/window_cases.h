// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "kernels/cpu/conv/conv.h"

namespace hone::cpu {

// Convolutions whose windows have lines of whole steps, and so may be read where they lie.
inline std::vector<ConvProblem> windows_in_place() {
  std::vector<ConvProblem> cases{{.h = 7, .w = 9, .cin = 24, .cout = 80, .groups = 2}};
  for (int64_t size : {1, 2, 3})
    for (int64_t stride : {1, 2})
      for (int64_t pad : {0, 1, 4})
        cases.push_back({.n = 2,
                         .h = 5,
                         .w = 8 - stride,
                         .cin = 4 * size + 8,
                         .cout = 37,
                         .kh = 3,
                         .kw = size,
                         .stride_h = stride,
                         .stride_w = stride,
                         .dilation_h = 3 - stride,
                         .pad_top = pad,
                         .pad_left = pad,
                         .pad_bottom = 1,
                         .pad_right = 2});
  return cases;
}

}  // namespace hone::cpu
