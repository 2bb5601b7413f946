// The GPU's kernels other than products against the reference, on the GPU that is here. Skipped without one.
#include <gtest/gtest.h>

#include <cmath>
#include <future>
#include <random>

#include "backends/gpu_timing.h"
#include "ir/graph.h"

namespace hone {
namespace {

struct Input {
  Tensor value;
  bool constant = false;
  bool reduced = false;  // to the type that is tested
};

using Ints = std::vector<int64_t>;

Input real(Dims dims, double scale = 1) {
  Tensor t(DType::f32, std::move(dims));
  std::mt19937 random(static_cast<unsigned>(t.count()));
  for (int64_t i = 0; i < t.count(); ++i) t.set(i, (static_cast<double>(random() % 20001) / 10000 - 1) * scale);
  return {t, false, true};
}

// Whole numbers in [low, high).
Input whole(DType type, Dims dims, int64_t low, int64_t high) {
  Tensor t(type, std::move(dims));
  std::mt19937 random(static_cast<unsigned>(t.count()));
  for (int64_t i = 0; i < t.count(); ++i) t.set_int(i, low + static_cast<int64_t>(random()) % (high - low));
  return {t};
}

Input ints(const Ints& values) { return {Tensor::vector(values), true}; }

Input scales(const std::vector<double>& values) {
  Tensor t(DType::f32, {static_cast<int64_t>(values.size())});
  for (size_t i = 0; i < values.size(); ++i) t.set(static_cast<int64_t>(i), values[i]);
  return {t, true};
}

Input absent() { return {}; }

Tensor converted(const Tensor& t, DType type) {
  Tensor result(type, t.dims());
  for (int64_t i = 0; i < t.count(); ++i) result.set(i, t.at(i));
  return result;
}

// Half of the distance between neighbouring numbers, relative to them.
double rounding(DType type) {
  return type == DType::f16 ? 0x1p-11 : type == DType::bf16 ? 0x1p-8 : type == DType::f32 ? 0x1p-24 : 0;
}

struct Case {
  const char* op;
  Attrs attrs;
  std::vector<Input> inputs;
  size_t outputs = 1;
  double error = 0;  // allowed: in units of the type's rounding of 1
};

// A case whose kernels are being compiled.
struct Pending {
  Problem problem;
  Tensors inputs, expected;
  double error = 0;
  struct Candidate {
    const Tactic& tactic;
    std::future<Result<Prepared>> prepared;
  };
  std::vector<Candidate> candidates = {};
};

Result<Pending> start(const Case& c, DType type, const Machine& machine) {
  HONE_TRY(Op op, make_op(c.op, c.attrs));
  Pending p{.problem = {.op = std::move(op)}, .error = c.error};
  Tensors exact;
  for (const Input& input : c.inputs) {
    p.inputs.push_back(input.reduced ? converted(input.value, type) : input.value);
    exact.push_back(input.reduced ? converted(p.inputs.back(), DType::f32) : input.value);
    const Tensor& t = p.inputs.back();
    p.problem.inputs.push_back(t.defined() ? TensorType{t.type(), Shape::of(t.dims())} : TensorType{});
    p.problem.constants.push_back(input.constant ? t : Tensor());
  }
  HONE_TRY(p.expected, p.problem.op.evaluate({exact, c.outputs}));
  HONE_TRY(const Types types, p.problem.op.infer({p.problem.inputs, p.problem.constants, c.outputs}));
  for (size_t k = 0; k < c.outputs; ++k) p.problem.outputs.push_back({types[k].dtype, Shape::of(p.expected[k].dims())});
  for (const Tactic& tactic : tactic_table())
    if (tactic.backend == Backend::cuda && tactic.supports(p.problem, machine).empty())
      p.candidates.push_back({tactic, std::async(std::launch::async, tactic.prepare, p.problem, 0, machine)});
  return p;
}

void expect_same(const Tensor& got, const Tensor& expected, double error, const std::string& what) {
  const double unit = rounding(got.type());
  for (int64_t i = 0; i < got.count(); ++i) {
    const double value = got.at(i), want = expected.at(i), size = std::isfinite(want) ? std::fabs(want) : 0;
    const double allowed = unit == 0 ? 0 : 1.001 * unit * (size + error) + 1e-5 * size + 2e-6;
    const bool same = std::fabs(value - want) <= allowed || value == want || (std::isnan(want) && std::isnan(value));
    ASSERT_TRUE(same) << what << "[" << i << "] is " << value << ", not " << want;
  }
}

void finish(Pending& p, const Machine& machine) {
  const std::string what = fmt::format("{} of {}", p.problem.op.name(), to_text(p.problem.inputs[0]));
  EXPECT_FALSE(p.candidates.empty()) << what;
  cpu::ThreadPool pool(1);
  auto box = GpuSandbox::create(p.problem, 0, p.inputs);
  ASSERT_TRUE(box.ok()) << box.status().message();
  for (auto& [tactic, future] : p.candidates) {
    const auto prepared = future.get();
    ASSERT_TRUE(prepared.ok()) << what << ": " << prepared.status().message();
    const auto kernel = tactic.make(p.problem, prepared->packed, 0, machine);
    ASSERT_TRUE(kernel.ok()) << what << ": " << kernel.status().message();
    const auto got = (*box)->run(**kernel, *prepared, pool);
    ASSERT_TRUE(got.ok()) << what << ": " << got.status().message();
    for (size_t k = 0; k < p.problem.outputs.size(); ++k)
      expect_same((*got)[k], p.expected[k], p.error, fmt::format("{} by {}: output {}", what, tactic.name, k));
  }
}

class GpuOps : public ::testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    const auto devices = cuda::devices();
    if (!devices.ok()) GTEST_SKIP() << devices.status().message();
    machine_.cuda_arch = (*devices)[0].arch();
    machine_.cuda_device = 0;
  }
  // The kernels of a whole test are compiled at once.
  void TearDown() override {
    for (Pending& p : pending_) finish(p, machine_);
  }

