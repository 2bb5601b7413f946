#pragma once

#include "ir/op.h"

namespace hone {

// roi_align(x, rois, batch_indices): x is [N, C, H, W], rois [R, 4] holds x1, y1, x2, y2 and batch_indices (i64) [R]
// the image of each. Each of height x width bins averages (or takes the largest weighed corner of, mode "max") bilinear
// samples.
struct RoiAlign {
  static constexpr std::string_view kName = "RoiAlign";
  std::string mode = "avg";  // avg, max
  int64_t height = 1, width = 1;
  int64_t sampling_ratio = 0;  // samples a bin and dim; 0: as many as elements
  double spatial_scale = 1;
  bool half_pixel = true;  // shifts positions by half an element; without it regions are at least 1 wide

  static void fields(auto& self, auto&& field) {
    field("mode", self.mode);
    field("height", self.height);
    field("width", self.width);
    field("sampling_ratio", self.sampling_ratio);
    field("spatial_scale", self.spatial_scale);
    field("half_pixel", self.half_pixel);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

// max_roi_pool(x, rois): rois [R, 5] holds image, x1, y1, x2, y2. The largest element of each of height x width bins,
// whose borders are rounded outwards to whole elements; 0 for an empty bin.
struct MaxRoiPool {
  static constexpr std::string_view kName = "MaxRoiPool";
  int64_t height = 1, width = 1;
  double spatial_scale = 1;

  static void fields(auto& self, auto&& field) {
    field("height", self.height);
    field("width", self.width);
    field("spatial_scale", self.spatial_scale);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
