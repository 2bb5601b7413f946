#include <filesystem>

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
    if (clear) {
      std::error_code error;
      std::filesystem::remove(file, error);
      if (error) return invalid("{}: cannot be removed: {}", file, error.message());
    }
    HONE_TRY(const TacticCache cache, TacticCache::load(file));
    Json rows = Json::array();
    for (const auto& [key, row] : cache.rows())
      rows.push_back({{"key", key}, {"tactic", row.tactic}, {"variant", row.variant}, {"time_us", row.time_us}});
    HONE_CHECK(output.write({{"path", file}, {"rows", rows}, {"faults", cache.count_faults()}}));
    if (!output.shows_table()) return {};
    fmt::print("{}: {} problems\n", file, cache.size());
    if (const int64_t faults = cache.count_faults(); faults > 0)
      fmt::print("{} kernels are left out, as they faulted when they were timed; --clear tries them again\n", faults);
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
  sub->add_option("--timing-cache", command->path, "The cache file; default: the user's own");
  sub->add_flag("--clear", command->clear, "Remove it");
  sub->callback([command, &exit] { exit = report(command->run()); });
}

}  // namespace hone::tools
