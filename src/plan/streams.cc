#include "plan/streams.h"

#include <algorithm>

namespace hone {
namespace {

// What a step loses that waits for another stream: a launch cannot overlap the end of that step.
constexpr double kCrossingUs = 1;

size_t at(int index) { return static_cast<size_t>(index); }

// Of each step: the one that continues the longest path through it, among those that wait for it longest; -1: none.
std::vector<int> heirs_of(std::span<const ScheduledStep> steps) {
  std::vector<double> from_start, to_end(steps.size(), 0.0);  // longest paths, the step included
  for (const ScheduledStep& step : steps) {
    double before = 0;
    for (int d : step.after) before = std::max(before, from_start[at(d)]);
    from_start.push_back(before + step.us);
  }
  std::vector<int> heirs(steps.size(), -1);
  for (size_t i = steps.size(); i-- > 0;) {
    const ScheduledStep& step = steps[i];
    to_end[i] += step.us;
    for (int d : step.after) to_end[at(d)] = std::max(to_end[at(d)], to_end[i]);
    const auto longest = std::ranges::max_element(step.after, {}, [&](int d) { return from_start[at(d)]; });
    if (longest == step.after.end()) continue;
    int& heir = heirs[at(*longest)];
    if (heir < 0 || to_end[i] >= to_end[at(heir)]) heir = static_cast<int>(i);
  }
  return heirs;
}

// The stream in which each step begins first.
std::vector<int> assign(std::span<const ScheduledStep> steps, int most) {
  const std::vector<int> heirs = heirs_of(steps);
  std::vector<int> stream, last(at(most), -1);    // last: step of each stream so far
  std::vector<double> ends, free(at(most), 0.0);  // of steps; of streams, from when on they are idle
  for (const ScheduledStep& step : steps) {
    const int index = static_cast<int>(stream.size());
    const auto begin_in = [&](int s) {
      double begin = free[at(s)];
      for (int d : step.after) begin = std::max(begin, ends[at(d)] + (stream[at(d)] == s ? 0 : kCrossingUs));
      return begin;
    };
    // As late as if the heir of the last step had begun there, unless that would wait for next to nothing.
    const auto rank_in = [&](int s) {
      const int heir = last[at(s)] < 0 ? -1 : heirs[at(last[at(s)])];
      const bool kept = heir > index && step.us > kCrossingUs;
      return kept ? std::max(begin_in(s), free[at(s)] + steps[at(heir)].us) : begin_in(s);
    };
    int best = 0;
    for (int s = 1; s < most; ++s) {
      const double rank = rank_in(s), least = rank_in(best);
      // Of equal ones that which was busy last: behind the step that it waits for.
      if (rank < least || (rank == least && free[at(s)] > free[at(best)])) best = s;
    }
    ends.push_back(begin_in(best) + step.us);
    stream.push_back(best);
    free[at(best)] = ends.back();
    last[at(best)] = index;
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