  void expect_right(const Case& c) {
    auto started = start(c, GetParam(), machine_);
    ASSERT_TRUE(started.ok()) << c.op << ": " << started.status().message();
    pending_.push_back(std::move(*started));
  }
  void expect_all_right(const std::vector<Case>& cases) {
    for (const Case& c : cases) expect_right(c);
  }

 private:
  Machine machine_;
  std::vector<Pending> pending_;
};

TEST_P(GpuOps, SlicesAreRight) {
  expect_all_right({
      {"Slice", {}, {real({3, 7, 16}), ints({1, 0}), ints({7, 8}), ints({1, 2})}},
      {"Slice", {}, {real({3, 7, 24}), ints({8, -1}), ints({16, -9}), ints({2, 1}), ints({1, -2})}},
      {"Slice", {}, {real({5, 16}), ints({3, 14}), ints({100, -100}), ints({0, 1}), ints({1, -3})}},
      {"Slice", {}, {real({5, 16}), ints({3}), ints({11}), ints({1})}},
      {"Slice", {}, {whole(DType::i8, {4, 33}, -128, 128), ints({1}), ints({17}), ints({1})}},
      {"Slice", {}, {whole(DType::i64, {4, 6}, -9, 9), ints({0, 1}), ints({4, 6}), ints({0, 1}), ints({3, 2})}},
      {"Split", {{"axis", int64_t{1}}}, {whole(DType::boolean, {2, 7, 3}, 0, 2), ints({3, 4})}, 2},
      {"Split", {{"axis", int64_t{-1}}}, {whole(DType::i64, {4, 6}, -9, 9)}, 3},
      {"Concat", {{"axis", int64_t{1}}}, {whole(DType::i8, {2, 3}, -9, 9), whole(DType::i8, {2, 5}, -9, 9)}},
      {"Concat", {{"axis", int64_t{0}}}, {whole(DType::i64, {2, 3}, -9, 9), whole(DType::i64, {1, 3}, -9, 9)}},
      {"Expand", {}, {whole(DType::i64, {3, 1}, -9, 9), ints({2, 3, 5})}},
      {"Tile", {}, {real({2, 3, 8}), ints({2, 1, 3})}},
      {"Tile", {}, {real({3, 5}), ints({2, 8})}},
      {"Tile", {}, {whole(DType::boolean, {3, 1}, 0, 2), ints({1, 16})}},
  });
}

