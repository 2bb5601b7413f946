#pragma once

#include "base/file_map.h"
#include "engine/portable.h"
#include "engine/program.h"
#include "engine/tensor_pool.h"

namespace hone {

// A program with its weights. Immutable once built; shared by threads.
struct EngineData {
  Program program;
  std::vector<Tensor> constants;  // one a slot, undefined where the slot is no constant
};

// All that goes into an engine file.
struct EngineContents {
  std::vector<EngineData> programs;          // one, or one for each architecture of GPUs
  std::shared_ptr<const Portable> portable;  // null: there is none
};

// File layout, little endian: "HONEENG\n", u32 version, u32 sections, then for each section {char name[16], u64 offset,
// u64 bytes, u64 checksum}; u64 checksum of all before it (see checksum.h). Then the sections:
//   index      JSON: target and architecture of each program, how many bytes the portable graph adds
//   tensors    for each {u64 offset, u64 bytes, u64 checksum}; they lie behind the sections, those of the same bytes
//              once, so that programs and the portable graph share them. Flat memory lies as it is, to be mapped.
//   program N  JSON, see manifest.h; constants are numbers of tensors
//   graph      the portable graph's text (ir/graph.h), its larger constants as numbers of tensors
//   recipe     JSON, see portable.h; like the graph it may be missing
Status save_engine(const EngineContents& engine, const std::string& path);

// An engine file that is open: its parts are read, and their checksums held against them, when they are asked for.
class EngineFile {
 public:
  struct ProgramInfo {
    std::string target, cuda_arch;  // as in Program
  };

  // Checks version, bounds and the checksums of the header, the index and the table of tensors.
  static Result<EngineFile> open(const std::string& path);

  const std::string& path() const { return path_; }
  const std::vector<ProgramInfo>& programs() const { return programs_; }  // at least one
  bool has_portable() const;
  int64_t portable_bytes() const { return portable_bytes_; }  // that the file would be smaller without it

  // The weights stay mapped: processes that load one file share its pages. Nothing of other parts is read.
  Result<EngineData> program(size_t number) const;
  Result<Portable> portable() const;
  // The same file again.
  Status save(const std::string& path) const;

 private:
  struct Section {
    char name[16] = {};
    uint64_t offset = 0, bytes = 0, hash = 0;
  };
  friend Status save_engine(const EngineContents& engine, const std::string& path);

  EngineFile(std::string path, std::shared_ptr<const FileMap> file) : path_(std::move(path)), file_(std::move(file)) {}
  Status read_table();
  Status read_index();
  Status read_tensors();
  const Section* find(std::string_view name) const;
  Result<std::string_view> section(std::string_view name) const;
  Result<EngineData> read_program(size_t number) const;
  Result<Portable> read_portable() const;
  // The number's bytes as a tensor; its checksum is for the caller to check.
  Result<Tensor> tensor(uint64_t number, DType type, const Dims& dims) const;
  std::string_view bytes_of(const StoredTensor& t) const { return file_->text().substr(t.offset, t.bytes); }

  std::string path_;
  std::shared_ptr<const FileMap> file_;
  std::vector<Section> sections_;
  std::vector<StoredTensor> tensors_;
  std::vector<ProgramInfo> programs_;
  int64_t portable_bytes_ = 0;
};

// Whether the file starts as an engine does.
bool looks_like_engine(std::string_view bytes);

}  // namespace hone
