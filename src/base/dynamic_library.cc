#include "base/dynamic_library.h"

#include <dlfcn.h>
#include <fmt/ranges.h>

namespace hone {

Result<DynamicLibrary> DynamicLibrary::open(std::span<const std::string> names) {
  for (const std::string& name : names)
    if (void* handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL)) return DynamicLibrary(handle, name);
  return Status(Code::device, fmt::format("none of the libraries {} can be loaded", fmt::join(names, ", ")));
}

void* DynamicLibrary::find(const char* symbol) const { return dlsym(handle_, symbol); }

}  // namespace hone
