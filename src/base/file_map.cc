#include "base/file_map.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace hone {

Result<std::shared_ptr<const FileMap>> FileMap::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe must not wait for its writer
  if (fd < 0) return invalid("{}: cannot be opened: {}", path, std::strerror(errno));
  struct stat info {};
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    return invalid("{}: is not a regular file", path);
  }
  const auto size = static_cast<size_t>(info.st_size);
  void* data = size == 0 ? nullptr : mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  const int error = errno;
  ::close(fd);
  if (data == MAP_FAILED) return invalid("{}: cannot be mapped: {}", path, std::strerror(error));
  return std::shared_ptr<const FileMap>(new FileMap(static_cast<const std::byte*>(data), size));
}

FileMap::~FileMap() {
  if (size_ > 0) munmap(const_cast<std::byte*>(data_), size_);
}

namespace {

Status write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return invalid("{}", std::strerror(n < 0 ? errno : ENOSPC));
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

}  // namespace

Status write_file(const std::string& path, std::span<const std::string_view> parts) {
  std::string temporary = path + ".XXXXXX";
  const int fd = ::mkstemp(temporary.data());
  if (fd < 0) return invalid("{}: cannot be written: {}", path, std::strerror(errno));
  Status status;
  for (std::string_view part : parts)
    if (status.ok()) status = write_all(fd, part);
  const mode_t mask = umask(0);
  umask(mask);
  fchmod(fd, 0666 & ~mask);
  if (status.ok() && fsync(fd) != 0) status = invalid("{}", std::strerror(errno));
  if (::close(fd) != 0 && status.ok()) status = invalid("{}", std::strerror(errno));
  if (status.ok() && std::rename(temporary.c_str(), path.c_str()) != 0) status = invalid("{}", std::strerror(errno));
  if (status.ok()) return {};
  ::unlink(temporary.c_str());
  return status.within(path + ": cannot be written");
}

}  // namespace hone
