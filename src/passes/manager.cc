#include "passes/manager.h"

#include <chrono>
#include <climits>

namespace hone {
namespace {

// A stage that has not settled after so many rounds has rules that undo each other.
constexpr int kMaxRounds = 100;

class Runner {
 public:
  Runner(Graph& graph, const PassOptions& options)
      : graph_(graph), options_(options), left_(options.max_changes < 0 ? INT_MAX : options.max_changes) {}

  Status stage(const Stage& stage) {
    for (int round = 0; round < kMaxRounds; ++round) {
      int changes = 0;
      for (const Pass& p : stage.passes) {
        HONE_TRY(const int made, pass(p));
        changes += made;
      }
      if (changes == 0 || !stage.repeat) return {};
    }
    // The graph is right at every step: only a checked run treats it as the bug that it is.
    if (!options_.verify) return {};
    return internal("the passes do not settle: {} rounds from '{}' on", kMaxRounds, stage.passes.front().name);
  }

 private:
  Result<int> pass(const Pass& pass) {
    if (left_ == 0 || options_.disable.contains(std::string(pass.name))) return 0;
    const auto start = std::chrono::steady_clock::now();
    auto changes = pass.run(graph_, left_);
    if (!changes.ok()) return changes.status().within(fmt::format("pass '{}'", pass.name));
    if (*changes > 0) graph_.remove_dead();
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    if (options_.log) options_.log({std::string(pass.name), *changes, took.count()});
    if (*changes > 0 && options_.verify) {
      if (const Status status = verify(graph_); !status.ok())
        return status.within(fmt::format("after pass '{}'", pass.name));
    }
    left_ -= *changes;
    return *changes;
  }

  Graph& graph_;
  const PassOptions& options_;
  int left_;
};

}  // namespace

Status run_stages(Graph& graph, std::span<const Stage> stages, const PassOptions& options) {
  Runner runner(graph, options);
  for (const Stage& stage : stages) HONE_CHECK(runner.stage(stage));
  return {};
}

}  // namespace hone
