#include <gtest/gtest.h>

#include "ops/conv.h"
#include "ops/matmul.h"
#include "ops/reduce.h"

namespace hone {
namespace {

Tensor filled(DType type, Dims dims, int value) {
  Tensor t(type, std::move(dims));
  for (int64_t i = 0; i < t.count(); ++i) t.set(i, value);
  return t;
}

void expect_all(const Op& op, const Tensors& inputs, const Dims& dims, int value) {
  const auto out = op.evaluate({inputs, 1});
  ASSERT_TRUE(out.ok()) << out.status().message();
  EXPECT_EQ((*out)[0].type(), DType::i32);
  EXPECT_EQ((*out)[0].dims(), dims);
  for (int64_t i = 0; i < (*out)[0].count(); ++i) EXPECT_EQ((*out)[0].int_at(i), value);
}

const Op kConv = Conv{.strides = {1}, .dilations = {1}, .pads = {0, 0}, .channels_last = true};

TEST(Sums, EightBitProductsAreExact) {
  expect_all(MatMul{}, {filled(DType::i8, {2, 300}, -128), filled(DType::i8, {300, 3}, -128)}, {2, 3}, 300 * 128 * 128);
  expect_all(MatMul{}, {filled(DType::u8, {2, 300}, 255), filled(DType::u8, {300, 3}, 255)}, {2, 3}, 300 * 255 * 255);
  expect_all(MatMul{.trans_b = true}, {filled(DType::u8, {2, 300}, 255), filled(DType::i8, {3, 300}, -128)}, {2, 3},
             300 * 255 * -128);
}

TEST(Sums, EightBitConvolutionsAreExact) {
  expect_all(kConv, {filled(DType::i8, {1, 5, 64}, -128), filled(DType::i8, {2, 64, 3}, -128)}, {1, 3, 2},
             192 * 128 * 128);
  expect_all(kConv, {filled(DType::u8, {1, 5, 64}, 255), filled(DType::i8, {2, 64, 3}, -128)}, {1, 3, 2},
             192 * 255 * -128);
}

TEST(Sums, OfBytesAreExact) {
  const Op sum = Reduce{.kind = "sum_i32", .keep_dims = false};
  const Tensor axes = Tensor::vector(std::vector<int64_t>{1});
  expect_all(sum, {filled(DType::i8, {3, 300, 2}, -128), axes}, {3, 2}, 300 * -128);
  EXPECT_FALSE(sum.infer({Types{{DType::u8, Shape::of(Dims{4})}}, {}, 1}).ok());
  EXPECT_FALSE(sum.infer({Types{{DType::f32, Shape::of(Dims{4})}}, {}, 1}).ok());
}

TEST(Sums, OtherTypesDoNotMixAndThereIsNoBias) {
  const auto fails = [](const Op& op, const Types& types) { return !op.infer({types, {}, 1}).ok(); };
  const auto type = [](DType t, const Dims& dims) { return TensorType{t, Shape::of(dims)}; };
  EXPECT_TRUE(fails(MatMul{}, {type(DType::i8, {2, 3}), type(DType::i16, {3, 2})}));
  EXPECT_TRUE(fails(MatMul{}, {type(DType::i8, {2, 3}), type(DType::i8, {3, 2}), type(DType::i8, {2})}));
  EXPECT_TRUE(fails(kConv, {type(DType::i8, {1, 5, 4}), type(DType::f32, {2, 4, 3})}));
  EXPECT_TRUE(fails(kConv, {type(DType::i8, {1, 5, 4}), type(DType::i8, {2, 4, 3}), type(DType::i8, {2})}));
}

}  // namespace
}  // namespace hone
