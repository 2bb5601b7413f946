#pragma once

#include <gtest/gtest.h>

#include <future>

#include "backends/gpu_timing.h"

namespace hone {

// A variant of a tactic whose code is being compiled.
struct Candidate {
  const Tactic& tactic;
  int variant;
  std::future<Result<Prepared>> prepared;

  Result<Tensors> run(const Problem& problem, const Machine& machine, GpuSandbox& box, cpu::ThreadPool& pool) {
    HONE_TRY(const Prepared ready, prepared.get());
    HONE_TRY(const auto kernel, tactic.make(problem, ready.packed, variant, machine));
    return box.run(*kernel, ready, pool);
  }
};

// The values of `t` in another type; converted back, what is lost is lost in both.
inline Tensor converted(const Tensor& t, DType type) {
  Tensor result(type, t.dims());
  for (int64_t i = 0; i < t.count(); ++i) result.set(i, t.at(i));
  return result;
}

// Whether it is a library's, which may know fewer variants than are asked for, and not this one.
inline bool is_missing(const Tactic& tactic, const Problem& problem, int variant, const Machine& machine) {
  return tactic.tier == kBesideAll && tactic.prepare(problem, variant, machine).status().code() == Code::unsupported;
}

// Of every GPU tactic that takes the problem.
inline std::vector<Candidate> candidates_of(const Problem& problem, const Machine& machine) {
  std::vector<Candidate> candidates;
  for (const Tactic& tactic : tactic_table()) {
    if (tactic.backend != Backend::cuda || !tactic.supports(problem, machine).empty()) continue;
    for (int v = 0; v < tactic.variants(problem, machine); ++v) {
      if (is_missing(tactic, problem, v, machine)) continue;
      candidates.push_back({tactic, v, std::async(std::launch::async, tactic.prepare, problem, v, machine)});
    }
  }
  EXPECT_FALSE(candidates.empty()) << problem.op.name();
  return candidates;
}

}  // namespace hone
