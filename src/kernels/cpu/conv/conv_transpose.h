// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// fp32 transposed convolution on NHWC. Weights come in ONNX order [cin][cout / groups][kh][kw].
#pragma once

#include "kernels/cpu/conv/conv.h"

namespace hone::cpu {

struct ConvTransposeProblem {
  int64_t n = 1, h = 1, w = 1, cin = 1, cout = 1;
  int64_t kh = 1, kw = 1;
  int64_t stride_h = 1, stride_w = 1;
  int64_t dilation_h = 1, dilation_w = 1;
  int64_t pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
  int64_t output_padding_h = 0, output_padding_w = 0;
  int64_t groups = 1;
  int64_t in_ldc = 0, out_ldc = 0;  // 0: dense

  bool operator==(const ConvTransposeProblem&) const = default;
  int64_t out_h() const {
    return (h - 1) * stride_h + dilation_h * (kh - 1) + 1 + output_padding_h - pad_top - pad_bottom;
  }
  int64_t out_w() const {
    return (w - 1) * stride_w + dilation_w * (kw - 1) + 1 + output_padding_w - pad_left - pad_right;
  }
  int64_t in_pitch() const { return in_ldc > 0 ? in_ldc : cin; }
  int64_t out_pitch() const { return out_ldc > 0 ? out_ldc : cout; }
};

// Of a dim, the taps k that pixels of a phase see, those with (k * dilation) mod stride == residue: first, first +
// step...
struct TransposedTaps {
  int64_t first, step, count;
};
TransposedTaps taps_of(int64_t kernel, int64_t stride, int64_t dilation, int64_t residue);

// ctx.variant.row_block: output pixels a block. The epilogue's hook gets one pixel at a time when the
// stride is not 1.
size_t conv_transpose_packed_bytes(const ConvTransposeProblem& p, Tier tier);
void conv_transpose_pack(const ConvTransposeProblem& p, Tier tier, const float* weights, void* packed);
size_t conv_transpose_workspace_bytes(const ConvTransposeProblem& p, const ConvContext& ctx);
void conv_transpose(const ConvTransposeProblem& p, const ConvContext& ctx, const ConvArgs& args);

}  // namespace hone::cpu
