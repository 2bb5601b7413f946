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
    if (s.bias) c.inputs.push_back(real({s.w[1] * s.groups}));
    expect_right(c);
    c.inputs[1].constant = true;
    expect_right(c);
  }
}

TEST_P(GpuSpatialOps, SamplesOfImagesAreRight) {
  for (const char* mode : {"nearest", "linear", "cubic"})
    for (const char* padding : {"zeros", "border", "reflection"})
      for (const bool align : {false, true}) {
        const Attrs attrs{{"mode", std::string(mode)}, {"padding", std::string(padding)}, {"align_corners", align}};
        expect_all_right({{"GridSample", attrs, {real({2, 3, 5, 8}), real({2, 7, 6, 2}, 1.9)}, 1, 64},
                          {"GridSample", attrs, {real({1, 2, 4, 5, 6}), real({1, 2, 5, 3, 3}, 1.3)}, 1, 64},
                          {"GridSample", attrs, {real({2, 2, 9}), real({2, 11, 1}, 3)}, 1, 64}});
      }
  for (const bool align : {false, true})
    expect_all_right({{"AffineGrid", {{"align_corners", align}}, {real({2, 2, 3}), ints({2, 3, 5, 6})}, 1, 4},
                      {"AffineGrid", {{"align_corners", align}}, {real({3, 3, 4}), ints({3, 1, 4, 1, 7})}, 1, 4}});
}

// Regions of an image of 9 x 13, some of them partly outside of it, and one inside out.
Input regions(bool with_image) {
  const std::vector<double> boxes[] = {{1.25, 0.5, 10.75, 7}, {-3, -2, 4, 4}, {6, 3, 6.5, 3.25}, {9, 5, 20, 17},
                                       {8, 6, 2, 1},          {0, 0, 12, 8},  {40, 40, 50, 50}};
  Input input = real({7, with_image ? 5 : 4});
  int64_t at = 0;
  for (const auto& box : boxes) {
    if (with_image) input.value.set(at, static_cast<double>(at / 5 % 2)), ++at;
    for (double v : box) input.value.set(at++, v);
  }
  return input;
}

TEST_P(GpuSpatialOps, PooledRegionsAreRight) {
  for (const char* mode : {"avg", "max"})
    for (const int64_t ratio : {0, 3})
      for (const bool half : {false, true})
        expect_right({"RoiAlign",
                      {{"mode", std::string(mode)},
                       {"height", int64_t{3}},
                       {"width", int64_t{4}},
                       {"sampling_ratio", ratio},
                       {"spatial_scale", 0.8},
                       {"half_pixel", half}},
                      {real({2, 3, 9, 13}), regions(false), whole(DType::i64, {7}, 0, 2)},
                      1,
                      64});
  expect_right({"MaxRoiPool",
                {{"height", int64_t{3}}, {"width", int64_t{2}}, {"spatial_scale", 0.7}},
                {real({2, 3, 9, 13}), regions(true)}});
}

TEST_P(GpuSpatialOps, DeformedConvolutionsAreRight) {
  const auto attrs = [](Ints strides, Ints dilations, Ints pads, int64_t groups, int64_t offset_groups) {
    return Attrs{{"strides", std::move(strides)},
                 {"dilations", std::move(dilations)},
                 {"pads", std::move(pads)},
                 {"groups", groups},
                 {"offset_groups", offset_groups}};
  };
  expect_all_right({
      {"DeformConv",
       attrs({1, 1}, {1, 1}, {1, 1, 1, 1}, 1, 1),
       {real({2, 4, 6, 7}), real({8, 4, 3, 3}), real({2, 18, 6, 7}, 2.5), real({8}), real({2, 9, 6, 7})},
       1,
       64},
      {"DeformConv",
       attrs({2, 1}, {1, 2}, {0, 1, 1, 0}, 2, 3),
       {real({1, 6, 9, 8}), real({6, 3, 2, 3}), real({1, 36, 5, 5}, 4)},
       1,
       64},
      {"DeformConv",
       attrs({1, 1}, {1, 1}, {0, 0, 0, 0}, 4, 2),
       {real({1, 8, 4, 5}), real({4, 2, 2, 2}), real({1, 16, 3, 4}), absent(), real({1, 8, 3, 4})},
       1,
       64},
      {"DeformConv", attrs({2}, {1}, {1, 1}, 1, 1), {real({2, 3, 9}), real({5, 3, 3}), real({2, 3, 5}, 2)}, 1, 64},
  });
}

TEST_P(GpuSpatialOps, PoolsAndWhatUndoesThemAreRight) {
  const auto pool = [](const char* kind, Ints kernel, Ints strides, Ints dilations, Ints pads) {
    return Attrs{{"kind", std::string(kind)},
                 {"kernel", std::move(kernel)},
                 {"strides", std::move(strides)},
                 {"dilations", std::move(dilations)},
                 {"pads", std::move(pads)}};
  };
  for (const bool column_major : {false, true}) {
    Attrs flat = pool("max", {3, 2}, {2, 1}, {1, 2}, {1, 0, 1, 1}),
          deep = pool("max", {2, 2, 3}, {1, 2, 2}, {1, 1, 1}, {0, 1, 1, 1, 0, 1});
    flat["column_major"] = deep["column_major"] = column_major;
    expect_all_right({{"Pool", flat, {real({2, 3, 9, 8})}, 2},
                      {"Pool", flat, {whole(DType::i8, {2, 3, 9, 8}, -2, 2)}, 2},
                      {"Pool", deep, {real({1, 2, 4, 5, 7})}, 2}});
  }
  for (const char* kind : {"max", "average", "lp"})
    expect_right(
        {"Pool", pool(kind, {2, 3, 2}, {2, 1, 2}, {1, 1, 2}, {1, 1, 0, 0, 1, 1}), {real({2, 3, 5, 6, 7})}, 1, 16});
  Attrs cubes = pool("lp", {3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1});
  cubes["p"] = int64_t{3};
  expect_right({"Pool", cubes, {real({2, 3, 9, 8})}, 1, 16});
  const Attrs unpool{{"kernel", Ints{2, 3}}, {"strides", Ints{2, 2}}, {"pads", Ints{0, 0, 0, 1}}};
  expect_all_right({
      {"MaxUnpool", unpool, {real({2, 3, 4, 5}), whole(DType::i64, {2, 3, 4, 5}, 0, 480)}},
      {"MaxUnpool", unpool, {real({2, 3, 4, 5}), whole(DType::i64, {2, 3, 4, 5}, 0, 480), ints({2, 4, 7, 11})}},
      {"MaxUnpool", unpool, {real({2, 3, 4, 5}), whole(DType::i64, {2, 3, 4, 5}, 0, 480), ints({1, 3, 9, 12})}},
      {"Col2Im", {}, {real({2, 12, 30}), ints({6, 7}), ints({2, 2})}, 1, 16},
      {"Col2Im",
       {{"strides", Ints{2, 1}}, {"dilations", Ints{1, 2}}, {"pads", Ints{1, 0, 1, 2}}},
       {real({1, 18, 15}), ints({5, 7}), ints({2, 3})},
       1,
       16},
      {"Col2Im", {{"pads", Ints{1, 1}}}, {real({2, 6, 8}), ints({8}), ints({3})}, 1, 16},
  });
}

HONE_GPU_TYPES(GpuSpatialOps);

}  // namespace
}  // namespace hone
