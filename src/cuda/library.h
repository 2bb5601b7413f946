#pragma once

#include <string>
#include <vector>

#include "base/dynamic_library.h"

// NVIDIA's libraries, opened when they are needed: none is needed to build Hone.
namespace hone::cuda {

struct LibraryFile {
  const char* name;                // "cuDNN"
  const char* variable;            // of the environment: the file, where the loader does not find it; empty: not used
  std::vector<std::string> files;  // that the loader is asked for, in turn
  const char* use;                 // "convolves on the GPU", for who lacks it
};

// The error says what is lost without it, and how it is named.
Result<DynamicLibrary> open_library(const LibraryFile& file);

struct LibraryVersion {
  std::string name;  // "cuDNN"
  int major = 0, minor = 0, patch = 0;

  bool operator==(const LibraryVersion&) const = default;
  std::string number() const { return fmt::format("{}.{}.{}", major, minor, patch); }
  std::string text() const { return name + " " + number(); }
};

// What the libraries want of a workspace, which buffers need not have: ask for that much more, and begin there.
inline constexpr int64_t kLibraryAlign = 256;
inline void* aligned_for_library(std::byte* workspace) {
  const auto behind = static_cast<int64_t>(reinterpret_cast<uintptr_t>(workspace) % kLibraryAlign);
  return workspace + (behind == 0 ? 0 : kLibraryAlign - behind);
}

}  // namespace hone::cuda
