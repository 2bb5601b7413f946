#include "backends/regions.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "backends/min_cut.h"

namespace hone {
namespace {

// An engine that is written step by step.
struct Engine {
  Program program;
  std::vector<double> us;

  int slot(DType type, Slot::Kind kind = Slot::Kind::arena, int of = -1, int64_t offset = 0) {
    program.slots.push_back({.kind = kind, .type = {type, Shape::of(Dims{10})}, .offset = offset, .alias_of = of});
    return static_cast<int>(program.slots.size()) - 1;
  }
  void step(std::vector<std::string> sources, std::vector<int> inputs, std::vector<int> outputs, double t) {
    program.steps.push_back(
        {.inputs = std::move(inputs), .outputs = std::move(outputs), .sources = std::move(sources)});
    us.push_back(t);
  }
  TimedProgram timed() const { return {program, us}; }
};

constexpr DType kTypes[] = {DType::i8, DType::bf16};

const Region* region_of(const std::vector<Region>& regions, const std::string& source) {
  const auto found = std::ranges::find_if(regions, [&](const Region& r) { return r.sources.contains(source); });
  return found == regions.end() ? nullptr : &*found;
}

// "b" is fused with "out" in floats only, "c" with "sum" in one of both engines.
TEST(Regions, AreTheStepsOfBothEnginesThatComputeTheSameNodes) {
  Engine reduced, full;
  const int x = reduced.slot(DType::f32), a = reduced.slot(DType::i8), b = reduced.slot(DType::i8);
  reduced.step({}, {x}, {a}, 5);
  reduced.step({"a"}, {a}, {b}, 10);
  reduced.step({"b"}, {b}, {x}, 10);
  reduced.step({"out"}, {x}, {x}, 4);
  full.step({"a"}, {}, {}, 20);
  full.step({"b", "out"}, {}, {}, 22);
  full.step({"softmax"}, {}, {}, 2);
  const auto regions = regions_of(reduced.timed(), full.timed());
  ASSERT_EQ(regions.size(), 4u);
  EXPECT_TRUE(regions[0].sources.empty());
  EXPECT_EQ(regions[0].reduced_us, 5);
  EXPECT_EQ(regions[0].full_us, 0);
  const Region* fused = region_of(regions, "b");
  EXPECT_EQ(fused->sources, (std::set<std::string>{"b", "out"}));
  EXPECT_EQ(fused->reduced_us, 14);
  EXPECT_EQ(fused->full_us, 22);
  EXPECT_EQ(region_of(regions, "softmax")->full_us, 2);
}

// Three layers in a row, the second of which is 30 us slower in bf16.
TEST(Regions, LeaveTheSmallerPrecisionWhereThatWinsMoreThanCasts) {
  Engine reduced, full;
  const int x = reduced.slot(DType::bf16), y = reduced.slot(DType::bf16), z = reduced.slot(DType::bf16);
  reduced.step({"first"}, {}, {x}, 10);
  reduced.step({"slow"}, {x}, {y}, 50);
  reduced.step({"last"}, {y}, {z}, 10);
  full.step({"first"}, {}, {}, 25);
  full.step({"slow"}, {}, {}, 20);
  full.step({"last"}, {}, {}, 12);
  const auto reduces = [&](double cast_us) {
    std::vector<bool> list;
    for (const Region& r : regions_of(reduced.timed(), full.timed(), kTypes, [&](double) { return cast_us; }))
      list.push_back(r.reduced);
    return list;
  };
  EXPECT_EQ(reduces(1), (std::vector<bool>{true, false, true}));
  EXPECT_EQ(reduces(5), (std::vector<bool>{true, false, false})) << "a cast costs more than the last layer wins";
  EXPECT_EQ(reduces(16), (std::vector<bool>{false, false, false}));
  EXPECT_EQ(reduces(HUGE_VAL), (std::vector<bool>{false, false, false})) << "the network as a whole";
  full.us[0] = 40;
  EXPECT_EQ(reduces(HUGE_VAL), (std::vector<bool>{true, true, true}));
}

// "same" has no tensor in bf16: it is one kernel in both engines, whatever was measured.
TEST(Regions, AreLeftAloneWhereNothingIsToBeChosen) {
  Engine reduced, full;
  const int x = reduced.slot(DType::f32), y = reduced.slot(DType::bf16), z = reduced.slot(DType::bf16);
  reduced.step({"same"}, {}, {x}, 30);
  reduced.step({"fast"}, {x}, {y}, 10);
  reduced.step({"slow"}, {y}, {z}, 90);
  full.step({"same"}, {}, {}, 10);
  full.step({"fast"}, {}, {}, 50);
  full.step({"slow"}, {}, {}, 20);
  const auto regions = regions_of(reduced.timed(), full.timed(), kTypes, [](double) { return 5; });
  EXPECT_FALSE(region_of(regions, "same")->shares);
  EXPECT_TRUE(region_of(regions, "same")->reduced);
  EXPECT_TRUE(region_of(regions, "fast")->shares);
  EXPECT_FALSE(region_of(regions, "slow")->reduced);
}

TEST(Regions, ConvertATensorOnceForAllThatReadIt) {
  Engine reduced, full;
  const int x = reduced.slot(DType::bf16), y = reduced.slot(DType::f32);
  reduced.step({"x"}, {}, {x}, 1);
  full.step({"x"}, {}, {}, 100);
  for (const char* name : {"a", "b", "c"}) {
    reduced.step({name}, {x}, {y}, 8);
    full.step({name}, {}, {}, 1);
  }
  const auto regions = regions_of(reduced.timed(), full.timed(), kTypes, [](double elements) {
    EXPECT_EQ(elements, 10);
    return 20.0;
  });
  EXPECT_TRUE(region_of(regions, "x")->reduced);
  for (const char* name : {"a", "b", "c"}) EXPECT_FALSE(region_of(regions, name)->reduced) << "they win 21 us together";
}

// "a" and "b" each write half of what "c" reads; "d" overwrites the second half, which "e" reads. Weights join nothing.
TEST(Regions, FollowPartsAndWhatIsComputedInPlace) {
  const auto make = [](const std::string& slow) {
    Engine reduced, full;
    const int whole = reduced.slot(DType::bf16), w = reduced.slot(DType::bf16, Slot::Kind::constant);
    const int left = reduced.slot(DType::bf16, Slot::Kind::alias, whole, 0);
    const int right = reduced.slot(DType::bf16, Slot::Kind::alias, whole, 20);
    const int again = reduced.slot(DType::bf16, Slot::Kind::alias, right, 0);
    reduced.program.slots[0].type.shape = Shape::of(Dims{20});
    const auto step = [&](const std::string& name, std::vector<int> inputs, std::vector<int> outputs) {
      reduced.step({name}, std::move(inputs), std::move(outputs), name == slow ? 100 : 10);
      full.step({name}, {}, {}, 20);
    };
    step("a", {w}, {left});
    step("b", {w}, {right});
    step("c", {whole, w}, {});
    step("d", {right, w}, {again});
    step("e", {again, w}, {});
    std::set<std::string> left_out;
    for (const Region& r : regions_of(reduced.timed(), full.timed(), kTypes, [](double) { return 15; }))
      if (!r.reduced) left_out.merge(std::set(r.sources));
    return left_out;
  };
  EXPECT_EQ(make("a"), std::set<std::string>{"a"});
  EXPECT_EQ(make("e"), (std::set<std::string>{"e"}));
  EXPECT_EQ(make(""), std::set<std::string>());
}

// Against all divisions of small graphs.
TEST(MinCut, IsTheCheapestDivision) {
  std::mt19937 random(1);
  const auto below = [&](size_t n) { return random() % n; };
  for (int round = 0; round < 200; ++round) {
    const size_t points = 1 + below(8);
    struct Cost {
      size_t from, to;
      double us;
    };
    std::vector<std::pair<double, double>> sides;
    std::vector<Cost> costs;
    MinCut cut;
    for (size_t p = 0; p < points; ++p) {
      sides.emplace_back(below(10), below(10));
      EXPECT_EQ(cut.add_point(sides[p].first, sides[p].second), p);
    }
    for (size_t i = below(2 * points); i > 0; --i) {
      costs.push_back({below(points), below(points), below(8) == 0 ? HUGE_VAL : static_cast<double>(below(10))});
      cut.add_cost(costs.back().from, costs.back().to, costs.back().us);
    }
    const auto total = [&](const std::function<bool(size_t)>& first) {
      double sum = 0;
      for (size_t p = 0; p < points; ++p) sum += first(p) ? sides[p].first : sides[p].second;
      for (const Cost& c : costs)
        if (first(c.from) && !first(c.to)) sum += c.us;
      return sum;
    };
    double best = HUGE_VAL;
    int most = 0;
    for (size_t mask = 0; mask < size_t{1} << points; ++mask) {
      const double sum = total([&](size_t p) { return (mask >> p & 1) != 0; });
      const int firsts = std::popcount(mask);
      if (sum < best || (sum == best && firsts > most)) most = firsts;
      best = std::min(best, sum);
    }
    const std::vector<bool> first = cut.first_side();
    EXPECT_EQ(total([&](size_t p) { return first[p]; }), best);
    EXPECT_EQ(std::ranges::count(first, true), most) << "round " << round;
  }
}

}  // namespace
}  // namespace hone
