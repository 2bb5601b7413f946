#include "backends/regions.h"

#include <map>
#include <numeric>

namespace hone {
namespace {

// Disjoint sets of numbers.
class Sets {
 public:
  explicit Sets(size_t count) : parent_(count) { std::iota(parent_.begin(), parent_.end(), size_t{0}); }

  size_t find(size_t i) {
    while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
    return i;
  }
  void join(size_t a, size_t b) { parent_[find(a)] = find(b); }

 private:
  std::vector<size_t> parent_;
};

// The slot whose memory a slot is part of.
int owner(const Program& program, int slot) {
  while (program.slots[static_cast<size_t>(slot)].kind == Slot::Kind::alias)
    slot = program.slots[static_cast<size_t>(slot)].alias_of;
  return slot;
}

}  // namespace

std::vector<Region> regions_of(std::span<const TimedStep> integers, std::span<const TimedStep> floats) {
  const size_t count = integers.size() + floats.size();
  const auto step = [&](size_t i) -> const TimedStep& {
    return i < integers.size() ? integers[i] : floats[i - integers.size()];
  };
  Sets sets(count);
  std::map<std::string_view, size_t> by_source;
  std::map<int, size_t> by_slot;
  for (size_t i = 0; i < count; ++i) {
    for (const std::string& source : step(i).sources) sets.join(i, by_source.emplace(source, i).first->second);
    for (int slot : step(i).integers) sets.join(i, by_slot.emplace(slot, i).first->second);
  }
  std::map<size_t, size_t> places;
  std::vector<Region> regions;
  for (size_t i = 0; i < count; ++i) {
    const auto [place, added] = places.emplace(sets.find(i), regions.size());
    if (added) regions.emplace_back();
    Region& region = regions[place->second];
    region.sources.insert(step(i).sources.begin(), step(i).sources.end());
    (i < integers.size() ? region.integers_us : region.floats_us) += step(i).us;
  }
  return regions;
}

std::vector<TimedStep> timed_steps(const Program& program, std::span<const double> us, bool joined) {
  std::vector<TimedStep> steps;
  for (size_t i = 0; i < program.steps.size(); ++i) {
    const Step& from = program.steps[i];
    TimedStep& step = steps.emplace_back(TimedStep{.sources = from.sources, .us = us[i]});
    for (const std::vector<int>* slots : {&from.inputs, &from.outputs})
      for (int s : *slots) {
        if (!joined || s < 0) continue;
        const Slot& slot = program.slots[static_cast<size_t>(s)];
        const bool bytes = slot.type.dtype == DType::i8 || slot.type.dtype == DType::f8e4m3fn;
        if (bytes && slot.kind != Slot::Kind::constant) step.integers.push_back(owner(program, s));
      }
  }
  return steps;
}

}  // namespace hone
