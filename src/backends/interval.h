#pragma once

#include <limits>
#include <span>

#include "base/pointwise.h"

namespace hone {

// What a number lies in. Infinities are values like others; NaN is in none.
struct Interval {
  double low = -std::numeric_limits<double>::infinity(), high = std::numeric_limits<double>::infinity();

  double magnitude() const;  // the largest
  bool within(const Interval& other) const { return low >= other.low && high <= other.high; }
  bool operator==(const Interval&) const = default;
};

Interval hull(const Interval& a, const Interval& b);
Interval sum(const Interval& a, const Interval& b);
Interval product(const Interval& a, const Interval& b);
Interval scaled(const Interval& a, double factor);
Interval all_of(DType type);  // what the type can hold

// What is left of `exact` in a type: floats round, and overflow to infinities; integers may wrap.
Interval stored(const Interval& exact, DType type);

// What a program makes of inputs in these intervals. Each instruction is bounded by itself, so that the result may be
// wider than what can occur.
Interval bound_of(const PointwiseProgram& program, std::span<const Interval> inputs);

}  // namespace hone
