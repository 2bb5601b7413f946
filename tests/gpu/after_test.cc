// Attention and norms that store bytes, by all kernels in all variants. Small enough for compute-sanitizer; skipped
// without a GPU.
#include "tactics/cuda/after.h"
#include "byte_results.h"
#include "gpu/ops.h"
#include "tactics/common.h"

namespace hone {
namespace {

constexpr DType kFloatTypes[] = {DType::f32, DType::f16, DType::bf16};
constexpr DType kByteTypes[] = {DType::i8, DType::f8e4m3fn};

Tensors values_of(const Problem& problem) {
  Tensors values;
  for (const TensorType& type : problem.inputs) values.push_back(converted(real(dims_of(type)).value, type.dtype));
  return values;
}

class GpuAfter : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto devices = cuda::devices(); !devices.ok()) GTEST_SKIP() << devices.status().message();
  }
};

// The kernels may be off by off(value) before they multiply by step(i) and round.
template <class Off, class Step>
void expect_bytes(const Problem& problem, const Tensors& inputs, const Off& off, const Step& step) {
  const Machine machine{.cuda_arch = cuda::device(0)->arch(), .cuda_device = 0};
  const Problem plain = cuda::view_after(problem).plain;
  Tensors exact;
  size_t at = 0;
  for (const TensorType& type : plain.inputs)
    exact.push_back(type.defined() ? converted(inputs[at++], DType::f32) : Tensor());
  const auto floats = plain.op.evaluate({exact, 1});
  ASSERT_TRUE(floats.ok()) << floats.status().message();
  const Tensor& want = (*floats)[0];
  const bool integers = problem.outputs[0].dtype == DType::i8;
  cpu::ThreadPool pool(1);
  auto box = GpuSandbox::create(problem, 0, inputs);
  ASSERT_TRUE(box.ok()) << box.status().message();
  for (Candidate& c : candidates_of(problem, machine)) {
    const auto got = c.run(problem, machine, **box, pool);
    ASSERT_TRUE(got.ok()) << c.tactic.name << ": " << got.status().message();
    for (int64_t i = 0; i < want.count(); ++i) {
      const double top = integers ? 127 : 448, low = integers ? -128 : -448;
      const double value = std::clamp(want.at(i) * step(i), low, top);
      // Neighbours are 1 apart in i8; in e4m3 2^-3 of the value or 2^-9.
      const double rounding = integers ? 0.5 : std::max(0x1p-4 * std::fabs(value), 0x1p-10);
      ASSERT_LE(std::fabs((*got)[0].at(i) - value),
                1.0001 * rounding + (integers ? 1 : 1.07) * off(want.at(i)) * step(i))
          << c.tactic.name << "/" << c.variant << " [" << i << "] " << value;
    }
  }
}

// Values are under 1 and weights add up to 1, each of which is rounded to the type: what that moves is under a rounding
// of 1, and the rest is fp32's. One form in all types, all of them in one.
TEST_F(GpuAfter, SmallAttentionStoresBytes) {
  constexpr double kStep = 300;
  const testing::AttentionForm& every = testing::kAttentionForms[1];
  for (const testing::AttentionForm& form : testing::kAttentionForms)
    for (const DType from : kFloatTypes)
      for (const DType to : kByteTypes) {
        if (&form != &every && (from != DType::f16 || to != DType::i8)) continue;
        const Problem problem = testing::attention_in_bytes(form, from, to, kStep);
        expect_bytes(
            problem, values_of(problem), [&](double) { return rounding(from) + 1e-5; }, [](int64_t) { return kStep; });
      }
}

TEST_F(GpuAfter, SmallNormsStoreBytes) {
  for (const auto& [rows, extent] : {std::pair<int64_t, int64_t>{37, 776}, {3, 4096}, {9, 8}})
    for (const DType from : kFloatTypes)
      for (const DType to : kByteTypes) {
        const Problem problem = testing::norm_in_bytes(rows, extent, from != DType::f16, from, to);
        Tensors inputs = values_of(problem);
        Tensor& steps = inputs.back();
        for (int64_t i = 0; i < steps.count(); ++i) steps.set(i, 20 + static_cast<double>(i % 50));
        expect_bytes(
            problem, inputs, [](double v) { return 1e-5 * (std::fabs(v) + 1); },
            [&](int64_t i) { return steps.at(i % steps.count()); });
      }
}

}  // namespace
}  // namespace hone
