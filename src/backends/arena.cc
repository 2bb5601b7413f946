#include "backends/arena.h"

#include <algorithm>

namespace hone {
namespace {

constexpr int64_t kAlign = 64;

int64_t bytes_of(const TensorType& type) {
  return element_count(*type.shape.concrete()) * static_cast<int64_t>(size_of(type.dtype));
}

}  // namespace

void plan_arena(Program& program, std::span<const Lifetime> lives, const Schedule* schedule) {
  std::vector<Lifetime> buffers;
  std::vector<int64_t*> offsets;
  MemorySummary& memory = program.memory;
  memory.workspace_bytes = 0;
  for (size_t s = 0; s < program.slots.size(); ++s) {
    Slot& slot = program.slots[s];
    if (slot.kind != Slot::Kind::arena) continue;
    buffers.push_back(lives[s]);
    buffers.back().bytes = bytes_of(slot.type);
    offsets.push_back(&slot.offset);
  }
  for (size_t i = 0; i < program.steps.size(); ++i) {
    Step& step = program.steps[i];
    if (step.workspace_bytes == 0) continue;
    const int index = static_cast<int>(i);
    buffers.push_back({index, index, step.workspace_bytes, {index}});
    offsets.push_back(&step.workspace_offset);
    memory.workspace_bytes = std::max(memory.workspace_bytes, step.workspace_bytes);
  }
  const MemoryPlan plan = plan_memory(buffers, kAlign, schedule);
  for (size_t i = 0; i < offsets.size(); ++i) *offsets[i] = plan.offsets[i];
  memory.arena_bytes = plan.arena_bytes;
  memory.lower_bound_bytes = plan.lower_bound_bytes;
  memory.without_reuse_bytes = plan.without_reuse_bytes;
}

}  // namespace hone
