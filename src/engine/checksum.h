#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace hone {

// XXH3 of the XXH3s of each mebibyte, little endian, so that threads share the work: what loading an engine waits for
// is the memory that holds its weights.
uint64_t checksum(std::string_view bytes);
// Of each of several pieces of memory, read by threads together.
std::vector<uint64_t> checksums(std::span<const std::string_view> all);

}  // namespace hone
