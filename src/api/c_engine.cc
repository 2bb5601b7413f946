#include "api/c_support.h"

using hone::capi::guarded;
using hone::capi::null_argument;
using hone::capi::read_struct;
using hone::capi::report;
using hone::capi::write_struct;
using hone::v0::Code;
using hone::v0::Status;

namespace {

thread_local std::string last_error;

Status describe(const std::vector<hone::v0::TensorInfo>& list, size_t index, hone_tensor_info* info) {
  if (index >= list.size()) return {Code::invalid, "there is no tensor number " + std::to_string(index)};
  const hone::v0::TensorInfo& t = list[index];
  const auto rank = t.ranked ? static_cast<int32_t>(t.dims.rank()) : -1;
  return write_struct<hone_tensor_info>({0, t.name.c_str(), static_cast<hone_dtype>(t.dtype), rank, t.dims.data()},
                                        info, "info");
}

}  // namespace

namespace hone::capi {

hone_code report(const v0::Status& status) noexcept {
  if (status.ok()) return HONE_OK;
  try {
    last_error = status.message();
  } catch (...) {
    last_error.clear();
  }
  return static_cast<hone_code>(status.code());
}

}  // namespace hone::capi

const char* hone_last_error(void) { return last_error.c_str(); }

const char* hone_version(void) { return HONE_VERSION; }

hone_code hone_engine_load(const char* path, hone_engine** engine) {
  if (engine == nullptr) return report(null_argument("engine"));
  *engine = nullptr;
  if (path == nullptr) return report(null_argument("path"));
  return guarded([&]() -> Status {
    auto loaded = hone::v0::Engine::load(path);
    if (!loaded.ok()) return loaded.status();
    *engine = new hone_engine(std::move(*loaded));
    return {};
  });
}

hone_code hone_engine_save(const hone_engine* engine, const char* path) {
  if (engine == nullptr) return report(null_argument("engine"));
  if (path == nullptr) return report(null_argument("path"));
  return guarded([&] { return engine->engine.save(path); });
}

void hone_engine_free(hone_engine* engine) { delete engine; }

size_t hone_engine_input_count(const hone_engine* engine) { return engine ? engine->inputs.size() : 0; }

size_t hone_engine_output_count(const hone_engine* engine) { return engine ? engine->outputs.size() : 0; }

hone_code hone_engine_input(const hone_engine* engine, size_t index, hone_tensor_info* info) {
  if (engine == nullptr) return report(null_argument("engine"));
  return guarded([&] { return describe(engine->inputs, index, info); });
}

hone_code hone_engine_output(const hone_engine* engine, size_t index, hone_tensor_info* info) {
  if (engine == nullptr) return report(null_argument("engine"));
  return guarded([&] { return describe(engine->outputs, index, info); });
}

hone_code hone_engine_memory(const hone_engine* engine, hone_memory* memory) {
  if (engine == nullptr) return report(null_argument("engine"));
  return guarded([&] {
    const hone::v0::MemorySummary m = engine->engine.memory();
    return write_struct<hone_memory>({0, m.arena, m.lower_bound, m.without_reuse, m.weights, m.workspace}, memory,
                                     "memory");
  });
}

hone_code hone_engine_inspect_json(const hone_engine* engine, const char** json) {
  if (engine == nullptr) return report(null_argument("engine"));
  if (json == nullptr) return report(null_argument("json"));
  return guarded([&]() -> Status {
    auto* handle = const_cast<hone_engine*>(engine);  // the handle itself is never a constant object
    std::call_once(handle->once, [&] { handle->json = handle->engine.inspect_json(); });
    *json = handle->json.c_str();
    return {};
  });
}

hone_code hone_context_create(const hone_engine* engine, hone_context** context) {
  if (context == nullptr) return report(null_argument("context"));
  *context = nullptr;
  if (engine == nullptr) return report(null_argument("engine"));
  return guarded([&]() -> Status {
    auto made = engine->engine.create_context();
    if (Status status = made.set_profiler({}); !status.ok()) return status;
    *context = new hone_context{std::move(made), {}};
    return {};
  });
}

void hone_context_free(hone_context* context) { delete context; }

hone_code hone_context_bind(hone_context* context, const char* name, const hone_tensor* tensor) {
  if (context == nullptr) return report(null_argument("context"));
  if (name == nullptr) return report(null_argument("name"));
  return guarded([&]() -> Status {
    hone_tensor t = HONE_TENSOR_INIT;
    if (Status status = read_struct(tensor, t, "tensor"); !status.ok()) return status;
    if (t.rank < 0 || (t.rank > 0 && t.dims == nullptr))
      return {Code::invalid, "tensor: rank is negative, or dims is a null pointer"};
    const hone::v0::Dims dims(t.dims, static_cast<size_t>(t.rank));
    return context->context.bind(name, {static_cast<hone::v0::DType>(t.dtype), t.data, dims});
  });
}

hone_code hone_context_run(hone_context* context) {
  if (context == nullptr) return report(null_argument("context"));
  return guarded([&] { return context->context.run(); });
}

hone_code hone_context_enqueue(hone_context* context, void* stream) {
  if (context == nullptr) return report(null_argument("context"));
  return guarded([&] { return context->context.enqueue(stream); });
}

hone_code hone_context_synchronize(hone_context* context) {
  if (context == nullptr) return report(null_argument("context"));
  return guarded([&] { return context->context.synchronize(); });
}

hone_code hone_context_output(hone_context* context, const char* name, hone_tensor* tensor) {
  if (context == nullptr) return report(null_argument("context"));
  if (name == nullptr) return report(null_argument("name"));
  return guarded([&]() -> Status {
    auto view = context->context.output(name);
    if (!view.ok()) return view.status();
    context->dims = view->dims;
    return write_struct<hone_tensor>({0, static_cast<hone_dtype>(view->dtype), static_cast<int32_t>(view->dims.rank()),
                                      context->dims.data(), view->data},
                                     tensor, "tensor");
  });
}
