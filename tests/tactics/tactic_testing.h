// What the tests of the CPU's tactics share.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "ops/fused.h"
#include "ops/pointwise.h"
#include "tactics/tactic.h"

namespace hone {

inline Tensor random_tensor(DType type, const Dims& dims, unsigned seed, double low, double high) {
  std::mt19937 gen(seed);
  std::uniform_real_distribution<double> dist(low, high);
  Tensor t(type, dims);
  for (int64_t i = 0; i < t.count(); ++i) t.set(i, is_float(type) ? dist(gen) : std::floor(dist(gen)));
  return t;
}

inline TensorType type_of(const Tensor& t) { return {t.type(), Shape::of(t.dims())}; }

// `op` and what comes after it as one node.
inline Op fused(const Op& op, const PointwiseProgram& program, const Tensors& inputs, const TensorType& result) {
  auto body = std::make_shared<Graph>();
  std::vector<ValueId> formals;
  for (const Tensor& t : inputs) formals.push_back(body->add_input({}, type_of(t)));
  std::vector<ValueId> operands{body->node(*body->add_node(op, {formals[0], formals[1]})).outputs[0]};
  operands.insert(operands.end(), formals.begin() + 2, formals.end());
  const NodeId last = body->add_node_typed(Pointwise{program}, operands, {result});
  body->add_output(body->node(last).outputs[0], "y");
  return Fused{std::move(body)};
}

inline Problem problem_of(const Op& op, const Tensors& inputs, const TensorType& result) {
  Problem problem{.op = op, .inputs = {}, .outputs = {result}, .constants = Tensors(inputs.size())};
  for (const Tensor& t : inputs) problem.inputs.push_back(type_of(t));
  problem.constants[1] = inputs[1];
  return problem;
}

// Runs a tactic as an engine does: prepared, made, its dropped inputs gone. All outputs.
inline Tensors run_all(const Tactic& tactic, const Problem& problem, Tensors inputs, int variant,
                       const Machine& machine) {
  auto prepared = tactic.prepare(problem, variant, machine);
  EXPECT_TRUE(prepared.ok()) << prepared.status().message();
  Problem loaded = problem;
  loaded.constants.clear();
  auto kernel = tactic.make(loaded, prepared->packed, variant, machine);
  EXPECT_TRUE(kernel.ok()) << kernel.status().message();
  for (size_t i = 0; i < inputs.size(); ++i)
    if (i < prepared->drops.size() && prepared->drops[i]) inputs[i] = Tensor();
  Tensors results;
  for (const TensorType& type : problem.outputs) results.emplace_back(type.dtype, *type.shape.concrete());
  Tensor workspace(DType::u8, {(*kernel)->workspace_bytes() + 64});
  auto* at = static_cast<std::byte*>(workspace.mutable_raw());
  at += -reinterpret_cast<uintptr_t>(at) & 63;
  std::vector<const Tensor*> from;
  for (const Tensor& t : inputs) from.push_back(&t);
  std::vector<Tensor*> to;
  for (Tensor& t : results) to.push_back(&t);
  cpu::ThreadPool pool(machine.threads);
  EXPECT_TRUE((*kernel)->run({.inputs = from, .outputs = to, .workspace = at, .pool = pool}).ok());
  return results;
}

// The first of them.
inline Tensor run(const Tactic& tactic, const Problem& problem, Tensors inputs, int variant, const Machine& machine) {
  return run_all(tactic, problem, std::move(inputs), variant, machine)[0];
}

}  // namespace hone
