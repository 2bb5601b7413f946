#pragma once

#include "ir/op.h"

namespace hone {

// resize(x, roi?, scales?, sizes?) as ONNX Resize-19 has it; `axes` empty means all dims, and an empty roi, scales or
// sizes counts as absent. Linear and cubic interpolation work on one dim after another; integers round to nearest.
struct Resize {
  static constexpr std::string_view kName = "Resize";
  std::string mode = "nearest";            // nearest, linear, cubic
  std::string coordinates = "half_pixel";  // ONNX coordinate_transformation_mode
  std::string nearest_mode = "round_prefer_floor";
  std::string aspect_policy = "stretch";  // stretch, not_larger, not_smaller
  double cubic_coeff_a = -0.75, extrapolation_value = 0;
  bool antialias = false, exclude_outside = false;
  std::vector<int64_t> axes;

  static void fields(auto& self, auto&& field) {
    field("mode", self.mode);
    field("coordinates", self.coordinates);
    field("nearest_mode", self.nearest_mode);
    field("aspect_policy", self.aspect_policy);
    field("cubic_coeff_a", self.cubic_coeff_a);
    field("extrapolation_value", self.extrapolation_value);
    field("antialias", self.antialias);
    field("exclude_outside", self.exclude_outside);
    field("axes", self.axes);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
