#pragma once

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>

#include "export.h"

HONE_NAMESPACE_BEGIN

// What went wrong. The numbers are those of hone_code in C and stay as they are.
enum class Code : int {
  ok = 0,
  check_failed = 1,  // a verification did not hold
  invalid = 2,       // bad usage or bad input: a missing file, a broken model, a wrong shape
  unsupported = 3,   // understood, but Hone has no way to do it
  device = 4,        // device missing, incompatible or out of memory
  cancelled = 5,     // the progress callback asked to stop
  internal = 6,      // a bug in Hone
};

// Success, or a code and one line that says what happened, where, and with which shapes.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == Code::ok; }
  explicit operator bool() const { return ok(); }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  Code code_ = Code::ok;
  std::string message_;
};

// Thrown by Result::value() and its like, in the caller's own code. The library itself throws nothing at its users.
class HONE_API Error : public std::runtime_error {
 public:
  explicit Error(const Status& status) : std::runtime_error(status.message()), code_(status.code()) {}
  Code code() const { return code_; }

 private:
  Code code_;
};

// A value, or the reason why there is none. Taking the value of an error throws Error (without exceptions: prints the
// message and aborts).
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Status error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  Status status() const { return ok() ? Status() : std::get<1>(state_); }

  T& value() & { return *get(); }
  const T& value() const& { return *const_cast<Result*>(this)->get(); }
  T&& value() && { return std::move(*get()); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(value()); }
  T* operator->() { return get(); }
  const T* operator->() const { return &value(); }

 private:
  T* get() {
    if (T* value = std::get_if<0>(&state_)) return value;
#ifdef __cpp_exceptions
    throw Error(std::get<1>(state_));
#else
    std::fprintf(stderr, "hone: error: %s\n", std::get_if<1>(&state_)->message().c_str());
    std::abort();
#endif
  }

  std::variant<T, Status> state_;
};

HONE_NAMESPACE_END
