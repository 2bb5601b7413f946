#include "tune/timer.h"

#include <algorithm>
#include <chrono>
#include <vector>

namespace hone {
namespace {

double once(const std::function<void()>& before, const std::function<void()>& call) {
  using Clock = std::chrono::steady_clock;
  before();
  const auto start = Clock::now();
  call();
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

}  // namespace

double time_us(const std::function<void()>& before, const std::function<void()>& call, double give_up_us, int repeats) {
  const double first = once(before, call);
  if (first > give_up_us) return first;
  std::vector<double> times(static_cast<size_t>(repeats));
  for (double& time : times) time = once(before, call);
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

}  // namespace hone
