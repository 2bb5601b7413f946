// Every variant of the GPU's kernels for e4m3 against the reference, on the GPU that is here. Skipped without one.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "backends/gpu_fusion.h"
#include "backends/lower.h"
#include "backends/precision.h"
#include "backends/quantize.h"
#include "gpu/candidate.h"
#include "gpu/convolutions.h"
#include "ir/graph.h"
#include "ops/pointwise.h"
#include "passes/fuse/body.h"
#include "passes/pipeline.h"
#include "runtime/context.h"
#include "small_network.h"
#include "stepwise.h"

namespace hone {
namespace {

class GpuFp8 : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto devices = cuda::devices();
    if (!devices.ok()) GTEST_SKIP() << devices.status().message();
    machine_ = {.cuda_arch = cuda::device(0)->arch(), .cuda_device = 0};
  }

  Machine machine_;
};

Tensor fp8(Dims dims, unsigned seed, const std::function<double(unsigned)>& value) {
  Tensor t(DType::f8e4m3fn, std::move(dims));
  std::mt19937 random(seed);
  for (int64_t i = 0; i < t.count(); ++i) t.set(i, value(static_cast<unsigned>(random())));
  return t;
}

// Sums of 128 products of them stay under 2^12: neither the 14 bits that the tensor cores add with nor f32 rounds them.
Tensor whole_fp8(Dims dims, unsigned seed) {
  return fp8(std::move(dims), seed, [](unsigned r) { return static_cast<double>(r % 9) - 4; });
}

Tensor random_f32(Dims dims, unsigned seed) {
  Tensor t(DType::f32, std::move(dims));
  std::mt19937 random(seed);
  for (int64_t i = 0; i < t.count(); ++i) t.set(i, static_cast<double>(random() % 20001) / 10000 - 1);
  return t;
}

// What a layer adds to its sums: scales and biases of channels, a residual in e4m3, an activation.
constexpr const char* kLayer =
    "in0:f32; in1:f32; mul:f32(0,1); in2:f32; add:f32(2,3); in3:f8e4m3fn; cast:f32(5); constant:f32(0.3125); "
    "mul:f32(6,7); add:f32(4,8); relu:f32(9)";

// Its result in f16, and in e4m3 under another scale, with which some are too large.
const std::string kResults[] = {std::string(kLayer) + "; cast:f16(10)", std::string(kLayer) +
                                                                            "; constant:f32(11.25); mul:f32(10,11); "
                                                                            "cast_saturate:f8e4m3fn(12)"};

// The distance between neighbours of a magnitude.
double step_of(DType type, double magnitude) {
  int exponent;
  std::frexp(magnitude, &exponent);
  return type == DType::f16 ? std::ldexp(1, std::max(exponent - 11, -24)) : std::ldexp(1, std::max(exponent - 4, -9));
}

// An epilogue's five roundings in f32, of terms under 64, may fall to either side where an instruction takes two steps;
// what is then stored may be the neighbour.
double allowed_error(DType type, double want, double got) {
  const double rounding = 5 * 0x1p-24 * 64 * (type == DType::f16 ? 1 : 11.25);
  return rounding + 1.001 * step_of(type, std::max(std::fabs(want), std::fabs(got)));
}

// Runs each GPU tactic that takes the problem. Sums are the reference's, whatever follows nearly so.
void expect_right(const Problem& problem, const Tensors& values, const Tensor& want, const Machine& machine) {
  cpu::ThreadPool pool(1);
  auto box = GpuSandbox::create(problem, 0, values);
  ASSERT_TRUE(box.ok()) << box.status().message();
  const DType type = problem.outputs[0].dtype;
  for (Candidate& c : candidates_of(problem, machine)) {
    const auto got = c.run(problem, machine, **box, pool);
    ASSERT_TRUE(got.ok()) << c.tactic.name << " variant " << c.variant << ": " << got.status().message();
    const Tensor& y = (*got)[0];
    if (std::memcmp(y.raw(), want.raw(), want.bytes()) == 0) continue;
    int64_t wrong = 0, moved = 0;
    std::string first;
    for (int64_t i = 0; i < want.count(); ++i) {
      const double w = want.at(i), v = y.at(i);
      if (v == w) continue;
      ++moved;
      if (type != DType::f32 && std::fabs(v - w) <= allowed_error(type, w, v)) continue;
      if (++wrong == 1) first = fmt::format("element {} is {}, not {}", i, v, w);
    }
    EXPECT_EQ(wrong, 0) << c.tactic.name << " variant " << c.variant << " of " << to_text(problem.inputs[0]) << " in "
                        << to_text(problem.outputs[0]) << ": " << first;
    EXPECT_LE(moved, 2 + want.count() / 200) << c.tactic.name << " variant " << c.variant;
  }
}

