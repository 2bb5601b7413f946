#pragma once

#include <optional>

#include "ops/pool.h"
#include "tactics/tactic.h"

namespace hone {

// A problem whose last node is a pooling, and what is before it as a problem of its own.
struct Pooled {
  Problem before;  // the problem itself where it has no pooling
  std::optional<Pool> pool;
};

Pooled without_pool(const Problem& problem);

}  // namespace hone
