#pragma once

#include <string>

#include "engine/program.h"

namespace hone::tools {

// `text` with what HTML would read as markup escaped, for elements and quoted attributes alike.
std::string escaped(std::string_view text);

// 1234567 -> "1.23 MB".
std::string readable_bytes(int64_t bytes);

// One page about an engine that needs nothing but itself: summary, layers, memory plan.
std::string html_report(const std::string& title, const Program& program);

}  // namespace hone::tools
