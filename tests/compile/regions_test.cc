#include "backends/regions.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace hone {
namespace {

const Region* region_of(const std::vector<Region>& regions, const std::string& source) {
  const auto found = std::ranges::find_if(regions, [&](const Region& r) { return r.sources.contains(source); });
  return found == regions.end() ? nullptr : &*found;
}

// Quantising, two convolutions with an int8 tensor between them, dequantising; apart from them a convolution that is
// fused with a sum in floats only.
TEST(Regions, AreWhatTensorsOfInt8AndFusionsTieTogether) {
  const std::vector<TimedStep> integers{{{}, {1}, 5},    {{"a"}, {1, 2}, 10}, {{"b"}, {2, 3}, 10}, {{"out"}, {3}, 4},
                                        {{"c"}, {7}, 6}, {{"sum"}, {7}, 3},   {{"softmax"}, {}, 2}};
  const std::vector<TimedStep> floats{
      {{"a"}, {}, 20}, {{"b", "out"}, {}, 22}, {{"c", "sum"}, {}, 8}, {{"softmax"}, {}, 2}};
  const auto regions = regions_of(integers, floats);
  ASSERT_EQ(regions.size(), 3u);
  const Region* joined = region_of(regions, "a");
  EXPECT_EQ(joined, region_of(regions, "b"));
  EXPECT_EQ(joined->sources, (std::set<std::string>{"a", "b", "out"}));
  EXPECT_EQ(joined->integers_us, 29);
  EXPECT_EQ(joined->floats_us, 42);
  EXPECT_EQ(region_of(regions, "c")->integers_us, 9);
  EXPECT_EQ(region_of(regions, "c")->floats_us, 8);
  EXPECT_EQ(region_of(regions, "softmax")->integers_us, 2);
}

// An alias ties like the tensor that it shows; weights and other types do not.
TEST(Regions, ReadTheTensorsOfSteps) {
  Program program;
  const auto slot = [&](Slot::Kind kind, DType type, int of = -1) {
    program.slots.push_back({.kind = kind, .type = {type, Shape()}, .alias_of = of});
  };
  slot(Slot::Kind::arena, DType::i8);
  slot(Slot::Kind::alias, DType::i8, 0);
  slot(Slot::Kind::constant, DType::i8);
  slot(Slot::Kind::arena, DType::f32);
  program.steps.push_back({.inputs = {1, 2, -1}, .outputs = {3}, .sources = {"a"}});
  const std::vector<double> us{7};
  const auto joined = timed_steps(program, us, true), apart = timed_steps(program, us, false);
  ASSERT_EQ(joined.size(), 1u);
  EXPECT_EQ(joined[0].integers, std::vector<int>{0});
  EXPECT_EQ(joined[0].sources, std::vector<std::string>{"a"});
  EXPECT_EQ(joined[0].us, 7);
  EXPECT_TRUE(apart[0].integers.empty());
}

}  // namespace
}  // namespace hone
