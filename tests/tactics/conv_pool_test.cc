// A convolution and the maximum pooling behind it as one step, against the reference and against the two apart.
#include "base/cpu_info.h"
#include "ops/conv.h"
#include "ops/pool.h"
#include "tactic_testing.h"

namespace hone {
namespace {

constexpr const char* kTactic = "cpu.conv_pool_winograd_f4";

struct Case {
  Dims x, w;  // NHWC, and [cout][cin][kh][kw]
  Conv conv;
  Pool pool;
  bool relu = true, bias = true;
};

Conv conv_of(std::vector<int64_t> strides, std::vector<int64_t> pads) {
  return {.strides = std::move(strides), .dilations = {1, 1}, .pads = std::move(pads), .channels_last = true};
}

Pool pool_of(int64_t kernel, int64_t stride, std::vector<int64_t> pads, bool ceil_mode = false) {
  return {.kernel = {kernel, kernel},
          .strides = {stride, stride},
          .dilations = {1, 1},
          .pads = std::move(pads),
          .ceil_mode = ceil_mode,
          .channels_last = true};
}

Tensors operands(const Case& c) {
  Tensors inputs{random_tensor(DType::f32, c.x, 1, -1, 1), random_tensor(DType::f32, c.w, 2, -0.5, 0.5)};
  if (c.bias) inputs.push_back(random_tensor(DType::f32, {c.w[0]}, 3, -1, 1));
  return inputs;
}

// Nodes one after the other: the first reads the inputs, the others what is before them.
Op chain(const std::vector<Op>& ops, const Tensors& inputs) {
  if (ops.size() == 1) return ops[0];
  auto body = std::make_shared<Graph>();
  std::vector<ValueId> from;
  for (const Tensor& t : inputs) from.push_back(body->add_input({}, type_of(t)));
  for (const Op& op : ops) from = {body->node(*body->add_node(op, from)).outputs[0]};
  body->add_output(from[0], "y");
  return Fused{std::move(body)};
}

std::vector<Op> convolution(const Case& c) {
  std::vector<Op> ops{c.conv};
  if (c.relu)
    ops.push_back(Pointwise{PointwiseProgram{{{.fn = Fn::input, .type = DType::f32, .input = 0},
                                              {.fn = Fn::relu, .type = DType::f32, .operand = {0, -1, -1}}}}});
  return ops;
}

struct Evaluated {
  Problem problem;
  Tensor result;
};

Evaluated evaluated(const std::vector<Op>& ops, const Tensors& inputs) {
  const Op op = chain(ops, inputs);
  const auto result = op.evaluate({inputs, 1});
  EXPECT_TRUE(result.ok()) << result.status().message();
  Problem problem{.op = op, .outputs = {type_of((*result)[0])}, .constants = Tensors(inputs.size())};
  for (const Tensor& t : inputs) problem.inputs.push_back(type_of(t));
  if (inputs.size() > 1) problem.constants[1] = inputs[1];
  return {problem, (*result)[0]};
}

// As when an engine is loaded: what was judged at build time, whether it pays, is not asked again.
Problem loaded(Problem problem) {
  problem.constants.clear();
  return problem;
}

void check(const Case& c, bool bits) {
  const Tensors inputs = operands(c);
  std::vector<Op> ops = convolution(c);
  const Evaluated between = evaluated(ops, inputs), pooled = evaluated({c.pool}, {between.result});
  ops.push_back(c.pool);
  const Evaluated whole = evaluated(ops, inputs);
  const Tactic &tactic = *find_tactic(kTactic), &convolves = *find_tactic("cpu.conv_winograd_f4"),
               &pools = *find_tactic("pool");
  for (int tier = 0; tier <= static_cast<int>(cpu::best_tier()); ++tier)
    for (int threads : {1, 2, 3}) {
      const Machine machine{.threads = threads, .max_tier = tier};
      ASSERT_EQ(tactic.supports(loaded(whole.problem), machine), "");
      const Tensor rows = run(convolves, between.problem, inputs, 0, machine);
      Problem pooling = pooled.problem;
      pooling.constants.clear();
      const Tensor want = run(pools, pooling, {rows}, 0, machine);
      for (int variant = 0; variant < tactic.variants(whole.problem, machine); ++variant) {
        SCOPED_TRACE(fmt::format("tier {}, {} threads, variant {}", tier, threads, variant));
        const Tensor got = run(tactic, whole.problem, inputs, variant, machine);
        if (bits) {
          ASSERT_EQ(got, want);
        }
        // Sums in fp32 of up to 600 terms below 0.5, those of Winograd transformed.
        for (int64_t i = 0; i < got.count(); ++i) ASSERT_NEAR(got.at(i), whole.result.at(i), 2e-4) << i;
      }
    }
}

TEST(ConvPool, IsTheConvolutionAndThenItsMaximaBitForBit) {
  // Strips of whole tiles: the same tiles as of the whole image.
  check({{2, 24, 21, 16}, {24, 16, 3, 3}, conv_of({1, 1}, {1, 1, 1, 1}), pool_of(2, 2, {0, 0, 0, 0})}, true);
}

TEST(ConvPool, IsWhatTheReferenceComputesOfOddShapes) {
  const Case cases[] = {
      {{1, 21, 13, 9}, {17, 9, 3, 3}, conv_of({1, 1}, {1, 1, 1, 1}), pool_of(3, 2, {1, 1, 1, 1})},
      {{3, 30, 8, 8}, {8, 8, 3, 3}, conv_of({1, 1}, {0, 1, 2, 0}), pool_of(3, 3, {0, 1, 2, 0}, true), false},
      {{2, 23, 9, 8}, {33, 8, 3, 3}, conv_of({1, 1}, {2, 1, 2, 1}), pool_of(3, 1, {1, 1, 1, 1}), true, false},
      // Rows between windows that nothing reads.
      {{1, 31, 15, 8}, {32, 8, 3, 3}, conv_of({1, 1}, {0, 0, 0, 0}), pool_of(2, 3, {0, 0, 0, 0})},
      // The last window reaches beyond the image, and so do the paddings.
      {{2, 18, 18, 11}, {32, 11, 3, 3}, conv_of({1, 1}, {1, 1, 1, 1}), pool_of(3, 2, {0, 0, 0, 0}, true)},
      {{1, 26, 17, 8}, {16, 8, 3, 3}, conv_of({1, 1}, {2, 2, 1, 2}), pool_of(3, 3, {2, 0, 2, 1}, true)},
      // Fewer rows than a strip or than threads have.
      {{5, 3, 8, 8}, {8, 8, 3, 3}, conv_of({1, 1}, {1, 1, 1, 1}), pool_of(3, 2, {1, 1, 1, 1})},
      {{1, 5, 6, 12}, {40, 12, 3, 3}, conv_of({1, 1}, {1, 1, 1, 1}), pool_of(2, 1, {0, 0, 1, 1}), true, false},
      {{2, 1, 1, 8}, {8, 8, 3, 3}, conv_of({1, 1}, {1, 1, 1, 1}), pool_of(2, 2, {1, 1, 0, 0})}};
  for (const Case& c : cases) check(c, false);
}

TEST(ConvPool, RefusalsSayWhy) {
  const Tactic& tactic = *find_tactic(kTactic);
  const auto refusal = [&](const Case& c, const std::vector<Op>& ops, const Machine& machine = {}) {
    const Tensors inputs = operands(c);
    Problem problem{.op = chain(ops, inputs), .constants = inputs};
    for (const Tensor& t : inputs) problem.inputs.push_back(type_of(t));
    problem.outputs = *problem.op.infer({problem.inputs, {}, 1});
    return tactic.supports(problem, machine);
  };
  // An image is as large as six times L2, at this width.
  const int64_t width = cpu::cpu_info().l2 / (8 * 64 * 4);
  const Case large{{1, 8 * 6, width, 64}, {64, 64, 3, 3}, conv_of({1, 1}, {1, 1, 1, 1}), pool_of(2, 2, {0, 0, 0, 0})};
  EXPECT_EQ(refusal(large, {large.conv, large.pool}), "");
  EXPECT_EQ(refusal(large, {large.conv, large.pool}, {.threads = 6}), "an image between the two fits into L2");
  EXPECT_EQ(refusal(large, {large.conv, large.pool}, {.bf16 = true}), "products of bf16 may be faster");
  EXPECT_EQ(refusal(large, {large.conv}), "another op");
  Case other = large;
  other.pool.kind = "average";
  EXPECT_EQ(refusal(other, {other.conv, other.pool}), "pooling other than of maxima");
  other = large;
  other.pool.dilations = {2, 1};
  EXPECT_EQ(refusal(other, {other.conv, other.pool}), "pooling is dilated");
  other = large;
  other.x[3] = other.w[1] = 32;
  EXPECT_EQ(refusal(other, {other.conv, other.pool}), "few channels");
  other = large;
  other.conv.strides = {2, 2};
  EXPECT_EQ(refusal(other, {other.conv, other.pool}), "stride is not 1");
  EXPECT_EQ(refusal(large, {large.conv, large.pool}, {.winograd = false}),
            "Winograd's and Strassen's algorithms are forbidden");
  other = large;
  other.conv.dilations = {1, 2};
  EXPECT_EQ(refusal(other, {other.conv, other.pool}), "a convolution is dilated");
  other = large;
  other.conv.pads = {0, 0, 3, 0};
  EXPECT_EQ(refusal(other, {other.conv, other.pool}), "a convolution pads by whole windows");
}

}  // namespace
}  // namespace hone
