#include "base/tensor.h"

#include <gtest/gtest.h>

#include <cmath>

namespace hone {
namespace {

TEST(Tensor, StartsZeroedAndAligned) {
  for (int64_t count : {0, 1, 17, 4096}) {
    const Tensor t(DType::f32, {count});
    EXPECT_EQ(reinterpret_cast<uintptr_t>(t.raw()) % 64, 0u);
    for (double v : t.to_doubles()) EXPECT_EQ(v, 0);
  }
}

TEST(Tensor, SetAndAtConvertForEveryType) {
  for (DType type : {DType::f32, DType::f64, DType::f16, DType::bf16, DType::i8, DType::i16, DType::i32, DType::i64,
                     DType::u8, DType::u16, DType::u32, DType::u64, DType::boolean, DType::f8e4m3fn, DType::f8e5m2,
                     DType::i4, DType::u4, DType::i2, DType::f4e2m1}) {
    Tensor t(type, {3});
    t.set(1, 1);
    EXPECT_EQ(t.to_ints(), (std::vector<int64_t>{0, 1, 0})) << name(type);
    if (is_signed(type)) {
      t.set(2, -1);
      EXPECT_EQ(t.at(2), -1) << name(type);
    }
  }
  Tensor big(DType::i64, {1});
  big.set_int(0, INT64_MAX - 1);
  EXPECT_EQ(big.int_at(0), INT64_MAX - 1);
  Tensor u(DType::u64, {1});
  u.set(0, 0x1p63);
  EXPECT_EQ(u.at(0), 0x1p63);
  for (double beyond : {1e30, -1e30, std::nan("")}) {
    big.set(0, beyond);
    EXPECT_EQ(big.int_at(0), beyond > 0 ? INT64_MAX : beyond < 0 ? INT64_MIN : 0);
  }
}

TEST(Tensor, APartLiesInTheMemoryOfTheWhole) {
  Tensor part;
  {
    Tensor whole = Tensor::of<float>(DType::f32, {2, 3}, std::vector<float>{0, 1, 2, 3, 4, 5});
    part = whole.part({2}, 3 * sizeof(float));
    EXPECT_EQ(part.raw(), whole.data<float>() + 3);
    EXPECT_EQ(whole.part({3, 2}, 0), whole.reshaped({3, 2}));
    whole.set(4, 9);
  }
  EXPECT_EQ(part, Tensor::of<float>(DType::f32, {2}, std::vector<float>{3, 9}));
}

TEST(Tensor, EqualityIsOfTypeDimsAndBits) {
  Tensor a(DType::f32, {2, 3}), b(DType::f32, {2, 3});
  EXPECT_EQ(a, b);
  EXPECT_FALSE(a == b.reshaped({3, 2}));
  b.set(5, -0.0);
  EXPECT_FALSE(a == b);
  EXPECT_EQ(Tensor(), Tensor());
  EXPECT_FALSE(Tensor() == a);
  EXPECT_EQ(Tensor::strings({2}, {"a", ""}), Tensor::strings({2}, {"a", ""}));
  EXPECT_FALSE(Tensor::sequence({a}) == Tensor::sequence({a, a}));
}

TEST(Tensor, CheckedBytesRefusesWhatCannotBe) {
  const auto bytes = [](DType type, Dims dims) { return checked_bytes(type, dims); };
  EXPECT_EQ(*bytes(DType::f32, {2, 3}), 24);
  EXPECT_EQ(*bytes(DType::f64, {}), 8);
  EXPECT_EQ(*bytes(DType::f32, {0, 1 << 30}), 0);
  EXPECT_FALSE(bytes(DType::f32, {-1}).ok());
  EXPECT_FALSE(bytes(DType::f32, {INT64_MAX, INT64_MAX, 0}).ok());
  EXPECT_FALSE(bytes(DType::i8, {int64_t{1} << 31, int64_t{1} << 32}).ok());
  EXPECT_NE(bytes(DType::f32, {3, -2}).status().message().find("[3,-2]"), std::string::npos);
}

TEST(Tensor, StridesAndText) {
  EXPECT_EQ(strides_of(Dims{2, 3, 4}), (Dims{12, 4, 1}));
  EXPECT_EQ(to_string(Dims{1, 2}), "[1,2]");
  EXPECT_EQ(to_string(Dims{}), "[]");
}

}  // namespace
}  // namespace hone
