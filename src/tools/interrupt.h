#pragma once

namespace hone::tools {

// While it lives, the first SIGINT or SIGTERM asks the work at hand to stop, so that what it learnt can be kept. The
// program ends by itself when that takes longer than two seconds, and at once on a second signal: no file is ever half
// written. Not to be nested.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
};

// Whether a signal came.
bool interrupted();
// The exit status of a program that a signal stopped: 130 for SIGINT, 143 for SIGTERM.
int interrupt_status();

}  // namespace hone::tools
