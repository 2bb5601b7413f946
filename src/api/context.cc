#include <algorithm>

#include "api/access.h"
#include "base/counted.h"

namespace hone {

// An output of a context: where the user wants it, and the pointers to its strings.
struct BoundOutput {
  v0::TensorView target;
  Tensor on_device;  // memory on the engine's GPU that takes the place of `target`
  std::vector<const char*> text;
};

struct [[gnu::visibility("hidden")]] v0::Context::Impl {
  hone::Status failed;  // why there is no context
  std::unique_ptr<ExecutionContext> context;
  std::vector<BoundOutput> outputs;
  bool ran = false;

  hone::Status bind(std::string_view name, const TensorView& view);
  hone::Status bind_output(size_t index, const TensorView& view);
  hone::Status run();
  hone::Status enqueue(void* stream);
  hone::Status copy_output(size_t index) const;
  hone::Result<TensorView> output(std::string_view name);

  const Program& program() const { return context->engine().program(); }
};

namespace {

std::optional<size_t> find(const std::vector<Binding>& bindings, std::string_view name) {
  const auto found = std::find_if(bindings.begin(), bindings.end(), [&](const Binding& b) { return b.name == name; });
  return found == bindings.end() ? std::nullopt : std::optional<size_t>(found - bindings.begin());
}

std::string list_names(const std::vector<Binding>& bindings) {
  std::string names;
  for (const Binding& b : bindings) names += (names.empty() ? "'" : ", '") + b.name + "'";
  return names;
}

size_t alignment(DType type) { return std::clamp<size_t>(is_complex(type) ? size_of(type) / 2 : size_of(type), 1, 8); }

// The type of a view whose memory can be used.
Result<DType> check_view(const v0::TensorView& view) {
  const int type = static_cast<int>(view.dtype);
  if (type <= 0 || type > static_cast<int>(DType::c128)) return invalid("there is no element type number {}", type);
  if (!view.dims.valid()) return invalid("rank {} is above {}", view.dims.rank(), v0::Dims::kMaxRank);
  const auto dtype = static_cast<DType>(type);
  // Strings are counted as the pointers they are given by.
  const DType held = dtype == DType::string ? DType::u64 : dtype;
  HONE_TRY(const int64_t bytes, checked_bytes(held, {view.dims.begin(), view.dims.end()}));
  if (bytes > 0 && view.data == nullptr)
    return invalid("{}{} has no data", name(dtype), to_string({view.dims.begin(), view.dims.end()}));
  if (reinterpret_cast<uintptr_t>(view.data) % alignment(held) != 0)
    return invalid("the data is not aligned to {} bytes, as {} needs", alignment(held), name(dtype));
  return dtype;
}

}  // namespace

Result<Tensor> api::to_tensor(const v0::TensorView& view) {
  HONE_TRY(const DType type, check_view(view));
  Dims dims(view.dims.begin(), view.dims.end());
  if (type != DType::string) return Tensor(type, std::move(dims), view.data, nullptr);
  const auto* text = view.as<const char* const>();
  const auto count = static_cast<size_t>(element_count(dims));
  if (std::find(text, text + count, nullptr) != text + count) return invalid("one of the strings is a null pointer");
  return Tensor::strings(std::move(dims), std::vector<std::string>(text, text + count));
}

hone::Status v0::Context::Impl::bind(std::string_view name, const TensorView& view) {
  HONE_CHECK(failed);
  if (find(program().inputs, name)) {
    auto value = api::to_tensor(view);
    if (!value.ok()) return value.status().within(fmt::format("input '{}'", name));
    ran = false;  // an output may be a view of the input
    return context->bind_input(name, std::move(*value));
  }
  if (const auto index = find(program().outputs, name))
    return bind_output(*index, view).within(fmt::format("output '{}'", name));
  return invalid("there is no input or output '{}'; the inputs are {}; the outputs are {}", name,
                 list_names(program().inputs), list_names(program().outputs));
}

hone::Status v0::Context::Impl::bind_output(size_t index, const TensorView& view) {
  const auto& [name, slot, type] = program().outputs[index];
  if (outputs[index].on_device.defined()) {
    HONE_CHECK(context->bind_device_output(name, {}));
    outputs[index].on_device = {};
  }
  outputs[index].target = {};
  if (view.dtype == DType::none) return {};
  HONE_TRY(const hone::DType dtype, check_view(view));
  if (dtype == hone::DType::string) return unsupported("strings cannot be bound: read them by output()");
  if (dtype != type.dtype) return invalid("it is {}, not {}", to_text(type), hone::name(dtype));
  const auto dims = type.shape.concrete();
  if (dims && view.dims.count() < element_count(*dims))
    return invalid("it is {}, more than the {} of the memory", to_text(type), counted(view.dims.count(), "element"));
  if (context->lies_on_device(view.data)) {
    if (!dims) return unsupported("its size is known only when the engine runs: bind host memory");
    const Tensor memory(dtype, *dims, view.data, nullptr);
    HONE_CHECK(context->bind_device_output(name, memory));
    outputs[index].on_device = memory;
    return {};
  }
  outputs[index].target = view;
  return {};
}

hone::Status v0::Context::Impl::run() {
  HONE_CHECK(failed);
  ran = false;
  HONE_CHECK(context->run());
  for (size_t i = 0; i < outputs.size(); ++i)
    if (outputs[i].target.dtype != DType::none)
      HONE_CHECK(copy_output(i).within(fmt::format("output '{}'", program().outputs[i].name)));
  ran = true;
  return {};
}

hone::Status v0::Context::Impl::enqueue(void* stream) {
  HONE_CHECK(failed);
  if (!context->engine().device_weights()) {
    if (stream != nullptr)
      return unsupported("a stream was given, but the engine runs on the CPU: give a null pointer");
    return run();
  }
  ran = false;
  HONE_CHECK(context->enqueue(static_cast<cuda::CUstr*>(stream)));
  ran = true;
  return {};
}

hone::Status v0::Context::Impl::copy_output(size_t index) const {
  HONE_TRY(const Tensor value, context->output(program().outputs[index].name));
  const TensorView& target = outputs[index].target;
  if (api::to_public(value.type()) != target.dtype)
    return invalid("it is {}, not {}", hone::name(value.type()), name(target.dtype));
  if (value.count() > target.dims.count())
    return invalid("it is {}{}, more than the {} of the memory", hone::name(value.type()), to_string(value.dims()),
                   counted(target.dims.count(), "element"));
  if (value.bytes() > 0) std::memmove(target.data, value.raw(), value.bytes());
  return {};
}

hone::Result<v0::TensorView> v0::Context::Impl::output(std::string_view name) {
  HONE_CHECK(failed);
  const auto index = find(program().outputs, name);
  if (!index) return invalid("there is no output '{}'; the outputs are {}", name, list_names(program().outputs));
  if (!ran) return invalid("output '{}': nothing was run since the context was made or an input bound", name);
  const Tensor& there = outputs[*index].on_device;
  HONE_TRY(const Tensor value, there.defined() ? hone::Result<Tensor>(there) : context->output(name));
  if (!value.defined() || value.type() == hone::DType::sequence)
    return unsupported("output '{}' is a sequence or an empty optional, which the API cannot hand out", name);
  const Dims dims = value.dims();
  if (!dims.valid()) return unsupported("output '{}' has rank {}, more than {}", name, dims.rank(), Dims::kMaxRank);
  if (value.type() != hone::DType::string) return TensorView(api::to_public(value.type()), value.raw(), dims);
  std::vector<const char*>& text = outputs[*index].text;
  text.clear();
  for (const std::string& s : value.text()) text.push_back(s.c_str());
  return TensorView(DType::string, text.data(), dims);
}

v0::Context v0::Engine::create_context() const {
  auto impl = std::make_unique<Context::Impl>();
  impl->failed = api::guarded([&]() -> hone::Status {
    if (!impl_) return invalid("the context is of an empty engine");
    impl->context = std::make_unique<ExecutionContext>(impl_->engine);
    impl->outputs.resize(impl->program().outputs.size());
    return {};
  });
  return Context(std::move(impl));
}

v0::Context::Context(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
v0::Context::Context(Context&&) noexcept = default;
v0::Context& v0::Context::operator=(Context&&) noexcept = default;
v0::Context::~Context() = default;

namespace {

const char* const kMovedFrom = "the context was moved from";

}  // namespace

v0::Status v0::Context::bind(std::string_view name, const TensorView& view) {
  if (!impl_) return {Code::invalid, kMovedFrom};
  return api::to_public(api::guarded([&] { return impl_->bind(name, view); }));
}

v0::Status v0::Context::run() {
  if (!impl_) return {Code::invalid, kMovedFrom};
  return api::to_public(api::guarded([&] { return impl_->run(); }));
}

v0::Status v0::Context::enqueue(void* stream) {
  if (!impl_) return {Code::invalid, kMovedFrom};
  return api::to_public(api::guarded([&] { return impl_->enqueue(stream); }));
}

v0::Status v0::Context::synchronize() {
  if (!impl_) return {Code::invalid, kMovedFrom};
  return api::to_public(
      api::guarded([&] { return impl_->failed.ok() ? impl_->context->synchronize() : impl_->failed; }));
}

v0::Result<v0::TensorView> v0::Context::output(std::string_view name) const {
  if (!impl_) return Status(Code::invalid, kMovedFrom);
  auto view = api::guarded([&] { return impl_->output(name); });
  if (!view.ok()) return api::to_public(view.status());
  return *view;
}

v0::Status v0::Context::set_profiler(std::function<void(size_t, double)> profiler) {
  if (!impl_) return {Code::invalid, kMovedFrom};
  if (impl_->failed.ok()) impl_->context->profiler = std::move(profiler);
  return api::to_public(impl_->failed);
}

}  // namespace hone
