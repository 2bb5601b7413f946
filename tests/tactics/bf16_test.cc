#include "kernels/cpu/bf16/bf16.h"

#include "base/cpu_info.h"
#include "ops/conv.h"
#include "ops/matmul.h"
#include "tactic_testing.h"

namespace hone {
namespace {

constexpr cpu::Bf16Set kSets[] = {cpu::Bf16Set::avx512, cpu::Bf16Set::amx};

std::string tactic_name(const char* kind, cpu::Bf16Set set) {
  return fmt::format("cpu.{}_{}_bf16", kind, set == cpu::Bf16Set::amx ? "amx" : "avx512");
}

Tensor rounded(const Tensor& t) {
  Tensor result(DType::f32, t.dims());
  for (int64_t i = 0; i < t.count(); ++i) result.set(i, to_float(to_bf16(t.at(i))));
  return result;
}

Tensor magnitudes(const Tensor& t) {
  Tensor result(DType::f32, t.dims());
  for (int64_t i = 0; i < t.count(); ++i) result.set(i, std::fabs(t.at(i)));
  return result;
}

// Sums of k products and the bias, as in kernels/bf16_test: each of the additions errs by 2^-24 of the magnitudes' sum.
// The reference's result is f32, too.
double unit(int64_t k) { return static_cast<double>(k + 8) * 0x1p-24; }

// `open`: no input is constant.
void check(const char* kind, const Op& op, Tensors inputs, int64_t k, bool open = false) {
  const Tensors factors{rounded(inputs[0]), rounded(inputs[1])};
  Tensors exact = factors, sizes{magnitudes(factors[0]), magnitudes(factors[1])};
  for (size_t i = 2; i < inputs.size(); ++i) {
    exact.push_back(inputs[i]);
    sizes.push_back(magnitudes(inputs[i]));
  }
  const auto want = op.evaluate({exact, 1}), size = op.evaluate({sizes, 1});
  ASSERT_TRUE(want.ok()) << want.status().message();
  Problem problem = problem_of(op, inputs, type_of((*want)[0]));
  if (open) problem.constants[1] = Tensor();
  for (cpu::Bf16Set set : kSets) {
    const Tactic* tactic = find_tactic(tactic_name(kind, set));
    ASSERT_NE(tactic, nullptr);
    for (int threads : {1, 2}) {
      const Machine machine{.threads = threads, .bf16 = true};
      const std::string reason = tactic->supports(problem, machine);
      ASSERT_EQ(reason.empty(), cpu::has_bf16_set(set)) << reason;
      for (int variant = 0; reason.empty() && variant < tactic->variants(problem, machine); ++variant) {
        SCOPED_TRACE(fmt::format("{}, {} threads, variant {}", tactic->name, threads, variant));
        const Tensor got = run(*tactic, problem, inputs, variant, machine);
        for (int64_t i = 0; i < got.count(); ++i)
          ASSERT_NEAR(got.at(i), (*want)[0].at(i), unit(k) * (*size)[0].at(i)) << "element " << i;
      }
    }
  }
}

Tensor floats(const Dims& dims, unsigned seed) { return random_tensor(DType::f32, dims, seed, -2, 2); }

const Conv kConv{.strides = {2, 1}, .dilations = {1, 2}, .pads = {1, 0, 1, 2}, .channels_last = true};

TEST(Bf16Tactics, Convolutions) {
  check("conv", kConv, {floats({2, 9, 8, 19}, 1), floats({21, 19, 3, 3}, 2)}, 171);
  check("conv", kConv, {floats({2, 9, 8, 19}, 1), floats({21, 19, 3, 3}, 2), floats({21}, 3)}, 171);
  check("conv", Conv{.strides = {2}, .dilations = {1}, .pads = {1, 2}, .channels_last = true},
        {floats({2, 9, 7}, 1), floats({5, 7, 3}, 2)}, 21);
  Conv grouped = kConv;
  grouped.groups = 3;
  check("conv", grouped, {floats({1, 9, 8, 12}, 1), floats({21, 4, 3, 3}, 2)}, 36);
}

TEST(Bf16Tactics, TransposedConvolutions) {
  const ConvTranspose op{.strides = {2, 2},
                         .dilations = {1, 1},
                         .pads = {1, 0, 1, 2},
                         .output_padding = {1, 0},
                         .channels_last = true};
  check("conv_transpose", op, {floats({2, 9, 8, 19}, 1), floats({19, 21, 3, 3}, 2)}, 171);
  check("conv_transpose", op, {floats({2, 9, 8, 19}, 1), floats({19, 21, 3, 3}, 2), floats({21}, 3)}, 171);
}

TEST(Bf16Tactics, Products) {
  check("gemm", MatMul{}, {floats({2, 5, 37}, 1), floats({37, 29}, 2)}, 37);
  check("gemm", MatMul{}, {floats({2, 5, 37}, 1), floats({1, 37, 29}, 2)}, 37);
  check("gemm", MatMul{.trans_b = true}, {floats({11, 37}, 1), floats({29, 37}, 2)}, 37);
  check("gemm", MatMul{}, {floats({1, 768}, 1), floats({768, 300}, 2)}, 768);
}

TEST(Bf16Tactics, ProductsOfActivations) {
  const auto product = [](const MatMul& op, const Dims& a, const Dims& b, int64_t k) {
    check("gemm_activations", op, {floats(a, 1), floats(b, 2)}, k, true);
  };
  product({}, {2, 3, 5, 37}, {2, 3, 37, 29}, 37);
  product({.trans_b = true}, {2, 3, 50, 64}, {2, 3, 40, 64}, 64);
  product({}, {2, 5, 37}, {37, 29}, 37);  // one right operand
  product({.trans_b = true}, {130, 16}, {7, 16}, 16);
  check("gemm_activations", MatMul{}, {floats({4, 9}, 1), floats({9, 8}, 2), floats({8}, 3)}, 9, true);
}

// The same in memory, with a bias that is packed.
TEST(Bf16Tactics, ProductsOfActivationsInBf16) {
  if (!cpu::has_bf16_set(cpu::Bf16Set::avx512)) GTEST_SKIP() << "this CPU has no bf16";
  const Tensors inputs{random_tensor(DType::bf16, {3, 20, 34}, 1, -2, 2),
                       random_tensor(DType::bf16, {3, 33, 34}, 2, -2, 2), random_tensor(DType::bf16, {33}, 3, -2, 2)};
  const MatMul op{.trans_b = true};
  const auto want = op.evaluate({inputs, 1});
  const auto size = op.evaluate({Tensors{magnitudes(inputs[0]), magnitudes(inputs[1]), magnitudes(inputs[2])}, 1});
  ASSERT_TRUE(want.ok() && size.ok());
  Problem problem = problem_of(op, inputs, type_of((*want)[0]));
  problem.constants = {Tensor(), Tensor(), inputs[2]};
  const Tactic* tactic = find_tactic("cpu.gemm_activations_avx512_bf16");
  const Machine machine{.threads = 2};
  ASSERT_EQ(tactic->supports(problem, machine), "");
  for (int variant = 0; variant < tactic->variants(problem, machine); ++variant) {
    const Tensor got = run(*tactic, problem, inputs, variant, machine);
    for (int64_t i = 0; i < got.count(); ++i)
      ASSERT_NEAR(got.at(i), (*want)[0].at(i), unit(34) * (*size)[0].at(i) + 2 * 0x1p-8 * std::fabs((*want)[0].at(i)));
  }
  problem.constants = {Tensor(), inputs[1], inputs[2]};
  EXPECT_EQ(tactic->supports(problem, machine), "the right operand is constant");
  problem.constants = Tensors(3);
  EXPECT_EQ(tactic->supports(problem, machine), "a bias in bf16 is not constant");
  EXPECT_FALSE(tactic->make(problem, {}, 0, machine).ok()) << "the packed bias is missing";
  problem.inputs[1].shape = Shape::of(Dims{1, 3, 33, 34});
  problem.constants = {Tensor(), Tensor(), inputs[2]};
  EXPECT_EQ(tactic->supports(problem, machine), "batch dims differ");
}

TEST(Bf16Tactics, Epilogues) {
  if (!cpu::has_bf16_set(cpu::Bf16Set::avx512)) GTEST_SKIP() << "this CPU has no bf16";
  const Tensors inputs{floats({7, 33}, 1), floats({33, 21}, 2), floats({7, 21}, 3)};
  const auto product = MatMul{}.evaluate({Tensors{rounded(inputs[0]), rounded(inputs[1])}, 1});
  ASSERT_TRUE(product.ok());
  const auto program = pointwise_from_text("in0:f32; in1:f32; add:f32(0,1); relu:f32(2)");
  ASSERT_TRUE(program.ok());
  const auto want = Pointwise{*program}.evaluate({Tensors{(*product)[0], inputs[2]}, 1});
  const TensorType result = type_of((*product)[0]);
  const Problem problem = problem_of(fused(MatMul{}, *program, inputs, result), inputs, result);
  const Tactic* tactic = find_tactic("cpu.gemm_avx512_bf16");
  EXPECT_EQ(tactic->in_place(problem), 2);
  const Machine machine{.bf16 = true};
  ASSERT_EQ(tactic->supports(problem, machine), "");
  const Tensor got = run(*tactic, problem, inputs, 0, machine);
  for (int64_t i = 0; i < got.count(); ++i) ASSERT_NEAR(got.at(i), (*want)[0].at(i), 33 * 4 * unit(33));
}

// Tensors in bf16, the bias and the weights too: the reference rounds its result as the kernels do, to either side.
TEST(Bf16Tactics, TensorsInBf16) {
  if (!cpu::has_bf16_set(cpu::Bf16Set::avx512)) GTEST_SKIP() << "this CPU has no bf16";
  const auto random = [](const Dims& dims, unsigned seed) { return random_tensor(DType::bf16, dims, seed, -2, 2); };
  Conv depthwise = kConv;
  depthwise.groups = 19;
  const ConvTranspose transposed{
      .strides = {2, 2}, .dilations = {1, 1}, .pads = {0, 0, 0, 0}, .output_padding = {0, 0}, .channels_last = true};
  struct Case {
    const char* tactic;
    Op op;
    Tensors inputs;
    int64_t k;
  };
  const Case cases[] = {
      {"cpu.conv_avx512_bf16", kConv, {random({2, 9, 8, 19}, 1), random({21, 19, 3, 3}, 2), random({21}, 3)}, 171},
      {"cpu.conv_transpose_avx512_bf16",
       transposed,
       {random({2, 9, 8, 19}, 1), random({19, 21, 3, 3}, 2), random({21}, 3)},
       171},
      {"cpu.conv_depthwise", depthwise, {random({2, 9, 8, 19}, 1), random({19, 1, 3, 3}, 2), random({19}, 3)}, 9},
      {"cpu.gemm_avx512_bf16", MatMul{}, {random({2, 5, 38}, 1), random({38, 29}, 2), random({29}, 3)}, 38}};
  for (const Case& c : cases) {
    Tensors sizes;
    for (const Tensor& t : c.inputs) sizes.push_back(magnitudes(t));
    const auto want = c.op.evaluate({c.inputs, 1}), size = c.op.evaluate({sizes, 1});
    ASSERT_TRUE(want.ok() && size.ok());
    Problem problem = problem_of(c.op, c.inputs, type_of((*want)[0]));
    const Tactic* tactic = find_tactic(c.tactic);
    const Machine machine{.threads = 2};
    EXPECT_NE(tactic->supports(problem, machine), "") << "the bias is not constant";
    problem.constants[2] = c.inputs[2];
    ASSERT_EQ(tactic->supports(problem, machine), "") << c.tactic;
    EXPECT_NE(tactic->supports(problem, {.max_tier = 1}), "");
    for (int variant = 0; variant < tactic->variants(problem, machine); ++variant) {
      const Tensor got = run(*tactic, problem, c.inputs, variant, machine);
      for (int64_t i = 0; i < got.count(); ++i)
        ASSERT_NEAR(got.at(i), (*want)[0].at(i),
                    unit(c.k) * (*size)[0].at(i) + 2 * 0x1p-8 * std::fabs((*want)[0].at(i)))
            << c.tactic << ", variant " << variant << ", element " << i;
    }
    auto prepared = tactic->prepare(problem, 0, machine);
    ASSERT_TRUE(prepared.ok());
    prepared->packed.pop_back();
    problem.constants.clear();
    EXPECT_FALSE(tactic->make(problem, prepared->packed, 0, machine).ok()) << "the packed bias is missing";
  }
}

TEST(Bf16Tactics, Refusals) {
  const Tensors inputs{floats({2, 5, 37}, 1), floats({37, 29}, 2)};
  const Problem product = problem_of(MatMul{}, inputs, {DType::f32, Shape::of(Dims{2, 5, 29})});
  for (cpu::Bf16Set set : kSets) {
    const Tactic* gemm = find_tactic(tactic_name("gemm", set));
    EXPECT_EQ(gemm->supports(product, {}), "bf16 is not allowed");
    EXPECT_NE(gemm->supports(product, {.max_tier = 1, .bf16 = true}).find(cpu::bf16_set_name(set)), std::string::npos);
    if (!cpu::has_bf16_set(set)) continue;
    Problem open = product;
    open.constants[1] = Tensor();
    EXPECT_EQ(gemm->supports(open, {.bf16 = true}), "weights are not constant");
    Conv depthwise = kConv;
    depthwise.groups = 19;
    EXPECT_EQ(find_tactic(tactic_name("conv", set))
                  ->supports(problem_of(depthwise, {floats({2, 9, 8, 19}, 1), floats({19, 1, 3, 3}, 2)},
                                        {DType::f32, Shape::of(Dims{2, 5, 6, 19})}),
                             {.bf16 = true}),
              "one channel a group");
    const auto prepared = gemm->prepare(product, 0, {.bf16 = true});
    ASSERT_TRUE(prepared.ok());
    EXPECT_FALSE(gemm->make(product, {}, 0, {}).ok());
    EXPECT_FALSE(gemm->make(product, Tensors{Tensor(DType::u8, {3})}, 0, {}).ok());
  }
}

}  // namespace
}  // namespace hone
