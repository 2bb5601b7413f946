// Every variant of the GPU's matrix kernels against the reference, on the GPU that is here. Skipped without one.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "backends/gpu_fusion.h"
#include "backends/problem.h"
#include "gpu/candidate.h"
#include "gpu/convolutions.h"
#include "ir/graph.h"
#include "ops/pointwise.h"
#include "passes/fuse/body.h"
#include "stepwise.h"

namespace hone {
namespace {

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

// Half of the distance between neighbouring numbers, relative to them.
double rounding(DType type) { return std::ldexp(1.0, type == DType::f16 ? -11 : type == DType::bf16 ? -8 : -24); }

// Runs each GPU tactic that takes the problem. Rounding both factors to TF32's 11 significant bits moves a product by
// at most 2^-10 of its size, and cutting them off, as a library does, by twice that; that of f16 and bf16 values is
// exact. Sums of `depth` terms are in fp32, and the result is rounded to `type`.
void expect_right(const Op& op, const Tensors& values, size_t weights, int64_t depth, DType type) {
  Problem problem{.op = op};
  Tensors inputs, exact, sizes;
  for (size_t i = 0; i < values.size(); ++i) {
    inputs.push_back(converted(values[i], type));
    exact.push_back(converted(inputs[i], DType::f32));
    problem.inputs.push_back({type, Shape::of(values[i].dims())});
    problem.constants.push_back(i >= weights ? inputs[i] : Tensor());
    sizes.push_back(magnitudes(exact[i]));
  }
  const auto expected = op.evaluate({exact, 1}), bound = op.evaluate({sizes, 1});
  ASSERT_TRUE(expected.ok() && bound.ok());
  problem.outputs.push_back({type, Shape::of((*expected)[0].dims())});

  const auto device = cuda::device(0);
  ASSERT_TRUE(device.ok());
  const Machine machine{.cuda_arch = device->arch(), .cuda_device = 0, .tf32 = true};
  cpu::ThreadPool pool(1);
  auto box = GpuSandbox::create(problem, 0, inputs);
  ASSERT_TRUE(box.ok()) << box.status().message();
  for (Candidate& c : candidates_of(problem, machine)) {
    const bool rounded = type == DType::f32 && c.tactic.name.ends_with("mma"), cut = c.tactic.name.ends_with("tf32");
    const double unit = cut       ? std::ldexp(1.0, -9)
                        : rounded ? std::ldexp(1.0, -10)
                                  : std::ldexp(static_cast<double>(depth), -24);
    const auto got = c.run(problem, machine, **box, pool);
    ASSERT_TRUE(got.ok()) << c.tactic.name << " variant " << c.variant << ": " << got.status().message();
    int64_t wrong = 0;
    double worst = 0;
    for (int64_t i = 0; i < (*got)[0].count(); ++i) {
      const double right = (*expected)[0].at(i), error = std::fabs((*got)[0].at(i) - right);
      const double allowed = unit * (*bound)[0].at(i) + 1.001 * rounding(type) * std::fabs(right) + 1e-6;
      wrong += !(error <= allowed);
      worst = std::max(worst, error / allowed);
    }
    EXPECT_EQ(wrong, 0) << c.tactic.name << " variant " << c.variant << " of " << problem.op.name() << " "
                        << to_text(problem.inputs[0]) << " " << to_text(problem.inputs[1]) << ": " << worst
                        << " times the error allowed";
  }
}

// What a quantised layer adds to its sums: scales and biases of channels, a residual in int8, and a new scale.
constexpr const char* kRequantize =
    "in0:i32; cast:f32(0); in1:f32; mul:f32(1,2); in2:f32; add:f32(3,4); in3:i8; cast:f32(6); constant:f32(0.03125); "
    "mul:f32(7,8); add:f32(5,9); relu:f32(10); constant:f32(11.25); mul:f32(11,12); round:f32(13); constant:f32(-128); "
    "constant:f32(127); clip:f32(14,15,16); cast:i8(17)";

Tensor random_bytes(Dims dims, unsigned seed) {
  Tensor t(DType::i8, std::move(dims));
  std::mt19937 random(seed);
  for (int64_t i = 0; i < t.count(); ++i) t.mutable_data<int8_t>()[i] = static_cast<int8_t>(random() % 256 - 128);
  return t;
}

// Each GPU tactic gives the integers of the reference for an op on int8; a product also when it is requantised.
void expect_exact(const Op& op, const Tensors& operands) {
  const auto device = cuda::device(0);
  ASSERT_TRUE(device.ok());
  const Machine machine{.cuda_arch = device->arch(), .cuda_device = 0};
  cpu::ThreadPool pool(1);
  const auto plain = op.evaluate({operands, 1});
  ASSERT_TRUE(plain.ok()) << plain.status().message();
  const Dims dims = (*plain)[0].dims();
  double largest = 1;
  for (int64_t i = 0; i < (*plain)[0].count(); ++i) largest = std::max(largest, std::fabs((*plain)[0].at(i)));
  Tensor scale = random_tensor({dims.back()}, 21);
  for (int64_t i = 0; i < scale.count(); ++i) scale.mutable_data<float>()[i] *= static_cast<float>(20 / largest);
  for (const bool requantized : {false, true}) {
    if (requantized && operands.size() < 2) continue;
    Graph g;
    std::vector<ValueId> inputs;
    for (const Tensor& t : operands) inputs.push_back(g.add_input({}, {t.type(), Shape::of(t.dims())}));
    const auto first = g.add_node(op, inputs);
    ASSERT_TRUE(first.ok());
    NodeId last = *first;
    Tensors values = operands;
    std::vector<ValueId> formals;
    Op whole = op;
    Tensor want = (*plain)[0];
    if (requantized) {
      formals.push_back(g.node(last).outputs[0]);
      for (const Tensor& t : {scale, random_tensor({dims.back()}, 22), random_bytes(dims, 23)}) {
        formals.push_back(g.add_input({}, {t.type(), Shape::of(t.dims())}));
        values.push_back(t);
      }
      const auto program = make_op("Pointwise", {{"program", std::string(kRequantize)}});
      ASSERT_TRUE(program.ok()) << program.status().message();
      const auto second = g.add_node(*program, formals);
      ASSERT_TRUE(second.ok());
      std::vector<ValueId> all;
      whole = fused_op(g, last, *second, all);
      Tensors epilogue{want};
      epilogue.insert(epilogue.end(), values.begin() + 2, values.end());
      const auto requantised = Pointwise{testing::stepwise(program->as<Pointwise>()->program)}.evaluate({epilogue, 1});
      ASSERT_TRUE(requantised.ok()) << requantised.status().message();
      want = (*requantised)[0];
      last = *second;
    }
    Problem problem{.op = whole, .outputs = {g.type(g.node(last).outputs[0])}};
    for (size_t i = 0; i < values.size(); ++i) {
      problem.inputs.push_back({values[i].type(), Shape::of(values[i].dims())});
      problem.constants.push_back(i > 0 && i < 4 ? values[i] : Tensor());
    }
    auto box = GpuSandbox::create(problem, 0, values);
    ASSERT_TRUE(box.ok()) << box.status().message();
    for (Candidate& c : candidates_of(problem, machine)) {
      const auto got = c.run(problem, machine, **box, pool);
      ASSERT_TRUE(got.ok()) << c.tactic.name << " variant " << c.variant << ": " << got.status().message();
      int64_t wrong = 0;
      for (int64_t i = 0; i < want.count(); ++i) wrong += (*got)[0].at(i) != want.at(i);
      EXPECT_EQ(wrong, 0) << c.tactic.name << " variant " << c.variant << " of " << op.name() << " "
                          << to_text(problem.inputs[0]) << (requantized ? " requantised" : "");
    }
  }
}

// The same for other ops: an error of `error` times the type's rounding of 1, and of the result's own. `reference`
// computes in f32 what `op` does.
void expect_close(const Op& op, const Op& reference, const Tensors& values, size_t constants, DType type,
                  double error) {
  Problem problem{.op = op};
  Tensors inputs, exact;
  for (size_t i = 0; i < values.size(); ++i) {
    const bool as_it_is = i >= constants || !values[i].defined();
    inputs.push_back(as_it_is ? values[i] : converted(values[i], type));
    exact.push_back(as_it_is ? values[i] : converted(inputs[i], DType::f32));
    problem.inputs.push_back(values[i].defined() ? TensorType{inputs[i].type(), Shape::of(inputs[i].dims())}
                                                 : TensorType{});
    problem.constants.push_back(i >= constants ? inputs[i] : Tensor());
  }
  const auto expected = reference.evaluate({exact, 1});
  ASSERT_TRUE(expected.ok()) << expected.status().message();
  problem.outputs.push_back({type, Shape::of((*expected)[0].dims())});
  const auto device = cuda::device(0);
  ASSERT_TRUE(device.ok());
  const Machine machine{.cuda_arch = device->arch(), .cuda_device = 0};
  cpu::ThreadPool pool(1);
  auto box = GpuSandbox::create(problem, 0, inputs);
  ASSERT_TRUE(box.ok()) << box.status().message();
  for (Candidate& c : candidates_of(problem, machine)) {
    const auto got = c.run(problem, machine, **box, pool);
    ASSERT_TRUE(got.ok()) << c.tactic.name << " variant " << c.variant << ": " << got.status().message();
    double worst = 0;
    for (int64_t i = 0; i < (*got)[0].count(); ++i) {
      const double right = (*expected)[0].at(i);
      const double allowed = 1.001 * rounding(type) * (std::fabs(right) + error) + 1e-5 * std::fabs(right) + 2e-6;
      const double off = std::fabs((*got)[0].at(i) - right) / allowed;
      worst = off <= worst ? worst : off;  // NaN is the worst
    }
    EXPECT_LE(worst, 1) << c.tactic.name << " variant " << c.variant << " of " << to_text(problem.inputs[0]);
  }
}

void expect_close(const Op& op, const Tensors& values, size_t constants, DType type, double error) {
  expect_close(op, op, values, constants, type, error);
}

void expect_right(const ConvCase& c, DType type) {
  const auto op = op_of(c);
  ASSERT_TRUE(op.ok());
  expect_right(*op,
               {random_tensor({c.n, c.h, c.w, c.cin}, 1), random_tensor({c.cout, c.cin / c.groups, c.kh, c.kw}, 2),
                random_tensor({c.cout}, 3)},
               1, c.kh * c.kw * c.cin / c.groups, type);
}

class Gpu : public ::testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    if (const auto devices = cuda::devices(); !devices.ok()) GTEST_SKIP() << devices.status().message();
  }
};

