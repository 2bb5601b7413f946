#include "cuda/nvrtc.h"

#include "base/once.h"
#include "cuda/library.h"

namespace hone::cuda {
namespace {

struct Program;

constexpr int kInvalidOption = 5;  // of nvrtcResult

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

Result<Nvrtc> load() {
  HONE_TRY(
      const DynamicLibrary library,
      open_library({.name = "NVRTC",
                    .variable = "HONE_NVRTC",
                    .files = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so", "/usr/local/cuda/lib64/libnvrtc.so"},
                    .use = "compiles the GPU's kernels"}));
  Nvrtc nvrtc;
#define X(symbol)                                                                 \
  nvrtc.symbol = reinterpret_cast<decltype(nvrtc.symbol)>(library.find(#symbol)); \
  if (nvrtc.symbol == nullptr)                                                    \
    return Status(Code::device, library.name() + " has no " #symbol ": install a newer NVRTC");
  X(nvrtcVersion)
  X(nvrtcGetErrorString)
  X(nvrtcCreateProgram)
  X(nvrtcCompileProgram)
  X(nvrtcDestroyProgram)
  X(nvrtcGetProgramLogSize) X(nvrtcGetProgramLog) X(nvrtcGetCUBINSize) X(nvrtcGetCUBIN)
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
  if (status == kInvalidOption) {
    result =
        Status(Code::device, fmt::format("NVRTC {} does not know {}: install a newer one", *nvrtc_version(), arch));
  } else if (status != 0) {
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
  static Once<std::pair<std::string, std::string>, Result<Tensor>> compiled;
  return compiled.get({arch, source}, [&] { return compile_now(*nvrtc(), source, arch); });
}

}  // namespace hone::cuda
