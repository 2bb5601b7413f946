// Products by weights of 4 and 8 bits: every variant of every tactic against the reference, on the GPU that is here.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "gpu/candidate.h"
#include "ops/fused.h"
#include "ops/matmul_nbits.h"
#include "ops/pointwise.h"

namespace hone {
namespace {

struct Case {
  MatMulNBits op;
  int64_t m, n, k;
  bool centred = true, bias = false, relu = false;
};

// `f` of each element in order.
template <class F>
Tensor filled(DType type, Dims dims, F&& f) {
  Tensor t(type, std::move(dims));
  for (int64_t i = 0; i < t.count(); ++i) t.set(i, f(i));
  return t;
}

Tensors operands(const Case& c, DType type) {
  std::mt19937 gen(3);
  const auto between = [&gen](double low, double high) {
    return [low, high, &gen](int64_t) { return low + (high - low) * static_cast<double>(gen() % 10001) / 10000; };
  };
  const int64_t blocks = c.op.blocks(c.k), top = int64_t{1} << c.op.bits;
  Tensors inputs{filled(type, {c.m, c.k}, between(-1, 1)),
                 filled(DType::u8, {c.n, blocks, c.op.block_bytes()}, [&](int64_t) { return gen() % 256; }),
                 filled(DType::f32, {c.n, blocks}, between(0.01, 0.1)),
                 filled(DType::u8, {c.n, blocks}, [&](int64_t) { return c.centred ? top / 2 : gen() % top; })};
  if (c.bias) inputs.push_back(filled(DType::f32, {c.n}, between(-3, 3)));
  return inputs;
}

Tensor magnitudes(const Tensor& t) {
  return filled(t.type(), t.dims(), [&](int64_t i) { return std::fabs(t.at(i)); });
}

double rounding(DType type) { return std::ldexp(1.0, type == DType::f16 ? -11 : type == DType::bf16 ? -8 : -24); }

// The op, and behind it max(x, 0) where the case says so.
Op whole_of(const Case& c, const Tensors& inputs, const TensorType& result) {
  if (!c.relu) return c.op;
  auto body = std::make_shared<Graph>();
  std::vector<ValueId> formals;
  for (const Tensor& t : inputs) formals.push_back(body->add_input({}, {t.type(), Shape::of(t.dims())}));
  const ValueId product = body->node(*body->add_node(c.op, formals)).outputs[0];
  const PointwiseProgram program{{{.fn = Fn::input, .type = result.dtype, .input = 0},
                                  {.fn = Fn::relu, .type = result.dtype, .operand = {0, -1, -1}}}};
  body->add_output(body->node(body->add_node_typed(Pointwise{program}, {product}, {result})).outputs[0], "y");
  return Fused{std::move(body)};
}

void expect_right(const Case& c, DType type) {
  const Tensors inputs = operands(c, type);
  Tensors exact = inputs;
  exact[0] = filled(DType::f32, inputs[0].dims(), [&](int64_t i) { return inputs[0].at(i); });
  const auto want = c.op.evaluate({exact, 1});
  ASSERT_TRUE(want.ok()) << want.status().message();
  // The sum of the sizes of all terms.
  const Tensor weights = magnitudes(dequantized_weights(c.op, c.k, inputs[1], inputs[2], inputs[3]));
  Tensors sizes{magnitudes(exact[0]), weights};
  const auto bound = make_op("MatMul", {{"trans_b", true}})->evaluate({sizes, 1});
  ASSERT_TRUE(bound.ok());
  const TensorType result{type, Shape::of((*want)[0].dims())};
  Problem problem{.op = whole_of(c, inputs, result), .outputs = {result}, .constants = Tensors(inputs.size())};
  for (size_t i = 0; i < inputs.size(); ++i) {
    problem.inputs.push_back({inputs[i].type(), Shape::of(inputs[i].dims())});
    if (i >= 1) problem.constants[i] = inputs[i];
  }
  const auto device = cuda::device(0);
  ASSERT_TRUE(device.ok());
  const Machine machine{.cuda_arch = device->arch(), .cuda_device = 0, .tf32 = true};
  cpu::ThreadPool pool(1);
  auto box = GpuSandbox::create(problem, 0, inputs);
  ASSERT_TRUE(box.ok()) << box.status().message();
  for (Candidate& candidate : candidates_of(problem, machine)) {
    const std::string_view name = candidate.tactic.name;
    const auto got = candidate.run(problem, machine, **box, pool);
    ASSERT_TRUE(got.ok()) << name << " variant " << candidate.variant << ": " << got.status().message();
    // Tensor cores take weights that are rounded to the type, or both factors to TF32; sums are in fp32.
    const bool rounds = name.ends_with("mma");
    const double unit = std::ldexp(static_cast<double>(c.k), -24) + (!rounds              ? 0
                                                                     : type == DType::f32 ? std::ldexp(1.0, -10)
                                                                                          : 1.001 * rounding(type));
    int64_t wrong = 0;
    double worst = 0;
    for (int64_t i = 0; i < (*got)[0].count(); ++i) {
      const double right = c.relu ? std::max((*want)[0].at(i), 0.0) : (*want)[0].at(i);
      const double error = std::fabs((*got)[0].at(i) - right);
      const double allowed = unit * (*bound)[0].at(i) + 1.001 * rounding(type) * std::fabs(right) + 1e-5;
      wrong += !(error <= allowed);
      worst = std::max(worst, error / allowed);
    }
    EXPECT_EQ(wrong, 0) << name << " variant " << candidate.variant << " m " << c.m << " n " << c.n << " k " << c.k
                        << " bits " << c.op.bits << ": " << worst << " times the error allowed";
  }
}

class GpuNBits : public ::testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    if (const auto devices = cuda::devices(); !devices.ok()) GTEST_SKIP() << devices.status().message();
  }
};

TEST_P(GpuNBits, ProductsAreRight) {
  const Case cases[] = {{{4, 32}, 1, 768, 768},
                        {{4, 128}, 1, 1024, 4096, false, true},
                        {{4, 16}, 3, 50, 1048, false, true, true},
                        {{4, 32}, 9, 64, 352, true, true},
                        {{4, 32}, 16, 132, 2048, false},
                        {{4, 15}, 2, 9, 31, false, true},
                        {{4, 32}, 200, 192, 320, true, true, true},
                        {{4, 64}, 1000, 520, 1536, false},
                        {{8, 32}, 1, 769, 776, true, true},
                        {{8, 128}, 5, 100, 1024, false, false, true},
                        {{8, 776}, 130, 256, 776, true, true},
                        {{8, 13}, 40, 33, 100, false}};
  for (const Case& c : cases) expect_right(c, GetParam());
}

INSTANTIATE_TEST_SUITE_P(Types, GpuNBits, ::testing::Values(DType::f32, DType::f16, DType::bf16),
                         [](const auto& info) { return std::string(name(info.param)); });

}  // namespace
}  // namespace hone
