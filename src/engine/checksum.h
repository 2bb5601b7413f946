#pragma once

#include <cstdint>
#include <string_view>

namespace hone {

// XXH3 of the XXH3s of each mebibyte, little endian, so that threads share the work: what loading an engine waits for
// is the memory that holds its weights.
uint64_t checksum(std::string_view bytes);

}  // namespace hone
