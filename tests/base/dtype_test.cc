#include "base/dtype.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

namespace hone {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TEST(DType, NamesRoundTrip) {
  for (int i = 0; i <= static_cast<int>(DType::sequence); ++i) {
    const auto type = static_cast<DType>(i);
    EXPECT_EQ(dtype_from_name(name(type)), type) << name(type);
  }
  EXPECT_FALSE(dtype_from_name("float").has_value());
  EXPECT_EQ(size_of(DType::i4), 1u);
  EXPECT_EQ(size_of(DType::string), 0u);
}

// Every finite f16 and bf16 survives the trip through double; halfway to the next value rounds to even.
template <class T>
void expect_exhaustive(T (*encode)(double), uint16_t infinity) {
  for (uint32_t bits = 0; bits < infinity; ++bits) {
    const T value{static_cast<uint16_t>(bits)}, next{static_cast<uint16_t>(bits + 1)};
    const double exact = to_float(value);
    ASSERT_EQ(encode(exact).bits, bits);
    ASSERT_EQ(encode(-exact).bits, bits | 0x8000);
    if (bits + 1 == infinity) break;
    const double half = (exact + to_float(next)) / 2;
    ASSERT_EQ(encode(half).bits, bits + (bits & 1)) << bits;
    ASSERT_EQ(encode(std::nextafter(half, 0)).bits, bits) << bits;
    ASSERT_EQ(encode(std::nextafter(half, kInf)).bits, bits + 1) << bits;
  }
  EXPECT_EQ(encode(kInf).bits, infinity);
  EXPECT_EQ(encode(-kInf).bits, infinity | 0x8000);
  EXPECT_EQ(encode(1e300).bits, infinity);
  EXPECT_TRUE(std::isnan(to_float(encode(kNan))));
  EXPECT_TRUE(std::isnan(to_float(T{static_cast<uint16_t>(infinity + 1)})));
}

TEST(F16, IsExactOverItsWholeRange) { expect_exhaustive<f16>(to_f16, 0x7c00); }
TEST(Bf16, IsExactOverItsWholeRange) { expect_exhaustive<bf16>(to_bf16, 0x7f80); }

TEST(F16, KnownValues) {
  EXPECT_EQ(to_f16(65504).bits, 0x7bff);
  EXPECT_EQ(to_f16(65519.99).bits, 0x7bff);
  EXPECT_EQ(to_f16(65520).bits, 0x7c00);
  EXPECT_EQ(to_f16(0x1p-24).bits, 1);
  EXPECT_EQ(to_f16(0x1p-25).bits, 0);
  EXPECT_EQ(to_f16(0x1.8p-24).bits, 2);
  EXPECT_EQ(to_float(f16{0x3555}), 0.333251953125f);
}

struct Known {
  uint8_t bits;
  double value;
};

void expect_known(DType type, const std::vector<Known>& table) {
  for (const Known& k : table) {
    EXPECT_EQ(decode_small(type, k.bits), k.value) << name(type) << " " << int{k.bits};
    EXPECT_EQ(encode_small(type, k.value), k.bits) << name(type) << " " << k.value;
  }
}

TEST(SmallFloats, KnownValues) {
  expect_known(DType::f8e4m3fn,
               {{0, 0}, {1, 0x1p-9}, {7, 7 * 0x1p-9}, {8, 0x1p-6}, {0x38, 1}, {0x7e, 448}, {0xfe, -448}});
  expect_known(DType::f8e4m3fnuz, {{0, 0}, {1, 0x1p-10}, {8, 0x1p-7}, {0x40, 1}, {0x7f, 240}, {0xff, -240}});
  expect_known(DType::f8e5m2, {{0, 0}, {1, 0x1p-16}, {4, 0x1p-14}, {0x3c, 1}, {0x7b, 57344}, {0xfb, -57344}});
  expect_known(DType::f8e5m2fnuz, {{0, 0}, {1, 0x1p-17}, {4, 0x1p-15}, {0x40, 1}, {0x7f, 57344}});
  expect_known(DType::f4e2m1, {{0, 0}, {1, 0.5}, {2, 1}, {3, 1.5}, {4, 2}, {5, 3}, {6, 4}, {7, 6}, {15, -6}});
  expect_known(DType::f8e8m0, {{0, 0x1p-127}, {127, 1}, {128, 2}, {254, 0x1p127}});
  expect_known(DType::i4, {{0, 0}, {7, 7}, {8, -8}, {15, -1}});
  expect_known(DType::u4, {{15, 15}});
  expect_known(DType::i2, {{1, 1}, {2, -2}, {3, -1}});
  expect_known(DType::u2, {{3, 3}});
}

TEST(SmallFloats, EveryCodeRoundTripsAndTiesGoToEven) {
  for (DType type : {DType::f8e4m3fn, DType::f8e4m3fnuz, DType::f8e5m2, DType::f8e5m2fnuz, DType::f4e2m1}) {
    const int codes = type == DType::f4e2m1 ? 16 : 256;
    for (int bits = 0; bits < codes; ++bits) {
      const double value = decode_small(type, static_cast<uint8_t>(bits));
      if (std::isnan(value)) {
        EXPECT_TRUE(std::isnan(decode_small(type, encode_small(type, value)))) << name(type) << " " << bits;
        continue;
      }
      if (!std::isinf(value)) {
        EXPECT_EQ(int{encode_small(type, value)}, bits) << name(type) << " " << value;
      }
      if (bits % (codes / 2) + 1 >= codes / 2) continue;
      const double next = decode_small(type, static_cast<uint8_t>(bits + 1));
      if (!std::isfinite(value) || !std::isfinite(next)) continue;
      EXPECT_EQ(int{encode_small(type, (value + next) / 2)}, bits + (bits & 1)) << name(type) << " after " << value;
    }
  }
}

TEST(SmallFloats, OverflowSaturatesOrNot) {
  EXPECT_EQ(encode_small(DType::f8e4m3fn, 1e9), 0x7e);
  EXPECT_EQ(encode_small(DType::f8e4m3fn, -kInf), 0xfe);
  EXPECT_EQ(encode_small(DType::f8e4m3fn, 1e9, false), 0x7f);
  EXPECT_EQ(encode_small(DType::f8e4m3fn, 464), 0x7e);  // the tie above 448 is within range
  EXPECT_EQ(encode_small(DType::f8e4m3fn, 464.01, false), 0x7f);
  EXPECT_EQ(encode_small(DType::f8e5m2, 1e9), 0x7b);
  EXPECT_EQ(encode_small(DType::f8e5m2, kInf, false), 0x7c);
  EXPECT_EQ(encode_small(DType::f8e4m3fnuz, 1e9, false), 0x80);
  EXPECT_EQ(encode_small(DType::f8e4m3fnuz, -0.0), 0);
  EXPECT_EQ(encode_small(DType::f8e8m0, kNan), 255);
  EXPECT_EQ(encode_small(DType::f8e8m0, kInf), 254);
  EXPECT_EQ(encode_small(DType::f8e8m0, kInf, false), 255);
  EXPECT_EQ(encode_small(DType::f8e8m0, 0x1p-200), 0);
}

}  // namespace
}  // namespace hone
