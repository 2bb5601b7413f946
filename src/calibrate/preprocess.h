#pragma once

#include <array>
#include <string>

#include "ir/type.h"

namespace hone::calibrate {

// How a photograph becomes an input: resized, in the wanted order of colours, then (value * scale - mean) / std, where
// values are 0 to 255 and mean and std follow the order of colours.
struct Preprocess {
  bool resize = false;  // stretched to the model's size
  int short_side = 0;   // above 0: the shorter side becomes this long, and the middle is cut out
  bool bgr = false;
  double scale = 1;
  std::array<double, 3> mean{0, 0, 0}, std{1, 1, 1};

  bool operator==(const Preprocess&) const = default;
};

// "imagenet,resize" or "short=256,bgr,scale=1/255,mean=104:117:123": words and KEY=VALUE in any order, separated by
// commas; a preset is a word that stands for several.
Result<Preprocess> preprocess_from_text(std::string_view text);
// The words and what they do, for --help.
std::string preprocess_help();

// Decodes an image file for an input f32[N,3,H,W] or f32[N,H,W,3]; the result has N = 1.
Result<Tensor> read_image(const std::string& path, const Preprocess& how, const TensorType& type);

}  // namespace hone::calibrate
