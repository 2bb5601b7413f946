#include "tune/cache.h"

#include <xxhash.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file_map.h"

namespace hone {

constexpr int kVersion = 1;

Result<TacticCache> TacticCache::load(const std::string& path) {
  TacticCache cache;
  if (!std::filesystem::exists(path)) return cache;
  HONE_TRY(auto file, FileMap::open(path));
  try {
    const auto json = nlohmann::json::parse(file->text());
    if (json.at("version") != kVersion) return cache;
    for (const auto& [key, row] : json.at("rows").items())
      cache.rows_[key] = {row.at("tactic"), row.at("variant"), row.at("time_us")};
  } catch (const std::exception& e) {
    return invalid("{}: not a tactic cache: {}", path, e.what());
  }
  return cache;
}

std::optional<CachedChoice> TacticCache::find(const std::string& key) const {
  const auto found = rows_.find(key);
  return found == rows_.end() ? std::nullopt : std::optional(found->second);
}

void TacticCache::put(const std::string& key, CachedChoice choice) { rows_[key] = std::move(choice); }

Status TacticCache::save(const std::string& path) const {
  std::map<std::string, CachedChoice> merged = rows_;
  if (auto there = load(path); there.ok()) merged.insert(there->rows_.begin(), there->rows_.end());
  auto rows = nlohmann::json::object();
  for (const auto& [key, row] : merged)
    rows[key] = {{"tactic", row.tactic}, {"variant", row.variant}, {"time_us", row.time_us}};
  const std::string text = nlohmann::json{{"version", kVersion}, {"rows", rows}}.dump(1);
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  const std::string_view parts[] = {text};
  return write_file(path, parts);
}

std::string cache_key(const std::string& device, const std::string& text) {
  const std::string all = device + '\n' + text;
  const XXH128_hash_t h = XXH3_128bits(all.data(), all.size());
  return fmt::format("{:016x}{:016x}", h.high64, h.low64);
}

}  // namespace hone
