#include "base/pointwise.h"

#include <gtest/gtest.h>

#include <cmath>

namespace hone {
namespace {

TEST(PointwiseText, EveryFunctionRoundTrips) {
#define X(fn, n) if (Fn::fn != Fn::input && Fn::fn != Fn::constant) {                      \
    const PointwiseProgram program = single(Fn::fn, DType::f32, DType::f32);               \
    const auto back = pointwise_from_text(to_text(program));                               \
    ASSERT_TRUE(back.ok()) << back.status().message();                                     \
    EXPECT_EQ(*back, program) << to_text(program);                                         \
    EXPECT_EQ(back->inputs(), n);                                                          \
  }
  HONE_POINTWISE_FUNCTIONS(X)
#undef X
}

TEST(PointwiseText, ConstantsKeepTheirBits) {
  for (double value : {0.0, 0.1, -1e300, 5e-324, 1.0 / 3, double(INFINITY), -double(INFINITY)}) {
    const PointwiseProgram program{{{.fn = Fn::constant, .type = DType::f64, .value = value}}};
    const auto back = pointwise_from_text(to_text(program));
    ASSERT_TRUE(back.ok());
    EXPECT_EQ(back->code[0].value, value);
  }
  const auto nan = pointwise_from_text("constant:f32(nan)");
  ASSERT_TRUE(nan.ok());
  EXPECT_TRUE(std::isnan(nan->code[0].value));
}

TEST(PointwiseText, MalformedTextIsAnError) {
  for (const char* text : {"", ";", "in0", "in0:", "in0:f99", "in-1:f32", "in9999:f32", "in0:f32(3)", 
                           "in0:f32; relu:f32", "in0:f32; relu:f32(", "in0:f32; relu:f32()", "in0:f32; relu:f32(1)",
                           "in0:f32; relu:f32(-1)",
                           "in0:f32; relu:f32(0,0)", "in0:f32; add:f32(0)", "in0:f32; add:f32(0,)", "constant:f32()",
                           "constant:f32(1x)", "nothing:f32(0)", "in0:f32; relu:f32(99999999999)", "relu:f32(0)"})
    EXPECT_FALSE(pointwise_from_text(text).ok()) << text;
}

}  // namespace
}  // namespace hone
