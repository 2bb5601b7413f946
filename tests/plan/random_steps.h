// Steps with random dependencies, and what the streams and waits of a schedule order by themselves.
#pragma once

#include <algorithm>
#include <random>

#include "plan/streams.h"

namespace hone::testing {

inline std::vector<ScheduledStep> random_steps(std::mt19937& random, int most = 40) {
  std::vector<ScheduledStep> steps(1 + random() % static_cast<unsigned>(most));
  const unsigned reach = 1 + random() % 10, width = 1 + random() % 3;
  for (size_t i = 0; i < steps.size(); ++i) {
    steps[i].us = static_cast<double>(1 + random() % 20);
    for (unsigned k = random() % (width + 1); k > 0 && i > 0; --k)
      steps[i].after.push_back(static_cast<int>(i - 1 - random() % std::min<size_t>(i, reach)));
  }
  return steps;
}

// [a][b]: step a has ended when b begins, by the order within streams and the waits alone.
inline std::vector<std::vector<bool>> closure(const std::vector<int>& stream,
                                              const std::vector<std::vector<int>>& waits) {
  const size_t count = stream.size();
  std::vector<std::vector<bool>> before(count, std::vector<bool>(count, false));
  for (size_t b = 0; b < count; ++b) {
    const auto follow = [&](size_t a) {
      before[a][b] = true;
      for (size_t c = 0; c < a; ++c)
        if (before[c][a]) before[c][b] = true;
    };
    for (size_t a = 0; a < b; ++a)
      if (stream[a] == stream[b]) follow(a);
    for (int a : waits[b]) follow(static_cast<size_t>(a));
  }
  return before;
}

}  // namespace hone::testing
