#include "compile/bf16.h"

#include <algorithm>
#include <cmath>

#include "backends/precision.h"
#include "backends/random_tensor.h"
#include "base/counted.h"
#include "compile/piecewise.h"
#include "engine/floor.h"
#include "engine/inspect.h"
#include "tactics/in_bf16.h"

namespace hone {
namespace {

constexpr size_t kJudges = 4;
constexpr double kFarFromFp32 = 0.1;  // 20 dB: bf16's 8 bits leave networks of 50 layers 40 dB and more

bool has_bf16(const Machine& machine) { return refuse_type_or_machine(DType::bf16, machine).empty(); }

struct Candidate {
  EngineData engine;
  BuildSummary build;
};

// A row for each of the layers that counts, or that is slower in bf16.
void explain(const Program& in_bf16, const Gains& gains, bool used, bool mixed, BuildSummary& build) {
  for (const Step& step : in_bf16.steps) {
    const std::string layer = layer_name(step);
    const auto won = gains.won_us.find(layer);
    const auto slower = gains.slower.find(layer);
    const bool leaves = slower != gains.slower.end();
    if (precision_of(step) != "bf16" || (operations_of(in_bf16, step) == 0 && !leaves)) continue;
    if (won == gains.won_us.end()) continue;
    if (std::ranges::find(build.layers, layer, &LayerPrecision::name) != build.layers.end()) continue;
    build.layers.push_back({.name = layer,
                            .won_us = won->second,
                            .reason = !used             ? "the whole network is faster with tensors in fp32"
                                      : mixed && leaves ? slower->second
                                                        : "faster as a whole"});
  }
}

}  // namespace

std::optional<Graph> store_in_bf16(const Graph& graph, const Machine& machine, std::set<NodeId> kept) {
  if (!has_bf16(machine)) return std::nullopt;
  // Rounded, probabilities that are near each other would be the same.
  for (const NodeId id : graph.order())
    if (graph.node(id).op.name() == "Softmax" && graph.is_output(graph.node(id).outputs[0])) kept.insert(id);
  Graph stored = graph;
  const Reduction made = reduce_precision(stored, DType::bf16, machine,
                                          {.wide = statistics(graph), .saturated = {}, .kept = std::move(kept)});
  return made.values.empty() ? std::nullopt : std::optional(std::move(stored));
}

Result<EngineData> choose_bf16(const Graph& graph, const Machine& machine, const Bf16Ways& ways, BuildSummary& build) {
  Candidate full, reduced, mixed;
  HONE_TRY(full.engine, ways.lower(graph, full.build));
  Candidate* best = &full;
  const auto take = [&] {
    build.notes.insert(build.notes.end(), best->build.notes.begin(), best->build.notes.end());
    return std::move(best->engine);
  };
  const auto enter = [&](const Graph& with, Candidate& candidate, const std::string& change) -> Status {
    HONE_TRY(candidate.engine, ways.lower(with, candidate.build));
    Comparison compared = compare(candidate.engine, best->engine, change, ways.time_us);
    build.notes.push_back(std::move(compared.note));
    if (compared.faster) best = &candidate;
    return {};
  };
  const auto all = store_in_bf16(graph, machine);
  if (!all || ways.out_of_time()) return take();
  HONE_CHECK(enter(*all, reduced, "tensors in bf16"));
  const auto gains = ways.gains(reduced.engine, full.engine);
  if (!gains.ok()) return take();  // on random data a network may fail
  if (gains->worth_trying() && !ways.out_of_time())
    if (const auto some = store_in_bf16(graph, machine, nodes_of(graph, gains->slower_layers()));
        some && !equal(*some, *all))
      HONE_CHECK(enter(*some, mixed, "tensors in bf16 where layers are faster so"));
  explain(reduced.engine.program, *gains, best != &full, best == &mixed, build);
  return take();
}

std::string bf16_note(const Program& program, const Machine& machine) {
  if (!has_bf16(machine))
    return "bf16 is not used: this CPU has no AVX-512 BF16, or a lower instruction set is asked for";
  int64_t used = 0, products = 0;
  for (const Step& step : program.steps) {
    const bool product = step.tactic.starts_with("cpu.conv") || step.tactic.starts_with("cpu.gemm");
    used += product && precision_of(step) == "bf16";
    products += product;
  }
  return fmt::format("bf16 is used in {} of {}", used,
                     counted(products, "convolution or matrix product", "convolutions and matrix products"));
}

Result<std::string> bf16_distance(const Graph& graph, const EngineData& engine, const CompileOptions& options) {
  const auto in_bf16 = [](const Step& step) { return precision_of(step) == "bf16"; };
  if (std::ranges::none_of(engine.program.steps, in_bf16)) return std::string();
  AccuracyBudget judges{.metric = AccuracyMetric::error};
  const std::span samples = options.samples;
  judges.samples.assign(samples.begin(),
                        samples.begin() + static_cast<std::ptrdiff_t>(std::min(samples.size(), kJudges)));
  if (samples.empty())
    for (Tensors& inputs = judges.samples.emplace_back(); const ValueId v : graph.inputs())
      inputs.push_back(random_tensor(graph.type(v)));
  HONE_TRY(const EngineData fp32, compile_on_cpu(graph, options));
  const auto yardstick = Yardstick::make(fp32, judges);
  if (!yardstick.ok() && samples.empty()) return std::string();  // on random data a network may fail
  HONE_CHECK(yardstick);
  HONE_TRY(const Distance distance, yardstick->distance(engine));
  if (!std::isfinite(distance.error)) return std::string();
  return fmt::format("bf16 moves the outputs by {:.3g}% (RMS) on {}{}", 100 * distance.error,
                     samples.empty() ? "random inputs" : "samples of the data",
                     distance.error > kFarFromFp32
                         ? ", which is much: --accuracy-budget measures it on data, and leaves "
                           "bf16 out where it is too much"
                         : "");
}

}  // namespace hone
