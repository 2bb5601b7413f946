#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace hone::fuzz {

// What mutation starts from, for the target of that name: made from small models, those of ONNX's own tests in `folder`
// (if it is there) among them.
std::vector<std::string> seeds(std::string_view target, const std::filesystem::path& folder);

}  // namespace hone::fuzz
