#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace hone::fuzz {

// What mutation starts from, for the target of that name: made from small models, those of ONNX's own tests in `folder`
// (if it is there) among them.
std::vector<std::string> seeds(std::string_view target, const std::filesystem::path& folder);
// Of the targets that read no model; empty for others.
std::vector<std::string> data_seeds(std::string_view target);
// The bytes that `write` puts into the file whose path it is given; empty when it fails.
std::string written(const std::function<bool(const std::string& path)>& write);

}  // namespace hone::fuzz
