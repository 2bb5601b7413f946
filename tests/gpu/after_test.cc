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

// `value` is what the op's result i becomes before it is rounded, and `off` how far the kernels may be from that.
template <class Value, class Off>
void expect_bytes(const Problem& problem, const Tensors& inputs, const Value& value, const Off& off) {
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
      const double exact = value(want.at(i), i), near = off(exact, i);
      const double steps = integers ? std::clamp(exact, -128.0, 127.0) : std::clamp(exact, -448.0, 448.0);
      // Neighbours are 1 apart in i8; in e4m3 2^-3 of the value or 2^-9.
      const double rounding = integers ? 0.5 : std::max(0x1p-4 * (std::fabs(steps) + near), 0x1p-10);
      ASSERT_LE(std::fabs((*got)[0].at(i) - steps), 1.0001 * rounding + near)
          << c.tactic.name << "/" << c.variant << " [" << i << "] " << exact;
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
            problem, values_of(problem), [](double v, int64_t) { return v * kStep; },
            [&](double, int64_t) { return (rounding(from) + 1e-5) * kStep; });
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
        const auto step = [&](int64_t i) { return steps.at(i % steps.count()); };
        expect_bytes(
            problem, inputs, [&](double v, int64_t i) { return v * step(i); },
            [&](double v, int64_t i) { return 1e-5 * (std::fabs(v) + step(i)); });
      }
}

// Functions have short forms ahead of a rounding to bytes, with errors of up to 2^-14.
TEST_F(GpuAfter, SmallFunctionsOfProductsAreRight) {
  const std::pair<const char*, double (*)(double)> functions[] = {
      {"exp", [](double a) { return std::exp(a); }},
      {"sigmoid", [](double a) { return 1 / (1 + std::exp(-a)); }},
      {"silu", [](double a) { return a / (1 + std::exp(-a)); }},
      {"gelu_erf", [](double a) { return a * 0.5 * std::erfc(-a / std::sqrt(2.0)); }}};
  const Input a = whole(DType::i8, {70, 256}, -127, 128), b = whole(DType::i8, {256, 48}, -127, 128);
  for (const auto& [name, function] : functions) {
    Problem problem = testing::function_in_bytes(name);
    problem.constants = {Tensor(), b.value};
    expect_bytes(
        problem, {a.value, b.value},
        [f = function](double sum, int64_t) { return testing::kPerOne * f(sum * testing::kSumStep); },
        [](double v, int64_t) { return 0x1p-14 * std::fabs(v) + 1e-4; });
  }
}

}  // namespace
}  // namespace hone
