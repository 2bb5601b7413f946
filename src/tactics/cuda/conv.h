#pragma once

#include "tactics/cuda/epilogue.h"
#include "tactics/cuda/gemm.h"
#include "tactics/cuda/wgmma.h"

// What the GPU's convolutions share.
namespace hone::cuda {

// Two spatial dims; a 1-D image has height 1.
struct ConvGeometry {
  int64_t n, h, w, cin, oh, ow, cout, kh, kw, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left, groups;
  DType type;

  Gemm gemm() const { return {.m = n * oh * ow, .n = cout, .k = kh * kw * cin, .type = type}; }
  // Whether a row of the product is a pixel of the image.
  bool pointwise() const;
  // The names that the kernels use: H, W, CIN, OH, OW, COUT, KH, KW, STRIDE_H, ...
  std::string defines() const;
};

// Of a problem that conv_refusal passes.
AnchorView conv_anchor(const Problem& problem);
ConvGeometry conv_geometry(const Problem& problem);
// Its rows are output pixels, its columns their channels.
WarpgroupProduct conv_product(const Problem& problem);
// Of its image a box of so many channels, columns and rows, from which every STRIDE-th column and row is taken; of its
// weights, with outputs first, one tap of so many channels and outputs.
TensorMapSpec image_map(const ConvGeometry& g, int64_t channels, int64_t columns, int64_t rows);
TensorMapSpec filter_map(const ConvGeometry& g, int64_t channels, int64_t outputs);
// Why no kernel can do it as a convolution of `grouped` or one group, or empty.
std::string conv_refusal(const Problem& problem, bool grouped);
// The same for kernels that read 16 bytes of a pixel at once; with a machine, for its tensor cores.
std::string wide_refusal(const Problem& problem);
std::string wide_refusal(const Problem& problem, const Machine& machine);
// Why no kernel that gathers what makes up a result, which lies in either layout, can do a (transposed) convolution.
std::string refuse_gathered(const Problem& problem, const AnchorView& anchor, bool channels_last);

// The kernel's parameters: y, x, the bias, the epilogue's operands, and the weights w: at the end when they are packed,
// else behind x.
std::string conv_parameters(const Problem& problem, const AnchorView& anchor, bool packed = true);
// `packed` takes the place of the weights.
Source with_weights(Source source, Tensor packed);
// The element (n, h, w_, c) of the image, wherever a prologue takes it from: as it lies in memory, and the statements
// that define `value`, what the anchor reads.
std::string image_element(const AnchorView& anchor);
std::string image_value(const AnchorView& anchor);

// Orders of the weights' dims: they come as [O][I][KH][KW], or [O][I][KW].
std::vector<int64_t> outputs_last(const Tensor& weights);
std::vector<int64_t> outputs_first(const Tensor& weights);

}  // namespace hone::cuda
