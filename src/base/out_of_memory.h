#pragma once

#include <cstddef>
#include <new>
#include <string>

namespace hone {

// That so many bytes at once cannot be had.
class OutOfMemory : public std::bad_alloc {
 public:
  explicit OutOfMemory(size_t bytes) : bytes_(bytes) {}
  size_t bytes() const { return bytes_; }
  const char* what() const noexcept override { return "out of memory"; }

 private:
  size_t bytes_;
};

// In words, with what is known.
std::string out_of_memory(const std::bad_alloc& error);

}  // namespace hone
