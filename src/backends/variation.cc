#include "backends/variation.h"

#include <fmt/ranges.h>

#include "ops/generate.h"

namespace hone {
namespace {

constexpr std::string_view kNoSeed = "random numbers without a seed";

void find(const Graph& graph, std::vector<std::string>& labels) {
  for (NodeId id : graph.order()) {
    const Op& op = graph.node(id).op;
    if (const auto* random = op.as<Random>(); random != nullptr && !random->seeded) labels.push_back(graph.label(id));
    for (const auto& [name, value] : op.attrs())
      if (const auto* body = std::get_if<std::shared_ptr<const Graph>>(&value)) find(**body, labels);
  }
}

}  // namespace

std::string_view variation_of(const Op& op) {
  if (const auto* random = op.as<Random>()) return random->seeded ? std::string_view() : kNoSeed;
  std::vector<std::string> labels;
  for (const auto& [name, value] : op.attrs())
    if (const auto* body = std::get_if<std::shared_ptr<const Graph>>(&value)) find(**body, labels);
  return labels.empty() ? std::string_view() : kNoSeed;
}

Status refuse_variation(const Graph& graph) {
  std::vector<std::string> labels;
  find(graph, labels);
  if (labels.empty()) return {};
  return unsupported("no two runs give the same bits: {}: {}; give seeds, or build without --deterministic", kNoSeed,
                     fmt::join(labels, ", "));
}

}  // namespace hone
