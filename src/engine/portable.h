#pragma once

#include <set>

#include "base/magnitude.h"
#include "ir/graph.h"

namespace hone {

// What an engine was asked for that shapes what it computes. Where an accuracy budget had its say, it is what the
// budget left, so that a build from it needs no data.
struct Recipe {
  std::string target;
  int threads = 0;   // 0: as many as usable
  int max_tier = 2;  // see base/cpu_info.h: Tier
  bool winograd = true, tf32 = false, bf16 = false, deterministic = false;
  DType half = DType::none;
  bool int8 = false, fp8 = false;
  Thresholds ranges;  // for int8, fp8 and f16
  bool strict = false;
  std::set<std::string> floats;  // layers that int8 and fp8 may not compute, by name
  std::string accuracy;          // what the budget found, as the build said it
  int64_t max_workspace = INT64_MAX;

  bool operator==(const Recipe&) const = default;
};

// What a network can be built from again, for any machine: its canonical graph, shapes fixed, and how it was built.
struct Portable {
  Graph graph;
  Recipe recipe;
};

// As JSON, and back. Errors: invalid (names that are not UTF-8, which JSON cannot hold; malformed JSON).
Result<std::string> to_json(const Recipe& recipe);
Result<Recipe> recipe_from_json(std::string_view text);

}  // namespace hone
