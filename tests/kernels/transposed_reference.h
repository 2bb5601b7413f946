// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "kernels/cpu/conv/conv_transpose.h"

namespace hone::cpu {

// Scatter definition of the transposed convolution, in double precision.
inline std::vector<double> transposed_reference(const ConvTransposeProblem& p, const std::vector<float>& in,
                                                const std::vector<float>& w) {
  const int64_t oh = p.out_h(), ow = p.out_w(), gin = p.cin / p.groups, gout = p.cout / p.groups;
  std::vector<double> out(static_cast<size_t>(p.n * oh * ow * p.cout), 0.0);
  for (int64_t pixel = 0; pixel < p.n * p.h * p.w; ++pixel)
    for (int64_t c = 0; c < p.cin; ++c)
      for (int64_t t = 0; t < p.kh * p.kw; ++t) {
        const int64_t y = pixel / p.w % p.h * p.stride_h - p.pad_top + t / p.kw * p.dilation_h;
        const int64_t x = pixel % p.w * p.stride_w - p.pad_left + t % p.kw * p.dilation_w;
        if (y < 0 || y >= oh || x < 0 || x >= ow) continue;
        const int64_t at = ((pixel / (p.h * p.w) * oh + y) * ow + x) * p.cout + c / gin * gout;
        for (int64_t o = 0; o < gout; ++o)
          out[at + o] += double{in[pixel * p.in_pitch() + c]} * w[(c * gout + o) * p.kh * p.kw + t];
      }
  return out;
}

}  // namespace hone::cpu
