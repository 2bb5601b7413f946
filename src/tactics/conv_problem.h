#pragma once

#include "kernels/cpu/conv/conv.h"
#include "ops/conv.h"
#include "tactics/common.h"

namespace hone {

// A channels-last convolution of one or two spatial dims as the kernels see it; 1-D: of height 1.
inline cpu::ConvProblem conv_problem(const Problem& problem, const Conv& conv) {
  const Dims x = dims_of(problem.inputs[0]), w = dims_of(problem.inputs[1]);
  const bool flat = x.size() == 3;  // 1-D: of height 1
  const auto spatial = [&](const std::vector<int64_t>& list, size_t i, int64_t one) {
    return flat ? (i == 0 ? one : list[0]) : list[i];
  };
  cpu::ConvProblem p;
  p.n = x[0];
  p.h = flat ? 1 : x[1];
  p.w = flat ? x[1] : x[2];
  p.cin = x.back();
  p.cout = w[0];
  p.kh = flat ? 1 : w[2];
  p.kw = w.back();
  p.stride_h = spatial(conv.strides, 0, 1);
  p.stride_w = spatial(conv.strides, 1, 1);
  p.dilation_h = spatial(conv.dilations, 0, 1);
  p.dilation_w = spatial(conv.dilations, 1, 1);
  p.pad_top = flat ? 0 : conv.pads[0];
  p.pad_left = flat ? conv.pads[0] : conv.pads[1];
  p.pad_bottom = flat ? 0 : conv.pads[2];
  p.pad_right = flat ? conv.pads[1] : conv.pads[3];
  p.groups = conv.groups;
  return p;
}

}  // namespace hone