TEST_P(GpuOps, MovesOfWholeRunsAreRight) {
  const auto along = [](int64_t axis) { return Attrs{{"axis", axis}}; };
  expect_all_right({
      {"Transpose", {{"perm", Ints{1, 0, 2}}}, {real({3, 5, 16})}},
      {"Transpose", {{"perm", Ints{2, 0, 1}}}, {real({3, 5, 16})}},
      {"Transpose", {{"perm", Ints{0, 2, 1, 3}}}, {whole(DType::i64, {2, 3, 4, 2}, -9, 9)}},
      {"Expand", {}, {real({3, 1, 24}), ints({2, 3, 5, 24})}},
      {"Expand", {}, {real({5, 1}), ints({5, 16})}},
      {"Concat", along(-1), {real({2, 3, 8}), real({2, 3, 24}), real({2, 3, 16})}},
      {"Concat", along(1), {real({2, 3, 8}), real({2, 1, 8})}},
      {"Split", along(1), {real({2, 5, 8}), ints({2, 3})}, 2},
      {"Split", along(-1), {real({3, 32}), ints({8, 24})}, 2},
      {"Gather", along(0), {real({7, 16}), ints({-1, 3, 3, 0})}},
      {"Gather", along(1), {real({2, 7, 3}), ints({-7, 6, 2})}},
      {"Gather", along(0), {real({7, 2, 8}), whole(DType::i32, {2, 3}, -7, 7)}},
      {"Gather", along(-1), {whole(DType::boolean, {3, 7}, 0, 2), whole(DType::i64, {5}, -7, 7)}},
  });
}

TEST_P(GpuOps, PadsAreRight) {
  for (const char* mode : {"constant", "reflect", "edge", "wrap"}) {
    const Attrs attrs{{"mode", std::string(mode)}};
    expect_all_right({
        {"Pad", attrs, {real({2, 5, 16}), ints({0, 2, 0, 1, 3, 0})}},
        {"Pad", attrs, {real({2, 5, 12}), ints({1, 3}), absent(), ints({2})}},
        {"Pad", attrs, {real({4, 6, 7}), ints({-1, 2, 0, 3, -2, 1})}},
        {"Pad", attrs, {real({9, 2, 3}), ints({20, 17}), absent(), ints({0})}},
        {"Pad", attrs, {whole(DType::i64, {3, 4}, -9, 9), ints({0, 1, 2, 3}), {Tensor::vector(Ints{7})}}},
        {"Pad", attrs, {whole(DType::u8, {3, 13}, 0, 255), ints({0, 1, 2, 2})}},
        {"Pad", attrs, {real({2, 3, 4}), ints({0, 1, 1, 0, 1, 3}), real({})}},
    });
  }
}

