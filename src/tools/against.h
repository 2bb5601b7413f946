#pragma once

#include <map>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "base/status.h"

namespace hone::tools {

// The rows of a former `hone bench --json`.
class FormerBench {
 public:
  // Errors: a file that cannot be read or does not hold such rows.
  static Result<FormerBench> read(const std::string& path);

  // The median latency in ms of the row with the same model (by file name), shapes, threads and streams as `row`.
  std::optional<double> median_ms(const nlohmann::json& row) const;

 private:
  std::map<std::string, double> medians_;  // by what identifies a row
};

}  // namespace hone::tools