TEST_P(Gpu, ConvolutionsAreRight) {
  for (const ConvCase& c : kConvolutions)
    if (c.groups == 1) expect_right(c, GetParam());
}

TEST_P(Gpu, GroupedConvolutionsAreRight) {
  for (const ConvCase& c : kConvolutions)
    if (c.groups > 1) expect_right(c, GetParam());
}

TEST_P(Gpu, MatrixProductsAreRight) {
  struct Case {
    Dims a, b;
    bool trans_a, trans_b;
    size_t weights;
  };
  const Case cases[] = {
      {{1, 512}, {512, 100}, false, false, 1},          {{77, 64}, {33, 64}, false, true, 1},
      {{2, 3, 50, 32}, {2, 3, 70, 32}, false, true, 2}, {{2, 1, 5, 8}, {3, 8, 9}, false, false, 2},
      {{130, 300}, {300, 257}, false, false, 1},        {{20, 31}, {20, 9}, true, false, 2},
      {{1024, 768}, {768, 3072}, false, false, 1},      {{12, 128, 64}, {12, 128, 64}, false, true, 2},
      {{1, 2048}, {2048, 1000}, false, false, 1},       {{12000, 72}, {72, 768}, false, false, 1}};
  for (const Case& c : cases) {
    const auto op = make_op("MatMul", {{"trans_a", c.trans_a}, {"trans_b", c.trans_b}});
    ASSERT_TRUE(op.ok());
    expect_right(*op, {random_tensor(c.a, 4), random_tensor(c.b, 5)}, c.weights, c.a.back(), GetParam());
  }
}

