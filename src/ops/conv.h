#pragma once

#include "ir/op.h"

namespace hone {

// conv(x, w, bias?): w is [out, in/groups, kernel...] always; x and the result are [N, C, spatial...], or
// [N, spatial..., C] when channels_last. The bias is [out]. Any number of spatial dims.
// 8-bit integers, of one sign or of both, give i32 sums, and take no bias.
struct Conv {
  static constexpr std::string_view kName = "Conv";
  std::vector<int64_t> strides, dilations;  // one a spatial dim
  std::vector<int64_t> pads;                // begins, then ends; zeros
  int64_t groups = 1;
  bool channels_last = false;
  bool nonnegative = false;  // no value of x, of i8, is below 0

  static void fields(auto& self, auto&& field) {
    field("strides", self.strides);
    field("dilations", self.dilations);
    field("pads", self.pads);
    field("groups", self.groups);
    field("channels_last", self.channels_last);
    field("nonnegative", self.nonnegative);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// The transpose of Conv: w is [in, out/groups, kernel...].
// Size: (in - 1) * stride + (kernel - 1) * dilation + 1 + output_padding - pad begin - pad end.
struct ConvTranspose {
  static constexpr std::string_view kName = "ConvTranspose";
  std::vector<int64_t> strides, dilations, pads, output_padding;
  int64_t groups = 1;
  bool channels_last = false;

  static void fields(auto& self, auto&& field) {
    field("strides", self.strides);
    field("dilations", self.dilations);
    field("pads", self.pads);
    field("output_padding", self.output_padding);
    field("groups", self.groups);
    field("channels_last", self.channels_last);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