Tensor sums_of(const Op& op, const Tensors& operands) {
  const auto sums = op.evaluate({operands, 1});
  EXPECT_TRUE(sums.ok()) << sums.status().message();
  return sums.ok() ? (*sums)[0] : Tensor();
}

// A product or convolution whose weights are constant.
Problem problem_of_sums(const Op& op, const Tensors& operands, const Tensor& sums) {
  return {.op = op,
          .inputs = {{operands[0].type(), Shape::of(operands[0].dims())},
                     {operands[1].type(), Shape::of(operands[1].dims())}},
          .outputs = {{DType::f32, Shape::of(sums.dims())}},
          .constants = {Tensor(), operands[1]}};
}

// The sums, and a layer of them.
void expect_layer(const Op& op, const Tensors& operands, const std::string& program, const Machine& machine) {
  const Tensor sums = sums_of(op, operands);
  ASSERT_TRUE(sums.defined());
  Problem problem = problem_of_sums(op, operands, sums);
  expect_right(problem, operands, sums, machine);

  const Dims dims = sums.dims();
  double largest = 1;
  for (int64_t i = 0; i < sums.count(); ++i) largest = std::max(largest, std::fabs(sums.at(i)));
  Tensor scales = random_f32({dims.back()}, 21);
  for (int64_t i = 0; i < scales.count(); ++i) scales.set(i, scales.at(i) * 60 / largest);
  const Tensors epilogue{scales, random_f32({dims.back()}, 22),
                         fp8(dims, 23, [](unsigned r) { return static_cast<int>(r % 801) / 200.0 - 2; })};
  Graph g;
  std::vector<ValueId> inputs;
  for (const Tensor& t : operands) inputs.push_back(g.add_input({}, {t.type(), Shape::of(t.dims())}));
  const NodeId first = *g.add_node(op, inputs);
  std::vector<ValueId> formals{g.node(first).outputs[0]};
  Tensors read{sums}, values = operands;
  for (const Tensor& t : epilogue) {
    formals.push_back(g.add_input({}, {t.type(), Shape::of(t.dims())}));
    values.push_back(t);
    read.push_back(t);
    problem.inputs.push_back({t.type(), Shape::of(t.dims())});
    problem.constants.push_back(t.rank() == 1 ? t : Tensor());
  }
  const auto after = make_op("Pointwise", {{"program", program}});
  ASSERT_TRUE(after.ok()) << after.status().message();
  const NodeId last = *g.add_node(*after, formals);
  std::vector<ValueId> all;
  problem.op = fused_op(g, first, last, all);
  problem.outputs = {g.type(g.node(last).outputs[0])};
  const auto want = Pointwise{testing::stepwise(after->as<Pointwise>()->program)}.evaluate({read, 1});
  ASSERT_TRUE(want.ok()) << want.status().message();
  expect_right(problem, values, (*want)[0], machine);
}

TEST_F(GpuFp8, ConvolutionsAreThoseOfTheReference) {
  size_t ran = 0;
  for (const ConvCase& c : kConvolutions) {
    if (c.n * c.h * c.w * c.cout > 1 << 18) continue;  // the reference would take long
    const auto op = op_of(c);
    ASSERT_TRUE(op.ok());
    expect_layer(*op, {whole_fp8({c.n, c.h, c.w, c.cin}, 1), whole_fp8({c.cout, c.cin / c.groups, c.kh, c.kw}, 2)},
                 kResults[ran++ % 2], machine_);
  }
  EXPECT_GT(ran, 8u);
}

