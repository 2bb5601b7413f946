#include "cuda/nvrtc.h"

#include <cstdlib>
#include <future>
#include <map>
#include <mutex>
#include <vector>

#include "base/dynamic_library.h"

namespace hone::cuda {
namespace {

struct Program;

struct Nvrtc {
  int (*nvrtcVersion)(int* major, int* minor) = nullptr;
  const char* (*nvrtcGetErrorString)(int status) = nullptr;
  int (*nvrtcCreateProgram)(Program** program, const char* source, const char* name, int headers,
                            const char* const* texts, const char* const* names) = nullptr;
  int (*nvrtcCompileProgram)(Program* program, int count, const char* const* options) = nullptr;
  int (*nvrtcDestroyProgram)(Program** program) = nullptr;
  int (*nvrtcGetProgramLogSize)(Program* program, size_t* bytes) = nullptr;
  int (*nvrtcGetProgramLog)(Program* program, char* log) = nullptr;
  int (*nvrtcGetCUBINSize)(Program* program, size_t* bytes) = nullptr;
  int (*nvrtcGetCUBIN)(Program* program, char* cubin) = nullptr;
};

// The file that HONE_NVRTC names, else what the loader finds, else the toolkit's usual folder.
std::vector<std::string> library_names() {
  if (const char* chosen = std::getenv("HONE_NVRTC"); chosen != nullptr) return {chosen};
  return {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so", "/usr/local/cuda/lib64/libnvrtc.so"};
}

Result<Nvrtc> load() {
  const auto names = library_names();
  auto library = DynamicLibrary::open(names);
  if (!library.ok())
    return Status(Code::device, library.status().message() +
                                    ": NVRTC compiles the GPU's kernels; install it, or name its file in HONE_NVRTC");
  Nvrtc nvrtc;
#define X(symbol)                                                                  \
  nvrtc.symbol = reinterpret_cast<decltype(nvrtc.symbol)>(library->find(#symbol)); \
  if (nvrtc.symbol == nullptr)                                                     \
    return Status(Code::device, library->name() + " has no " #symbol ": install a newer NVRTC");
  X(nvrtcVersion)
  X(nvrtcGetErrorString)
  X(nvrtcCreateProgram) X(nvrtcCompileProgram) X(nvrtcDestroyProgram) X(nvrtcGetProgramLogSize) X(nvrtcGetProgramLog)
      X(nvrtcGetCUBINSize) X(nvrtcGetCUBIN)
#undef X
          return nvrtc;
}

const Result<Nvrtc>& nvrtc() {
  static const Result<Nvrtc> loaded = load();
  return loaded;
}

Result<Tensor> compile_now(const Nvrtc& api, const std::string& source, const std::string& arch) {
  Program* program = nullptr;
  if (const int status = api.nvrtcCreateProgram(&program, source.c_str(), "kernel.cu", 0, nullptr, nullptr);
      status != 0)
    return internal("nvrtcCreateProgram: {}", api.nvrtcGetErrorString(status));
  const std::string target = "--gpu-architecture=" + arch;
  const char* options[] = {target.c_str(),    "--std=c++17",      "--fmad=true",
                           "--prec-div=true", "--prec-sqrt=true", "--ftz=false"};
  const int status = api.nvrtcCompileProgram(program, static_cast<int>(std::size(options)), options);
  Result<Tensor> result = Tensor();
  if (status != 0) {
    size_t bytes = 0;
    api.nvrtcGetProgramLogSize(program, &bytes);
    std::string log(bytes, '\0');
    if (bytes > 0) api.nvrtcGetProgramLog(program, log.data());
    result = internal("NVRTC refuses a kernel for {}: {}: {}", arch, api.nvrtcGetErrorString(status), log.c_str());
  } else {
    size_t bytes = 0;
    api.nvrtcGetCUBINSize(program, &bytes);
    Tensor cubin(DType::u8, {static_cast<int64_t>(bytes)});
    api.nvrtcGetCUBIN(program, cubin.mutable_data<char>());
    result = std::move(cubin);
  }
  api.nvrtcDestroyProgram(&program);
  return result;
}

}  // namespace

Result<std::string> nvrtc_version() {
  if (!nvrtc().ok()) return nvrtc().status();
  int major = 0, minor = 0;
  nvrtc()->nvrtcVersion(&major, &minor);
  return fmt::format("{}.{}", major, minor);
}

Result<Tensor> compile(const std::string& source, const std::string& arch) {
  if (!nvrtc().ok()) return nvrtc().status();
  // Who asks for what another thread compiles waits for it.
  static std::mutex mutex;
  static std::map<std::pair<std::string, std::string>, std::shared_future<Result<Tensor>>> compiled;
  std::promise<Result<Tensor>> promise;
  std::shared_future<Result<Tensor>> result;
  {
    const std::lock_guard lock(mutex);
    const auto [found, is_new] = compiled.try_emplace({arch, source});
    if (!is_new) result = found->second;
    else found->second = promise.get_future().share();
  }
  if (result.valid()) return result.get();
  Result<Tensor> made = compile_now(*nvrtc(), source, arch);
  promise.set_value(made);
  return made;
}

}  // namespace hone::cuda
