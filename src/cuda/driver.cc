#include "cuda/driver.h"

#include <algorithm>

#include "base/dynamic_library.h"

namespace hone::cuda {
namespace {

constexpr int kLeastVersion = 12000;  // CUDA 12.0: the first with descriptors of tensors

constexpr const char* kFault = "a kernel has faulted, and this process cannot use the GPU any more";

// What to do about an error, by values of CUresult.
struct Advice {
  int first, last;
  const char* text;
};
constexpr Advice kAdvice[] = {
    {kOutOfMemory, kOutOfMemory,
     "use a smaller batch, or free the GPU's memory: nvidia-smi shows which processes hold it"},
    {46, 46, "another process has the GPU for itself, or it is lost: see nvidia-smi"},
    {100, 101, "the driver shows no such GPU: see nvidia-smi and CUDA_VISIBLE_DEVICES"},
    {200, 200, "the driver cannot load this code: install a newer driver, or build with an older NVRTC"},
    {209, 209, "the driver has no such code for this GPU: build for its architecture"},
    {214, 214, "the GPU's memory has failed: see nvidia-smi, and reset the GPU"},
    {218, 223, "the driver cannot load this code: install a newer driver, or build with an older NVRTC"},
    {802, 804, "the driver's library and its kernel module are not of one version: restart the machine"},
    {999, 999, "the GPU may be lost: see nvidia-smi and the kernel's log for Xid errors"},
};

Result<Driver> load() {
  const std::string names[] = {"libcuda.so.1"};
  auto library = DynamicLibrary::open(names);
  if (!library.ok()) return Status(Code::device, "no NVIDIA driver: libcuda.so.1 cannot be loaded");
  Driver driver;
  int version = 0;
  driver.cuDriverGetVersion =
      reinterpret_cast<decltype(driver.cuDriverGetVersion)>(library->find("cuDriverGetVersion"));
  if (driver.cuDriverGetVersion == nullptr || driver.cuDriverGetVersion(&version) != 0 || version < kLeastVersion)
    return Status(Code::device, fmt::format("the NVIDIA driver is too old: it is for CUDA {}.{}, and 12.0 is needed: "
                                            "install a newer one",
                                            version / 1000, version / 10 % 100));
#define X(name, parameters)                                                    \
  driver.name = reinterpret_cast<decltype(driver.name)>(library->find(#name)); \
  if (driver.name == nullptr)                                                  \
    return Status(Code::device, "the NVIDIA driver is too old: it has no " #name ": install a newer one");
  HONE_CUDA_DRIVER(X)
#undef X
  HONE_CHECK(driver.check(driver.cuInit(0), "cuInit"));
  return driver;
}

}  // namespace

bool is_kernel_fault(int status) {
  constexpr int kIllegalAddress = 700, kTimeout = 702, kAssertion = 710, kStack = 714, kLaunchFailed = 719;
  return status == kIllegalAddress || status == kTimeout || status == kAssertion ||
         (status >= kStack && status <= kLaunchFailed);
}

Status Driver::check(int status, const char* call) const {
  if (status == 0) return {};
  const char *code = nullptr, *text = nullptr;
  cuGetErrorName(status, &code);
  cuGetErrorString(status, &text);
  const auto found =
      std::ranges::find_if(kAdvice, [&](const Advice& a) { return status >= a.first && status <= a.last; });
  const char* const advice = is_kernel_fault(status) ? kFault : found != std::end(kAdvice) ? found->text : nullptr;
  return {Code::device,
          fmt::format("{}: {} ({}){}{}", call, text != nullptr ? text : "unknown error", code != nullptr ? code : "?",
                      advice != nullptr ? ": " : "", advice != nullptr ? advice : "")};
}

Result<const Driver*> driver() {
  static const Result<Driver> loaded = load();
  if (!loaded.ok()) return loaded.status();
  return &*loaded;
}

}  // namespace hone::cuda
