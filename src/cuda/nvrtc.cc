#include "cuda/nvrtc.h"

#include <fmt/ranges.h>

#include <atomic>
#include <cstring>
#include <vector>

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
  std::pair<int, int> version = {};  // major, minor
  std::string file;

  std::string number() const { return fmt::format("{}.{}", version.first, version.second); }
};

Result<Nvrtc> functions_of(const DynamicLibrary& library) {
  Nvrtc nvrtc{.file = library.name()};
#define X(symbol)                                                                 \
  nvrtc.symbol = reinterpret_cast<decltype(nvrtc.symbol)>(library.find(#symbol)); \
  if (nvrtc.symbol == nullptr)                                                    \
    return Status(Code::device, library.name() + " has no " #symbol ": install a newer NVRTC");
  X(nvrtcVersion)
  X(nvrtcGetErrorString)
  X(nvrtcCreateProgram)
  X(nvrtcCompileProgram)
  X(nvrtcDestroyProgram)
  X(nvrtcGetProgramLogSize)
  X(nvrtcGetProgramLog)
  X(nvrtcGetCUBINSize)
  X(nvrtcGetCUBIN)
#undef X
      nvrtc.nvrtcVersion(&nvrtc.version.first, &nvrtc.version.second);
  return nvrtc;
}

Result<Nvrtc> load() {
  HONE_TRY(
      const DynamicLibrary library,
      open_library({.name = "NVRTC",
                    .variable = "HONE_NVRTC",
                    .files = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so", "/usr/local/cuda/lib64/libnvrtc.so"},
                    .use = "compiles the GPU's kernels"}));
  return functions_of(library);
}

const Result<Nvrtc>& nvrtc() {
  static const Result<Nvrtc> loaded = load();
  return loaded;
}

// The other build of the library that CUDA installs beside it ("libnvrtc.alt.so.13"), which makes the same code; the
// library itself where there is none. Each takes one program at a time through the first part of its work: with both,
// many threads wait half as long.
Nvrtc load_other() {
  std::string file = nvrtc()->file;
  if (const size_t end = file.rfind(".so"); end != std::string::npos) file.insert(end, ".alt");
  const auto library = DynamicLibrary::open({&file, 1});
  if (!library.ok()) return *nvrtc();
  const auto other = functions_of(*library);
  return other.ok() && other->version == nvrtc()->version ? *other : *nvrtc();
}

const Nvrtc& next_build() {
  static const Nvrtc other = load_other();
  static std::atomic<unsigned> turn = 0;
  return turn++ % 2 == 0 ? *nvrtc() : other;
}

std::vector<std::string> options_for(const std::string& arch, const Nvrtc& api) {
  std::vector<std::string> options{"--gpu-architecture=" + arch, "--std=c++17", "--fmad=true", "--prec-div=true",
                                   "--prec-sqrt=true",           "--ftz=false"};
  // Without what no kernel here uses, which the compiler would read first: the code is the same.
  if (api.version >= std::pair(12, 4)) options.emplace_back("--minimal");
  // Nor kept by the driver: that is for a Store.
  if (api.version >= std::pair(12, 9)) options.emplace_back("--no-cache");
  return options;
}

Result<Tensor> compile_now(const Nvrtc& api, const std::string& source, const std::string& arch) {
  Program* program = nullptr;
  if (const int status = api.nvrtcCreateProgram(&program, source.c_str(), "kernel.cu", 0, nullptr, nullptr);
      status != 0)
    return internal("nvrtcCreateProgram: {}", api.nvrtcGetErrorString(status));
  const std::vector<std::string> options = options_for(arch, api);
  std::vector<const char*> texts;
  texts.reserve(options.size());
  for (const std::string& option : options) texts.push_back(option.c_str());
  const int status = api.nvrtcCompileProgram(program, static_cast<int>(texts.size()), texts.data());
  Result<Tensor> result = Tensor();
  if (status == kInvalidOption) {
    result = Status(Code::device, fmt::format("NVRTC {} does not know {}: install a newer one", api.number(), arch));
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

// All that the code depends on. The first word is changed when compile_now() does something else.
std::string key_of(const Nvrtc& api, const std::string& source, const std::string& arch) {
  return fmt::format("code1 NVRTC {} {}\n{}", api.number(), fmt::join(options_for(arch, api), " "), source);
}

Result<Tensor> find_or_compile(const std::string& source, const std::string& arch, const Store* store) {
  if (store == nullptr) return compile_now(next_build(), source, arch);
  const std::string key = key_of(*nvrtc(), source, arch);
  if (const auto found = store->find(key)) {
    Tensor cubin(DType::u8, {static_cast<int64_t>(found->size())});
    std::memcpy(cubin.mutable_raw(), found->data(), found->size());
    return cubin;
  }
  auto made = compile_now(next_build(), source, arch);
  if (made.ok()) store->put(key, {made->data<char>(), made->bytes()});
  return made;
}

}  // namespace

Result<std::string> nvrtc_version() {
  if (!nvrtc().ok()) return nvrtc().status();
  return nvrtc()->number();
}

Result<Tensor> compile(const std::string& source, const std::string& arch, const Store* store) {
  if (!nvrtc().ok()) return nvrtc().status();
  static Once<std::pair<std::string, std::string>, Result<Tensor>> compiled;
  return compiled.get({arch, source}, [&] { return find_or_compile(source, arch, store); });
}

}  // namespace hone::cuda