TEST(GpuIntegers, AreThoseOfTheReference) {
  if (const auto devices = cuda::devices(); !devices.ok()) GTEST_SKIP() << devices.status().message();
  for (const ConvCase& c : kConvolutions) {
    const auto op = op_of(c);
    ASSERT_TRUE(op.ok());
    expect_exact(*op,
                 {random_bytes({c.n, c.h, c.w, c.cin}, 1), random_bytes({c.cout, c.cin / c.groups, c.kh, c.kw}, 2)});
  }
  const std::pair<Dims, Dims> products[] = {{{1, 512}, {512, 100}},     {{130, 300}, {300, 257}},
                                            {{1024, 768}, {768, 3072}}, {{2, 64, 768}, {768, 768}},
                                            {{1, 2048}, {2048, 1000}},  {{12000, 80}, {80, 768}}};
  const auto op = make_op("MatMul", {});
  ASSERT_TRUE(op.ok());
  for (const auto& [a, b] : products) expect_exact(*op, {random_bytes(a, 4), random_bytes(b, 5)});
}

TEST(GpuIntegers, MayBePooled) {
  if (const auto devices = cuda::devices(); !devices.ok()) GTEST_SKIP() << devices.status().message();
  const auto pool = make_op("Pool", {{"kernel", std::vector<int64_t>{3, 3}},
                                     {"strides", std::vector<int64_t>{2, 2}},
                                     {"dilations", std::vector<int64_t>{1, 1}},
                                     {"pads", std::vector<int64_t>{1, 1, 1, 1}},
                                     {"channels_last", true}});
  ASSERT_TRUE(pool.ok());
  for (const int64_t channels : {64, 24, 7}) expect_exact(*pool, Tensors{random_bytes({2, 15, 14, channels}, 6)});
}

