#include "tools/weights.h"

#include <fmt/format.h>

#include <cmath>

#include "compile/input_moments.h"
#include "passes/pipeline.h"

namespace hone::tools {
namespace {

constexpr size_t kWidestProduct = 60;

bool quantized(const WeightReport& w) { return w.reason.empty(); }

}  // namespace

void WeightOptions::add_to(CLI::App& app) {
  app.add_option("--weights", name,
                 "Quantise the weights of matrix products alone, to int4 or int8; they are computed in floats")
      ->check(CLI::IsMember({"int4", "int8"}));
  app.add_option("--block", block, "Of --weights: how many weights share a scale, a power of 2 from 16 to 1024")
      ->capture_default_str();
}

WeightFormat WeightOptions::format() const {
  WeightFormat format = find_weight_format(name).value_or(WeightFormat());
  format.block = block;
  return format;
}

Result<std::vector<WeightReport>> WeightOptions::apply(Graph& graph, std::span<const Tensors> samples,
                                                       const CompileOptions& options) const {
  if (!given()) return std::vector<WeightReport>();
  HONE_CHECK(check(format()));
  HONE_CHECK(canonicalize(graph, {}));
  if (samples.empty()) return quantize_weights(graph, format());
  const Graph floats = graph;
  InputMoments moments(floats, samples, options);
  return quantize_weights(graph, format(), [&](NodeId id) { return moments.of(floats.node(id).inputs[0]); });
}

void print_weights(const std::vector<WeightReport>& weights) {
  size_t width = 7;
  for (const WeightReport& w : weights) width = std::max(width, std::min(w.name.size(), kWidestProduct));
  if (!weights.empty())
    fmt::print("{:<{}}  {:>8} {:>12} {:>12}  {}\n", "product", width, "SQNR dB", "bytes before", "after", "reason");
  for (const WeightReport& w : weights)
    fmt::print("{:<{}}  {:>8} {:>12} {:>12}  {}\n", w.name, width,
               quantized(w) ? fmt::format("{:.1f}", w.sqnr_db) : "-", w.bytes_before, w.bytes_after, w.reason);
}

nlohmann::json weights_json(const std::vector<WeightReport>& weights) {
  auto rows = nlohmann::json::array();
  for (const WeightReport& w : weights) {
    nlohmann::json row{
        {"name", w.name}, {"bytes_before", w.bytes_before}, {"bytes_after", w.bytes_after}, {"reason", w.reason}};
    if (quantized(w) && std::isfinite(w.sqnr_db)) row["sqnr_db"] = w.sqnr_db;
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace hone::tools
