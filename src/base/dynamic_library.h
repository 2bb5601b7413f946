#pragma once

#include <span>
#include <string>

#include "base/status.h"

namespace hone {

// A shared library opened while the program runs. It stays open until the program ends, so that its functions may be
// kept by anybody.
class DynamicLibrary {
 public:
  // The first of `names` that the loader finds; the error lists them all.
  static Result<DynamicLibrary> open(std::span<const std::string> names);

  // Null when the library has no such function.
  void* find(const char* symbol) const;
  const std::string& name() const { return name_; }

 private:
  DynamicLibrary(void* handle, std::string name) : handle_(handle), name_(std::move(name)) {}
  void* handle_;
  std::string name_;
};

}  // namespace hone
