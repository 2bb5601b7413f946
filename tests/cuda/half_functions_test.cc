// The text of the GPU's functions for results in f16 and bf16, compiled for the CPU: their errors over all arguments.
#include <gtest/gtest.h>

#include <cmath>

#include "base/tensor.h"

namespace hone {
namespace {

// Of the GPU's instructions, relative: the signs are tried.
double exp2_error = 0, reciprocal_error = 0;

float power_of_2(float a) { return static_cast<float>(std::exp2(static_cast<double>(a)) * (1 + exp2_error)); }
float reciprocal(float a) { return static_cast<float>(1 / static_cast<double>(a) * (1 + reciprocal_error)); }
float most(float a, float b) { return std::isnan(a) ? a : std::max(a, b); }

#define __device__
#include "kernels/cuda/half_functions.cuh"
#undef __device__

struct Function {
  const char* name;
  float (*fast)(float);
  double (*exact)(double);
  double relative;
};

double logistic(double a) { return 1 / (1 + std::exp(-a)); }

const Function kFunctions[] = {
    {"exponential", exponential, [](double a) { return std::exp(a); }, 0x1p-16},
    {"sigmoid", sigmoid, logistic, 0x1p-16},
    {"gelu_tanh", gelu_tanh, [](double a) { return a * logistic(2 * 0.7978845608028654 * (a + 0.044715 * a * a * a)); },
     0x1p-16},
    {"gelu_erf", gelu_erf, [](double a) { return a * 0.5 * std::erfc(-a / std::sqrt(2.0)); }, 0x1p-14},
};

TEST(HalfFunctions, AreExactEnoughForAllArguments) {
  for (const DType type : {DType::f16, DType::bf16}) {
    Tensor arguments(type, {0x10000});
    for (unsigned bits = 0; bits < 0x10000; ++bits)
      static_cast<uint16_t*>(arguments.mutable_raw())[bits] = static_cast<uint16_t>(bits);
    for (const Function& f : kFunctions)
      for (const int sign : {-1, 0, 1}) {
        exp2_error = sign * 0x1p-22;
        reciprocal_error = sign * 0x1p-23;
        for (int64_t i = 0; i < arguments.count(); ++i) {
          const double a = arguments.at(i), want = f.exact(a);
          if (!std::isfinite(a) || want > 3e38) continue;
          ASSERT_NEAR(f.fast(static_cast<float>(a)), want, f.relative * std::fabs(want) + 0x1p-31)
              << f.name << "(" << a << ")";
        }
      }
  }
}

// What becomes a byte is a function of any float.
TEST(HalfFunctions, AreAsExactBetweenNumbersOf16Bits) {
  exp2_error = reciprocal_error = 0;
  for (const Function& f : kFunctions)
    for (int i = -1'000'000; i <= 1'000'000; ++i) {
      const float a = static_cast<float>(i) * 1.7e-5f;
      const double want = f.exact(a);
      ASSERT_NEAR(f.fast(a), want, f.relative * std::fabs(want) + 0x1p-31) << f.name << "(" << a << ")";
    }
}

TEST(HalfFunctions, KeepInfinitiesAndNaN) {
  exp2_error = reciprocal_error = 0;
  for (const Function& f : kFunctions) {
    EXPECT_TRUE(std::isnan(f.fast(NAN))) << f.name;
    EXPECT_EQ(f.fast(INFINITY), f.exact(INFINITY)) << f.name;
  }
  EXPECT_EQ(exponential(-INFINITY), 0);
  EXPECT_EQ(sigmoid(-INFINITY), 0);
  EXPECT_NEAR(gelu_erf(-INFINITY), 0, 0x1p-31);
}

}  // namespace
}  // namespace hone
