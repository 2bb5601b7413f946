#include "engine/floor.h"

#include <gtest/gtest.h>

namespace hone {
namespace {

// y[m, n] = a[m, k] b[k, n], where a and b are read as they are.
Program product(int64_t m, int64_t k, int64_t n) {
  Program p;
  const auto slot = [&](Dims dims) {
    p.slots.push_back({.kind = Slot::Kind::arena, .type = {DType::f32, Shape::of(dims)}});
    return static_cast<int>(p.slots.size()) - 1;
  };
  Step step{.tactic = "cpu.gemm", .op = "MatMul", .attrs = {{"trans_a", false}, {"trans_b", false}}};
  step.inputs = {slot({m, k}), slot({k, n})};
  step.outputs = {slot({m, n})};
  for (int s : step.inputs) step.input_types.push_back(p.slots[static_cast<size_t>(s)].type);
  p.steps.push_back(step);
  p.build.cpu = {.rates = {{"fp32", 1e9}}, .bandwidths = {{1000, 4e9}, {100000, 1e9}}};
  return p;
}

TEST(Floor, IsTheLargerOfArithmeticAndMemory) {
  const Program square = product(100, 100, 100);
  EXPECT_DOUBLE_EQ(*floor_us(square, square.steps[0]), 2e6 / 1e9 * 1e6);
  const Program thin = product(1, 100, 1);
  EXPECT_DOUBLE_EQ(*floor_us(thin, thin.steps[0]), 4 * 201 / 4e9 * 1e6);
  const Program vector = product(1, 1000, 100);
  EXPECT_DOUBLE_EQ(*floor_us(vector, vector.steps[0]), 4 * 101100 / 1e9 * 1e6);
}

TEST(Floor, PrecisionsHaveRatesOfTheirOwn) {
  Program p = product(100, 100, 100);
  p.steps[0].input_types[0].dtype = DType::i8;
  const double of_memory = 4 * 30000 / 1e9 * 1e6;
  EXPECT_DOUBLE_EQ(*floor_us(p, p.steps[0]), of_memory) << "int8 was not measured";
  p.build.cpu.rates["int8"] = 4e9;
  EXPECT_DOUBLE_EQ(*floor_us(p, p.steps[0]), 2e6 / 4e9 * 1e6);
  p.build.cpu.rates["int8"] = 1e12;
  EXPECT_DOUBLE_EQ(*floor_us(p, p.steps[0]), of_memory);
}

TEST(Floor, WinogradMultipliesLess) {
  Program p = product(100, 100, 100);
  const double direct = *floor_us(p, p.steps[0]);
  p.steps[0].tactic = "cpu.conv_winograd_f4";
  EXPECT_DOUBLE_EQ(*floor_us(p, p.steps[0]), direct / 4);
  p.steps[0].tactic = "cpu.conv_winograd_s2_f4";
  EXPECT_DOUBLE_EQ(*floor_us(p, p.steps[0]), direct * 81 / 144);
}

TEST(Floor, IsNotSaidWhereItIsNotKnown) {
  Program p = product(2, 2, 2);
  p.steps[0].tactic = "cuda.matmul";
  EXPECT_FALSE(floor_us(p, p.steps[0])) << "the GPU was not measured";
  p.build.gpu = p.build.cpu;
  EXPECT_TRUE(floor_us(p, p.steps[0]));
  p.slots[0].type.shape.dims[0] = Dim::named("n");
  EXPECT_FALSE(floor_us(p, p.steps[0]));
}

}  // namespace
}  // namespace hone
