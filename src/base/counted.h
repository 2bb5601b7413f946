#pragma once

#include <concepts>
#include <string>
#include <string_view>

#include <fmt/format.h>

namespace hone {

// "1 sample", "3 samples", for messages. `many`: where it is not `one` with an s.
std::string counted(std::integral auto count, std::string_view one, std::string_view many = {}) {
  if (count == 1) return fmt::format("1 {}", one);
  return many.empty() ? fmt::format("{} {}s", count, one) : fmt::format("{} {}", count, many);
}

}  // namespace hone
