#pragma once

#include "base/out_of_memory.h"
#include "engine/engine_file.h"
#include "hone/engine.h"
#include "runtime/context.h"

namespace hone {

struct [[gnu::visibility("hidden")]] v0::Engine::Impl {
  std::shared_ptr<const LoadedEngine> engine;
  std::shared_ptr<const Portable> portable;  // of an engine that was built with one
  std::optional<EngineFile> file;            // of one that was loaded
};

namespace api {

v0::Status to_public(const Status& status);
inline v0::DType to_public(DType type) { return static_cast<v0::DType>(type); }

// A tensor over the caller's memory; strings are copied. Errors: invalid (dtype, dims, alignment or null data).
Result<Tensor> to_tensor(const v0::TensorView& view);

// Runs f, which returns a Status or Result, and turns what it throws into an error of the same kind.
template <class F>
auto guarded(F&& f) -> decltype(f()) {
  try {
    return f();
  } catch (const std::bad_alloc& e) {
    return Status(Code::device, out_of_memory(e));
  } catch (const std::exception& e) {
    return internal("{}", e.what());
  }
}

// Makes the kernels of a program; what else the engine has is for the caller to fill in.
Result<std::shared_ptr<v0::Engine::Impl>> instantiate(EngineData data);

}  // namespace api
}  // namespace hone
