// The first convolution of an image network with the pooling behind it, on the GPU that is here. Skipped without one.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "backends/gpu_fusion.h"
#include "backends/problem.h"
#include "gpu/candidate.h"

namespace hone {
namespace {

struct StemCase {
  int64_t n, h, w, cin, cout, kh, kw, stride_h, pad;
  bool pooled;
};

constexpr StemCase kSmall[] = {{3, 61, 131, 3, 64, 7, 7, 2, 3, true},
                               {2, 33, 30, 1, 32, 5, 5, 2, 2, true},
                               {1, 37, 259, 3, 16, 3, 3, 2, 1, false},
                               {2, 20, 41, 2, 48, 4, 4, 2, 1, false},
                               {1, 9, 9, 3, 64, 3, 3, 1, 0, true}};
constexpr StemCase kLarge[] = {{1, 224, 224, 3, 64, 7, 7, 2, 3, true},
                               {1, 18, 241, 4, 16, 3, 8, 1, 1, true},
                               {2, 96, 96, 3, 32, 3, 3, 2, 1, false},
                               {64, 31, 31, 3, 64, 7, 7, 2, 3, true}};

Tensor random_values(DType type, Dims dims, unsigned seed) {
  Tensor t(type, std::move(dims));
  std::mt19937 random(seed);
  for (int64_t i = 0; i < t.count(); ++i)
    t.set(i, type == DType::i8 ? static_cast<double>(random() % 256) - 128 : random() % 2001 / 1000.0 - 1);
  return t;
}

class GpuStem : public ::testing::TestWithParam<DType> {
 protected:
  static void expect_right(std::span<const StemCase> cases);
};

// An image in fp32, channels first, is converted on its way in. Results of int8 are scaled by a power of two, so that
// they are the reference's to the bit; others differ in the order of their sums, and in the rounding behind them.
void GpuStem::expect_right(std::span<const StemCase> cases) {
  if (const auto devices = cuda::devices(); !devices.ok()) GTEST_SKIP() << devices.status().message();
  const DType type = GetParam();
  const bool bytes = type == DType::i8;
  const Machine machine{.cuda_arch = cuda::device(0)->arch(), .cuda_device = 0};
  if (machine.cuda_arch != "sm_90") GTEST_SKIP() << machine.cuda_arch;
  const auto pointwise = [](const std::string& program) { return *make_op("Pointwise", {{"program", program}}); };
  for (const StemCase& c : cases) {
    Graph g;
    const Tensor image = random_values(DType::f32, {c.n, c.cin, c.h, c.w}, 1);
    const ValueId x = g.add_input("x", {DType::f32, Shape::of(image.dims())});
    const auto add = [&](const Op& op, const std::vector<ValueId>& inputs) {
      const auto node = g.add_node(op, inputs);
      EXPECT_TRUE(node.ok()) << node.status().message();
      return g.node(*node).outputs[0];
    };
    ValueId v = add(*make_op("Transpose", {{"perm", std::vector<int64_t>{0, 2, 3, 1}}}), {x});
    v = add(pointwise(bytes ? "in0:f32; constant:f32(127); mul:f32(0,1); round:f32(2); constant:f32(-128); "
                              "constant:f32(127); clip:f32(3,4,5); cast:i8(6)"
                            : fmt::format("in0:f32; cast:{}(0)", name(type))),
            {v});
    std::vector<ValueId> inputs{v, g.add_constant(random_values(type, {c.cout, c.cin, c.kh, c.kw}, 2), "w")};
    if (!bytes) inputs.push_back(g.add_constant(random_values(type, {c.cout}, 3), "b"));
    v = add(*make_op("Conv", {{"strides", std::vector<int64_t>{c.stride_h, 2}},
                              {"dilations", std::vector<int64_t>{1, 1}},
                              {"pads", std::vector<int64_t>{c.pad, c.pad, c.pad, c.pad}},
                              {"channels_last", true}}),
            inputs);
    v = add(
        pointwise(bytes ? "in0:i32; cast:f32(0); constant:f32(0.0009765625); mul:f32(1,2); relu:f32(3); round:f32(4); "
                          "constant:f32(-128); constant:f32(127); clip:f32(5,6,7); cast:i8(8)"
                        : fmt::format("in0:{0}; cast:f32(0); relu:f32(1); cast:{0}(2)", name(type))),
        {v});
    if (c.pooled)
      v = add(*make_op("Pool", {{"kernel", std::vector<int64_t>{3, 3}},
                                {"strides", std::vector<int64_t>{2, 2}},
                                {"dilations", std::vector<int64_t>{1, 1}},
                                {"pads", std::vector<int64_t>{1, 1, 1, 1}},
                                {"channels_last", true}}),
              {v});
    g.add_output(v, "y");
    const auto want = interpret(g, {{image}});
    ASSERT_TRUE(want.ok()) << want.status().message();
    fuse_for_gpu(g, machine);
    ASSERT_EQ(g.order().size(), 1u);
    const Problem problem = problem_of(g, g.order()[0]);
    Tensors values{image};
    for (size_t i = 1; i < problem.inputs.size(); ++i) values.push_back(problem.constants[i]);
    const Tactic& tactic = *find_tactic("cuda.conv_stem_wgmma");
    ASSERT_EQ(tactic.supports(problem, machine), "");
    cpu::ThreadPool pool(1);
    auto box = GpuSandbox::create(problem, 0, values);
    ASSERT_TRUE(box.ok()) << box.status().message();
    const double unit = bytes ? 0 : std::ldexp(1.0, type == DType::f16 ? -10 : -7);
    for (Candidate& candidate : candidates_of(problem, machine)) {
      if (&candidate.tactic != &tactic) continue;
      const auto got = candidate.run(problem, machine, **box, pool);
      ASSERT_TRUE(got.ok()) << got.status().message();
      int64_t wrong = 0;
      double largest = 0;
      for (int64_t i = 0; i < (*got)[0].count(); ++i) {
        const double right = (*want)[0].at(i);
        largest = std::max(largest, right);
        wrong += !(std::fabs((*got)[0].at(i) - right) <= unit * (std::fabs(right) + 0.01));
      }
      EXPECT_EQ(wrong, 0) << "variant " << candidate.variant << " of " << c.h << " x " << c.w << ", " << c.cin << " to "
                          << c.cout;
      EXPECT_GT(largest, 0.5);
    }
  }
}

TEST_P(GpuStem, SmallOnesAreRight) { expect_right(kSmall); }
TEST_P(GpuStem, LargeOnesAreRight) { expect_right(kLarge); }

INSTANTIATE_TEST_SUITE_P(Types, GpuStem, ::testing::Values(DType::f16, DType::bf16, DType::i8),
                         [](const auto& info) { return std::string(name(info.param)); });

}  // namespace
}  // namespace hone
