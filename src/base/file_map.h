#pragma once

#include <memory>
#include <span>
#include <string>

#include "base/status.h"

namespace hone {

// A whole file, read-only, as memory. Processes that map the same file share its pages.
class FileMap {
 public:
  static Result<std::shared_ptr<const FileMap>> open(const std::string& path);
  ~FileMap();
  FileMap(const FileMap&) = delete;
  FileMap& operator=(const FileMap&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }

 private:
  FileMap(const std::byte* data, size_t size) : data_(data), size_(size) {}

  const std::byte* data_;
  size_t size_;
};

// Whether a file is to be whole after the machine has lost its power as well: the disk is waited for.
enum class Durable { no, yes };
// Writes beside `path` and renames, so that a reader sees the old file or the whole new one; nothing else is left when
// it fails. Devices and pipes are written to directly.
Status write_file(const std::string& path, std::span<const std::string_view> parts, Durable durable = Durable::yes);
// Whether a file can be made at `path`: found out before the work, not after it.
Status check_writable(const std::string& path);

}  // namespace hone
