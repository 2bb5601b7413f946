// A convolution and the depthwise one behind it as one step, against the reference.
#include "base/cpu_info.h"
#include "ops/conv.h"
#include "tactic_testing.h"

namespace hone {
namespace {

constexpr const char* kTactic = "cpu.conv_depthwise_strips";

struct Case {
  Dims x, w;  // NHWC, and [cout][cin][kh][kw]
  Conv dense;
  Dims window;  // [kh][kw]
  Conv depthwise;
  bool clips = true;
};

Conv conv_of(std::vector<int64_t> strides, std::vector<int64_t> pads, int64_t groups = 1) {
  return {.strides = std::move(strides),
          .dilations = {1, 1},
          .pads = std::move(pads),
          .groups = groups,
          .channels_last = true};
}

Pointwise clip(double low, double high) {
  const auto constant = [](double v) { return PointwiseInstr{.fn = Fn::constant, .type = DType::f32, .value = v}; };
  return {PointwiseProgram{{{.fn = Fn::input, .type = DType::f32, .input = 0},
                            constant(low),
                            constant(high),
                            {.fn = Fn::clip, .type = DType::f32, .operand = {0, 1, 2}}}}};
}

Tensors operands(const Case& c) {
  const int64_t channels = c.w[0];
  return {random_tensor(DType::f32, c.x, 1, -1, 1), random_tensor(DType::f32, c.w, 2, -0.5, 0.5),
          random_tensor(DType::f32, {channels}, 3, -1, 1),
          random_tensor(DType::f32, {channels, 1, c.window[0], c.window[1]}, 4, -0.5, 0.5),
          random_tensor(DType::f32, {channels}, 5, -1, 1)};
}

Problem problem_of(const Case& c, const Tensors& inputs) {
  auto body = std::make_shared<Graph>();
  std::vector<ValueId> from;
  for (const Tensor& t : inputs) from.push_back(body->add_input({}, type_of(t)));
  const auto add = [&](Op op, std::vector<ValueId> reads) {
    return body->node(*body->add_node(std::move(op), std::move(reads))).outputs[0];
  };
  ValueId v = add(c.dense, {from[0], from[1], from[2]});
  if (c.clips) v = add(clip(0, 0.75), {v});
  v = add(c.depthwise, {v, from[3], from[4]});
  if (c.clips) v = add(clip(-0.5, 0.5), {v});
  body->add_output(v, "y");
  Problem problem{.outputs = {body->type(v)}, .constants = {{}, inputs[1], {}, inputs[3], {}}};
  problem.op = Fused{std::move(body)};
  for (const Tensor& t : inputs) problem.inputs.push_back(type_of(t));
  return problem;
}

// As when an engine is loaded: whether it pays is not asked again.
Problem loaded(Problem problem) {
  problem.constants.clear();
  return problem;
}

TEST(ConvDepthwise, IsWhatTheReferenceComputes) {
  const Conv dense = conv_of({1, 1}, {0, 0, 0, 0});
  const Case cases[] = {
      {{2, 24, 21, 16}, {40, 16, 1, 1}, dense, {3, 3}, conv_of({1, 1}, {1, 1, 1, 1}, 40)},
      {{1, 21, 13, 9}, {17, 9, 1, 1}, dense, {3, 3}, conv_of({2, 2}, {1, 1, 1, 1}, 17)},
      {{3, 14, 8, 8}, {24, 8, 1, 1}, dense, {5, 5}, conv_of({1, 1}, {2, 2, 2, 2}, 24), false},
      {{2, 17, 9, 5}, {16, 5, 1, 1}, dense, {5, 5}, conv_of({2, 2}, {1, 1, 2, 2}, 16)},
      // A first convolution with windows and a stride, as of an image.
      {{1, 33, 30, 3}, {32, 3, 3, 3}, conv_of({2, 2}, {1, 1, 1, 1}), {3, 3}, conv_of({1, 1}, {1, 1, 1, 1}, 32)},
      {{1, 19, 12, 8}, {16, 8, 3, 3}, conv_of({1, 1}, {2, 0, 0, 1}), {3, 3}, conv_of({1, 1}, {0, 0, 2, 1}, 16)},
      // Rows between windows that nothing reads; fewer rows than a strip or than threads have.
      {{1, 20, 7, 8}, {16, 8, 1, 1}, dense, {2, 2}, conv_of({3, 3}, {0, 0, 0, 0}, 16)},
      {{5, 3, 8, 8}, {8, 8, 1, 1}, dense, {3, 3}, conv_of({2, 2}, {1, 1, 1, 1}, 8)},
      {{1, 1, 1, 8}, {8, 8, 1, 1}, dense, {3, 3}, conv_of({1, 1}, {1, 1, 1, 1}, 8)}};
  const Tactic& tactic = *find_tactic(kTactic);
  for (const Case& c : cases) {
    const Tensors inputs = operands(c);
    const Problem problem = problem_of(c, inputs);
    const auto want = problem.op.evaluate({inputs, 1});
    ASSERT_TRUE(want.ok()) << want.status().message();
    for (int tier = 0; tier <= static_cast<int>(cpu::best_tier()); ++tier)
      for (int threads : {1, 2, 3}) {
        const Machine machine{.threads = threads, .max_tier = tier};
        ASSERT_EQ(tactic.supports(loaded(problem), machine), "");
        for (int variant = 0; variant < tactic.variants(problem, machine); ++variant) {
          SCOPED_TRACE(fmt::format("tier {}, {} threads, variant {}", tier, threads, variant));
          const Tensor got = run(tactic, problem, inputs, variant, machine);
          // Sums in fp32 of up to 72, then 25 terms below 4.
          for (int64_t i = 0; i < got.count(); ++i) ASSERT_NEAR(got.at(i), (*want)[0].at(i), 5e-5) << i;
        }
      }
  }
}

TEST(ConvDepthwise, RefusalsSayWhy) {
  const Tactic& tactic = *find_tactic(kTactic);
  const auto refusal = [&](const Case& c, const Machine& machine = {}) {
    return tactic.supports(problem_of(c, operands(c)), machine);
  };
  // An image between the two is as large as four times L2, at this width.
  const int64_t width = cpu::cpu_info().l2 / (16 * 16 * 4);
  const Case large{
      {1, 64, width, 8}, {16, 8, 1, 1}, conv_of({1, 1}, {0, 0, 0, 0}), {3, 3}, conv_of({1, 1}, {1, 1, 1, 1}, 16)};
  EXPECT_EQ(refusal(large), "");
  EXPECT_EQ(refusal(large, {.threads = 6}), "an image between the two is small beside L2");
  EXPECT_EQ(refusal(large, {.bf16 = true}), "products of bf16 may be faster");
  Case other = large;
  other.depthwise.pads = {3, 1, 1, 1};
  EXPECT_EQ(refusal(other), "a convolution pads by whole windows");
  Problem problem = problem_of(large, operands(large));
  problem.constants[3] = Tensor();
  EXPECT_EQ(tactic.supports(problem, {}), "weights are not constant");
}

}  // namespace
}  // namespace hone
