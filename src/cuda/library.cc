#include "cuda/library.h"

#include <cstdlib>

namespace hone::cuda {

Result<DynamicLibrary> open_library(const LibraryFile& file) {
  std::vector<std::string> files = file.files;
  if (const char* chosen = std::getenv(file.variable); chosen != nullptr) files = {chosen};
  if (files.front().empty())
    return Status(Code::device, fmt::format("{} is empty: {} is not used", file.variable, file.name));
  auto opened = DynamicLibrary::open(files);
  if (!opened.ok())
    return Status(Code::device, fmt::format("{}: {} {}; install it, or name its file in {}", opened.status().message(),
                                            file.name, file.use, file.variable));
  return opened;
}

}  // namespace hone::cuda
