#include "calibrate/appearances.h"

#include <map>

namespace hone::calibrate {
namespace {

// Bytes of a slot's memory. Of what has no fixed shape, all.
struct Extent {
  int owner;
  int64_t begin, end;

  bool overlaps(const Extent& other) const { return owner == other.owner && begin < other.end && other.begin < end; }
};

Extent extent_of(const Program& program, int slot) {
  const TensorType& type = program.slots[static_cast<size_t>(slot)].type;
  const auto [owner, begin] = program.place_of(slot);
  const auto dims = type.shape.concrete();
  if (!dims) return {owner, 0, INT64_MAX};
  return {owner, begin, begin + std::max<int64_t>(1, element_count(*dims) * static_cast<int64_t>(size_of(type.dtype)))};
}

}  // namespace

// An output is never overwritten: the last step that writes its memory completes it. Steps of bodies end with theirs.
Appearances::Appearances(const Program& program) : behind(program.steps.size()) {
  constexpr size_t kNever = SIZE_MAX;
  std::vector<Extent> extents;
  for (const Binding& output : program.outputs) extents.push_back(extent_of(program, output.slot));
  std::vector<size_t> last(extents.size(), kNever);
  for (size_t i = 0, next = 0; i < program.steps.size(); i = next) {
    next = i + 1 + static_cast<size_t>(program.steps[i].inner_steps());
    for (size_t step = i; step < next; ++step)
      for (const int s : program.steps[step].outputs) {
        if (s < 0) continue;
        const Extent written = extent_of(program, s);
        for (size_t k = 0; k < extents.size(); ++k)
          if (extents[k].overlaps(written)) last[k] = i;
      }
  }
  for (size_t k = 0; k < last.size(); ++k) (last[k] == kNever ? given : behind[last[k]]).push_back(k);
}

}  // namespace hone::calibrate
