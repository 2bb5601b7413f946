#include "tools/against.h"

#include <filesystem>

#include "base/file_map.h"

namespace hone::tools {
namespace {

using Json = nlohmann::json;

// Throws when `row` is no row of a bench.
std::string identity(const Json& row) {
  const std::filesystem::path model(row.at("model").get<std::string>());
  return Json{model.filename().string(), row.at("shapes"), row.at("threads").get<int>(), row.value("streams", 1)}
      .dump();
}

}  // namespace

Result<FormerBench> FormerBench::read(const std::string& path) {
  HONE_TRY(auto file, FileMap::open(path));
  FormerBench former;
  try {
    const Json json = Json::parse(file->text());
    for (const Json& row : json.at("rows")) {
      const double median = row.at("latency_ms").at("median");
      if (!(median > 0)) return invalid("{}: a median latency of {} ms", path, median);
      former.medians_[identity(row)] = median;
    }
  } catch (const std::exception&) {
    return invalid("{}: not what 'hone bench --json' writes", path);
  }
  return former;
}

std::optional<double> FormerBench::median_ms(const Json& row) const {
  const auto found = medians_.find(identity(row));
  return found == medians_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace hone::tools