TEST_P(GpuOps, ResizesAreRight) {
  const auto named = [](const char* mode, const char* coordinates) {
    return Attrs{{"mode", std::string(mode)}, {"coordinates", std::string(coordinates)}};
  };
  for (const char* mode : {"nearest", "linear", "cubic"}) {
    for (const char* coordinates : {"half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"}) {
      expect_all_right(
          {{"Resize", named(mode, coordinates), {real({2, 5, 7, 8}), absent(), absent(), ints({2, 9, 4, 8})}},
           {"Resize", named(mode, coordinates), {real({1, 3, 5, 6}), absent(), scales({1, 1, 2, 1.5})}}});
    }
    Attrs attrs = named(mode, "half_pixel");
    attrs["axes"] = Ints{2, 1};
    attrs["exclude_outside"] = true;
    attrs["antialias"] = std::string(mode) != "nearest";
    expect_all_right({{"Resize", attrs, {real({2, 11, 9, 4}), absent(), absent(), ints({4, 5})}},
                      {"Resize", attrs, {real({2, 3, 4, 3}), absent(), scales({2.5, 3})}}});
  }
  expect_all_right(
      {{"Resize",
        named("nearest", "asymmetric"),
        {whole(DType::u8, {1, 4, 5, 16}, 0, 255), absent(), scales({1, 2, 2, 1})}},
       {"Resize", named("linear", "half_pixel"), {real({3, 4, 5, 6, 2}), absent(), scales({1, 2, 2, 2, 1})}}});
}

