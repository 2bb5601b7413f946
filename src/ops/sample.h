#pragma once

#include "ir/op.h"

namespace hone {

// One input element and its weight in an interpolation.
struct Tap {
  int64_t index = 0;
  double weight = 0;
};
// The taps of all dims multiplied out: flat row-major indices over `dims`.
void combine_taps(std::span<const std::vector<Tap>> axes, std::span<const int64_t> dims, std::vector<Tap>& out);
// Linear interpolation at `x` along a dim of `size`, where what lies outside counts as 0.
void linear_taps(double x, int64_t size, std::vector<Tap>& out);

// grid_sample(x, grid): x is [N, C, spatial...]; grid [N, out..., r] holds positions in [-1, 1], the innermost dim's
// first. The result is [N, C, out...].
struct GridSample {
  static constexpr std::string_view kName = "GridSample";
  std::string mode = "linear";    // nearest, linear, cubic
  std::string padding = "zeros";  // zeros, border, reflection
  bool align_corners = false;

  static void fields(auto& self, auto&& field) {
    field("mode", self.mode);
    field("padding", self.padding);
    field("align_corners", self.align_corners);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// affine_grid(theta, size): theta is [N, r, r + 1], size (i64) is [N, C, spatial...]; the result [N, spatial..., r]
// holds for each position of the output where theta takes it, as GridSample wants it.
struct AffineGrid {
  static constexpr std::string_view kName = "AffineGrid";
  bool align_corners = false;

  static void fields(auto& self, auto&& field) { field("align_corners", self.align_corners); }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
