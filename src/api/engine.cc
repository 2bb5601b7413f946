#include "api/access.h"
#include "engine/inspect.h"
#include "runtime/load.h"

namespace hone {
namespace api {

static_assert(static_cast<int>(DType::bf16) == static_cast<int>(v0::DType::bf16));
static_assert(static_cast<int>(DType::i64) == static_cast<int>(v0::DType::i64));
static_assert(static_cast<int>(DType::u64) == static_cast<int>(v0::DType::u64));
static_assert(static_cast<int>(DType::string) == static_cast<int>(v0::DType::string));
static_assert(static_cast<int>(DType::f8e8m0) == static_cast<int>(v0::DType::f8e8m0));
static_assert(static_cast<int>(DType::f4e2m1) == static_cast<int>(v0::DType::f4e2m1));
static_assert(static_cast<int>(DType::c128) == static_cast<int>(v0::DType::c128));
static_assert(static_cast<int>(Code::device) == static_cast<int>(v0::Code::device));
static_assert(static_cast<int>(Code::internal) == static_cast<int>(v0::Code::internal));

v0::Status to_public(const Status& status) {
  if (status.ok()) return {};
  return {static_cast<v0::Code>(status.code()), status.message()};
}

Result<std::shared_ptr<v0::Engine::Impl>> instantiate(EngineData data) {
  auto impl = std::make_shared<v0::Engine::Impl>();
  HONE_TRY(impl->engine, LoadedEngine::make(std::move(data)));
  return impl;
}

namespace {

std::vector<v0::TensorInfo> describe(const std::vector<Binding>& bindings) {
  std::vector<v0::TensorInfo> list;
  for (const Binding& b : bindings) {
    std::vector<int64_t> dims;
    for (const Dim& d : b.type.shape.dims) dims.push_back(d.known() ? d.value : -1);
    list.push_back({b.name, to_public(b.type.dtype), dims, b.type.shape.ranked});
  }
  return list;
}

}  // namespace
}  // namespace api

const char* v0::name(DType type) {
  const int index = static_cast<int>(type);
  if (index <= 0 || index > static_cast<int>(DType::c128)) return "none";
  return hone::name(static_cast<hone::DType>(index)).data();  // of a literal
}

size_t v0::size_of(DType type) {
  const int index = static_cast<int>(type);
  if (index <= 0 || index > static_cast<int>(DType::c128)) return 0;
  return type == DType::string ? sizeof(const char*) : hone::size_of(static_cast<hone::DType>(index));
}

v0::Result<v0::Engine> v0::Engine::load(const std::string& path) {
  auto impl = api::guarded([&]() -> hone::Result<std::shared_ptr<Impl>> {
    HONE_TRY(EngineFile file, EngineFile::open(path));
    HONE_TRY(const size_t number, program_for_this_machine(file));
    HONE_TRY(EngineData data, file.program(number));
    auto made = api::instantiate(std::move(data));
    if (!made.ok()) return made.status().within(path);
    (*made)->file = std::move(file);
    return made;
  });
  if (!impl.ok()) return api::to_public(impl.status());
  return Engine(std::move(*impl));
}

v0::Status v0::Engine::save(const std::string& path) const {
  if (!impl_) return {Code::invalid, "save: the engine is empty"};
  return api::to_public(api::guarded([&] {
    return impl_->file ? impl_->file->save(path) : save_engine({{impl_->engine->data()}, impl_->portable}, path);
  }));
}

std::vector<v0::TensorInfo> v0::Engine::inputs() const {
  return impl_ ? api::describe(impl_->engine->program().inputs) : std::vector<TensorInfo>();
}

std::vector<v0::TensorInfo> v0::Engine::outputs() const {
  return impl_ ? api::describe(impl_->engine->program().outputs) : std::vector<TensorInfo>();
}

std::string v0::Engine::target() const { return impl_ ? impl_->engine->program().target : std::string(); }

std::string v0::Engine::device() const { return impl_ ? impl_->engine->program().device : std::string(); }

v0::MemorySummary v0::Engine::memory() const {
  if (!impl_) return {};
  const hone::MemorySummary& m = impl_->engine->program().memory;
  return {m.arena_bytes, m.lower_bound_bytes, m.without_reuse_bytes, m.weights_bytes, m.workspace_bytes};
}

std::string v0::Engine::inspect_json() const {
  if (!impl_) return "{}";
  return hone::inspect_json(impl_->engine->program(), impl_->file ? summary_of(*impl_->file) : FileSummary());
}

}  // namespace hone
