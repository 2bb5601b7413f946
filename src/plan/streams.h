#pragma once

#include <span>
#include <vector>

namespace hone {

// What the assignment to streams looks at in a step.
struct ScheduledStep {
  std::vector<int> after;  // steps before it that must have ended when it begins
  double us = 0;           // how long it takes
};

// Steps that run in several streams. Those of one stream run in the order of their numbers, one after the other.
struct Schedule {
  int streams = 1;                      // that have steps
  std::vector<int> stream;              // of each step, from 0
  std::vector<std::vector<int>> waits;  // of each step: the steps of other streams that it waits for

  // Whether step `a` has always ended when step `b` begins. Numbers behind the last step stand for the end of all.
  bool before(int a, int b) const;

  std::vector<std::vector<int>> ended;  // of each step: the last step of each stream that has ended; -1: none
};

// Gives each step, in order, to the stream of at most `most` in which it can begin first, as if steps did not slow each
// other down. The place behind a step is kept for the one that continues the longest path through it. Waits are as few
// as can be: none follows from the others and the order within streams. Pure.
Schedule schedule_streams(std::span<const ScheduledStep> steps, int most);

}  // namespace hone
