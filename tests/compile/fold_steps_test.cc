#include <gtest/gtest.h>

#include "backends/integers.h"
#include "backends/requantize.h"
#include "ops/pointwise.h"

namespace hone {
namespace {

constexpr int64_t kChannels = 4;

Tensor channels(std::vector<float> values) {
  Tensor t(DType::f32, {kChannels});
  std::copy(values.begin(), values.end(), t.mutable_data<float>());
  return t;
}

// Sums and, where `residual`, i8 values, of which `program` makes i8. Further inputs are the constants.
Graph quantising(const char* program, const std::vector<Tensor>& constants, bool residual = false) {
  Graph g;
  const TensorType sums{DType::i32, Shape::of(Dims{200, kChannels})}, bytes{DType::i8, sums.shape};
  std::vector<ValueId> inputs = {g.add_input("sums", sums)};
  for (const Tensor& t : constants) inputs.push_back(g.add_constant(t, "c"));
  if (residual) inputs.push_back(g.add_input("residual", bytes));
  const auto parsed = pointwise_from_text(program);
  EXPECT_TRUE(parsed.ok()) << parsed.status().message();
  g.add_output(add_value(g, Pointwise{*parsed}, inputs, bytes), "y");
  return g;
}

// What the node is once its steps are folded, having checked that it still computes the same.
RequantizeForm folded(Graph g) {
  const Graph before = g;
  fold_steps(g);
  EXPECT_TRUE(verify(g).ok()) << verify(g).message();
  Tensor sums(DType::i32, {200, kChannels}), bytes(DType::i8, {200, kChannels});
  for (int64_t i = 0; i < sums.count(); ++i) sums.set_int(i, i - 400), bytes.set_int(i, i * 37 % 256 - 128);
  const Tensors given = g.inputs().size() == 2 ? Tensors{sums, bytes} : Tensors{sums};
  const auto want = interpret(before, given), got = interpret(g, given);
  EXPECT_TRUE(want.ok() && got.ok());
  if (want.ok() && got.ok()) {
    EXPECT_TRUE((*want)[0] == (*got)[0]);
  }
  const auto form = requantization_of(g, g.order().back(), g.inputs()[0]);
  EXPECT_TRUE(form);
  return form.value_or(RequantizeForm());
}

// round((clip(sum * scale, 0, 6)) * step) in i8, with steps by channel.
constexpr const char* kClipped =
    "in0:i32; in1:f32; in2:f32; cast:f32(0); mul:f32(3,1); constant:f32(0); constant:f32(6); clip:f32(4,5,6); "
    "mul:f32(7,2); round:f32(8); constant:f32(-128); constant:f32(127); clip:f32(9,10,11); cast:i8(12)";

TEST(FoldSteps, ClipsWithTheSameBoundsInAllChannels) {
  const RequantizeForm form = folded(quantising(kClipped, {channels({1, 1, 1, 1}), channels({32, 64, 128, 256})}));
  EXPECT_EQ(form.rest.activation, Fn::input);
  EXPECT_EQ(form.step.input, -1);
  EXPECT_EQ(form.low, 0);
  EXPECT_EQ(form.high, 127);
}

TEST(FoldSteps, ClipsWithOtherBoundsInSomeStay) {
  const RequantizeForm form = folded(quantising(kClipped, {channels({1, 1, 1, 1}), channels({16, 64, 128, 256})}));
  EXPECT_EQ(form.rest.activation, Fn::clip);
}

TEST(FoldSteps, BehindAResidualOnlyTheActivationIsFolded) {
  const RequantizeForm form = folded(quantising(
      "in0:i32; in1:f32; in2:f32; in3:i8; cast:f32(0); mul:f32(4,1); cast:f32(3); constant:f32(0.25); mul:f32(6,7); "
      "add:f32(5,8); relu:f32(9); mul:f32(10,2); round:f32(11); constant:f32(-128); constant:f32(127); "
      "clip:f32(12,13,14); cast:i8(15)",
      {channels({0.5, 1, 0.25, 2}), channels({0.5, 2, 4, 1})}, true));
  EXPECT_EQ(form.rest.activation, Fn::input);
  EXPECT_GE(form.step.input, 0);
  EXPECT_EQ(form.low, 0);
}

}  // namespace
}  // namespace hone
