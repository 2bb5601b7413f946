#include "engine/engine_file.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "engine/manifest.h"

namespace hone {
namespace {

constexpr std::string_view kMagic = "HONEENG\n";
constexpr uint32_t kVersion = 4;
constexpr size_t kAlign = 64, kPage = 4096;

struct Section {
  char name[16] = {};
  uint64_t offset = 0, bytes = 0, hash = 0;
};
struct Header {
  char magic[8] = {};
  uint32_t version = kVersion, sections = 0;
};

size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }
uint64_t hash(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

// Strings are no flat memory: they travel as JSON, by slot.
std::string strings_json(const EngineData& engine) {
  auto json = nlohmann::json::object();
  for (size_t s = 0; s < engine.constants.size(); ++s)
    if (engine.constants[s].type() == DType::string) json[std::to_string(s)] = engine.constants[s].text();
  return json.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

Result<std::string_view> section(std::string_view file, std::span<const Section> table, std::string_view name) {
  for (const Section& s : table) {
    if (std::string_view(s.name, strnlen(s.name, sizeof s.name)) != name) continue;
    if (s.offset > file.size() || s.bytes > file.size() - s.offset) return invalid("section '{}' is truncated", name);
    const std::string_view bytes = file.substr(s.offset, s.bytes);
    if (hash(bytes) != s.hash) return invalid("section '{}' is damaged (its checksum does not match)", name);
    return bytes;
  }
  return invalid("section '{}' is missing", name);
}

bool holds_strings(const Slot& slot) { return slot.kind == Slot::Kind::constant && slot.type.dtype == DType::string; }

Status bind_strings(EngineData& engine, std::string_view text) {
  try {
    const auto json = nlohmann::json::parse(text);
    for (const auto& [key, values] : json.items()) {
      const size_t slot = std::stoul(key);
      if (slot >= engine.constants.size() || !holds_strings(engine.program.slots[slot]))
        return invalid("the strings are malformed");
      const auto dims = engine.program.slots[slot].type.shape.concrete();
      auto list = values.get<std::vector<std::string>>();
      if (!dims || element_count(*dims) != static_cast<int64_t>(list.size()))
        return invalid("the strings are malformed");
      engine.constants[slot] = Tensor::strings(*dims, std::move(list));
    }
  } catch (const std::exception& e) {
    return invalid("the strings are malformed: {}", e.what());
  }
  for (size_t s = 0; s < engine.constants.size(); ++s)
    if (holds_strings(engine.program.slots[s]) && !engine.constants[s].defined())
      return invalid("the strings of slot {} are missing", s);
  return {};
}

// C++ knows no third truth value, and the weights are used as they lie.
bool truths_are_true(const Tensor& t) {
  const auto* bytes = static_cast<const uint8_t*>(t.raw());
  return t.type() != DType::boolean || std::all_of(bytes, bytes + t.bytes(), [](uint8_t b) { return b <= 1; });
}

Result<EngineData> parse(const std::shared_ptr<const FileMap>& file) {
  const std::string_view all = file->text();
  Header header;
  if (!looks_like_engine(all) || all.size() < sizeof header) return invalid("not an engine file");
  std::memcpy(&header, all.data(), sizeof header);
  if (header.version != kVersion)
    return invalid("engine format {}, this Hone reads {}: build the engine again", header.version, kVersion);
  const size_t table_end = sizeof header + header.sections * sizeof(Section);
  if (header.sections > 64 || all.size() < table_end + 8) return invalid("truncated");
  uint64_t expected;
  std::memcpy(&expected, all.data() + table_end, 8);
  if (hash(all.substr(0, table_end)) != expected) return invalid("damaged (the header's checksum does not match)");
  std::vector<Section> table(header.sections);
  std::memcpy(table.data(), all.data() + sizeof header, header.sections * sizeof(Section));

  HONE_TRY(const auto manifest, section(all, table, "manifest"));
  HONE_TRY(const auto weights, section(all, table, "weights"));
  HONE_TRY(const auto strings, section(all, table, "strings"));
  EngineData engine;
  HONE_TRY(engine.program, program_from_json(manifest));
  if (static_cast<uint64_t>(engine.program.memory.weights_bytes) != weights.size())
    return invalid("weights are truncated");
  const auto& slots = engine.program.slots;
  engine.constants.resize(slots.size());
  for (size_t s = 0; s < slots.size(); ++s) {
    if (slots[s].kind != Slot::Kind::constant || holds_strings(slots[s])) continue;
    engine.constants[s] =
        Tensor(slots[s].type.dtype, *slots[s].type.shape.concrete(), weights.data() + slots[s].offset, file);
    if (!truths_are_true(engine.constants[s])) return invalid("a boolean constant holds another number than 0 and 1");
  }
  HONE_CHECK(bind_strings(engine, strings));
  return engine;
}

}  // namespace

bool looks_like_engine(std::string_view bytes) { return bytes.starts_with(kMagic); }

Status save_engine(const EngineData& engine, const std::string& path) {
  const std::string manifest = to_json(engine.program);
  std::string weights(static_cast<size_t>(engine.program.memory.weights_bytes), '\0');
  for (size_t s = 0; s < engine.constants.size(); ++s) {
    const Tensor& t = engine.constants[s];
    if (t.defined() && t.type() != DType::string && t.bytes() > 0)
      std::memcpy(weights.data() + engine.program.slots[s].offset, t.raw(), t.bytes());
  }
  const std::string strings = strings_json(engine);

  const std::pair<const char*, std::string_view> contents[] = {
      {"manifest", manifest}, {"strings", strings}, {"weights", weights}};
  Header header;
  std::memcpy(header.magic, kMagic.data(), kMagic.size());
  header.sections = std::size(contents);
  std::vector<Section> table(header.sections);
  size_t at = sizeof header + table.size() * sizeof(Section) + 8;
  for (size_t i = 0; i < table.size(); ++i) {
    std::strncpy(table[i].name, contents[i].first, sizeof table[i].name - 1);
    at = round_up(at, i + 1 == table.size() ? kPage : kAlign);
    table[i].offset = at;
    table[i].bytes = contents[i].second.size();
    table[i].hash = hash(contents[i].second);
    at += table[i].bytes;
  }
  std::string head(reinterpret_cast<const char*>(&header), sizeof header);
  head.append(reinterpret_cast<const char*>(table.data()), table.size() * sizeof(Section));
  const uint64_t check = hash(head);
  head.append(reinterpret_cast<const char*>(&check), 8);

  std::vector<std::string> padding;
  std::vector<std::string_view> parts{head};
  size_t written = head.size();
  padding.reserve(table.size());
  for (size_t i = 0; i < table.size(); ++i) {
    padding.emplace_back(table[i].offset - written, '\0');
    parts.push_back(padding.back());
    parts.push_back(contents[i].second);
    written = table[i].offset + table[i].bytes;
  }
  return write_file(path, parts);
}

Result<EngineData> load_engine(const std::string& path) {
  HONE_TRY(auto file, FileMap::open(path));
  auto engine = parse(file);
  if (!engine.ok()) return engine.status().within(path);
  return engine;
}

}  // namespace hone
