#include "backends/regions.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "backends/min_cut.h"

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

// A tensor in the smaller type, and the regions that make and read it.
struct Shared {
  int owner;  // the slot in whose memory it lies
  int64_t begin, end;
  double elements;
  size_t maker;
  std::set<size_t> readers = {};

  bool overlaps(const Shared& other) const { return owner == other.owner && begin < other.end && other.begin < end; }
};

// Nothing for weights and tensors of other types.
std::optional<Shared> shared_of(const Program& program, int s, size_t region, std::span<const DType> types) {
  if (s < 0) return std::nullopt;
  const Slot& slot = program.slots[static_cast<size_t>(s)];
  const auto dims = slot.type.shape.concrete();
  if (slot.kind == Slot::Kind::constant || !dims || std::ranges::find(types, slot.type.dtype) == types.end())
    return std::nullopt;
  const auto [owner, begin] = program.place_of(s);
  const int64_t count = element_count(*dims), bytes = count * static_cast<int64_t>(size_of(slot.type.dtype));
  return Shared{
      .owner = owner, .begin = begin, .end = begin + bytes, .elements = static_cast<double>(count), .maker = region};
}

// `region`: of each step. Steps run in place and write parts of tensors: what was last written is read.
std::vector<Shared> shared_tensors(const Program& program, std::span<const size_t> region,
                                   std::span<const DType> types) {
  std::vector<Shared> all, alive;
  for (size_t i = 0; i < program.steps.size(); ++i) {
    for (const int s : program.steps[i].inputs)
      if (const auto read = shared_of(program, s, region[i], types))
        for (Shared& made : alive)
          if (made.overlaps(*read)) made.readers.insert(region[i]);
    for (const int s : program.steps[i].outputs)
      if (const auto made = shared_of(program, s, region[i], types)) {
        const auto gone = std::stable_partition(alive.begin(), alive.end(),
                                                [&](const Shared& other) { return !other.overlaps(*made); });
        std::move(gone, alive.end(), std::back_inserter(all));
        alive.erase(gone, alive.end());
        alive.push_back(*made);
      }
  }
  std::move(alive.begin(), alive.end(), std::back_inserter(all));
  return all;
}

// A conversion is paid for once, however many regions read its result: a point beside the maker's, on whose side all
// readers are that do not need it.
void choose(std::vector<Region>& regions, std::span<const Shared> tensors, const ConversionUs& conversion_us) {
  for (const Shared& tensor : tensors) {
    regions[tensor.maker].shares = true;
    for (const size_t reader : tensor.readers) regions[reader].shares = true;
  }
  MinCut cut;
  for (const Region& region : regions)
    region.shares ? cut.add_point(region.reduced_us, region.full_us) : cut.add_point(0, 0);
  for (const Shared& tensor : tensors) {
    const double us = conversion_us(tensor.elements);
    const size_t restored = cut.add_point(0, 0), made = cut.add_point(0, 0);
    cut.add_cost(tensor.maker, restored, us);
    cut.add_cost(made, tensor.maker, us);
    for (const size_t reader : tensor.readers) {
      cut.add_cost(restored, reader, HUGE_VAL);
      cut.add_cost(reader, made, HUGE_VAL);
    }
  }
  const std::vector<bool> reduced = cut.first_side();
  for (size_t i = 0; i < regions.size(); ++i) regions[i].reduced = reduced[i];
}

}  // namespace

std::vector<Region> regions_of(const TimedProgram& reduced, const TimedProgram& full, std::span<const DType> types,
                               const ConversionUs& conversion_us) {
  const size_t first = reduced.program.steps.size(), count = first + full.program.steps.size();
  const auto step = [&](size_t i) -> const Step& {
    return i < first ? reduced.program.steps[i] : full.program.steps[i - first];
  };
  Sets sets(count);
  std::map<std::string_view, size_t> by_source;
  for (size_t i = 0; i < count; ++i)
    for (const std::string& source : step(i).sources) sets.join(i, by_source.emplace(source, i).first->second);
  std::map<size_t, size_t> places;
  std::vector<Region> regions;
  std::vector<size_t> region_of_step;
  for (size_t i = 0; i < count; ++i) {
    const auto [place, added] = places.emplace(sets.find(i), regions.size());
    if (added) regions.emplace_back();
    Region& region = regions[place->second];
    region.sources.insert(step(i).sources.begin(), step(i).sources.end());
    (i < first ? region.reduced_us : region.full_us) += i < first ? reduced.us[i] : full.us[i - first];
    region_of_step.push_back(place->second);
  }
  choose(regions, shared_tensors(reduced.program, std::span(region_of_step).first(first), types), conversion_us);
  return regions;
}

}  // namespace hone
