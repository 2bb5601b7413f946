#include <gtest/gtest.h>

#include "ops/fused.h"

namespace hone {
namespace {

// Inputs: 0 sums, 1 and 2 by channel, 3 f32 and 4 i8 by element, 5 by row.
std::optional<RequantizeForm> form_of(const char* text) {
  const auto program = pointwise_from_text(text);
  EXPECT_TRUE(program.ok()) << program.status().message();
  const Spread channel{.by_channel = true}, element{.by_element = true}, row{.by_row = true};
  const Spread spreads[] = {element, channel, channel, element, element, row};
  return program.ok() ? as_requantize(*program, 0, spreads) : std::nullopt;
}

TEST(Requantize, ScaleAndBias) {
  const auto form = form_of("in0:i32; in1:f32; in2:f32; cast:f32(0); mul:f32(3,1); add:f32(2,4)");
  ASSERT_TRUE(form);
  EXPECT_EQ(form->scale->input, 1);
  ASSERT_TRUE(form->bias);
  EXPECT_EQ(form->bias->input, 2);
  EXPECT_EQ(form->rest.residual, -1);
  EXPECT_FALSE(form->quantized);
}

TEST(Requantize, EverythingAtOnce) {
  const auto form = form_of(
      "in0:i32; in4:i8; in2:f32; constant:f32(0.5); cast:f32(0); mul:f32(3,4); add:f32(5,2); cast:f32(1); "
      "constant:f32(0.25); mul:f32(7,8); add:f32(9,6); relu:f32(10); constant:f32(2); div:f32(11,12); round:f32(13); "
      "constant:f32(-128); constant:f32(127); clip:f32(14,15,16); cast:i8(17)");
  ASSERT_TRUE(form);
  EXPECT_EQ(form->scale->input, -1);
  EXPECT_EQ(form->scale->value, 0.5);
  EXPECT_EQ(form->bias->input, 2);
  EXPECT_EQ(form->rest.residual, 4);
  EXPECT_EQ(form->residual_scale, 0.25);
  EXPECT_EQ(form->rest.activation, Fn::relu);
  EXPECT_FALSE(form->rest.residual_after_activation);
  EXPECT_TRUE(form->quantized);
  EXPECT_TRUE(form->divides);
  EXPECT_EQ(form->step.value, 2);
}

TEST(Requantize, StepsOfChannels) {
  const auto form = form_of(
      "in0:i32; in1:f32; in2:f32; cast:f32(0); mul:f32(3,1); mul:f32(4,2); round:f32(5); constant:f32(-128); "
      "constant:f32(127); clip:f32(6,7,8); cast:i8(9)");
  ASSERT_TRUE(form);
  EXPECT_EQ(form->step.input, 2);
  EXPECT_FALSE(form->bias);
}

TEST(Requantize, ZeroPoints) {
  const auto form = form_of(
      "in0:i32; in4:i8; in1:f32; cast:f32(0); mul:f32(3,2); cast:f32(1); constant:f32(5); sub:f32(5,6); "
      "constant:f32(0.25); mul:f32(7,8); add:f32(4,9); constant:f32(2); div:f32(10,11); round:f32(12); "
      "constant:f32(-128); add:f32(13,14); constant:f32(127); clip:f32(15,14,16); cast:i8(17)");
  ASSERT_TRUE(form);
  EXPECT_EQ(form->residual_zero, 5);
  EXPECT_EQ(form->residual_scale, 0.25);
  EXPECT_EQ(form->zero, -128);
  EXPECT_FALSE(
      form_of("in0:i32; in1:f32; cast:f32(0); mul:f32(2,1); constant:f32(3); mul:f32(3,4); round:f32(5); "
              "constant:f32(0.5); add:f32(6,7); constant:f32(-9); constant:f32(127); clip:f32(8,9,10); cast:i8(11)"))
      << "a zero point that is no integer";
}

TEST(Requantize, ResidualAfterTheActivation) {
  const auto form = form_of("in0:i32; in1:f32; in3:f32; cast:f32(0); mul:f32(1,3); relu:f32(4); add:f32(5,2)");
  ASSERT_TRUE(form);
  EXPECT_EQ(form->rest.residual, 3);
  EXPECT_TRUE(form->rest.residual_after_activation);
  EXPECT_FALSE(form->bias);
}

TEST(Requantize, WhatZeroPointsAdd) {
  const auto offset = form_of("in0:i32; in1:i32; add:i32(1,0); cast:f32(2); in2:f32; mul:f32(3,4)");
  ASSERT_TRUE(offset && offset->offset);
  EXPECT_EQ(offset->offset->input, 1);
  EXPECT_EQ(offset->row_sums, -1);
  EXPECT_EQ(offset->scale->input, 2);
  const auto both = form_of("in0:i32; in1:i32; add:i32(0,1); in5:i32; in2:i32; mul:i32(3,4); add:i32(2,5)");
  ASSERT_TRUE(both && both->offset);
  EXPECT_FALSE(both->scale) << "the result is in i32";
  EXPECT_EQ(both->offset->input, 1);
  EXPECT_EQ(both->row_sums, 5);
  EXPECT_EQ(both->factor->input, 2);
  const auto whole = form_of("in0:i32; in5:i32; constant:i32(-7); mul:i32(2,1); add:i32(0,3)");
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->factor->value, -7);
  EXPECT_FALSE(whole->offset);
  const auto once = form_of("in0:i32; in5:i32; add:i32(0,1)");
  ASSERT_TRUE(once);
  EXPECT_EQ(once->row_sums, 5);
  EXPECT_EQ(once->factor->value, 1);
}

TEST(Requantize, WhatZeroPointsDoNotAdd) {
  EXPECT_FALSE(form_of("in0:i32")) << "nothing to do";
  EXPECT_FALSE(form_of("in0:i32; in3:i32; add:i32(0,1)")) << "an addend by element";
  EXPECT_FALSE(form_of("in0:i32; in1:i32; add:i32(0,1); in2:i32; add:i32(2,3)")) << "two offsets";
  EXPECT_FALSE(form_of("in0:i32; in1:i32; sub:i32(0,1)")) << "taken off";
  EXPECT_FALSE(form_of("in0:i32; in1:i32; mul:i32(0,1)")) << "multiplied";
  EXPECT_FALSE(form_of("in0:i32; in5:i32; in3:i32; mul:i32(1,2); add:i32(0,3)")) << "a factor by element";
  EXPECT_FALSE(form_of("in0:i32; in1:i32; add:i32(0,1); add:i32(2,0)")) << "the sums twice";
}

TEST(Requantize, NearMisses) {
  EXPECT_FALSE(form_of("in0:i32; in3:f32; cast:f32(0); mul:f32(2,1)")) << "a scale by element";
  EXPECT_FALSE(form_of("in0:i32; cast:f32(0)")) << "no scale";
  EXPECT_FALSE(form_of("in0:i32; in1:f32; cast:f32(0); mul:f32(2,1); relu:f32(3); add:f32(4,1)"))
      << "a bias after the activation";
  EXPECT_FALSE(form_of("in0:i32; in1:f32; in2:f32; in3:f32; cast:f32(0); mul:f32(4,1); add:f32(5,3); add:f32(6,2)"))
      << "the residual before the bias: rounded otherwise";
  EXPECT_FALSE(form_of("in0:i32; in1:f32; cast:f32(0); mul:f32(2,1); relu:f32(3); relu:f32(4)")) << "two activations";
  EXPECT_FALSE(form_of("in0:i32; in1:f32; cast:f32(0); mul:f32(2,1); add:f32(3,3)")) << "the sums on both sides";
  EXPECT_FALSE(
      form_of("in0:i32; in1:f32; cast:f32(0); mul:f32(2,1); round:f32(3); constant:f32(-0.5); "
              "constant:f32(127); clip:f32(4,5,6); cast:i8(7)"))
      << "no step";
  EXPECT_FALSE(
      form_of("in0:i32; in1:f32; cast:f32(0); mul:f32(2,1); constant:f32(3); mul:f32(3,4); round:f32(5); "
              "constant:f32(-0.5); constant:f32(127); clip:f32(6,7,8); cast:i8(9)"))
      << "a bound that is no integer";
}

TEST(Requantize, SpreadsOfShapes) {
  const auto spread = [](const Dims& input, const Dims& result) {
    return spread_of(Shape::of(input), Shape::of(result));
  };
  EXPECT_TRUE(spread({5}, {2, 3, 5}).by_channel);
  EXPECT_TRUE(spread({1, 1}, {2, 3, 5}).by_channel);
  EXPECT_TRUE(spread({}, {2, 3, 5}).by_channel);
  EXPECT_FALSE(spread({3, 1}, {2, 3, 5}).by_channel);
  EXPECT_TRUE(spread({2, 5}, {2, 5}).by_element);
  EXPECT_FALSE(spread({2, 5}, {2, 5}).by_channel);
  EXPECT_TRUE(spread({2, 3, 1}, {2, 3, 5}).by_row);
  EXPECT_FALSE(spread({3, 1}, {2, 3, 5}).by_row);
  EXPECT_TRUE(spread({1, 5}, {1, 5}).by_channel && spread({1, 5}, {1, 5}).by_element);
}

}  // namespace
}  // namespace hone
