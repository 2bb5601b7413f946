#include <algorithm>

#include "engine/inspect.h"
#include "engine/manifest.h"
#include "fuzz/engine_bytes.h"
#include "fuzz/memory_file.h"
#include "fuzz/refused.h"
#include "fuzz/targets.h"
#include "runtime/context.h"

namespace hone::fuzz {
namespace {

constexpr int64_t kMaxBytes = int64_t{16} << 20;  // engines that ask for more memory are read only

bool small(const Program& program) {
  const auto fits = [](const Binding& b) {
    const auto dims = b.type.shape.concrete();
    if (!dims) return false;
    const auto bytes = checked_bytes(b.type.dtype, *dims);
    return bytes.ok() && *bytes <= kMaxBytes && size_of(b.type.dtype) > 0;
  };
  return program.threads <= 2 && program.memory.arena_bytes <= kMaxBytes && program.memory.weights_bytes <= kMaxBytes &&
         std::all_of(program.inputs.begin(), program.inputs.end(), fits);
}

// Makes an engine ready to run on zeros, if it asks for little. What kernels then do is not for its reader to promise.
std::string use(EngineData data) {
  if (inspect_json(data.program).empty()) return "an engine that cannot be inspected";
  if (!small(data.program)) return {};
  const auto engine = LoadedEngine::make(std::move(data));
  if (!engine.ok()) return refused(engine.status());
  ExecutionContext context(*engine);
  for (const Binding& b : (*engine)->program().inputs)
    if (const Status status = context.bind_input(b.name, Tensor(b.type.dtype, *b.type.shape.concrete())); !status.ok())
      return refused(status);
  return {};
}

std::string load_bytes(std::string_view bytes) {
  const auto file = EngineFile::open(MemoryFile(bytes).path());
  if (!file.ok()) return refused(file.status());
  if (file->has_portable())
    if (const auto portable = file->portable(); !portable.ok())
      if (std::string wrong = refused(portable.status()); !wrong.empty()) return wrong;
  auto engine = file->program(0);
  return engine.ok() ? use(std::move(*engine)) : refused(engine.status());
}

}  // namespace

std::string load_engine_file(std::string_view bytes) {
  std::string wrong = load_bytes(bytes);
  return wrong.empty() ? load_bytes(with_true_checksums(bytes)) : wrong;
}

std::string load_manifest(std::string_view bytes) {
  auto program = program_from_json(bytes);
  if (!program.ok()) return refused(program.status());
  if (!small(*program)) return {};
  EngineData data{.program = std::move(*program)};
  data.constants.resize(data.program.slots.size());
  for (size_t s = 0; s < data.constants.size(); ++s) {
    const Slot& slot = data.program.slots[s];
    if (slot.kind == Slot::Kind::constant && size_of(slot.type.dtype) > 0)
      data.constants[s] = Tensor(slot.type.dtype, *slot.type.shape.concrete());
  }
  return use(std::move(data));
}

}  // namespace hone::fuzz
