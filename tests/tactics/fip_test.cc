// Tactics by fast inner products: as exact as the plain ones, and refused where they do not pay.
#include "base/cpu_info.h"
#include "ops/conv.h"
#include "ops/matmul.h"
#include "tactic_testing.h"

namespace hone {
namespace {

struct Case {
  std::string tactic;
  Op op;
  Tensors inputs;
};

Tensor values(const Dims& dims, unsigned seed) { return random_tensor(DType::f32, dims, seed, -1, 1); }

Case conv_case(std::string tactic, int64_t kernel, int64_t stride, int64_t channels) {
  const Conv conv{.strides = {stride, stride},
                  .dilations = {1, 1},
                  .pads = std::vector<int64_t>(4, kernel / 2),
                  .channels_last = true};
  return {std::move(tactic), conv, {values({2, 17, 16, channels}, 1), values({130, channels, kernel, kernel}, 2)}};
}

std::vector<Case> cases() {
  return {conv_case("cpu.conv_fip", 1, 1, 70),
          conv_case("cpu.conv_fip", 1, 2, 64),
          conv_case("cpu.conv_fip", 5, 2, 19),
          conv_case("cpu.conv_strassen_fip", 1, 1, 130),
          conv_case("cpu.conv_winograd_f4_fip", 3, 1, 70),
          conv_case("cpu.conv_winograd_f5_fip", 3, 1, 70),
          conv_case("cpu.conv_winograd_s2_f4_fip", 3, 2, 70),
          {"cpu.gemm_fip", MatMul{}, {values({3, 19, 100}, 1), values({100, 70}, 2)}},
          {"cpu.gemm_strassen_fip", MatMul{}, {values({2, 37, 130}, 1), values({130, 150}, 2)}}};
}

Problem problem_of(const Case& c) {
  const Types inputs{type_of(c.inputs[0]), type_of(c.inputs[1])};
  const auto types = c.op.infer({inputs, c.inputs, 1});
  EXPECT_TRUE(types.ok()) << types.status().message();
  return problem_of(c.op, c.inputs, (*types)[0]);
}

TEST(FastInnerProducts, EveryVariantIsRight) {
  if (cpu::best_tier() < cpu::Tier::avx512) GTEST_SKIP() << "no AVX-512";
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.tactic);
    const Problem problem = problem_of(c);
    const auto want = c.op.evaluate({c.inputs, 1});
    ASSERT_TRUE(want.ok()) << want.status().message();
    double range = 0;
    for (int64_t i = 0; i < (*want)[0].count(); ++i) range = std::max(range, std::fabs((*want)[0].at(i)));
    for (const int threads : {1, 2}) {
      const Machine machine{.threads = threads};
      const Tactic& tactic = *find_tactic(c.tactic);
      ASSERT_EQ(tactic.supports(problem, machine), "");
      for (int variant = 0; variant < tactic.variants(problem, machine); ++variant) {
        const Tensor got = run(tactic, problem, c.inputs, variant, machine);
        for (int64_t i = 0; i < got.count(); ++i)  // over the largest error bound, of tiles of 5 by 5
          ASSERT_NEAR(got.at(i), (*want)[0].at(i), 2e-5 * range) << variant << " at " << i;
      }
    }
  }
}

TEST(FastInnerProducts, AreRefusedWithAReason) {
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.tactic);
    const Problem problem = problem_of(c);
    const Tactic& tactic = *find_tactic(c.tactic);
    EXPECT_EQ(tactic.supports(problem, {.max_tier = static_cast<int>(cpu::Tier::avx2)}), "it pays with AVX-512 alone");
    if (cpu::best_tier() < cpu::Tier::avx512) continue;
    EXPECT_EQ(tactic.supports(problem, {.winograd = false}), "Winograd's and Strassen's algorithms are forbidden");
  }
}

}  // namespace
}  // namespace hone
