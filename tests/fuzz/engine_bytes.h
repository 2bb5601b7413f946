#pragma once

#include <string>
#include <string_view>

namespace hone::fuzz {

// The file with every checksum made to match, as far as the header and its table can be read.
std::string with_true_checksums(std::string_view engine);

}  // namespace hone::fuzz
