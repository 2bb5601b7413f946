#include "kernels/cpu/quantize/dynamic.h"

#include <algorithm>

#include "kernel_testing.h"

namespace hone::cpu {
namespace {

struct Quantized {
  DynamicScale by;
  std::vector<uint8_t> values;
};

Quantized reference(const std::vector<float>& x) {
  float low = 0, high = 0;
  bool nan = false;
  for (float v : x) {
    nan = nan || std::isnan(v);
    low = std::min(low, v);
    high = std::max(high, v);
  }
  Quantized out{.by = dynamic_scale(nan ? NAN : low, nan ? NAN : high), .values = {}};
  for (float v : x) {
    const float q = std::nearbyint(v / out.by.scale) + static_cast<float>(out.by.zero);
    out.values.push_back(std::isnan(q) ? uint8_t{0} : static_cast<uint8_t>(std::clamp(q, 0.f, 255.f)));
  }
  return out;
}

class DynamicQuantize : public ::testing::Test {
 protected:
  void check(const std::vector<float>& x) {
    const Quantized want = reference(x);
    const auto n = static_cast<int64_t>(x.size());
    for (Tier tier : tiers()) {
      for (ThreadPool* pool : {&one_, &three_}) {
        std::vector<std::byte> workspace(static_cast<size_t>(dynamic_quantize_workspace_bytes(pool->size())));
        std::vector<uint8_t> y(x.size() + 1, 77);
        const DynamicScale by = dynamic_quantize(x.data(), n, tier, y.data(), workspace.data(), *pool);
        SCOPED_TRACE(std::string(tier_name(tier)) + ", " + std::to_string(n) + " values");
        EXPECT_TRUE(by.scale == want.by.scale || (std::isnan(by.scale) && std::isnan(want.by.scale))) << by.scale;
        EXPECT_EQ(by.zero, want.by.zero);
        EXPECT_EQ(y.back(), 77) << "written behind the end";
        y.pop_back();
        EXPECT_EQ(y, want.values);
      }
    }
  }

 private:
  ThreadPool one_{1}, three_{3};
};

TEST_F(DynamicQuantize, EveryLength) {
  for (int64_t n = 0; n <= 150; ++n) check(random_floats(n, static_cast<unsigned>(n) + 1, -3.f, 2.f));
  check(random_floats(20'011, 5, -1.f, 7.f));
}

TEST_F(DynamicQuantize, OneSided) {
  check(random_floats(67, 1, 3.f, 5.f));
  check(random_floats(67, 1, -5.f, -3.f));
  check(std::vector<float>(33, 0.f));
  check(std::vector<float>(33, 1e-44f));  // the scale underflows
}

// The range is that of the value at any place, whichever lane and thread sees it.
TEST_F(DynamicQuantize, ExtremesAnywhere) {
  for (size_t at = 0; at < 140; ++at) {
    auto x = random_floats(140, 3, -1.f, 1.f);
    x[at] = at % 2 == 0 ? 9.f : -9.f;
    check(x);
  }
}

TEST_F(DynamicQuantize, NotNumbers) {
  for (size_t at : {0u, 17u, 63u, 139u}) {
    for (float value : {NAN, INFINITY, -INFINITY}) {
      auto x = random_floats(140, 3, -1.f, 1.f);
      x[at] = value;
      check(x);
    }
  }
}

}  // namespace
}  // namespace hone::cpu
