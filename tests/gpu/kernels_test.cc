// Every variant of the GPU's matrix kernels against the reference, on the GPU that is here. Skipped without one.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "backends/gpu_timing.h"
#include "ir/graph.h"

namespace hone {
namespace {

struct ConvCase {
  int64_t n, h, w, cin, cout, kh, kw, stride, dilation, pad, groups;
};

Tensor random_tensor(Dims dims, unsigned seed) {
  Tensor t(DType::f32, std::move(dims));
  std::mt19937 random(seed);
  for (int64_t i = 0; i < t.count(); ++i)
    t.mutable_data<float>()[i] = static_cast<float>(random() % 20001) / 10000.0f - 1.0f;
  return t;
}

Tensor magnitudes(Tensor t) {
  Tensor result(t.type(), t.dims());
  for (int64_t i = 0; i < t.count(); ++i) result.mutable_data<float>()[i] = std::fabs(t.data<float>()[i]);
  return result;
}

// Runs each GPU tactic that takes the problem. Rounding both factors to TF32's 11 significant bits moves a product by
// at most 2^-10 of its size; sums in fp32 add far less. fp32 kernels are held to the error of sums of `depth` terms.
void expect_right(const Op& op, const Tensors& inputs, size_t weights, int64_t depth) {
  Problem problem{.op = op};
  Tensors sizes;
  for (size_t i = 0; i < inputs.size(); ++i) {
    problem.inputs.push_back({inputs[i].type(), Shape::of(inputs[i].dims())});
    problem.constants.push_back(i >= weights ? inputs[i] : Tensor());
    sizes.push_back(magnitudes(inputs[i]));
  }
  const auto expected = op.evaluate({inputs, 1}), bound = op.evaluate({sizes, 1});
  ASSERT_TRUE(expected.ok() && bound.ok());
  problem.outputs.push_back({DType::f32, Shape::of((*expected)[0].dims())});

  const auto device = cuda::device(0);
  ASSERT_TRUE(device.ok());
  const Machine machine{.cuda_arch = device->arch(), .cuda_device = 0, .tf32 = true};
  cpu::ThreadPool pool(1);
  auto box = GpuSandbox::create(problem, 0, inputs);
  ASSERT_TRUE(box.ok()) << box.status().message();
  int checked = 0;
  for (const Tactic& tactic : tactic_table()) {
    if (tactic.backend != Backend::cuda || !tactic.supports(problem, machine).empty()) continue;
    const bool tf32 = tactic.name.ends_with("_tf32");
    const double unit = tf32 ? std::ldexp(1.0, -10) : std::ldexp(static_cast<double>(depth), -24);
    for (int v = 0; v < tactic.variants(problem, machine); ++v) {
      const auto prepared = tactic.prepare(problem, v, machine);
      ASSERT_TRUE(prepared.ok()) << prepared.status().message();
      const auto kernel = tactic.make(problem, prepared->packed, v, machine);
      ASSERT_TRUE(kernel.ok()) << kernel.status().message();
      const auto got = (*box)->run(**kernel, *prepared, pool);
      ASSERT_TRUE(got.ok()) << tactic.name << " variant " << v << ": " << got.status().message();
      int64_t wrong = 0;
      double worst = 0;
      for (int64_t i = 0; i < (*got)[0].count(); ++i) {
        const double error = std::fabs((*got)[0].at(i) - (*expected)[0].at(i)),
                     allowed = unit * (*bound)[0].at(i) + 1e-6;
        wrong += !(error <= allowed);
        worst = std::max(worst, error / allowed);
      }
      EXPECT_EQ(wrong, 0) << tactic.name << " variant " << v << " of " << problem.op.name() << " "
                          << to_text(problem.inputs[0]) << " " << to_text(problem.inputs[1]) << ": " << worst
                          << " times the error allowed";
      ++checked;
    }
  }
  EXPECT_GT(checked, 0);
}

class Gpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto devices = cuda::devices(); !devices.ok()) GTEST_SKIP() << devices.status().message();
  }
};

TEST_F(Gpu, ConvolutionsAreRight) {
  const ConvCase cases[] = {{1, 56, 56, 32, 32, 3, 3, 1, 1, 1, 1},  {2, 7, 9, 4, 20, 3, 3, 1, 1, 1, 1},
                            {1, 14, 14, 64, 72, 1, 1, 1, 1, 0, 1},  {1, 15, 13, 12, 40, 5, 5, 2, 1, 2, 1},
                            {3, 9, 9, 36, 33, 3, 3, 1, 2, 2, 1},    {1, 17, 17, 3, 24, 7, 7, 2, 1, 3, 1},
                            {2, 11, 11, 24, 24, 3, 3, 2, 1, 1, 24}, {1, 8, 8, 12, 18, 3, 3, 1, 1, 1, 3},
                            {1, 7, 7, 160, 64, 3, 3, 1, 1, 1, 1},   {1, 1, 1, 96, 8, 1, 1, 1, 1, 0, 1},
                            {1, 28, 28, 32, 64, 2, 2, 2, 1, 0, 1}};
  for (const ConvCase& c : cases) {
    const auto op = make_op("Conv", {{"strides", std::vector<int64_t>{c.stride, c.stride}},
                                     {"dilations", std::vector<int64_t>{c.dilation, c.dilation}},
                                     {"pads", std::vector<int64_t>{c.pad, c.pad, c.pad, c.pad}},
                                     {"groups", c.groups},
                                     {"channels_last", true}});
    ASSERT_TRUE(op.ok());
    expect_right(*op,
                 {random_tensor({c.n, c.h, c.w, c.cin}, 1), random_tensor({c.cout, c.cin / c.groups, c.kh, c.kw}, 2),
                  random_tensor({c.cout}, 3)},
                 1, c.kh * c.kw * c.cin / c.groups);
  }
}

TEST_F(Gpu, MatrixProductsAreRight) {
  struct Case {
    Dims a, b;
    bool trans_a, trans_b;
    size_t weights;
  };
  const Case cases[] = {{{1, 512}, {512, 100}, false, false, 1},          {{77, 64}, {33, 64}, false, true, 1},
                        {{2, 3, 50, 32}, {2, 3, 70, 32}, false, true, 2}, {{2, 1, 5, 8}, {3, 8, 9}, false, false, 2},
                        {{130, 300}, {300, 257}, false, false, 1},        {{20, 31}, {20, 9}, true, false, 2}};
  for (const Case& c : cases) {
    const auto op = make_op("MatMul", {{"trans_a", c.trans_a}, {"trans_b", c.trans_b}});
    ASSERT_TRUE(op.ok());
    expect_right(*op, {random_tensor(c.a, 4), random_tensor(c.b, 5)}, c.weights, c.a.back());
  }
}

}  // namespace
}  // namespace hone
