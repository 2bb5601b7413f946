// Convolutions of bytes by filters of one pixel, whose sums are quantised again, with a residual added or not.
#pragma once

#include "bottleneck.h"
#include "fused_problem.h"

namespace hone::testing {

struct PixelCase {
  int64_t n, h, w, channels, out, stride = 1;
  bool adds = true, relu = true;
};

inline Problem requantised_1x1(const PixelCase& c) {
  const int64_t oh = (c.h - 1) / c.stride + 1, ow = (c.w - 1) / c.stride + 1;
  const int at = c.adds ? 10 : 5;  // the instruction that makes what is rounded
  const std::string program = fmt::format(
      "in0:i32; cast:f32(0); in1:f32; mul:f32(1,2); in2:f32; add:f32(3,4);{} round:f32({}); constant:f32({}); "
      "constant:f32(127); clip:f32({},{},{}); cast:i8({})",
      c.adds ? " in3:i8; cast:f32(6); constant:f32(0.673625648021698); mul:f32(7,8); add:f32(5,9);" : "", at,
      c.relu ? 0 : -128, at + 1, at + 2, at + 3, at + 4);
  Problem problem = fused_problem(fmt::format(
      R"text(graph {{
  input %1 "x" : i8[{0},{1},{2},{3}]
  input %2 "w" : i8[{4},{3},1,1]
  input %3 "s" : f32[{4}]
  input %4 "b" : f32[{4}]
{5}  %6 = Conv(%1, %2) {{strides=[{6},{6}], dilations=[1,1], pads=[0,0,0,0], groups=1, channels_last=true}}
  %7 = Pointwise(%6, %3, %4{7}) {{program="{8}"}}
  output %7 "y"
}}
)text",
      c.n, c.h, c.w, c.channels, c.out,
      c.adds ? fmt::format("  input %5 \"r\" : i8[{},{},{},{}]\n", c.n, oh, ow, c.out) : "", c.stride,
      c.adds ? ", %5" : "", program));
  Tensor scale = random_of(DType::f32, {c.out}, 2, 0.3);
  const double one = 1 / (73 * std::sqrt(static_cast<double>(c.channels)));
  for (int64_t i = 0; i < c.out; ++i) scale.set(i, one * (1 + scale.at(i)));
  problem.constants.resize(problem.inputs.size());
  problem.constants[1] = random_of(DType::i8, {c.out, c.channels, 1, 1}, 3, 127);
  problem.constants[2] = scale;
  problem.constants[3] = random_of(DType::f32, {c.out}, 4, 20);
  return problem;
}

}  // namespace hone::testing
