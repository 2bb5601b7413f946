#include "kernels/cpu/bf16/bf16.h"
#include "ops/rnn.h"
#include "tactic_testing.h"

namespace hone {
namespace {

constexpr int64_t kTime = 4, kBatch = 3, kIn = 18, kHidden = 21;
constexpr double kLargest = 1. / 32;  // of weights
constexpr double kSum = kHidden * kLargest;

Rnn rnn(const char* cell, const char* direction, std::vector<std::string> activations, bool reset_after = false) {
  Rnn op{.cell = cell, .direction = direction, .hidden = kHidden};
  for (int64_t d = 0; d < op.directions(); ++d)
    op.activations.insert(op.activations.end(), activations.begin(), activations.end());
  op.alpha = op.beta = std::vector<double>(op.activations.size(), 0);
  op.linear_before_reset = reset_after;
  return op;
}

// All of what bf16 holds; lengths are those of the batch.
Tensors inputs_of(const Rnn& op, DType type, bool lengths, bool states) {
  const auto random = [&](const Dims& dims, unsigned seed, double most) {
    Tensor exact = random_tensor(DType::bf16, dims, seed, -most, most), result(type, dims);
    for (int64_t i = 0; i < exact.count(); ++i) result.set(i, exact.at(i));
    return result;
  };
  const int64_t dirs = op.directions(), width = op.gates() * kHidden;
  Tensors inputs{random({kTime, kBatch, kIn}, 1, 1), random({dirs, width, kIn}, 2, kLargest),
                 random({dirs, width, kHidden}, 3, kLargest), random({dirs, 2 * width}, 4, kLargest)};
  inputs.emplace_back();
  if (lengths) inputs.back() = Tensor::of<int32_t>(DType::i32, {3}, std::vector<int32_t>{2, 4, 3});
  if (states) inputs.push_back(random({dirs, kBatch, kHidden}, 5, 1));
  if (states && op.cell == "lstm") inputs.push_back(random({dirs, kBatch, kHidden}, 6, 1));
  return inputs;
}

// Only states are rounded, by 2^-9 at most, and only as factors. With what the steps before have left in them that
// moves a gate by kSum as much, and a state by less than three gates and itself: activations are no steeper than 1.
double tolerance() {
  double state = 0;
  for (int64_t t = 0; t < kTime; ++t) state += 3 * kSum * (state + 0x1p-9);
  return state;
}

Tensor rounded(const Tensor& t) {
  Tensor result(t.type(), t.dims());
  for (int64_t i = 0; i < t.count(); ++i) result.set(i, to_float(to_bf16(t.at(i))));
  return result;
}

// Step by step, with a state that is rounded before the next one reads it, which it does as a factor alone.
Tensors by_steps(const Rnn& op, const Tensors& inputs) {
  Tensors own = inputs, result;
  own.resize(op.cell == "lstm" ? 7 : 6);
  Tensor all(DType::f32, {kTime, 1, kBatch, kHidden});
  for (int64_t t = 0; t < kTime; ++t) {
    own[0] = inputs[0].part({1, kBatch, kIn}, t * kBatch * kIn * 4);
    result = *Op(op).evaluate({own, op.cell == "lstm" ? 3u : 2u});
    for (int64_t i = 0; i < kBatch * kHidden; ++i) all.set(t * kBatch * kHidden + i, result[1].at(i));
    own[5] = rounded(result[1]);
    if (op.cell == "lstm") own[6] = result[2];
  }
  result[0] = all;
  return result;
}

double apart(const Tensors& got, const Tensors& want) {
  double most = 0;
  for (size_t k = 0; k < got.size(); ++k)
    for (int64_t i = 0; i < got[k].count(); ++i) most = std::max(most, std::fabs(got[k].at(i) - want[k].at(i)));
  return most;
}

Problem problem_of_rnn(const Rnn& op, const Tensors& inputs, const Tensors& results) {
  Problem problem{.op = op, .inputs = {}, .outputs = {}, .constants = Tensors(inputs.size())};
  for (const Tensor& t : inputs) problem.inputs.push_back(t.defined() ? type_of(t) : TensorType());
  for (const Tensor& t : results) problem.outputs.push_back(type_of(t));
  for (size_t i = 1; i < 4; ++i) problem.constants[i] = inputs[i];
  return problem;
}

// What each instruction set makes of it.
void for_each_set(const Rnn& op, const Tensors& inputs, const Tensors& results,
                  const std::function<void(const Tensors& got)>& check) {
  const Problem problem = problem_of_rnn(op, inputs, results);
  for (const cpu::Bf16Set set : {cpu::Bf16Set::avx512, cpu::Bf16Set::amx}) {
    const Tactic* tactic = find_tactic(set == cpu::Bf16Set::amx ? "rnn_amx_bf16" : "rnn_avx512_bf16");
    const Machine machine{.threads = 2, .bf16 = true};
    const std::string reason = tactic->supports(problem, machine);
    ASSERT_EQ(reason.empty(), cpu::has_bf16_set(set)) << reason;
    SCOPED_TRACE(fmt::format("{} {} {}", tactic->name, op.cell, op.direction));
    if (reason.empty()) check(run_all(*tactic, problem, inputs, 0, machine));
  }
}

TEST(RnnInBf16, RoundsStatesAsFactors) {
  for (const Rnn& op : {rnn("lstm", "forward", {"sigmoid", "tanh", "tanh"}), rnn("rnn", "forward", {"tanh"})}) {
    const Tensors inputs = inputs_of(op, DType::f32, false, true), want = by_steps(op, inputs);
    const auto exact = Op(op).evaluate({inputs, want.size()});
    ASSERT_TRUE(exact.ok());
    // What is left are sums in f32, of half the digits of what rounding states does.
    for_each_set(op, inputs, want, [&](const Tensors& got) { EXPECT_LT(64 * apart(got, want), apart(got, *exact)); });
  }
}

TEST(RnnInBf16, IsNearTheReference) {
  const Rnn cells[] = {rnn("lstm", "bidirectional", {"sigmoid", "tanh", "tanh"}),
                       rnn("gru", "reverse", {"sigmoid", "tanh"}),
                       rnn("gru", "bidirectional", {"sigmoid", "tanh"}, true), rnn("rnn", "forward", {"tanh"})};
  for (const Rnn& op : cells)
    for (const DType type : {DType::f32, DType::bf16})
      for (const bool more : {false, true}) {
        const Tensors inputs = inputs_of(op, type, more, more);
        const auto want = Op(op).evaluate({inputs, op.cell == "lstm" ? 3u : 2u});
        ASSERT_TRUE(want.ok()) << want.status().message();
        for_each_set(op, inputs, *want, [&](const Tensors& got) {
          const double most = apart(got, *want);  // results that lie in bf16 are at most 2
          EXPECT_LT(most, tolerance() + (type == DType::bf16 ? 0x1p-7 : 0));
          EXPECT_GT(most, 0) << "nothing was rounded";
        });
      }
}

TEST(RnnInBf16, Refusals) {
  if (!cpu::has_bf16_set(cpu::Bf16Set::avx512)) GTEST_SKIP() << "this CPU has no bf16";
  const Rnn op = rnn("rnn", "forward", {"tanh"});
  const Tensors inputs = inputs_of(op, DType::f32, false, false);
  Problem problem = problem_of_rnn(op, inputs, {Tensor(DType::f32, {kTime, 1, kBatch, kHidden})});
  const Tactic* tactic = find_tactic("rnn_avx512_bf16");
  EXPECT_EQ(tactic->supports(problem, {.bf16 = true}), "");
  EXPECT_EQ(tactic->supports(problem, {}), "bf16 is not allowed");
  EXPECT_FALSE(tactic->make(problem, {}, 0, {.bf16 = true}).ok());
  EXPECT_FALSE(tactic->make(problem, Tensors{Tensor(DType::f32, {5})}, 0, {.bf16 = true}).ok());
  problem.constants[2] = Tensor();
  EXPECT_EQ(tactic->supports(problem, {.bf16 = true}), "weights are not constant");
}

}  // namespace
}  // namespace hone
