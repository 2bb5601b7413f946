#include "kernels/cpu/int8/int8.h"
#include "ops/attention.h"
#include "tactic_testing.h"

namespace hone {
namespace {

const Machine kMachine{.threads = 2, .max_tier = static_cast<int>(cpu::Tier::avx512)};

Problem problem_of(const Attention& op, const Tensors& inputs) {
  Problem problem{.op = op, .constants = Tensors(inputs.size())};
  for (const Tensor& t : inputs) problem.inputs.push_back(t.defined() ? type_of(t) : TensorType());
  const auto types = problem.op.infer({problem.inputs, {}, 1});
  EXPECT_TRUE(types.ok()) << types.status().message();
  if (types.ok()) problem.outputs = *types;
  return problem;
}

// Weights, the largest of which is 1, are off by half of a 255th: 24 of them move a mean of values of up to 128 by less
// than 24 * 0.5 / 255 * 128 = 6, of which the result has half.
void check(Attention op, const Tensors& inputs) {
  const Tactic& tactic = *find_tactic("attention_int8");
  op.scale = 1e-4;
  op.result_scale = 0.5;
  for (const bool quantizes : {false, true}) {
    op.quantizes = quantizes;
    const Problem problem = problem_of(op, inputs);
    EXPECT_EQ(problem.outputs[0].dtype, quantizes ? DType::i8 : DType::f32);
    ASSERT_EQ(tactic.supports(problem, kMachine), "");
    const auto want = op.evaluate({inputs, 1});
    ASSERT_TRUE(want.ok()) << want.status().message();
    const Tensor got = run(tactic, problem, inputs, 0, kMachine);
    for (int64_t i = 0; i < got.count(); ++i)
      EXPECT_NEAR(got.at(i), (*want)[0].at(i), quantizes ? 3.5 : 3) << "element " << i;
  }
}

Tensor bytes(const Dims& dims, unsigned seed) { return random_tensor(DType::i8, dims, seed, -128, 128); }

TEST(AttentionInt8, EachLayoutIsTheReference) {
  if (!cpu::has_int8_set(cpu::Int8Set::vnni)) GTEST_SKIP() << "this CPU has no AVX-512 VNNI";
  check({.layout = "heads"}, {bytes({2, 4, 20, 16}, 1), bytes({2, 2, 24, 16}, 2), bytes({2, 2, 24, 12}, 3)});
  check({.layout = "rows"}, {bytes({2, 20, 3, 16}, 1), bytes({2, 24, 3, 16}, 2), bytes({2, 24, 3, 12}, 3)});
  check({.layout = "packed"}, {bytes({2, 24, 3, 2, 8}, 1), Tensor(), Tensor()});
  const Tensor keep = random_tensor(DType::boolean, {2, 1, 1, 24}, 4, 0, 2);
  check({.layout = "packed"}, {bytes({2, 24, 3, 2, 8}, 1), Tensor(), Tensor(), keep});
  check({.causal = true, .layout = "packed"}, {bytes({1, 30, 3, 2, 8}, 5), Tensor(), Tensor()});
}

TEST(AttentionInt8, SaysWhatItIsNotFor) {
  if (!cpu::has_int8_set(cpu::Int8Set::vnni)) GTEST_SKIP() << "this CPU has no AVX-512 VNNI";
  const Tactic& tactic = *find_tactic("attention_int8");
  const auto refused = [&](const Tensors& inputs, const Machine& machine = kMachine) {
    return tactic.supports(problem_of({}, inputs), machine);
  };
  const auto same = [](const Tensor& t) { return Tensors{t, t, t}; };
  EXPECT_EQ(refused(same(bytes({1, 1, 8, 6}, 1))), "a depth that is no multiple of 4");
  EXPECT_EQ(refused(same(bytes({1, 1, 7, 8}, 1))), "fewer than 8 queries");
  EXPECT_EQ(refused(same(random_tensor(DType::f32, {1, 1, 8, 8}, 1, -1, 1))), "an input of f32");
  EXPECT_EQ(refused(same(bytes({1, 1, 8, 8}, 1)), {.max_tier = 1}), "needs AVX-512 VNNI");
}

TEST(AttentionInt8, TheOpRefusesWhatHasNoMeaning) {
  const Types floats(3, {DType::f32, Shape::of(Dims{1, 1, 8, 8})}), of_bytes(3, {DType::i8, floats[0].shape});
  EXPECT_FALSE(Attention{.result_scale = 2}.infer({floats, {}, 1}).ok());
  EXPECT_FALSE(Attention{.quantizes = true}.infer({floats, {}, 1}).ok());
  EXPECT_FALSE(Attention{}.infer({of_bytes, {}, 2}).ok());
}

}  // namespace
}  // namespace hone
