#pragma once

#include <fmt/core.h>

#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace hone {

// What went wrong; the command line turns each into its exit status.
enum class Code {
  ok,
  check_failed,  // a verification did not hold
  invalid,       // bad usage or bad input
  unsupported,   // understood, but Hone has no way to do it
  device,        // device missing, incompatible or out of memory
  cancelled,     // the caller asked to stop
  internal,      // a bug in Hone
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == Code::ok; }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }

  // Prefixes the message with where it happened: "node 'conv1' (Conv): ...".
  Status within(std::string_view place) const {
    return ok() ? *this : Status(code_, fmt::format("{}: {}", place, message_));
  }

 private:
  Code code_ = Code::ok;
  std::string message_;
};

template <class... Args>
Status invalid(fmt::format_string<Args...> format, Args&&... args) {
  return {Code::invalid, fmt::vformat(format, fmt::make_format_args(args...))};
}
template <class... Args>
Status unsupported(fmt::format_string<Args...> format, Args&&... args) {
  return {Code::unsupported, fmt::vformat(format, fmt::make_format_args(args...))};
}
template <class... Args>
Status internal(fmt::format_string<Args...> format, Args&&... args) {
  return {Code::internal, fmt::vformat(format, fmt::make_format_args(args...))};
}

// A value, or the reason why there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Status status) : state_(std::in_place_index<1>, std::move(status)) {}

  bool ok() const { return state_.index() == 0; }
  Status status() const { return ok() ? Status() : std::get<1>(state_); }

  T& value() { return std::get<0>(state_); }
  const T& value() const { return std::get<0>(state_); }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::variant<T, Status> state_;
};

}  // namespace hone

#define HONE_CONCAT_(a, b) a##b
#define HONE_CONCAT(a, b) HONE_CONCAT_(a, b)

// Returns the error of `expr` (a Status or Result) to the caller.
#define HONE_CHECK(expr)                                              \
  do {                                                                \
    if (auto hone_status_ = ::hone::as_status(expr); !hone_status_.ok()) return hone_status_; \
  } while (false)

// `HONE_TRY(auto x, f())`: binds the value of a Result or returns its error.
#define HONE_TRY(decl, expr)                                  \
  auto HONE_CONCAT(hone_result_, __LINE__) = (expr);          \
  if (!HONE_CONCAT(hone_result_, __LINE__).ok()) return HONE_CONCAT(hone_result_, __LINE__).status(); \
  decl = std::move(HONE_CONCAT(hone_result_, __LINE__).value())

namespace hone {
inline Status as_status(Status status) { return status; }
template <class T>
Status as_status(const Result<T>& result) {
  return result.status();
}
}  // namespace hone
