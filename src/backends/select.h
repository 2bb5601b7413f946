#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <set>

#include "backends/compile_queue.h"
#include "base/thread_pool.h"
#include "tactics/tactic.h"
#include "tune/cache.h"

namespace hone {

struct Choice {
  const Tactic* tactic = nullptr;
  int variant = 0;
  double time_us = 0;
  Prepared prepared;
  std::vector<std::pair<std::string, std::string>> refused;  // tactic, reason
};

struct SelectOptions {
  Machine machine;
  bool reference_only = false;
  bool cold_weights = false;  // a run reads more than the caches hold: a CPU's kernels are timed without theirs there
  bool tune = true;           // else the first tactic that supports the problem; on a GPU, only where it is
  double time_budget_s = 1e9;
  bool deterministic = false;         // tactics whose results vary are refused
  int64_t max_workspace = INT64_MAX;  // of a step, in bytes: tactics that need more are refused
  TacticCache* cache = nullptr;       // read and written
  std::function<bool()> cancelled;
};

class GpuSandbox;

// Picks a tactic for each problem: from the cache, else by timing the candidates on this machine.
class Selector {
 public:
  explicit Selector(SelectOptions options);

  // Begins to compile what choose() will need for the GPU, on all cores.
  Status expect(const Problem& problem);
  // `gpu`: whether a kernel of the machine's GPU may be taken.
  Result<Choice> choose(const Problem& problem, bool gpu = true);
  // The same for kernels that run on one thread, beside others. It shares the time budget.
  Selector& of_one_thread();
  bool reference_only() const { return options_.reference_only; }
  bool out_of_time() const;
  int64_t timed() const { return timed_ + (of_one_thread_ ? of_one_thread_->timed() : 0); }
  int64_t cache_hits() const { return cache_hits_ + (of_one_thread_ ? of_one_thread_->cache_hits() : 0); }
  // What timing on a GPU took so far, a line; empty when nothing was timed there.
  std::string spent() const;
  const std::string& device() const { return device_; }

 private:
  struct Candidate {
    const Tactic* tactic;
    std::vector<int> variants;  // that may be taken
    std::string reason;         // why none may
  };
  struct Winner {
    CachedChoice choice;
    std::vector<std::pair<std::string, std::string>> losers;
  };
  // A variant whose code is being compiled.
  struct Variant {
    const Tactic* tactic;
    int variant;
    std::future<Result<Prepared>> prepared;
    bool witness = false;  // whose results those of the others are held against
    double us = 1e18;
    Status failure = {};
  };
  struct Begun;
  struct Ready;
  struct Witness;
  // The tactics that may be timed for a problem, best guess first.
  Result<std::vector<Candidate>> candidates(const Problem& problem, bool gpu,
                                            std::vector<std::pair<std::string, std::string>>& refused) const;
  bool times(const Problem& problem, std::span<const Candidate> candidates) const;
  std::optional<CachedChoice> cached(const std::string& key, std::span<const Candidate> candidates) const;
  void expect_winner(const Problem& problem, const Tactic& tactic, int variant);
  Result<Prepared> prepare(const Problem& problem, const Tactic& tactic, int variant);
  std::vector<Variant> compile(const Problem& problem, std::span<const Candidate> candidates);
  Result<Winner> measure(const Problem& problem, std::span<const Candidate> candidates);
  Result<Winner> measure_on_gpu(const Problem& problem, std::span<const Candidate> candidates,
                                std::vector<Variant> field);
  Result<Ready> make(const Problem& problem, Variant& variant);
  Result<std::optional<Witness>> take_witness(const Problem& problem, std::vector<Variant>& field, GpuSandbox& box);
  const std::string& libraries() const;
  // In the tactic cache: of the choice among candidates, as a Hone that has others is to choose again; without, of what
  // has faulted.
  std::string key_of(const Problem& problem, std::span<const Candidate> candidates = {}) const;
  // With the variants whose workspace is allowed and whose kernels have not faulted, or the reason why there are none.
  Result<Candidate> candidate_of(const Tactic& tactic, const Problem& problem,
                                 const std::set<std::string>& faults) const;
  Result<int64_t> workspace_bytes(const Tactic& tactic, const Problem& problem, int variant) const;
  // Of the problem's variants, those whose kernels have faulted.
  const std::set<std::string>& faults_of(const Problem& problem) const;
  // Remembers a variant whose kernel has faulted; the error ends what this process can do with the GPU.
  Status fault(const Problem& problem, const Variant& variant, const Status& status);

  SelectOptions options_;
  std::string device_;
  mutable std::optional<std::string> libraries_;  // of NVIDIA, once they are asked for: opening them takes long
  cpu::ThreadPool pool_;
  std::chrono::steady_clock::time_point start_;
  std::map<std::string, Winner> seen_;
  // By problem and the addresses of its constants, which stay taken.
  std::map<std::string, std::pair<Tensors, Prepared>> prepared_;
  CompileQueue queue_;
  std::map<std::string, std::vector<Variant>> expected_;
  // Of variants that are taken as they are, by the same keys: they are being prepared.
  std::map<std::string, std::pair<Tensors, std::future<Result<Prepared>>>> winners_;
  int64_t timed_ = 0, cache_hits_ = 0;
  std::unique_ptr<Selector> of_one_thread_;
  double waited_s_ = 0, measured_s_ = 0;  // for compilers; in measure_on_gpu(), waiting included
};

// What identifies a problem: op, attributes and types, never names or values.
std::string describe(const Problem& problem);

}  // namespace hone
