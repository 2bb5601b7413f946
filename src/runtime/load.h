#pragma once

#include "cuda/device.h"
#include "engine/engine_file.h"

namespace hone {

// Of programs for several architectures the one that a GPU runs best: its own, else the highest that it runs.
std::optional<size_t> best_program(std::span<const EngineFile::ProgramInfo> programs, const cuda::Device& device);

// Which program of the file runs here. Errors: device (none does; the message says which there are and what to do).
Result<size_t> program_for_this_machine(const EngineFile& file);

// That program.
Result<EngineData> load_engine(const std::string& path);

}  // namespace hone
