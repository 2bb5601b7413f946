#pragma once

#include "base/status.h"

namespace hone::fuzz {

// What is wrong with an error, if anything.
inline std::string refused(const Status& status, bool one_line = true) {
  if (status.message().empty()) return "an error without a message";
  if (status.code() == Code::internal) return "an internal error: " + status.message();
  if (one_line && status.message().find('\n') != std::string::npos)
    return "an error of several lines: " + status.message();
  return {};
}

}  // namespace hone::fuzz