TEST(GpuIntegers, MayBeWhatANormStores) {
  if (const auto devices = cuda::devices(); !devices.ok()) GTEST_SKIP() << devices.status().message();
  auto g = graph_from_text(R"hone(graph {
      input %1 "x" : f32[37,768]
      input %2 "s" : f32[768]
      input %3 "b" : f32[768]
      %4 = LayerNorm(%1, %2, %3)
      %5 = Pointwise(%4) {program=")hone"
                           "in0:f32; constant:f32(40); mul:f32(0,1); round:f32(2); constant:f32(-128); "
                           "constant:f32(127); clip:f32(3,4,5); cast:i8(6)"
                           R"hone("}
      output %5 "y"
    })hone");
  ASSERT_TRUE(g.ok()) << g.status().message();
  const Machine machine{.cuda_arch = cuda::device(0)->arch(), .cuda_device = 0};
  const Tensors inputs{random_tensor({37, 768}, 1), random_tensor({768}, 2), random_tensor({768}, 3)};
  const auto want = interpret(*g, inputs);
  fuse_for_gpu(*g, machine);
  ASSERT_EQ(g->order().size(), 1u);
  const Problem problem = problem_of(*g, g->order()[0]);
  cpu::ThreadPool pool(1);
  auto box = GpuSandbox::create(problem, 0, inputs);
  ASSERT_TRUE(box.ok()) << box.status().message();
  for (Candidate& c : candidates_of(problem, machine)) {
    const auto got = c.run(problem, machine, **box, pool);
    ASSERT_TRUE(got.ok()) << c.tactic.name << ": " << got.status().message();
    int64_t off = 0;
    for (int64_t i = 0; i < (*got)[0].count(); ++i) {
      const double error = std::fabs((*got)[0].at(i) - (*want)[0].at(i));
      EXPECT_LE(error, 1) << i;
      off += error > 0;
    }
    // Where the norm, whose last bits differ, lies at a tie.
    EXPECT_LE(off, 5);
  }
}

// Ops whose kernels compute in f32: what is lost is the rounding of the result, and of the probabilities in attention.
struct OpCase {
  const char* op;
  Attrs attrs;
  std::vector<Dims> inputs;
  size_t constants = SIZE_MAX;  // the inputs from here on are i64 constants of the values in `axes`
  std::vector<int64_t> axes = {};
  double error = 0;  // in units of the type's rounding of 1
};

