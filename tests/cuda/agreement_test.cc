#include "backends/agreement.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "ops/conv.h"
#include "ops/matmul.h"

namespace hone {
namespace {

const Machine kHopper{.cuda_arch = "sm_90"};

Problem product(DType type, DType result) {
  return {.op = *make_op("MatMul", {}),
          .inputs = {{type, Shape::of(Dims{64, 64})}, {type, Shape::of(Dims{64, 64})}},
          .outputs = {{result, Shape::of(Dims{64, 64})}},
          .constants = {Tensor(), Tensor(type, {64, 64})}};
}

Tensor values(DType type, std::initializer_list<double> list) {
  Tensor t(type, {static_cast<int64_t>(list.size())});
  int64_t i = 0;
  for (const double v : list) t.set(i++, v);
  return t;
}

TEST(Agreement, ThePlainestKernelIsTheWitness) {
  const Tactic* witness = witness_of(product(DType::f16, DType::f16), kHopper);
  ASSERT_NE(witness, nullptr);
  EXPECT_EQ(witness->name, "cuda.matmul");
  // On integers of 32 bits there is no other kind of kernel.
  EXPECT_EQ(witness_of(product(DType::i32, DType::i32), kHopper), nullptr);
}

TEST(Agreement, RoundingIsAllowedAndNothingElse) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Problem half = product(DType::f16, DType::f16);
  const Tensor want = values(DType::f16, {1, -2, 4, 0.001});
  EXPECT_TRUE(agree(half, kHopper, want, values(DType::f16, {1.001, -2.002, 3.997, 0.0015})).ok());
  EXPECT_FALSE(agree(half, kHopper, want, values(DType::f16, {1.1, -2, 4, 0.001})).ok());
  EXPECT_FALSE(agree(half, kHopper, want, values(DType::f16, {1, -2, 4, nan})).ok());
  const Problem full = product(DType::f32, DType::f32);
  EXPECT_FALSE(agree(full, kHopper, values(DType::f32, {1, 2}), values(DType::f32, {1.001, 2})).ok());
  const Machine tf32{.cuda_arch = "sm_90", .tf32 = true};
  EXPECT_TRUE(agree(full, tf32, values(DType::f32, {1, 2}), values(DType::f32, {1.001, 2})).ok());
}

TEST(Agreement, SumsOfIntegersAreTheSame) {
  const Problem sums = product(DType::i8, DType::i32);
  EXPECT_TRUE(agree(sums, kHopper, values(DType::i32, {5, -7}), values(DType::i32, {5, -7})).ok());
  EXPECT_FALSE(agree(sums, kHopper, values(DType::i32, {5, -7}), values(DType::i32, {5, -6})).ok());
}

}  // namespace
}  // namespace hone
