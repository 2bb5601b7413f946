// The GPU's kernels that slide windows or sample images against the reference. Skipped without a GPU.
#include "ops.h"

namespace hone {
namespace {

class GpuSpatialOps : public GpuOps {};

TEST_P(GpuSpatialOps, ConvolutionsOfEveryFormAreRight) {
  struct Shapes {
    Dims x, w;
    Ints strides, dilations, pads;
    int64_t groups;
    bool channels_last, bias;
  };
  const Shapes shapes[] = {
      {{2, 4, 5, 6, 7}, {8, 4, 3, 2, 3}, {1, 2, 1}, {1, 1, 2}, {1, 0, 2, 1, 1, 0}, 1, false, true},
      {{1, 6, 4, 5, 9}, {9, 2, 1, 3, 2}, {2, 1, 3}, {1, 2, 1}, {0, 1, 0, 0, 2, 1}, 3, false, false},
      {{2, 4, 5, 3, 6}, {10, 3, 2, 2, 2}, {1, 1, 2}, {2, 1, 1}, {0, 1, 1, 1, 0, 0}, 2, true, true},
      {{2, 3, 9, 10}, {6, 3, 3, 3}, {2, 1}, {1, 1}, {1, 1, 1, 1}, 1, false, true},
      {{1, 7, 8, 12}, {12, 1, 3, 3}, {1, 1}, {1, 2}, {1, 2, 1, 2}, 12, true, true},
      {{3, 5, 11}, {7, 5, 4}, {3}, {2}, {2, 1}, 1, false, false}};
  for (const Shapes& s : shapes) {
    const Attrs attrs{{"strides", s.strides},
                      {"dilations", s.dilations},
                      {"pads", s.pads},
                      {"groups", s.groups},
                      {"channels_last", s.channels_last}};
    Case c{"Conv", attrs, {real(s.x), real(s.w)}};
    if (s.bias) c.inputs.push_back(real({s.w[0]}));
    expect_right(c);
    expect_right({"Conv", attrs, {whole(DType::u8, s.x, 0, 256), whole(DType::i8, s.w, -128, 128)}});
  }
}

TEST_P(GpuSpatialOps, TransposedConvolutionsAreRight) {
  struct Shapes {
    Dims x, w;
    Ints strides, dilations, pads, output_padding;
    int64_t groups;
    bool channels_last, bias;
  };
  const Shapes shapes[] = {
      {{2, 5, 6, 16}, {16, 24, 3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 1, true, true},
      {{1, 4, 5, 12}, {12, 5, 2, 4}, {2, 1}, {1, 2}, {0, 1, 0, 2}, {0, 0}, 1, true, false},
      {{2, 5, 6, 12}, {12, 2, 3, 3}, {3, 2}, {2, 1}, {2, 0, 1, 1}, {2, 0}, 3, true, true},
      {{2, 9, 16}, {16, 8, 4}, {2}, {1}, {1, 1}, {0}, 2, true, true},
      {{2, 6, 5, 4}, {6, 7, 3, 2}, {2, 3}, {1, 1}, {1, 0, 0, 1}, {1, 0}, 1, false, true},
      {{1, 4, 3, 4, 2}, {4, 3, 2, 2, 2}, {2, 2, 2}, {1, 1, 1}, {0, 0, 0, 0, 0, 0}, {0, 0, 0}, 2, false, false},
      {{1, 4, 6}, {4, 3, 3}, {1}, {2}, {1, 0}, {0}, 1, false, true}};
  for (const Shapes& s : shapes) {
    Case c{"ConvTranspose",
           {{"strides", s.strides},
            {"dilations", s.dilations},
            {"pads", s.pads},
            {"output_padding", s.output_padding},
            {"groups", s.groups},
            {"channels_last", s.channels_last}},
           {real(s.x), real(s.w)}};
    c.inputs[1].constant = true;
    if (s.bias) c.inputs.push_back(real({s.w[1] * s.groups}));
    expect_right(c);
  }
}

HONE_GPU_TYPES(GpuSpatialOps);

}  // namespace
}  // namespace hone
