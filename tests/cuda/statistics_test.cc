// The kernels that observe tensors on a GPU compile for every architecture and for every type that they take.
#include <gtest/gtest.h>

#include "calibrate/device_state.h"
#include "cuda/nvrtc.h"

namespace hone::calibrate {
namespace {

TEST(Statistics, KernelsCompile) {
  if (const auto nvrtc = cuda::nvrtc_version(); !nvrtc.ok()) GTEST_SKIP() << nvrtc.status().message();
  for (const char* arch : {"sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"})
    for (const DType type : {DType::f32, DType::f16, DType::bf16, DType::f8e4m3fn}) {
      ASSERT_TRUE(observed_on_device(type));
      const auto cubin = cuda::compile(statistics_source(type), arch);
      EXPECT_TRUE(cubin.ok()) << arch << " " << name(type) << ": " << cubin.status().message();
    }
  EXPECT_FALSE(observed_on_device(DType::f64));
}

}  // namespace
}  // namespace hone::calibrate
