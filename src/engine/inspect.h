#pragma once

#include "engine/engine_file.h"

namespace hone {

// In what a step computes: a tactic that is not fp32 has its precision at the end of its name.
std::string_view precision_of(const Step& step);

// The libraries that the steps call, with the versions that they need, each once.
std::vector<std::string> libraries_of(const Program& program);

// The first of the framework's nodes that a step computes.
std::string layer_name(const Step& step);

// What lies beside a program in its engine file.
struct FileSummary {
  std::vector<std::string> cuda_archs;    // that there are programs for, this one among them; none on CPUs
  std::optional<int64_t> portable_bytes;  // that the portable graph adds; nothing: there is none, or no file yet
};
FileSummary summary_of(const EngineFile& file);

// What a program does, as users see it: the JSON of `hone inspect --json` and of the API.
std::string inspect_json(const Program& program, const FileSummary& file = {});

}  // namespace hone
