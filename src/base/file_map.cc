#include "base/file_map.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <random>
#include <vector>

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

// Sets errno when it cannot. All parts go to the system together: it then keeps the file in large pages, in which
// memory that is mapped from it is read faster.
bool write_all(int fd, std::span<const std::string_view> parts) {
  std::vector<iovec> pieces;
  for (std::string_view part : parts)
    if (!part.empty()) pieces.push_back({const_cast<char*>(part.data()), part.size()});
  for (size_t next = 0; next < pieces.size();) {
    const auto count = static_cast<int>(std::min<size_t>(pieces.size() - next, IOV_MAX));
    ssize_t n = ::writev(fd, &pieces[next], count);
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) errno = ENOSPC;
    if (n <= 0) return false;
    for (; n > 0 && n >= static_cast<ssize_t>(pieces[next].iov_len); ++next)
      n -= static_cast<ssize_t>(pieces[next].iov_len);
    if (n == 0) continue;
    pieces[next].iov_base = static_cast<char*>(pieces[next].iov_base) + n;
    pieces[next].iov_len -= static_cast<size_t>(n);
  }
  return true;
}

// Which can be read only by setting it: not by two threads at once.
mode_t file_mask() {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  const mode_t mask = umask(0);
  umask(mask);
  return mask;
}

// A new file beside `path`. It has no name while it is written, so that nothing is left of it when the program is
// killed; file systems that cannot do that give it one at once.
class Temporary {
 public:
  explicit Temporary(const std::string& path) : path_(path) {
    const std::string folder = path.substr(0, path.rfind('/') + 1);
    if (access("/proc/self/fd", X_OK) == 0)
      fd_ = ::open(folder.empty() ? "." : folder.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (fd_ >= 0) return;
    name_ = path + ".XXXXXX";
    fd_ = ::mkostemp(name_.data(), O_CLOEXEC);
    named_ = fd_ >= 0;
  }
  ~Temporary() {
    const int error = errno;  // of what went wrong before
    if (fd_ >= 0) ::close(fd_);
    if (named_) ::unlink(name_.c_str());
    errno = error;
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;

  int fd() const { return fd_; }

  // Makes it the file at `path`.
  bool replace(Durable durable) {
    if (fchmod(fd_, 0666 & ~file_mask()) != 0 || (durable == Durable::yes && fsync(fd_) != 0)) return false;
    if (!named_ && !link()) return false;
    if (std::rename(name_.c_str(), path_.c_str()) != 0) return false;
    named_ = false;
    return true;
  }

 private:
  // A link cannot take the place of a file: it gets a name of its own first.
  bool link() {
    name_ = fmt::format("{}.{:08x}", path_, std::random_device()());
    const std::string unnamed = fmt::format("/proc/self/fd/{}", fd_);
    named_ = linkat(AT_FDCWD, unnamed.c_str(), AT_FDCWD, name_.c_str(), AT_SYMLINK_FOLLOW) == 0;
    return named_;
  }

  std::string path_, name_;
  int fd_ = -1;
  bool named_ = false;
};

// A device or a pipe, which is written to and not replaced.
bool is_special(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
}

bool write_special(const std::string& path, std::span<const std::string_view> parts) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  const bool written = fd >= 0 && write_all(fd, parts);
  const int error = errno;
  if (fd >= 0) ::close(fd);
  errno = error;
  return written;
}

}  // namespace

Status write_file(const std::string& path, std::span<const std::string_view> parts, Durable durable) {
  const auto write = [&] {
    if (is_special(path)) return write_special(path, parts);
    Temporary file(path);
    return file.fd() >= 0 && write_all(file.fd(), parts) && file.replace(durable);
  };
  return write() ? Status() : invalid("{}: cannot be written: {}", path, std::strerror(errno));
}

Status check_writable(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  const std::string folder = parent.empty() ? "." : parent;
  if (access(folder.c_str(), W_OK) != 0) return invalid("{}: cannot be written: {}", path, std::strerror(errno));
  return {};
}

}  // namespace hone
