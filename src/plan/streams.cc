#include "plan/streams.h"

#include <algorithm>

namespace hone {
namespace {

// What a step loses that waits for another stream: a launch cannot overlap the end of that step.
constexpr double kCrossingUs = 1;

size_t at(int index) { return static_cast<size_t>(index); }

// The stream in which each step begins first.
std::vector<int> assign(std::span<const ScheduledStep> steps, int most) {
  std::vector<int> stream;
  std::vector<double> ends, free(at(most), 0.0);  // of steps; of streams, from when on they are idle
  for (const ScheduledStep& step : steps) {
    int best = 0;
    double begin = 0;
    for (int s = 0; s < most; ++s) {
      double ready = free[at(s)];
      for (int d : step.after) ready = std::max(ready, ends[at(d)] + (stream[at(d)] == s ? 0 : kCrossingUs));
      // Of those in which it begins at once the one that was busy last: behind the step that it waits for.
      if (s > 0 && (ready > begin || (ready == begin && free[at(s)] <= free[at(best)]))) continue;
      best = s;
      begin = ready;
    }
    stream.push_back(best);
    ends.push_back(begin + step.us);
    free[at(best)] = ends.back();
  }
  return stream;
}

}  // namespace

bool Schedule::before(int a, int b) const {
  if (at(a) >= stream.size()) return false;
  return at(b) >= stream.size() || ended[at(b)][at(stream[at(a)])] >= a;
}

Schedule schedule_streams(std::span<const ScheduledStep> steps, int most) {
  Schedule schedule{.stream = assign(steps, most)};
  for (int s : schedule.stream) schedule.streams = std::max(schedule.streams, s + 1);
  std::vector<int> last(at(schedule.streams), -1);  // step of each stream so far
  const auto take = [&](std::vector<int>& ended, int step) {
    for (size_t s = 0; s < ended.size(); ++s) ended[s] = std::max(ended[s], schedule.ended[at(step)][s]);
    ended[at(schedule.stream[at(step)])] = step;
  };
  for (size_t i = 0; i < steps.size(); ++i) {
    const int own = schedule.stream[i];
    std::vector<int> ended(at(schedule.streams), -1), waits;
    if (last[at(own)] >= 0) take(ended, last[at(own)]);
    std::vector<int> after = steps[i].after;
    std::sort(after.rbegin(), after.rend());  // a step is implied by later ones alone
    for (int d : after) {
      if (ended[at(schedule.stream[at(d)])] >= d) continue;
      take(ended, d);
      waits.push_back(d);
    }
    schedule.ended.push_back(std::move(ended));
    schedule.waits.push_back(std::move(waits));
    last[at(own)] = static_cast<int>(i);
  }
  return schedule;
}

}  // namespace hone
