#include "cuda/cudnn_backend.h"

#include "cuda/cublaslt.h"

namespace hone::cuda::cudnn {
namespace {

constexpr int kUnsupportedFrom = 3000, kUnsupportedTo = 3999;  // of cudnnStatus_t

Result<Library> load() {
  HONE_TRY(const DynamicLibrary opened,
           open_library(
               {.name = "cuDNN", .variable = "HONE_CUDNN", .files = {"libcudnn.so.9"}, .use = "convolves on the GPU"}));
  Library library;
#define X(symbol, result, parameters)                                                \
  library.symbol = reinterpret_cast<decltype(library.symbol)>(opened.find(#symbol)); \
  if (library.symbol == nullptr)                                                     \
    return Status(Code::device, opened.name() + " has no " #symbol                   \
                                                ": cuDNN 9 is "                      \
                                                "needed");
  HONE_CUDNN(X)
#undef X
  const auto number = static_cast<int>(library.cudnnGetVersion());
  library.version.major = number / 10000;
  library.version.minor = number / 100 % 100;
  library.version.patch = number % 100;
  if (library.version.major != 9)
    return Status(Code::device, fmt::format("{} is {}: cuDNN 9 is needed", opened.name(), library.version.text()));
  // It ends the program where it finds none. One that HONE_CUBLASLT names is found by its own name once it is open.
  (void)cublaslt_version();
  const std::string needed[] = {fmt::format("libcublasLt.so.{}", library.cudnnGetCudartVersion() / 1000)};
  if (const auto found = DynamicLibrary::open(needed); !found.ok())
    return Status(Code::device, fmt::format("{} needs {}, which cannot be loaded", library.version.text(), needed[0]));
  return library;
}

}  // namespace

Status Library::check(int status, const char* call) const {
  if (status == 0) return {};
  char detail[512] = {};
  cudnnGetLastErrorString(detail, sizeof detail);
  const bool refused = status >= kUnsupportedFrom && status <= kUnsupportedTo;
  return {refused ? Code::unsupported : Code::device,
          fmt::format("{}: {}{}{}", call, cudnnGetErrorString(status), detail[0] != 0 ? ": " : "", detail)};
}

Result<const Library*> library() {
  static const Result<Library> loaded = load();
  if (!loaded.ok()) return loaded.status();
  return &*loaded;
}

Result<Handles::Lease> Handles::take(const Library& api, int ordinal) {
  HONE_CHECK(make_current(ordinal));
  {
    const std::lock_guard lock(mutex_);
    auto& free = free_[ordinal];
    if (!free.empty()) {
      Handle* const handle = free.back();
      free.pop_back();
      return Lease(this, ordinal, handle);
    }
  }
  Handle* handle = nullptr;
  HONE_DNN(api, cudnnCreate, &handle);
  return Lease(this, ordinal, handle);
}

Handles& handles() {
  static Handles all;
  return all;
}

Result<Descriptor> Descriptors::add(Kind kind) {
  Descriptor made = nullptr;
  HONE_DNN(*api_, cudnnBackendCreateDescriptor, kind, &made);
  made_.push_back(made);
  return made;
}

Result<Descriptor> Descriptors::make(Kind kind, const std::vector<Set>& attributes) {
  HONE_TRY(const Descriptor made, add(kind));
  for (const auto& [attribute, type, value] : attributes)
    HONE_CHECK(std::visit(
        [&, attribute = attribute, type = type](const auto& v) {
          const void* values = &v;
          int64_t count = 1;
          if constexpr (requires { v.data(); }) {
            values = v.data();
            count = static_cast<int64_t>(v.size());
          }
          return api_->check(api_->cudnnBackendSetAttribute(made, attribute, type, count, values),
                             "cudnnBackendSetAttribute");
        },
        value));
  HONE_DNN(*api_, cudnnBackendFinalize, made);
  return made;
}

Result<std::vector<Descriptor>> Descriptors::get_descriptors(Descriptor from, Attribute attribute, Kind kind,
                                                             int most) {
  std::vector<Descriptor> all;
  for (int i = 0; i < most; ++i) {
    HONE_TRY(const Descriptor one, add(kind));
    all.push_back(one);
  }
  return get(from, attribute, kDescriptor, std::move(all));
}

}  // namespace hone::cuda::cudnn
