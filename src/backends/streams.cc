#include "backends/streams.h"

#include <algorithm>
#include <map>
#include <set>

#include "backends/arena.h"
#include "plan/streams.h"
#include "tactics/tactic.h"

namespace hone {
namespace {

constexpr double kUntimedUs = 5;     // of a step that was not timed
constexpr double kLeastGain = 0.01;  // two timings of one network differ by less

bool runs_on_gpu(const Step& step) {
  const Tactic* const tactic = find_tactic(step.tactic);
  return tactic != nullptr && tactic->backend == Backend::cuda;
}

// The slot whose memory it is.
int root(const Program& program, int s) { return program.place_of(s).owner; }

// A step comes behind those that write what it reads, and behind those that read or write what it overwrites.
std::vector<ScheduledStep> scheduled(const Program& program) {
  struct Uses {
    int writer = -1;
    std::vector<int> readers;  // since then
  };
  std::map<int, Uses> memory;
  std::vector<ScheduledStep> steps;
  for (const Step& step : program.steps) {
    const int index = static_cast<int>(steps.size());
    std::vector<int> after;
    for (int s : step.inputs) {
      if (s < 0) continue;
      Uses& uses = memory[root(program, s)];
      after.push_back(uses.writer);
      uses.readers.push_back(index);
    }
    for (int s : step.outputs) {
      Uses& uses = memory[root(program, s)];
      after.push_back(uses.writer);
      after.insert(after.end(), uses.readers.begin(), uses.readers.end());
      uses = {.writer = index};
    }
    std::erase_if(after, [&](int d) { return d < 0 || d == index; });
    steps.push_back({std::move(after), step.time_us > 0 ? step.time_us : kUntimedUs});
  }
  return steps;
}

// Of each slot; outputs are read when all has ended.
std::vector<Lifetime> lives_of(const Program& program) {
  std::vector<Lifetime> lives(program.slots.size());
  const auto use = [&](int s, size_t step) {
    if (s >= 0) lives[static_cast<size_t>(root(program, s))].uses.push_back(static_cast<int>(step));
  };
  for (size_t i = 0; i < program.steps.size(); ++i) {
    for (int s : program.steps[i].inputs) use(s, i);
    for (int s : program.steps[i].outputs) use(s, i);
  }
  for (const Binding& b : program.outputs) use(b.slot, program.steps.size());
  for (Lifetime& life : lives) {
    if (life.uses.empty()) continue;
    life.first = life.uses.front();
    life.last = life.uses.back();
  }
  return lives;
}

// What was measured; empty where there is nothing to choose.
Result<std::string> take_fastest(EngineData& engine, const TimeNetwork& time_us) {
  std::string measured;
  EngineData fastest;
  double least_us = 0;
  int taken = 1;
  for (const int most : {2, kMostStreams}) {
    EngineData candidate = engine;
    const int streams = assign_streams(candidate.program, most);
    if (streams <= taken) break;
    if (taken == 1) {
      HONE_TRY(least_us, time_us(engine));
      measured = fmt::format("the network takes {:.3f} ms in 1 stream", least_us / 1e3);
    }
    HONE_TRY(const double us, time_us(candidate));
    measured += fmt::format(", {:.3f} ms in {}", us / 1e3, streams);
    if (us > least_us * (1 - kLeastGain)) break;
    fastest = std::move(candidate);
    least_us = us;
    taken = streams;
  }
  if (taken > 1) engine = std::move(fastest);
  return measured.empty() ? measured : fmt::format("{}: it runs in {}", measured, taken);
}

}  // namespace

int assign_streams(Program& program, int most) {
  if (!std::all_of(program.steps.begin(), program.steps.end(), runs_on_gpu)) return 1;
  Schedule schedule = schedule_streams(scheduled(program), most);
  if (schedule.streams == 1) return 1;
  plan_arena(program, lives_of(program), &schedule);
  for (size_t i = 0; i < program.steps.size(); ++i) {
    program.steps[i].stream = schedule.stream[i];
    program.steps[i].waits = std::move(schedule.waits[i]);
  }
  return schedule.streams;
}

void plan_branches(Program& program, std::vector<Lifetime> lives) {
  Schedule schedule{.streams = program.streams()};
  std::vector<int> last(static_cast<size_t>(schedule.streams), -1), ended;  // steps of streams; before those beside
  std::vector<int> began;                                                   // with which step, of each step
  for (size_t i = 0; i < program.steps.size(); ++i) {
    const Step& step = program.steps[i];
    const bool beside = step.threads == 1, begins = i == 0 || program.steps[i - 1].threads != 1;
    if (!beside || begins) ended = last;
    began.push_back(beside && !begins ? began.back() : static_cast<int>(i));
    schedule.stream.push_back(step.stream);
    schedule.ended.push_back(ended);
    int& own = last[static_cast<size_t>(step.stream)];
    schedule.ended.back()[static_cast<size_t>(step.stream)] = own;
    own = static_cast<int>(i);
  }
  // What several streams write may be written by any of them as soon as they run.
  std::vector<std::set<int>> writers(lives.size());
  for (size_t i = 0; i < program.steps.size(); ++i)
    for (int s : program.steps[i].outputs) {
      if (s < 0) continue;
      const auto owner = static_cast<size_t>(root(program, s));
      writers[owner].insert(program.steps[i].stream);
      if (writers[owner].size() > 1) lives[owner].first = std::min(lives[owner].first, began[i]);
    }
  plan_arena(program, lives, &schedule);
}

void choose_streams(EngineData& engine, const TimeNetwork& time_us) {
  auto note = take_fastest(engine, time_us);
  if (!note.ok()) note = fmt::format("several streams were not tried: {}", note.status().message());
  if (!note->empty()) engine.program.build.notes.push_back(std::move(*note));
}

}  // namespace hone
