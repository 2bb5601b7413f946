#include "tools/memory_drawing.h"

#include <algorithm>

#include "tools/report.h"

namespace hone::tools {
namespace {

constexpr double kWidth = 1000, kHeight = 420, kMargin = 24;

class Lifetimes {
 public:
  explicit Lifetimes(const Program& program) : program_(program), blocks_(program.slots.size()) {
    for (size_t s = 0; s < blocks_.size(); ++s) blocks_[s].first = SIZE_MAX;
    for (size_t i = 0; i < program.steps.size(); ++i) {
      const Step& step = program.steps[i];
      // What goes into a control step and comes out of it is there while its bodies run.
      const size_t end = i + static_cast<size_t>(step.inner_steps());
      use(step.inputs, i, end);
      use(step.outputs, i, end);
      for (const Body& body : step.bodies) {
        use(body.inputs, i, end);
        use(body.outputs, i, end);
      }
    }
    const size_t last = program.steps.empty() ? 0 : program.steps.size() - 1;
    for (const Binding& b : program.outputs) use({b.slot}, last, last);
  }

  std::vector<ArenaBlock> blocks() && {
    std::vector<ArenaBlock> used;
    for (size_t s = 0; s < blocks_.size(); ++s) {
      const Slot& slot = program_.slots[s];
      ArenaBlock& block = blocks_[s];
      if (slot.kind != Slot::Kind::arena || block.first == SIZE_MAX) continue;
      block.name = slot.name.empty() ? fmt::format("%{}", s) : slot.name;
      block.offset = slot.offset;
      block.bytes = element_count(*slot.type.shape.concrete()) * static_cast<int64_t>(size_of(slot.type.dtype));
      used.push_back(std::move(block));
    }
    return used;
  }

 private:
  void use(const std::vector<int>& slots, size_t first, size_t last) {
    for (int s : slots) {
      while (s >= 0 && program_.slots[static_cast<size_t>(s)].kind == Slot::Kind::alias)
        s = program_.slots[static_cast<size_t>(s)].alias_of;
      if (s < 0) continue;
      ArenaBlock& block = blocks_[static_cast<size_t>(s)];
      block.first = std::min(block.first, first);
      block.last = std::max(block.last, last);
    }
  }

  const Program& program_;
  std::vector<ArenaBlock> blocks_;  // one a slot
};

}  // namespace

std::vector<ArenaBlock> arena_blocks(const Program& program) {
  std::vector<ArenaBlock> blocks = Lifetimes(program).blocks();
  for (size_t i = 0; i < program.steps.size(); ++i) {
    const Step& step = program.steps[i];
    if (step.workspace_bytes > 0)
      blocks.push_back(
          {fmt::format("workspace of step {}", i), step.workspace_offset, step.workspace_bytes, i, i, true});
  }
  return blocks;
}

std::string memory_svg(const Program& program) {
  const int64_t arena = program.memory.arena_bytes;
  if (arena <= 0 || program.steps.empty()) return {};
  const double across = kWidth / static_cast<double>(program.steps.size());
  const auto height = [&](int64_t bytes) { return kHeight * static_cast<double>(bytes) / static_cast<double>(arena); };
  std::string svg = fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"memory plan\">\n", kWidth,
                                kHeight + 2 * kMargin);
  size_t count = 0;
  for (const ArenaBlock& b : arena_blocks(program)) {
    // The golden angle keeps neighbours apart in colour.
    const std::string fill =
        b.workspace ? "#999" : fmt::format("hsl({} 60% 68%)", static_cast<int>(137.5 * count++) % 360);
    svg += fmt::format(
        "<rect x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\" fill=\"{}\"><title>{}: {} at byte {}, "
        "steps {} "
        "to {}</title></rect>\n",
        across * static_cast<double>(b.first), kMargin + kHeight - height(b.offset + b.bytes),
        across * static_cast<double>(b.last - b.first + 1), height(b.bytes), fill, escaped(b.name),
        readable_bytes(b.bytes), b.offset, b.first, b.last);
  }
  const double bound = kMargin + kHeight - height(program.memory.lower_bound_bytes);
  svg += fmt::format("<line x1=\"0\" x2=\"{}\" y1=\"{:.2f}\" y2=\"{:.2f}\" class=\"bound\"/>\n", kWidth, bound, bound);
  svg += fmt::format("<text x=\"0\" y=\"{}\">arena: {}, lower bound (dashed): {}</text>\n", kMargin - 8,
                     readable_bytes(arena), readable_bytes(program.memory.lower_bound_bytes));
  svg += fmt::format(
      "<text x=\"0\" y=\"{0}\">step 0</text><text x=\"{1}\" y=\"{0}\" text-anchor=\"end\">step {2}</text>\n",
      kHeight + 2 * kMargin - 6, kWidth, program.steps.size() - 1);
  return svg + "</svg>\n";
}

}  // namespace hone::tools
