#pragma once

#include "base/file_map.h"
#include "engine/program.h"

namespace hone {

// A program with its weights: what an engine file holds. Immutable once built; shared by threads.
struct EngineData {
  Program program;
  std::vector<Tensor> constants;  // one a slot, undefined where the slot is no constant
};

// File layout, little endian: "HONEENG\n", u32 version, u32 sections, then for each section {char name[16], u64 offset,
// u64 bytes, u64 checksum}; u64 checksum of all before it (see checksum.h). Sections: "manifest" (JSON, see
// manifest.h), "weights" (each constant at a multiple of 64, the section itself at a multiple of 4096, so that it can
// be mapped) and "strings" (JSON).
Status save_engine(const EngineData& engine, const std::string& path);

// Checks version, bounds and checksums. The weights stay mapped: processes that load one file share its pages.
Result<EngineData> load_engine(const std::string& path);

// Whether the file starts as an engine does.
bool looks_like_engine(std::string_view bytes);

}  // namespace hone
