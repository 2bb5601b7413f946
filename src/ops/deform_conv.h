#pragma once

#include "ir/op.h"

namespace hone {

// deform_conv(x, w, offsets, bias?, mask?): a Conv whose every kernel tap is moved by offsets [N, offset_groups * taps
// * r, out...] (r spatial dims) and scaled by mask [N, offset_groups * taps, out...]. Elements between positions are
// interpolated linearly, outside is 0. The channels of x share the offsets of their offset group.
struct DeformConv {
  static constexpr std::string_view kName = "DeformConv";
  std::vector<int64_t> strides, dilations, pads;
  int64_t groups = 1, offset_groups = 1;

  static void fields(auto& self, auto&& field) {
    field("strides", self.strides);
    field("dilations", self.dilations);
    field("pads", self.pads);
    field("groups", self.groups);
    field("offset_groups", self.offset_groups);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
