#include "cuda/driver.h"

#include "base/dynamic_library.h"

namespace hone::cuda {
namespace {

constexpr int kOutOfMemory = 2;

Result<Driver> load() {
  const std::string names[] = {"libcuda.so.1"};
  auto library = DynamicLibrary::open(names);
  if (!library.ok()) return Status(Code::device, "no NVIDIA driver: libcuda.so.1 cannot be loaded");
  Driver driver;
#define X(name, parameters)                                                    \
  driver.name = reinterpret_cast<decltype(driver.name)>(library->find(#name)); \
  if (driver.name == nullptr) return Status(Code::device, "the NVIDIA driver is too old: it has no " #name);
  HONE_CUDA_DRIVER(X)
#undef X
  HONE_CHECK(driver.check(driver.cuInit(0), "cuInit"));
  return driver;
}

}  // namespace

Status Driver::check(int status, const char* call) const {
  if (status == 0) return {};
  const char *code = nullptr, *text = nullptr;
  cuGetErrorName(status, &code);
  cuGetErrorString(status, &text);
  return {Code::device,
          fmt::format("{}: {} ({}){}", call, text != nullptr ? text : "unknown error", code != nullptr ? code : "?",
                      status == kOutOfMemory ? ": use a smaller batch, or free the GPU's memory" : "")};
}

Result<const Driver*> driver() {
  static const Result<Driver> loaded = load();
  if (!loaded.ok()) return loaded.status();
  return &*loaded;
}

}  // namespace hone::cuda
