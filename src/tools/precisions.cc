#include "tools/precisions.h"

#include <fmt/format.h>

#include <algorithm>

namespace hone::tools {
namespace {

constexpr size_t kWidest = 60;

std::string number(std::optional<double> value) { return value ? fmt::format("{:.1f}", *value) : "-"; }

}  // namespace

void print_precisions(const BuildSummary& build) {
  size_t width = 5;
  for (const LayerPrecision& l : build.layers) width = std::max(width, std::min(l.name.size(), kWidest));
  if (!build.layers.empty())
    fmt::print("{:<{}}  {:<9} {:>10} {:>8} {:>9}  {}\n", "layer", width, "precision", "range", "SQNR dB", "won us",
               "reason");
  for (const LayerPrecision& l : build.layers)
    fmt::print("{:<{}}  {:<9} {:>10} {:>8} {:>9}  {}\n", l.name, width, l.precision,
               l.range > 0 ? fmt::format("{:.4g}", l.range) : "-", number(l.sqnr_db), number(l.won_us), l.reason);
  for (const std::string& note : build.notes) fmt::print("  {}\n", note);
}

}  // namespace hone::tools
