#include "base/cpu_info.h"
#include "ops/matmul_nbits.h"
#include "tactic_testing.h"

namespace hone {
namespace {

constexpr const char* kTactics[] = {"cpu.gemm_nbits_rows", "cpu.gemm_nbits_panels"};

struct Case {
  MatMulNBits op;
  Dims a;
  int64_t n;
  DType zeros = DType::u8;
  bool centred = false, bias = false;
};

Tensors operands(const Case& c) {
  const int64_t blocks = c.op.blocks(c.a.back());
  Tensors inputs{random_tensor(DType::f32, c.a, 1, -2, 2),
                 random_tensor(DType::u8, {c.n, blocks, c.op.block_bytes()}, 2, 0, 256),
                 random_tensor(DType::f32, {c.n, blocks}, 3, 0.01, 0.1),
                 random_tensor(c.zeros, {c.n, blocks}, 4, 0, 1 << c.op.bits)};
  for (int64_t i = 0; c.centred && i < inputs[3].count(); ++i) inputs[3].set(i, 1 << (c.op.bits - 1));
  if (c.bias) inputs.push_back(random_tensor(DType::f32, {c.n}, 5, -3, 3));
  return inputs;
}

// The op alone, or with a residual sum behind it, on every tier and in every variant.
void check(const Case& c, bool residual) {
  Tensors inputs = operands(c);
  const auto product = c.op.evaluate({inputs, 1});
  ASSERT_TRUE(product.ok()) << product.status().message();
  Tensor want = (*product)[0];
  const TensorType result = type_of(want);
  Op op = c.op;
  if (residual) {
    auto body = std::make_shared<Graph>();
    std::vector<ValueId> formals;
    for (const Tensor& t : inputs) formals.push_back(body->add_input({}, type_of(t)));
    const PointwiseProgram program{{{.fn = Fn::input, .type = DType::f32, .input = 0},
                                    {.fn = Fn::input, .type = DType::f32, .input = 1},
                                    {.fn = Fn::add, .type = DType::f32, .operand = {0, 1, -1}}}};
    const ValueId first = body->node(*body->add_node(op, formals)).outputs[0];
    const ValueId added = body->add_input({}, result);
    body->add_output(body->node(body->add_node_typed(Pointwise{program}, {first, added}, {result})).outputs[0], "y");
    op = Fused{std::move(body)};
    inputs.push_back(random_tensor(DType::f32, want.dims(), 6, -3, 3));
    for (int64_t i = 0; i < want.count(); ++i) want.set(i, want.at(i) + inputs.back().at(i));
  }
  Problem problem{.op = op, .outputs = {result}, .constants = Tensors(inputs.size())};
  for (const Tensor& t : inputs) problem.inputs.push_back(type_of(t));
  for (size_t i = 1; i < 4; ++i) problem.constants[i] = inputs[i];
  for (const char* name : kTactics)
    for (int tier = 0; tier <= static_cast<int>(cpu::best_tier()); ++tier)
      for (int threads : {1, 2}) {
        const Machine machine{.threads = threads, .max_tier = tier};
        const Tactic& tactic = *find_tactic(name);
        ASSERT_EQ(tactic.supports(problem, machine), "");
        for (int variant = 0; variant < tactic.variants(problem, machine); ++variant) {
          SCOPED_TRACE(fmt::format("{} tier {}, {} threads, variant {}", name, tier, threads, variant));
          const Tensor got = run(tactic, problem, inputs, variant, machine);
          // Sums in fp32 of some hundred terms of up to 2 * 0.1 * 255.
          const double error = 1e-6 * (1 << c.op.bits) * static_cast<double>(c.a.back());
          for (int64_t i = 0; i < got.count(); ++i) ASSERT_NEAR(got.at(i), want.at(i), error) << i;
        }
      }
}

TEST(NBits, TacticsComputeWhatTheReferenceDoes) {
  const Case cases[] = {{{4, 32}, {1, 64}, 40, DType::u8, true},
                        {{4, 16}, {2, 3, 50}, 33, DType::u8, false, true},
                        {{4, 32}, {7, 96}, 17, DType::f32, false, true},
                        {{8, 128}, {33, 100}, 70, DType::u8, true, true},
                        {{8, 16}, {20}, 9}};
  for (const Case& c : cases)
    for (bool residual : {false, true}) check(c, residual);
}

TEST(NBits, RefusalsSayWhy) {
  const Tactic& rows = *find_tactic(kTactics[0]);
  const auto problem_for = [](const Case& c) {
    const Tensors inputs = operands(c);
    Problem problem{.op = c.op, .constants = inputs};
    for (const Tensor& t : inputs) problem.inputs.push_back(type_of(t));
    problem.outputs = *c.op.infer({problem.inputs, {}, 1});
    return problem;
  };
  EXPECT_EQ(rows.supports(problem_for({{4, 32}, {65, 64}, 8}), {}), "65 rows are more than 64");
  Problem problem = problem_for({{4, 32}, {1, 64}, 8});
  EXPECT_EQ(rows.supports(problem, {}), "");
  problem.constants[2] = Tensor();
  EXPECT_EQ(rows.supports(problem, {}), "weights are not constant");
  problem.inputs[0].dtype = DType::f16;
  EXPECT_EQ(rows.supports(problem, {}), "f16 elements");
}

TEST(NBits, ShapesThatContradictAreNamed) {
  const Case c{{4, 32}, {3, 64}, 8};
  Types types;
  for (const Tensor& t : operands(c)) types.push_back(type_of(t));
  ASSERT_TRUE(c.op.infer({types, {}, 1}).ok());
  const auto expect = [&](const MatMulNBits& op, size_t input, const TensorType& type, const char* words) {
    Types changed = types;
    changed[input] = type;
    const auto result = op.infer({changed, {}, 1});
    ASSERT_FALSE(result.ok()) << words;
    EXPECT_NE(result.status().message().find(words), std::string::npos) << result.status().message();
  };
  expect(c.op, 0, {DType::f32, Shape::of(Dims{3, 65})}, "for an input f32[3,65]");
  expect(c.op, 1, {DType::u8, Shape::of(Dims{8, 2, 15})}, "codes u8[8,2,15]");
  expect(c.op, 1, {DType::i8, Shape::of(Dims{8, 2, 16})}, "the codes are i8");
  expect(c.op, 2, {DType::f32, Shape::of(Dims{8, 3})}, "scales f32[8,3]");
  expect(c.op, 3, {DType::u8, Shape::of(Dims{7, 2})}, "zero points u8[7,2]");
  expect({3, 32}, 0, types[0], "weights of 3 bits");
  expect({4, 0}, 0, types[0], "blocks of 0 weights");
}

}  // namespace
}  // namespace hone