TEST_F(GpuFp8, MatrixProductsAreThoseOfTheReference) {
  const std::pair<Dims, Dims> products[] = {
      {{1, 512}, {512, 100}}, {{130, 304}, {304, 260}}, {{2, 64, 768}, {768, 768}}, {{1, 2048}, {2048, 1000}}};
  const auto op = make_op("MatMul", {});
  ASSERT_TRUE(op.ok());
  for (const auto& [a, b] : products)
    for (const std::string& result : kResults) expect_layer(*op, {whole_fp8(a, 4), whole_fp8(b, 5)}, result, machine_);
}

// Enough tiles for those that blocks share, or that groups take turns at.
TEST_F(GpuFp8, LargeProductsAreThoseOfTheReference) {
  const auto op = make_op("MatMul", {});
  ASSERT_TRUE(op.ok());
  const Tensors operands{whole_fp8({33800, 272}, 4), whole_fp8({272, 120}, 5)};
  const Tensor sums = sums_of(*op, operands);
  expect_right(problem_of_sums(*op, operands, sums), operands, sums, machine_);
}

// Sums of one sign, the worst case of the tensor cores: they drop what lies 2^13 below the largest of 32 products and
// the sum so far. In 128 products, four instructions, that is under 4 * 33 * 2^-13 of their sum; in all of them without
// sums in f32 in between, the last products would be dropped whole.
TEST_F(GpuFp8, LongSumsLoseLittle) {
  cpu::ThreadPool pool(1);
  const auto op = make_op("MatMul", {});
  ASSERT_TRUE(op.ok());
  const auto fraction = [](unsigned r) { return static_cast<double>(r % 1000) / 1000; };
  const Tensors values{fp8({64, 16384}, 1, fraction), fp8({16384, 128}, 2, fraction)};
  const auto want = op->evaluate({values, 1});
  ASSERT_TRUE(want.ok());
  const Problem problem{
      .op = *op,
      .inputs = {{DType::f8e4m3fn, Shape::of(values[0].dims())}, {DType::f8e4m3fn, Shape::of(values[1].dims())}},
      .outputs = {{DType::f32, Shape::of(Dims{64, 128})}},
      .constants = {Tensor(), values[1]}};
  auto box = GpuSandbox::create(problem, 0, values);
  ASSERT_TRUE(box.ok()) << box.status().message();
  for (Candidate& c : candidates_of(problem, machine_)) {
    const auto got = c.run(problem, machine_, **box, pool);
    ASSERT_TRUE(got.ok()) << c.tactic.name << " variant " << c.variant << ": " << got.status().message();
    double worst = 0;
    for (int64_t i = 0; i < (*want)[0].count(); ++i)
      worst = std::max(worst, std::fabs((*got)[0].at(i) / (*want)[0].at(i) - 1));
    EXPECT_LE(worst, 4 * 33 * 0x1p-13) << c.tactic.name << " variant " << c.variant;
    RecordProperty(fmt::format("{}_{}", c.tactic.name, c.variant), fmt::format("{:.3g}", worst));
    fmt::print("{} variant {}: {:.3g}\n", c.tactic.name, c.variant, worst);
  }
}

