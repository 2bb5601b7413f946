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

// Of every GPU tactic that takes the problem. Libraries may know fewer variants than are asked for.
inline std::vector<Candidate> candidates_of(const Problem& problem, const Machine& machine) {
  std::vector<Candidate> candidates;
  for (const Tactic& tactic : tactic_table()) {
    if (tactic.backend != Backend::cuda || !tactic.supports(problem, machine).empty()) continue;
    for (int v = 0; v < tactic.variants(problem, machine); ++v) {
      const bool library = tactic.tier == kBesideAll;
      if (library && tactic.prepare(problem, v, machine).status().code() == Code::unsupported) continue;
      candidates.push_back({tactic, v, std::async(std::launch::async, tactic.prepare, problem, v, machine)});
    }
  }
  EXPECT_FALSE(candidates.empty()) << problem.op.name();
  return candidates;
}

}  // namespace hone
