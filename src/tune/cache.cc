#include "tune/cache.h"

#include <xxhash.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file_map.h"

namespace hone {

namespace {

constexpr int kVersion = 5;

nlohmann::json peaks_json(const Peaks& peaks) {
  auto bandwidths = nlohmann::json::array();
  for (const Bandwidth& b : peaks.bandwidths) bandwidths.push_back({b.bytes, b.bytes_per_s});
  return {{"rates", peaks.rates}, {"bandwidths", bandwidths}};
}

// Casting a number that no integer can hold is undefined.
int64_t whole(const nlohmann::json& number) {
  if (!number.is_number_integer()) throw std::runtime_error(number.dump() + " is no integer");
  return number;
}

Peaks peaks_from(const nlohmann::json& json) {
  Peaks peaks;
  peaks.rates = json.value("rates", peaks.rates);  // a cache of before has none
  for (const auto& b : json.at("bandwidths")) peaks.bandwidths.push_back({whole(b.at(0)), b.at(1)});
  return peaks;
}

}  // namespace

Result<TacticCache> TacticCache::load(const std::string& path) {
  TacticCache cache;
  if (std::error_code unknown; !std::filesystem::exists(path, unknown) && !unknown) return cache;
  HONE_TRY(auto file, FileMap::open(path));
  try {
    const auto json = nlohmann::json::parse(file->text());
    if (json.at("version") != kVersion) return cache;
    for (const auto& [key, row] : json.at("rows").items())
      cache.rows_[key] = {row.at("tactic"), static_cast<int>(whole(row.at("variant"))), row.at("time_us")};
    const auto faults = json.value("faults", nlohmann::json::object());
    for (const auto& [key, variants] : faults.items()) cache.faults_[key] = variants.get<std::set<std::string>>();
    cache.networks_ = json.value("networks", cache.networks_);
    const auto peaks = json.value("peaks", nlohmann::json::object());
    for (const auto& [device, row] : peaks.items()) cache.peaks_[device] = peaks_from(row);
  } catch (const std::exception&) {
    return invalid("{}: not a tactic cache, or a damaged one: remove it, or name another file", path);
  }
  return cache;
}

std::optional<CachedChoice> TacticCache::find(const std::string& key) const {
  const auto found = rows_.find(key);
  return found == rows_.end() ? std::nullopt : std::optional(found->second);
}

void TacticCache::put(const std::string& key, CachedChoice choice) {
  rows_[key] = std::move(choice);
  changed_ = true;
}

const std::set<std::string>& TacticCache::faults(const std::string& key) const {
  static const std::set<std::string> none;
  const auto found = faults_.find(key);
  return found == faults_.end() ? none : found->second;
}

void TacticCache::put_fault(const std::string& key, const std::string& variant) {
  faults_[key].insert(variant);
  changed_ = true;
}

int64_t TacticCache::count_faults() const {
  int64_t count = 0;
  for (const auto& [key, variants] : faults_) count += static_cast<int64_t>(variants.size());
  return count;
}

std::optional<double> TacticCache::network_us(const std::string& key) const {
  const auto found = networks_.find(key);
  return found == networks_.end() ? std::nullopt : std::optional(found->second);
}

void TacticCache::put_network(const std::string& key, double us) {
  double& least = new_networks_.try_emplace(key, us).first->second;
  least = std::min(least, us);
  changed_ = true;
}

std::optional<Peaks> TacticCache::peaks(const std::string& device) const {
  const auto found = peaks_.find(device);
  return found == peaks_.end() ? std::nullopt : std::optional(found->second);
}

void TacticCache::put_peaks(const std::string& device, Peaks peaks) {
  peaks_[device] = std::move(peaks);
  changed_ = true;
}

Status TacticCache::save(const std::string& path) const {
  std::map<std::string, CachedChoice> merged = rows_;
  std::map<std::string, std::set<std::string>> faults = faults_;
  std::map<std::string, double> networks = new_networks_;
  networks.insert(networks_.begin(), networks_.end());
  std::map<std::string, Peaks> peaks = peaks_;
  if (auto there = load(path); there.ok()) {
    merged.insert(there->rows_.begin(), there->rows_.end());
    for (const auto& [key, variants] : there->faults_) faults[key].insert(variants.begin(), variants.end());
    networks.insert(there->networks_.begin(), there->networks_.end());
    peaks.insert(there->peaks_.begin(), there->peaks_.end());
  }
  auto rows = nlohmann::json::object();
  for (const auto& [key, row] : merged)
    rows[key] = {{"tactic", row.tactic}, {"variant", row.variant}, {"time_us", row.time_us}};
  auto devices = nlohmann::json::object();
  for (const auto& [device, row] : peaks) devices[device] = peaks_json(row);
  const std::string text = nlohmann::json{
      {"version", kVersion},
      {"rows", rows},
      {"faults", faults},
      {"networks", networks},
      {"peaks", devices}}.dump(1);
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  const std::string_view parts[] = {text};
  return write_file(path, parts);
}

std::string store_folder(const std::string& cache) { return cache + ".d"; }

std::string cache_key(const std::string& device, const std::string& text) {
  const std::string all = device + '\n' + text;
  const XXH128_hash_t h = XXH3_128bits(all.data(), all.size());
  return fmt::format("{:016x}{:016x}", h.high64, h.low64);
}

}  // namespace hone
