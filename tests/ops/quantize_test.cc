#include "ops/quantize.h"

#include <gtest/gtest.h>

#include <cmath>

namespace hone {
namespace {

Tensors quantized(std::vector<float> values) {
  Tensor x(DType::f32, {static_cast<int64_t>(values.size())});
  for (size_t i = 0; i < values.size(); ++i) x.mutable_data<float>()[i] = values[i];
  const Tensors inputs{x};
  const auto out = DynamicQuantize{}.evaluate({inputs, 3});
  EXPECT_TRUE(out.ok()) << out.status().message();
  return *out;
}

TEST(DynamicQuantize, TheRangeHolds0) {
  const Tensors positive = quantized({1, 2, 3, 4});
  EXPECT_EQ(positive[0].to_doubles(), (std::vector<double>{64, 127, 191, 255}));
  EXPECT_EQ(positive[1].data<float>()[0], 4.f / 255);
  EXPECT_EQ(positive[2].int_at(0), 0);
  const Tensors negative = quantized({-1, -1});
  EXPECT_EQ(negative[0].to_doubles(), (std::vector<double>{0, 0}));
  EXPECT_EQ(negative[1].data<float>()[0], 1.f / 255);
  EXPECT_EQ(negative[2].int_at(0), 255);
}

TEST(DynamicQuantize, NoRange) {
  for (const auto& values : {std::vector<float>{}, std::vector<float>{0, 0}}) {
    const Tensors flat = quantized(values);
    EXPECT_EQ(flat[1].at(0), 1);
    EXPECT_EQ(flat[2].int_at(0), 0);
  }
}

TEST(DynamicQuantize, NaNStays) {
  const Tensors out = quantized({1, NAN, -1});
  EXPECT_EQ(out[0].to_doubles(), (std::vector<double>{0, 0, 0}));
  EXPECT_TRUE(std::isnan(out[1].at(0)));
  EXPECT_EQ(out[2].int_at(0), 0);
}

TEST(DynamicQuantize, OnlyF32) {
  const Types f64{{DType::f64, Shape::of(Dims{3})}};
  const auto types = DynamicQuantize{}.infer({f64, {}, 3});
  ASSERT_FALSE(types.ok());
  EXPECT_NE(types.status().message().find("f64"), std::string::npos);
}

}  // namespace
}  // namespace hone
