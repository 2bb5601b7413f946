#pragma once

#include "ir/op.h"

namespace hone {

// Square steps and pads, channels last.
struct ConvCase {
  int64_t n, h, w, cin, cout, kh, kw, stride, dilation, pad, groups;
};

inline constexpr ConvCase kConvolutions[] = {
    {1, 56, 56, 32, 32, 3, 3, 1, 1, 1, 1},   {2, 7, 9, 4, 20, 3, 3, 1, 1, 1, 1},
    {1, 14, 14, 64, 72, 1, 1, 1, 1, 0, 1},   {1, 15, 13, 12, 40, 5, 5, 2, 1, 2, 1},
    {3, 9, 9, 36, 33, 3, 3, 1, 2, 2, 1},     {1, 17, 17, 3, 24, 7, 7, 2, 1, 3, 1},
    {2, 11, 11, 24, 24, 3, 3, 2, 1, 1, 24},  {1, 8, 8, 12, 18, 3, 3, 1, 1, 1, 3},
    {1, 7, 7, 160, 64, 3, 3, 1, 1, 1, 1},    {1, 1, 1, 96, 8, 1, 1, 1, 1, 0, 1},
    {1, 28, 28, 32, 64, 2, 2, 2, 1, 0, 1},   {2, 28, 28, 128, 512, 1, 1, 1, 1, 0, 1},
    {4, 14, 14, 256, 256, 3, 3, 1, 1, 1, 1}, {1, 28, 28, 512, 1024, 1, 1, 2, 1, 0, 1},
    {8, 28, 28, 128, 128, 3, 3, 2, 1, 1, 1}, {1, 40, 20, 72, 40, 3, 3, 1, 3, 3, 1},
    {1, 9, 9, 16, 16, 3, 3, 1, 1, 1, 16},    {16, 28, 28, 16, 256, 3, 3, 1, 1, 1, 1},
    {2, 32, 32, 3, 64, 16, 16, 16, 1, 0, 1}, {2, 56, 57, 64, 64, 5, 5, 1, 1, 2, 64},
    {4, 57, 57, 96, 96, 3, 3, 2, 1, 1, 96},  {2, 45, 47, 64, 64, 3, 3, 1, 2, 2, 64}};

inline Result<Op> op_of(const ConvCase& c) {
  return make_op("Conv", {{"strides", std::vector<int64_t>{c.stride, c.stride}},
                          {"dilations", std::vector<int64_t>{c.dilation, c.dilation}},
                          {"pads", std::vector<int64_t>{c.pad, c.pad, c.pad, c.pad}},
                          {"groups", c.groups},
                          {"channels_last", true}});
}

}  // namespace hone