TEST_P(GpuOps, TransposedConvolutionsAreRight) {
  struct Shapes {
    Dims x, w;
    Ints strides, dilations, pads, output_padding;
    int64_t groups;
    bool channels_last, bias;
  };
  const Shapes shapes[] = {
      {{2, 5, 6, 16}, {16, 24, 3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 1, true, true},
      {{1, 4, 5, 12}, {12, 5, 2, 4}, {2, 1}, {1, 2}, {0, 1, 0, 2}, {0, 0}, 1, true, false},
      {{2, 5, 6, 12}, {12, 2, 3, 3}, {3, 2}, {2, 1}, {2, 0, 1, 1}, {2, 0}, 3, true, true},
      {{2, 9, 16}, {16, 8, 4}, {2}, {1}, {1, 1}, {0}, 2, true, true},
      {{2, 6, 5, 4}, {6, 7, 3, 2}, {2, 3}, {1, 1}, {1, 0, 0, 1}, {1, 0}, 1, false, true},
      {{1, 4, 3, 4, 2}, {4, 3, 2, 2, 2}, {2, 2, 2}, {1, 1, 1}, {0, 0, 0, 0, 0, 0}, {0, 0, 0}, 2, false, false},
      {{1, 4, 6}, {4, 3, 3}, {1}, {2}, {1, 0}, {0}, 1, false, true}};
  for (const Shapes& s : shapes) {
    Case c{"ConvTranspose",
           {{"strides", s.strides},
            {"dilations", s.dilations},
            {"pads", s.pads},
            {"output_padding", s.output_padding},
            {"groups", s.groups},
            {"channels_last", s.channels_last}},
           {real(s.x), real(s.w)}};
    c.inputs[1].constant = true;
    if (s.bias) c.inputs.push_back(real({s.w[1] * s.groups}));
    expect_right(c);
  }
}

TEST_P(GpuOps, NormsOverChannelsAreRight) {
  const auto attrs = [](int64_t groups, bool last) { return Attrs{{"groups", groups}, {"channels_last", last}}; };
  expect_all_right({
      {"GroupNorm", attrs(4, true), {real({2, 5, 7, 32}), real({32}), real({32})}, 1, 4},
      {"GroupNorm", attrs(0, true), {real({2, 5, 7, 45}), real({45}), real({45})}, 1, 4},
      {"GroupNorm", attrs(5, true), {real({1, 3, 4, 40}), real({40})}, 1, 4},
      {"GroupNorm", attrs(2, true), {real({2, 3, 20})}, 1, 4},
      {"GroupNorm", attrs(3, false), {real({2, 12, 5, 3}), real({12}), real({12})}, 1, 4},
      {"GroupNorm", attrs(0, false), {real({2, 5, 700}), real({5}), real({5})}, 1, 4},
      {"GroupNorm", attrs(1, false), {real({3, 8}), real({8}), real({8})}, 1, 4},
      {"Lrn", {{"size", int64_t{5}}, {"alpha", 0.1}, {"beta", 0.75}, {"bias", 1.0}}, {real({2, 9, 3, 5})}},
      {"Lrn", {{"size", int64_t{2}}, {"alpha", 0.2}, {"beta", 0.5}, {"bias", 2.0}}, {real({2, 4, 7})}},
  });
}

TEST_P(GpuOps, ReductionsAreRight) {
  for (const char* kind : {"sum", "mean", "max", "min", "prod", "l1", "sum_square", "l2", "log_sum_exp"}) {
    const Attrs attrs{{"kind", std::string(kind)}};
    const std::string_view name = kind;
    const bool integers = name != "l2" && name != "log_sum_exp";
    expect_all_right({{"Reduce", attrs, {real({3, 4, 5, 6}), ints({0, 2})}, 1, 4},
                      {"Reduce", attrs, {real({3, 4, 33})}, 1, 4},
                      {"Reduce", attrs, {real({2, 300, 3}), ints({-2})}, 1, 4}});
    if (integers)
      expect_all_right({{"Reduce", attrs, {whole(DType::i64, {3, 4, 5}, -4, 5), ints({0, 2})}},
                        {"Reduce", attrs, {whole(DType::i32, {700}, -1, 2)}},
                        {"Reduce", attrs, {whole(DType::boolean, {4, 5}, 0, 2), ints({1})}}});
  }
}

// Values that occur more than once, and NaN.
Input tied(Dims dims) {
  Input input = real(std::move(dims));
  for (int64_t i = 0; i < input.value.count(); ++i)
    input.value.set(i, i % 7 == 5 ? NAN : std::round(4 * input.value.at(i)) / 4);
  return input;
}

TEST_P(GpuOps, OrdersAreRight) {
  for (const bool flag : {false, true}) {
    for (const bool last : {false, true})
      for (const int64_t axis : {0, 1, 2})
        expect_all_right(
            {{"ArgReduce", {{"axis", axis}, {"smallest", flag}, {"select_last", last}}, {tied({4, 3, 70})}},
             {"ArgReduce",
              {{"axis", axis}, {"smallest", flag}, {"select_last", last}, {"keep_dims", false}},
              {whole(DType::i64, {3, 5, 7}, -3, 3)}}});
    const auto k = [](int64_t axis, bool largest) { return Attrs{{"axis", axis}, {"largest", largest}}; };
    expect_all_right({{"TopK", k(-1, flag), {tied({3, 50}), ints({50})}, 2},
                      {"TopK", k(1, flag), {tied({2, 33, 5}), ints({4})}, 2},
                      {"TopK", k(0, flag), {real({9001}), ints({300})}, 2},
                      {"TopK", k(0, flag), {whole(DType::i32, {4096, 2}, -2147483647, 2147483647), ints({7})}, 2},
                      {"TopK", k(0, flag), {whole(DType::u8, {100}, 0, 5), ints({64})}, 1}});
  }
}

TEST_P(GpuOps, CumulationsAreRight) {
  for (const bool exclusive : {false, true})
    for (const bool reverse : {false, true})
      for (const char* kind : {"sum", "prod"}) {
        const Attrs attrs{{"kind", std::string(kind)}, {"exclusive", exclusive}, {"reverse", reverse}};
        expect_all_right({{"Cumulate", attrs, {real({3, 77}), ints({1})}, 1, 16},
                          {"Cumulate", attrs, {real({3, 7, 40}), ints({-2})}, 1, 8},
                          {"Cumulate", attrs, {whole(DType::i64, {130, 2}, -3, 4), ints({0})}},
                          {"Cumulate", attrs, {whole(DType::i32, {2, 9}, -2, 3), ints({1})}}});
      }
}

TEST_P(GpuOps, GathersAndScattersAreRight) {
  const auto along = [](int64_t axis) { return Attrs{{"axis", axis}}; };
  expect_all_right({
      {"GatherElements", along(1), {real({3, 7, 5}), whole(DType::i64, {3, 4, 5}, -7, 7)}},
      {"GatherElements", along(0), {whole(DType::i8, {6, 5}, -9, 9), whole(DType::i32, {9, 3}, -6, 6)}},
      {"GatherND", {}, {real({3, 4, 5}), whole(DType::i64, {6, 2}, -3, 3)}},
      {"GatherND", {}, {real({3, 4, 5}), whole(DType::i32, {2, 2, 3}, 0, 3)}},
      {"GatherND", {{"batch_dims", int64_t{1}}}, {real({3, 4, 5}), whole(DType::i64, {3, 6, 1}, -4, 4)}},
      {"GatherND", {{"batch_dims", int64_t{2}}}, {real({2, 3, 4, 5}), whole(DType::i64, {2, 3, 1}, 0, 4)}},
      {"ScatterElements", along(1), {real({3, 7, 5}), whole(DType::i64, {3, 6, 4}, -7, 7), real({3, 6, 4})}},
      {"ScatterND", {}, {real({5, 4, 6}), whole(DType::i64, {7, 1}, -5, 5), real({7, 4, 6})}},
      {"ScatterND",
       {},
       {whole(DType::i64, {5, 4}, 0, 9), whole(DType::i32, {9, 2}, 0, 4), whole(DType::i64, {9}, 9, 99)}},
  });
  for (const char* reduction : {"add", "mul", "max", "min"}) {
    Attrs elements = along(0);
    elements["reduction"] = std::string(reduction);
    const Attrs rows{{"reduction", std::string(reduction)}};
    expect_all_right({
        {"ScatterElements", elements, {real({4, 5}), whole(DType::i64, {9, 5}, -4, 4), real({9, 5})}, 1, 16},
        {"ScatterND", rows, {real({5, 3}), whole(DType::i64, {8, 1}, 0, 5), real({8, 3})}, 1, 16},
        {"ScatterND",
         rows,
         {whole(DType::i32, {5, 3}, -3, 4), whole(DType::i64, {8, 1}, 0, 5), whole(DType::i32, {8, 3}, -3, 4)}},
    });
  }
}

TEST_P(GpuOps, RecurrentLayersAreRight) {
  struct Layer {
    const char *cell, *direction;
    int64_t time, batch, in, hidden;
    std::vector<std::string> activations;  // of a direction
    bool flag, options;  // linear_before_reset or input_forget; lengths, states and peepholes are given
  };
  const std::vector<std::string> lstm{"sigmoid", "tanh", "tanh"}, gru{"sigmoid", "tanh"};
  const Layer layers[] = {{"lstm", "forward", 5, 3, 7, 33, lstm, false, false},
                          {"lstm", "bidirectional", 4, 5, 40, 16, lstm, false, true},
                          {"lstm", "reverse", 4, 2, 5, 9, {"hardsigmoid", "softsign", "scaledtanh"}, true, true},
                          {"gru", "forward", 5, 2, 35, 40, gru, false, false},
                          {"gru", "bidirectional", 3, 9, 4, 12, gru, true, true},
                          {"gru", "reverse", 3, 2, 4, 5, {"sigmoid", "elu"}, false, true},
                          {"rnn", "bidirectional", 4, 6, 3, 70, {"tanh"}, false, true},
                          {"rnn", "forward", 6, 1, 3, 4, {"leakyrelu"}, false, false}};
  for (const Layer& l : layers) {
    const std::string cell = l.cell;
    const int64_t dirs = std::string(l.direction) == "bidirectional" ? 2 : 1;
    const int64_t width = (cell == "lstm" ? 4 : cell == "gru" ? 3 : 1) * l.hidden;
    std::vector<std::string> activations;
    for (int64_t d = 0; d < dirs; ++d)
      activations.insert(activations.end(), l.activations.begin(), l.activations.end());
    const std::vector<double> alpha(activations.size(), 0.3), beta(activations.size(), 0.4);
    Case c{"Rnn",
           {{"cell", cell},
            {"direction", std::string(l.direction)},
            {"hidden", l.hidden},
            {"activations", activations},
            {"alpha", alpha},
            {"beta", beta},
            {"clip", l.options ? 2.0 : 0.0},
            {"linear_before_reset", l.flag},
            {"input_forget", l.flag && cell == "lstm"}},
           {real({l.time, l.batch, l.in}), real({dirs, width, l.in}, 0.5), real({dirs, width, l.hidden}, 0.3)},
           cell == "lstm" ? 3u : 2u,
           4};
    if (l.options) {
      c.inputs.push_back(real({dirs, 2 * width}));
      c.inputs.push_back(whole(DType::i32, {l.batch}, 0, l.time + 1));
      c.inputs.push_back(real({dirs, l.batch, l.hidden}));
      if (cell == "lstm") {
        c.inputs.push_back(real({dirs, l.batch, l.hidden}));
        c.inputs.push_back(real({dirs, 3 * l.hidden}));
      }
    }
    for (size_t i = 1; i < std::min<size_t>(c.inputs.size(), 4); ++i) c.inputs[i].constant = true;
    expect_right(c);
  }
}

TEST_P(GpuOps, BytesAndIntegersAreRight) {
  const auto program = [](const char* text) { return Attrs{{"program", std::string(text)}}; };
  const Attrs pool{{"kind", std::string("max")}, {"kernel", Ints{3, 3}},     {"strides", Ints{2, 2}},
                   {"dilations", Ints{1, 1}},    {"pads", Ints{1, 1, 1, 1}}, {"channels_last", true}};
  expect_all_right({
      {"Pool", pool, {whole(DType::i8, {1, 9, 8, 32}, -128, 128)}},
      {"Pool", pool, {whole(DType::u8, {2, 5, 6, 3}, 0, 256)}},
      {"Pointwise",
       program("in0:i8; in1:i8; add:i8(0,1)"),
       {whole(DType::i8, {4, 16}, -128, 128), whole(DType::i8, {16}, -9, 9)}},
      {"Pointwise",
       program("in0:i8; in1:i8; div:i8(0,1); mod:i8(0,1); sub:i8(2,3)"),
       {whole(DType::i8, {5, 7}, -128, 128), whole(DType::i8, {7}, -3, 3)}},
      {"Pointwise",
       program("in0:i64; in1:i64; fmod:i64(0,1); pow:i64(2,1); abs:i64(3); sign:i64(2); add:i64(4,5)"),
       {whole(DType::i64, {66}, -50, 50), whole(DType::i64, {66}, -3, 6)}},
      {"Pointwise",
       program("in0:u8; in1:u8; shift_left:u8(0,1); shift_right:u8(0,1); bit_not:u8(3); bit_xor:u8(2,4)"),
       {whole(DType::u8, {48}, 0, 256), whole(DType::u8, {48}, 0, 9)}},
      {"Pointwise",
       program("in0:i32; constant:i32(-2); constant:i32(5); clip:i32(0,1,2); relu:i32(3); square:i32(0); mul:i32(4,5)"),
       {whole(DType::i32, {3, 5}, -9, 9)}},
      {"Pointwise",
       program("in0:bool; in1:bool; logical_xor:bool(0,1); logical_not:bool(2)"),
       {whole(DType::boolean, {32}, 0, 2), whole(DType::boolean, {32}, 0, 2)}},
      {"Pointwise", program("in0:f32; cast:i8(0)"), {whole(DType::f32, {64}, -128, 128)}},
  });
}

INSTANTIATE_TEST_SUITE_P(Types, GpuOps, ::testing::Values(DType::f32, DType::f16, DType::bf16),
                         [](const auto& info) { return std::string(name(info.param)); });

}  // namespace
}  // namespace hone
