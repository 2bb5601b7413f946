#include "engine/engine_file.h"

#include <algorithm>
#include <cstring>

#include "base/counted.h"
#include "engine/checksum.h"
#include "engine/manifest.h"
#include "engine/strict_json.h"

namespace hone {
namespace {

using Json = StrictJson;

constexpr std::string_view kMagic = "HONEENG\n";
constexpr uint32_t kVersion = 10;
constexpr uint32_t kMaxSections = 64;
constexpr size_t kAlign = 64;

struct Header {
  char magic[8] = {};
  uint32_t version = kVersion, sections = 0;
};

std::string program_name(size_t number) { return fmt::format("program {}", number); }

// C++ knows no third truth value, and the weights are used as they lie.
bool truths_are_true(const Tensor& t) {
  const auto* bytes = static_cast<const uint8_t*>(t.raw());
  return t.type() != DType::boolean || std::all_of(bytes, bytes + t.bytes(), [](uint8_t b) { return b <= 1; });
}

}  // namespace

bool looks_like_engine(std::string_view bytes) { return bytes.starts_with(kMagic); }

Result<EngineFile> EngineFile::open(const std::string& path) {
  HONE_TRY(auto map, FileMap::open(path));
  EngineFile file(path, std::move(map));
  for (const auto read : {&EngineFile::read_table, &EngineFile::read_tensors, &EngineFile::read_index})
    if (const Status status = (file.*read)(); !status.ok()) return status.within(path);
  return file;
}

Status EngineFile::read_table() {
  const std::string_view all = file_->text();
  Header header;
  if (!looks_like_engine(all) || all.size() < sizeof header) return invalid("not an engine file");
  std::memcpy(&header, all.data(), sizeof header);
  if (header.version != kVersion)
    return invalid("engine format {}, this Hone reads {}: build the engine again", header.version, kVersion);
  const size_t table_end = sizeof header + header.sections * sizeof(Section);
  if (header.sections == 0 || header.sections > kMaxSections || all.size() < table_end + 8) return invalid("truncated");
  uint64_t expected;
  std::memcpy(&expected, all.data() + table_end, 8);
  if (checksum(all.substr(0, table_end)) != expected) return invalid("damaged (the header's checksum does not match)");
  sections_.resize(header.sections);
  std::memcpy(sections_.data(), all.data() + sizeof header, header.sections * sizeof(Section));
  for (const Section& s : sections_)
    if (s.offset > all.size() || s.bytes > all.size() - s.offset) return invalid("truncated");
  return {};
}

const EngineFile::Section* EngineFile::find(std::string_view name) const {
  const auto found = std::ranges::find_if(
      sections_, [&](const Section& s) { return std::string_view(s.name, strnlen(s.name, sizeof s.name)) == name; });
  return found == sections_.end() ? nullptr : &*found;
}

Result<std::string_view> EngineFile::section(std::string_view name) const {
  const Section* s = find(name);
  if (s == nullptr) return invalid("section '{}' is missing", name);
  const std::string_view bytes = file_->text().substr(s->offset, s->bytes);
  if (checksum(bytes) != s->hash) return invalid("section '{}' is damaged (its checksum does not match)", name);
  return bytes;
}

Status EngineFile::read_tensors() {
  HONE_TRY(const auto bytes, section("tensors"));
  tensors_.resize(bytes.size() / sizeof(StoredTensor));
  if (!tensors_.empty()) std::memcpy(tensors_.data(), bytes.data(), tensors_.size() * sizeof(StoredTensor));
  const uint64_t size = file_->text().size();
  for (const StoredTensor& t : tensors_)
    if (t.offset > size || t.bytes > size - t.offset || t.offset % kAlign != 0) return invalid("truncated");
  return {};
}

Status EngineFile::read_index() {
  HONE_TRY(const auto text, section("index"));
  try {
    const Json json = Json::parse(text);
    for (const Json& p : json.at("programs")) programs_.push_back({p.at("target"), p.at("cuda_arch")});
    portable_bytes_ = json.at("portable_bytes");
    return portable_bytes_ >= 0 && !programs_.empty() ? Status() : invalid("the index is malformed");
  } catch (const std::exception& e) {
    return invalid("the index is malformed: {}", e.what());
  }
}

bool EngineFile::has_portable() const { return find("graph") != nullptr; }

Result<Tensor> EngineFile::tensor(uint64_t number, DType type, const Dims& dims) const {
  if (number >= tensors_.size()) return invalid("tensor {} is missing", number);
  const StoredTensor& stored = tensors_[number];
  if (type == DType::string) return decode_strings(bytes_of(stored), dims);
  HONE_TRY(const int64_t bytes, checked_bytes(type, dims));
  if (size_of(type) == 0 || static_cast<uint64_t>(bytes) != stored.bytes)
    return invalid("tensor {} has {}, not those of {}", number, counted(stored.bytes, "byte"),
                   to_text(TensorType{type, Shape::of(dims)}));
  Tensor value(type, dims, file_->text().data() + stored.offset, file_);
  if (!truths_are_true(value)) return invalid("a boolean constant holds another number than 0 and 1");
  return value;
}

Result<EngineData> EngineFile::program(size_t number) const {
  auto engine = read_program(number);
  if (!engine.ok()) return engine.status().within(path_);
  return engine;
}

Result<EngineData> EngineFile::read_program(size_t number) const {
  HONE_TRY(const auto manifest, section(program_name(number)));
  EngineData engine;
  HONE_TRY(engine.program, program_from_json(manifest));
  const auto& slots = engine.program.slots;
  std::vector<std::string_view> contents;
  std::vector<uint64_t> wanted;
  for (const Slot& slot : slots) {
    if (slot.kind != Slot::Kind::constant) continue;
    if (slot.tensor < 0 || static_cast<size_t>(slot.tensor) >= tensors_.size())
      return invalid("the constant '{}' is missing", slot.name);
    const StoredTensor& stored = tensors_[static_cast<size_t>(slot.tensor)];
    contents.push_back(bytes_of(stored));
    wanted.push_back(stored.hash);
  }
  if (checksums(contents) != wanted) return invalid("the weights are damaged (a checksum does not match)");
  for (const Slot& slot : slots) {
    engine.constants.emplace_back();
    if (slot.kind != Slot::Kind::constant) continue;
    HONE_TRY(engine.constants.back(),
             tensor(static_cast<uint64_t>(slot.tensor), slot.type.dtype, *slot.type.shape.concrete()));
  }
  return engine;
}

Result<Portable> EngineFile::portable() const {
  if (!has_portable())
    return invalid("{}: holds no portable graph (it was built with --no-portable): build it from its model", path_);
  auto portable = read_portable();
  if (!portable.ok()) return portable.status().within(fmt::format("{}: the portable graph", path_));
  return portable;
}

Result<Portable> EngineFile::read_portable() const {
  HONE_TRY(const auto text, section("graph"));
  HONE_TRY(const auto json, section("recipe"));
  Portable portable;
  HONE_TRY(portable.recipe, recipe_from_json(json));
  const auto read = [&](uint64_t number, DType type, const Dims& dims) -> Result<Tensor> {
    HONE_TRY(Tensor value, tensor(number, type, dims));
    if (checksum(bytes_of(tensors_[number])) != tensors_[number].hash)
      return invalid("its values are damaged (their checksum does not match)");
    return value;
  };
  HONE_TRY(portable.graph, graph_from_text(text, read));
  return portable;
}

Status EngineFile::save(const std::string& path) const {
  const std::string_view parts[] = {file_->text()};
  return write_file(path, parts);
}

namespace {

constexpr int64_t kMaxInline = 16;  // elements of a constant in the portable graph's text

// Sections by name, with the tensors that they refer to.
struct Parts {
  std::vector<std::pair<std::string, std::string>> sections;
  TensorPool pool;
};

void add_program(Parts& parts, const EngineData& engine) {
  Program program = engine.program;
  for (size_t s = 0; s < engine.constants.size(); ++s)
    if (engine.constants[s].defined()) program.slots[s].tensor = parts.pool.add(engine.constants[s]);
  parts.sections.emplace_back(program_name(parts.sections.size()), to_json(program));
}

Status add_portable(Parts& parts, const Portable& portable) {
  const auto store = [&](const Tensor& t) { return static_cast<uint64_t>(parts.pool.add(t)); };
  HONE_TRY(std::string recipe, to_json(portable.recipe));
  parts.sections.emplace_back("graph", to_text(portable.graph, {.max_inline = kMaxInline, .store = store}));
  parts.sections.emplace_back("recipe", std::move(recipe));
  return {};
}

std::string index_json(const std::vector<EngineData>& programs, uint64_t portable_bytes) {
  Json list = Json::array();
  for (const EngineData& e : programs)
    list.push_back({{"target", e.program.target}, {"cuda_arch", e.program.cuda_arch}});
  return Json{{"programs", list}, {"portable_bytes", portable_bytes}}.dump(1);
}

template <class T>
std::string_view raw(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

}  // namespace

Status save_engine(const EngineContents& engine, const std::string& path) {
  Parts parts;
  for (const EngineData& e : engine.programs) add_program(parts, e);
  uint64_t portable_bytes = 0;
  if (engine.portable) {
    const uint64_t before = parts.pool.bytes();
    HONE_CHECK(add_portable(parts, *engine.portable));
    portable_bytes = parts.pool.bytes() - before;
    for (size_t i = engine.programs.size(); i < parts.sections.size(); ++i)
      portable_bytes += parts.sections[i].second.size();
  }
  const std::string index = index_json(engine.programs, portable_bytes);
  std::vector<StoredTensor> tensors(parts.pool.table().begin(), parts.pool.table().end());
  std::vector<std::pair<std::string, std::string_view>> contents{{"index", index}, {"tensors", raw(tensors)}};
  contents.insert(contents.end(), parts.sections.begin(), parts.sections.end());

  using Section = EngineFile::Section;
  Header header;
  std::memcpy(header.magic, kMagic.data(), kMagic.size());
  header.sections = static_cast<uint32_t>(contents.size());
  std::vector<Section> table(contents.size());
  uint64_t at = sizeof header + table.size() * sizeof(Section) + 8;
  for (size_t i = 0; i < table.size(); ++i) {
    contents[i].first.copy(table[i].name, sizeof table[i].name - 1);
    table[i].offset = (at + kAlign - 1) / kAlign * kAlign;
    table[i].bytes = contents[i].second.size();
    at = table[i].offset + table[i].bytes;
  }
  parts.pool.place(at);
  std::ranges::copy(parts.pool.table(), tensors.begin());
  for (size_t i = 0; i < table.size(); ++i) table[i].hash = checksum(contents[i].second);

  std::string head(reinterpret_cast<const char*>(&header), sizeof header);
  head += raw(table);
  const uint64_t check = checksum(head);
  head.append(reinterpret_cast<const char*>(&check), 8);
  static constexpr char kZeros[4096] = {};
  std::vector<std::string_view> pieces{head};
  uint64_t written = head.size();
  const auto put = [&](uint64_t offset, std::string_view bytes) {
    pieces.push_back({kZeros, offset - written});
    pieces.push_back(bytes);
    written = offset + bytes.size();
  };
  for (size_t i = 0; i < table.size(); ++i) put(table[i].offset, contents[i].second);
  for (size_t t = 0; t < tensors.size(); ++t) put(tensors[t].offset, parts.pool.content(t));
  return write_file(path, pieces);
}

}  // namespace hone