TEST_P(Gpu, OtherOpsAreRight) {
  const OpCase cases[] = {
      {"Softmax", {{"axis", int64_t{-1}}}, {{3, 5, 77}}},
      {"LayerNorm", {{"axis", int64_t{-1}}}, {{7, 96}, {96}, {96}}},
      {"Reduce", {{"kind", std::string("mean")}}, {{2, 7, 7, 64}, {2}}, 1, {1, 2}},
      {"Reduce", {{"kind", std::string("mean")}}, {{1, 112, 112, 32}, {2}}, 1, {1, 2}},
      {"Reduce", {{"kind", std::string("max")}}, {{2, 7, 5, 33}, {2}}, 1, {1, 2}},
      {"Reduce", {{"kind", std::string("sum")}}, {{2, 7, 5, 8}, {2}}, 1, {-1, 1}},
      {"Pool",
       {{"kind", std::string("max")},
        {"kernel", std::vector<int64_t>{3, 3}},
        {"strides", std::vector<int64_t>{2, 2}},
        {"dilations", std::vector<int64_t>{1, 1}},
        {"pads", std::vector<int64_t>{1, 1, 1, 1}},
        {"channels_last", true}},
       {{2, 15, 14, 24}}},
      {"Pool",
       {{"kind", std::string("average")},
        {"kernel", std::vector<int64_t>{3, 3}},
        {"strides", std::vector<int64_t>{1, 1}},
        {"dilations", std::vector<int64_t>{1, 1}},
        {"pads", std::vector<int64_t>{1, 1, 1, 1}},
        {"channels_last", true}},
       {{1, 9, 9, 6}}},
      {"Attention", {}, {{2, 3, 37, 64}, {2, 3, 150, 64}, {2, 3, 150, 64}}, SIZE_MAX, {}, 2},
      {"Attention", {{"layout", std::string("packed")}, {"causal", true}}, {{2, 70, 3, 4, 32}}, SIZE_MAX, {}, 2},
      {"Attention",
       {{"layout", std::string("rows")}},
       {{1, 65, 4, 128}, {1, 64, 2, 128}, {1, 64, 2, 48}, {1, 1, 1, 64}},
       SIZE_MAX,
       {},
       2},
      {"Attention", {{"softcap", 3.0}}, {{1, 2, 5, 24}, {1, 2, 9, 24}, {1, 2, 9, 7}}, SIZE_MAX, {}, 2},
  };
  for (const OpCase& c : cases) {
    const auto op = make_op(c.op, c.attrs);
    ASSERT_TRUE(op.ok()) << op.status().message();
    Tensors values;
    for (size_t i = 0; i < c.inputs.size(); ++i)
      values.push_back(i >= c.constants ? Tensor::vector(c.axes)
                                        : random_tensor(c.inputs[i], static_cast<unsigned>(i)));
    expect_close(*op, values, c.constants, GetParam(), c.error);
  }
}

// Functions have short forms for results of 16 bits, with errors of up to 2^-14 of values up to 8: a rounding of 1.
TEST_P(Gpu, FunctionsAreRight) {
  Tensor x = random_tensor({4, 4099}, 1);
  for (int64_t i = 0; i < x.count(); ++i) x.mutable_data<float>()[i] *= 8;
  for (const char* fn : {"exp", "sigmoid", "silu", "gelu_erf", "gelu_tanh", "tanh"}) {
    const auto program = [&](const std::string& steps) { return *make_op("Pointwise", {{"program", steps}}); };
    const Op exact = program(fmt::format("in0:f32; {}:f32(0)", fn));
    const Op op = GetParam() == DType::f32
                      ? exact
                      : program(fmt::format("in0:{0}; cast:f32(0); {1}:f32(1); cast:{0}(2)", name(GetParam()), fn));
    expect_close(op, exact, {x}, SIZE_MAX, GetParam(), GetParam() == DType::f32 ? 0 : 1);
  }
}

struct AttentionCase {
  std::string layout;
  Dims q, k, v;
  Dims mask = {};
  bool boolean = false, causal = false;
  std::vector<int64_t> lengths = {}, offset = {};
  double softcap = 0, scale = 0;
};

Tensor mask_of(const AttentionCase& c) {
  if (c.mask.empty()) return {};
  const Tensor values = random_tensor(c.mask, 4);
  if (!c.boolean) return values;
  Tensor mask(DType::boolean, c.mask);
  for (int64_t i = 0; i < mask.count(); ++i) mask.set_int(i, values.at(i) < 0.5);
  return mask;
}

