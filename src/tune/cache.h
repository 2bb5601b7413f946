#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/peaks.h"
#include "base/status.h"

namespace hone {

struct CachedChoice {
  std::string tactic;
  int variant = 0;
  double time_us = 0;
  bool operator==(const CachedChoice&) const = default;
};

// What tuning has found, by problem. A file shared by processes: saving merges with what is there and renames, so that
// two builds at once lose at most each other's newest rows, never the file.
class TacticCache {
 public:
  // A missing file is an empty cache; a damaged one is reported.
  static Result<TacticCache> load(const std::string& path);

  std::optional<CachedChoice> find(const std::string& key) const;
  void put(const std::string& key, CachedChoice choice);
  size_t size() const { return rows_.size(); }
  const std::map<std::string, CachedChoice>& rows() const { return rows_; }
  // Variants ("tactic/variant") that are left out for a problem, as their kernels faulted when it was tuned.
  const std::set<std::string>& faults(const std::string& key) const;
  void put_fault(const std::string& key, const std::string& variant);
  int64_t count_faults() const;
  // Microseconds of a whole network, as an earlier build has measured it. What this one measures is for later ones: the
  // least of several.
  std::optional<double> network_us(const std::string& key) const;
  void put_network(const std::string& key, double us);
  // What a device reached, by its name.
  std::optional<Peaks> peaks(const std::string& device) const;
  void put_peaks(const std::string& device, Peaks peaks);
  // Whether anything was put since it was loaded.
  bool changed() const { return changed_; }
  Status save(const std::string& path) const;

 private:
  std::map<std::string, CachedChoice> rows_;
  std::map<std::string, std::set<std::string>> faults_;
  std::map<std::string, double> networks_, new_networks_;
  std::map<std::string, Peaks> peaks_;
  bool changed_ = false;
};

// The folder beside a tactic cache for what else builds need not make again: compiled code, ranges on random data.
std::string store_folder(const std::string& cache);
// What it may hold, in bytes: a network of 50 layers has some 5 MB of code, with all that was timed.
inline constexpr int64_t kStoreBytes = int64_t{256} << 20;

// The key under which a problem described by `text` is remembered for a device.
std::string cache_key(const std::string& device, const std::string& text);

}  // namespace hone
