#include <filesystem>

#include "base/counted.h"
#include "tools/common.h"

namespace hone::tools {
namespace {

struct Cache {
  Output output;
  std::string path;
  bool clear = false;

  Status run() const {
    const std::string file = path.empty() ? default_cache_path() : path;
    if (file.empty()) return invalid("there is no cache folder: set HOME or give --timing-cache");
    const Store store(store_folder(file));
    if (!clear && !path.empty() && !std::filesystem::exists(file)) return invalid("{}: there is no such file", file);
    if (clear) {
      // Only the user's own may be damaged: another file that is no cache is not ours to remove.
      if (!path.empty()) HONE_CHECK(TacticCache::load(file));
      std::error_code error;
      std::filesystem::remove(file, error);
      if (error) return invalid("{}: cannot be removed: {}", file, error.message());
      HONE_CHECK(store.clear());
    }
    HONE_TRY(const TacticCache cache, TacticCache::load(file));
    Json rows = Json::array();
    for (const auto& [key, row] : cache.rows())
      rows.push_back({{"key", key}, {"tactic", row.tactic}, {"variant", row.variant}, {"time_us", row.time_us}});
    const Store::Size kept = store.size();
    HONE_CHECK(output.write({{"path", file},
                             {"rows", rows},
                             {"faults", cache.count_faults()},
                             {"store", {{"path", store.folder()}, {"entries", kept.entries}, {"bytes", kept.bytes}}}}));
    if (!output.shows_table()) return {};
    fmt::print("{}: {}\n", file, counted(cache.size(), "problem"));
    if (kept.entries > 0)
      fmt::print("{}: {:.1f} MB of compiled code and ranges\n", store.folder(), static_cast<double>(kept.bytes) / 1e6);
    if (const int64_t faults = cache.count_faults(); faults > 0)
      fmt::print("{} left out for faults when they were timed; --clear tries them again\n", counted(faults, "kernel"));
    if (output.verbose)
      for (const auto& [key, row] : cache.rows())
        fmt::print("{} {} {} {:.1f} us\n", key, row.tactic, row.variant, row.time_us);
    return {};
  }
};

}  // namespace

void add_cache(CLI::App& app, int& exit) {
  auto* sub = app.add_subcommand("cache", "Show, check or clear the tactic cache");
  auto command = std::make_shared<Cache>();
  command->output.add_to(*sub);
  sub->add_option("--timing-cache", command->path,
                  "The cache file; default: the user's own; what builds have compiled lies beside it, in FILE.d");
  sub->add_flag("--clear", command->clear, "Remove it, and what lies beside it");
  sub->callback([command, &exit] { exit = report(command->run()); });
}

}  // namespace hone::tools