// Lengths around those of tiles, all layouts, heads of all sizes, few and many of them, every kind of mask.
TEST_P(Gpu, AttentionOfAllFormsIsRight) {
  const std::vector<AttentionCase> cases = {
      {"packed", {2, 197, 3, 3, 64}, {}, {}},
      {"packed", {50, 197, 3, 3, 64}, {}, {}},
      {"packed", {1, 128, 3, 4, 64}, {}, {}, {1, 1, 1, 128}},
      {"packed", {2, 130, 3, 2, 64}, {}, {}, {}, false, true},
      {"packed", {1, 257, 3, 2, 80}, {}, {}, {}, false, true},
      {"packed", {1, 64, 3, 2, 128}, {}, {}, {2, 1, 64}, true},
      {"heads", {1, 2, 9, 32}, {1, 2, 40, 32}, {1, 2, 40, 32}, {9, 40}, true},
      {"heads", {2, 2, 63, 64}, {2, 2, 16, 64}, {2, 2, 16, 64}},
      {"heads", {2, 2, 65, 64}, {2, 2, 17, 64}, {2, 2, 17, 64}},
      {"heads", {1, 1, 5, 8}, {1, 1, 3, 8}, {1, 1, 3, 8}},
      {"heads", {1, 2, 70, 40}, {1, 2, 100, 40}, {1, 2, 100, 24}},
      {"heads", {1, 2, 300, 128}, {1, 2, 300, 128}, {1, 2, 300, 128}, {}, false, true},
      {"heads", {1, 2, 300, 128}, {1, 2, 310, 128}, {1, 2, 310, 64}, {}, false, true, {}, {10}},
      {"heads", {1, 2, 200, 64}, {1, 2, 1000, 64}, {1, 2, 1000, 64}},
      {"heads", {1, 80, 200, 64}, {1, 80, 400, 64}, {1, 80, 400, 64}},
      {"heads", {3, 2, 100, 64}, {3, 2, 1000, 64}, {3, 2, 1000, 64}, {}, false, false, {1000, 130, 0}},
      {"heads", {1, 2, 200, 32}, {1, 2, 200, 32}, {1, 2, 200, 32}, {}, false, true, {}, {-70}},
      {"heads", {1, 2, 70, 64}, {1, 2, 90, 64}, {1, 2, 90, 64}, {}, false, false, {}, {}, 3.0},
      {"heads", {1, 2, 70, 64}, {1, 2, 90, 64}, {1, 2, 90, 64}, {}, false, false, {}, {}, 0, -0.5},
      {"rows", {1, 65, 6, 80}, {1, 333, 2, 80}, {1, 333, 2, 80}, {65, 300}},
      {"rows", {2, 100, 4, 64}, {2, 100, 2, 64}, {2, 100, 2, 64}, {2, 1, 1, 100}, false, true, {100, 50}},
      {"rows", {1, 1, 8, 128}, {1, 777, 2, 128}, {1, 777, 2, 128}}};
  for (const AttentionCase& c : cases) {
    const auto op =
        make_op("Attention", {{"layout", c.layout}, {"causal", c.causal}, {"softcap", c.softcap}, {"scale", c.scale}});
    ASSERT_TRUE(op.ok()) << op.status().message();
    const auto operand = [](const Dims& dims, unsigned seed) {
      return dims.empty() ? Tensor() : random_tensor(dims, seed);
    };
    const auto list = [](const std::vector<int64_t>& values) {
      return values.empty() ? Tensor() : Tensor::vector(values);
    };
    expect_close(*op, {operand(c.q, 1), operand(c.k, 2), operand(c.v, 3), mask_of(c), list(c.lengths), list(c.offset)},
                 3, GetParam(), 2);
  }
}

// A query whose keys are all masked gets nothing, one of which a block of keys is masked the rest.
TEST_P(Gpu, QueriesWhoseKeysAreAllMasked) {
  for (const int64_t size : {16, 24}) {
    Tensor mask = random_tensor({37, 150}, 4);
    for (int64_t i = 0; i < mask.count(); ++i) {
      const int64_t query = i / 150, key = i % 150;
      if (query % 4 == 0 || (query % 4 == 1 && key < 70)) mask.set(i, -INFINITY);
    }
    const Tensors values{random_tensor({2, 3, 37, size}, 1), random_tensor({2, 3, 150, size}, 2),
                         random_tensor({2, 3, 150, size}, 3), mask};
    expect_close(*make_op("Attention", {}), values, SIZE_MAX, GetParam(), 2);
  }
}

// One whose keys are all masked by the same number sees them all. In fp32 a score near -60000 is a multiple of 2^-8: a
// probability may be off by 2^-9 of itself, and so may a mean of values under 1 that is weighed by them.
TEST_P(Gpu, QueriesWhoseKeysAreMaskedByALargeNumber) {
  for (const int64_t size : {16, 24}) {
    Tensor mask(DType::f32, {1, 150});
    for (int64_t i = 0; i < mask.count(); ++i) mask.set(i, -60000);
    const Tensors values{random_tensor({2, 3, 37, size}, 1), random_tensor({2, 3, 150, size}, 2),
                         random_tensor({2, 3, 150, size}, 3), mask};
    const double off = 0x1p-9 / rounding(GetParam());
    expect_close(*make_op("Attention", {}), values, SIZE_MAX, GetParam(), 2 + off);
  }
}

INSTANTIATE_TEST_SUITE_P(Types, Gpu, ::testing::Values(DType::f32, DType::f16, DType::bf16),
                         [](const auto& info) { return std::string(name(info.param)); });

}  // namespace
}  // namespace hone
