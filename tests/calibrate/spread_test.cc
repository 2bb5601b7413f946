#include "calibrate/spread.h"

#include <gtest/gtest.h>

namespace hone::calibrate {
namespace {

Tensor number(double value) {
  return Tensor::of<float>(DType::f32, {1, 1}, std::span<const float>(std::vector{static_cast<float>(value)}));
}

std::vector<double> kept(size_t offered, size_t most) {
  Spread spread(most);
  Tensor memory = number(0);  // used again for each run
  for (size_t k = 0; k < offered; ++k) {
    memory.mutable_data<float>()[0] = static_cast<float>(k);
    spread.offer({memory});
  }
  std::vector<double> values;
  for (const Tensors& run : spread.runs()) values.push_back(run[0].at(0));
  return values;
}

TEST(Spread, RunsAreEquallyFarApart) {
  EXPECT_EQ(kept(0, 4), (std::vector<double>{}));
  EXPECT_EQ(kept(3, 4), (std::vector<double>{0, 1, 2}));
  EXPECT_EQ(kept(4, 4), (std::vector<double>{0, 1, 2, 3}));
  EXPECT_EQ(kept(5, 4), (std::vector<double>{0, 2, 4}));
  EXPECT_EQ(kept(9, 4), (std::vector<double>{0, 4, 8}));
  EXPECT_EQ(kept(30, 4), (std::vector<double>{0, 8, 16, 24}));
}

class Two : public Batches {
 public:
  Result<std::optional<Batch>> next() override {
    if (given_++ == 2) return std::optional<Batch>();
    return std::optional(
        Batch{"two", {Tensor::of<float>(DType::f32, {2, 1}, std::span<const float>(std::vector<float>{1, 2}))}});
  }
  size_t count() const override { return 2; }

 private:
  int given_ = 0;
};

TEST(Remembering, PassesBatchesOnAndKeepsTheirRows) {
  Two data;
  Remembering remembering(data, {{"x", {DType::f32, Shape({Dim::named("N"), Dim(1)})}}}, 64);
  EXPECT_EQ(remembering.count(), 2u);
  for (int k = 0; k < 2; ++k) {
    const auto batch = remembering.next();
    ASSERT_TRUE(batch.ok() && batch->has_value());
    EXPECT_EQ((*batch)->inputs[0].dims(), (Dims{2, 1}));
  }
  const auto end = remembering.next();
  ASSERT_TRUE(end.ok());
  EXPECT_FALSE(end->has_value());
  ASSERT_EQ(remembering.runs().size(), 4u);
  EXPECT_EQ(remembering.runs()[3][0], number(2));
}

}  // namespace
}  // namespace hone::calibrate
