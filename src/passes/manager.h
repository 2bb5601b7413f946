#pragma once

#include <functional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ir/graph.h"

namespace hone {

struct PassLog {
  std::string pass;
  int changes;
  double ms;
};

struct PassOptions {
  bool verify = false;   // check the graph after every pass that changed it
  int max_changes = -1;  // stop after so many, to bisect; -1: no limit
  std::function<void(const PassLog&)> log;
  std::set<std::string> disable;  // passes to leave out
};

// A named transformation. `run` makes at most `limit` changes and says how many it made.
struct Pass {
  std::string_view name;
  Result<int> (*run)(Graph& graph, int limit);
};

// A list of passes, run once or until none of them changes anything.
struct Stage {
  std::vector<Pass> passes;
  bool repeat = false;
};

// Runs the stages in order. After a pass that changed something dead nodes are removed.
Status run_stages(Graph& graph, std::span<const Stage> stages, const PassOptions& options);

}  // namespace hone