// All 256 codes, and numbers beside and between them, as the reference reads and writes them.
TEST_F(GpuFp8, ConversionsAreThoseOfTheReference) {
  cpu::ThreadPool pool(1);
  Tensor numbers(DType::f32, {256 * 8});
  for (int64_t i = 0; i < numbers.count(); ++i) {
    const double code = decode_small(DType::f8e4m3fn, static_cast<uint8_t>(i / 8)), unit = step_of(DType::none, code);
    numbers.set(i, code + static_cast<double>(i % 8 - 4) * unit / 4);
  }
  Tensor codes(DType::f8e4m3fn, {256});
  for (int64_t i = 0; i < 256; ++i) codes.mutable_data<uint8_t>()[i] = static_cast<uint8_t>(i);
  const std::pair<const char*, Tensor> cases[] = {{"in0:f32; cast_saturate:f8e4m3fn(0)", numbers},
                                                  {"in0:f32; cast:f8e4m3fn(0)", numbers},
                                                  {"in0:f32; cast:f8e4m3fn(0); cast:f32(1)", numbers},
                                                  {"in0:f8e4m3fn; cast:f32(0)", codes}};
  for (const auto& [program, values] : cases) {
    const auto op = make_op("Pointwise", {{"program", std::string(program)}});
    ASSERT_TRUE(op.ok());
    const auto want = op->evaluate({{&values, 1}, 1});
    ASSERT_TRUE(want.ok()) << want.status().message();
    const Problem problem{.op = *op,
                          .inputs = {{values.type(), Shape::of(values.dims())}},
                          .outputs = {{(*want)[0].type(), Shape::of(values.dims())}}};
    auto box = GpuSandbox::create(problem, 0, {&values, 1});
    ASSERT_TRUE(box.ok()) << box.status().message();
    for (Candidate& c : candidates_of(problem, machine_)) {
      const auto got = c.run(problem, machine_, **box, pool);
      ASSERT_TRUE(got.ok()) << c.tactic.name << ": " << got.status().message();
      for (int64_t i = 0; i < values.count(); ++i) {
        const double w = (*want)[0].at(i), v = (*got)[0].at(i);
        EXPECT_TRUE(v == w || (std::isnan(v) && std::isnan(w)))
            << program << " of " << values.at(i) << ": " << v << ", not " << w;
      }
    }
  }
}

// Within the 22 dB that e4m3 leaves of floats (tests/cuda/quantize_test.cc), as kernels and between tensors in f16.
TEST_F(GpuFp8, ANetworkRunsInIt) {
  Graph g = testing::small_network();
  const Tensor x = testing::random_tensor({2, 3, 12, 12}, 9);
  const auto want = interpret(g, {&x, 1});
  ASSERT_TRUE(want.ok());
  Thresholds ranges;
  const auto see = [&](ValueId v, const Tensor& t) {
    if (g.value(v).name.empty()) g.set_name(v, fmt::format("v{}", index(v)));
    for (int64_t i = 0; i < t.count(); ++i) {
      double& largest = ranges[g.value(v).name].largest;
      largest = std::max(largest, std::fabs(t.at(i)));
    }
  };
  see(g.inputs()[0], x);
  std::vector<std::pair<ValueId, Tensor>> seen;
  ASSERT_TRUE(interpret(g, {&x, 1}, [&](NodeId id, std::span<const Tensor> values) {
                for (size_t i = 0; i < values.size(); ++i) seen.emplace_back(g.node(id).outputs[i], values[i]);
              }).ok());
  for (const auto& [v, t] : seen) see(v, t);
  for (const Int8Layer& layer : quantize(g, ranges, machine_, {}, DType::f8e4m3fn).layers)
    EXPECT_EQ(layer.reason, "") << layer.name;
  ASSERT_TRUE(merge_elementwise(g).ok());
  reduce_precision(g, DType::f16, machine_);
  ASSERT_TRUE(fuse(g).ok());
  fuse_for_gpu(g, machine_);
  Selector selector({.machine = machine_});
  auto data = lower(g, selector, machine_);
  ASSERT_TRUE(data.ok()) << data.status().message();
  data->program.target = "cuda";
  const auto& steps = data->program.steps;
  EXPECT_TRUE(std::ranges::all_of(steps, [](const Step& s) { return s.tactic.starts_with("cuda."); }));
  const auto engine = LoadedEngine::make(std::move(*data));
  ASSERT_TRUE(engine.ok()) << engine.status().message();
  ExecutionContext context(*engine);
  ASSERT_TRUE(context.bind_input("x", x).ok() && context.run().ok());
  double signal = 0, noise = 0;
  for (int64_t i = 0; i < (*want)[0].count(); ++i) {
    signal += std::pow((*want)[0].at(i), 2);
    noise += std::pow(context.outputs()[0].at(i) - (*want)[0].at(i), 2);
  }
  EXPECT_GT(10 * std::log10(signal / noise), 22);
}

}  // namespace
}  // namespace hone
