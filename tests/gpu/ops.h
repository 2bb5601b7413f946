#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "gpu/candidate.h"
#include "ir/graph.h"

// A fixture that runs all of the GPU's kernels for a case and compares them with the op's reference.
namespace hone {

struct Input {
  Tensor value;
  bool constant = false;
  bool reduced = false;  // to the type that is tested
};

using Ints = std::vector<int64_t>;

inline Input real(Dims dims, double scale = 1) {
  Tensor t(DType::f32, std::move(dims));
  std::mt19937 random(static_cast<unsigned>(t.count()));
  for (int64_t i = 0; i < t.count(); ++i) t.set(i, (static_cast<double>(random() % 20001) / 10000 - 1) * scale);
  return {t, false, true};
}

// Whole numbers in [low, high).
inline Input whole(DType type, Dims dims, int64_t low, int64_t high) {
  Tensor t(type, std::move(dims));
  std::mt19937 random(static_cast<unsigned>(t.count()));
  for (int64_t i = 0; i < t.count(); ++i) t.set_int(i, low + static_cast<int64_t>(random()) % (high - low));
  return {t};
}

inline Input ints(const Ints& values) { return {Tensor::vector(values), true}; }

inline Input scales(const std::vector<double>& values) {
  Tensor t(DType::f32, {static_cast<int64_t>(values.size())});
  for (size_t i = 0; i < values.size(); ++i) t.set(static_cast<int64_t>(i), values[i]);
  return {t, true};
}

inline Input absent() { return {}; }

// Half of the distance between neighbouring numbers, relative to them.
inline double rounding(DType type) {
  switch (type) {
    case DType::f32: return 0x1p-24;
    case DType::f16: return 0x1p-11;
    case DType::bf16: return 0x1p-8;
    case DType::f8e4m3fn: return 0x1p-4;
    default: return 0;
  }
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
  std::vector<Candidate> candidates = {};
};

inline Tensor value_in(const Input& input, DType type) {
  return input.reduced ? converted(input.value, type) : input.value;
}

inline Tensors inputs_in(const Case& c, DType type) {
  Tensors inputs;
  for (const Input& input : c.inputs) inputs.push_back(value_in(input, type));
  return inputs;
}

// A case in that type.
inline Result<Problem> problem_in(const Case& c, DType type) {
  HONE_TRY(Op op, make_op(c.op, c.attrs));
  Problem problem{.op = std::move(op)};
  for (const Input& input : c.inputs) {
    const Tensor& t = input.value;
    problem.inputs.push_back(t.defined() ? TensorType{input.reduced ? type : t.type(), Shape::of(t.dims())}
                                         : TensorType{});
    problem.constants.push_back(input.constant ? value_in(input, type) : Tensor());
  }
  HONE_TRY(problem.outputs, problem.op.infer({problem.inputs, problem.constants, c.outputs}));
  return problem;
}

// The same with what the reference makes of it, floats in f32.
inline Result<Pending> posed(const Case& c, DType type) {
  HONE_TRY(Problem problem, problem_in(c, type));
  Pending p{.problem = std::move(problem), .inputs = inputs_in(c, type), .error = c.error};
  Tensors exact = p.inputs;
  for (size_t i = 0; i < exact.size(); ++i)
    if (c.inputs[i].reduced && is_float(type)) exact[i] = converted(exact[i], DType::f32);
  HONE_TRY(p.expected, p.problem.op.evaluate({exact, c.outputs}));
  for (size_t k = 0; k < c.outputs; ++k) p.problem.outputs[k].shape = Shape::of(p.expected[k].dims());
  return p;
}

inline Result<Pending> start(const Case& c, DType type, const Machine& machine) {
  HONE_TRY(Pending p, posed(c, type));
  for (const Tactic& tactic : tactic_table())
    if (tactic.backend == Backend::cuda && tactic.supports(p.problem, machine).empty() &&
        !is_missing(tactic, p.problem, 0, machine))
      p.candidates.push_back({tactic, 0, std::async(std::launch::async, tactic.prepare, p.problem, 0, machine)});
  return p;
}

inline void expect_same(const Tensor& got, const Tensor& expected, double error, const std::string& what) {
  const double unit = rounding(got.type());
  for (int64_t i = 0; i < got.count(); ++i) {
    const double value = got.at(i), want = expected.at(i), size = std::isfinite(want) ? std::fabs(want) : 0;
    const double allowed = unit == 0 ? 0 : 1.001 * unit * (size + error) + 1e-5 * size + 2e-6;
    const bool same = std::fabs(value - want) <= allowed || value == want || (std::isnan(want) && std::isnan(value));
    ASSERT_TRUE(same) << what << "[" << i << "] is " << value << ", not " << want;
  }
}

inline void finish(Pending& p, const Machine& machine) {
  const std::string what = fmt::format("{} of {}", p.problem.op.name(), to_text(p.problem.inputs[0]));
  EXPECT_FALSE(p.candidates.empty()) << what;
  cpu::ThreadPool pool(1);
  auto box = GpuSandbox::create(p.problem, 0, p.inputs);
  ASSERT_TRUE(box.ok()) << box.status().message();
  for (Candidate& c : p.candidates) {
    const auto got = c.run(p.problem, machine, **box, pool);
    ASSERT_TRUE(got.ok()) << what << ": " << got.status().message();
    for (size_t k = 0; k < p.problem.outputs.size(); ++k)
      expect_same((*got)[k], p.expected[k], p.error,
                  fmt::format("{} by {}/{}: output {}", what, c.tactic.name, c.variant, k));
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

#define HONE_GPU_TYPES(Fixture)                                                                    \
  INSTANTIATE_TEST_SUITE_P(Types, Fixture, ::testing::Values(DType::f32, DType::f16, DType::bf16), \
                           [](const auto& info) { return std::string(name(info.param)); })

}  // namespace hone
