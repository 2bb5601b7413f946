#pragma once

#include "backends/network_timing.h"
#include "compile/compile.h"
#include "compile/gains.h"

namespace hone {

// bf16 on a CPU: products may round their factors to it, and tensors may lie in memory as bf16.

// How engines of a network are made and measured.
struct Bf16Ways {
  std::function<Result<EngineData>(const Graph& graph, BuildSummary& build)> lower;
  TimeNetwork time_us;
  std::function<Result<Gains>(const EngineData& in_bf16, const EngineData& in_fp32)> gains;
  std::function<bool()> out_of_time;
};

// `graph`, which is not fused yet, with tensors in bf16, but not around nodes that are `kept` in fp32; nothing where
// there would be none.
std::optional<Graph> store_in_bf16(const Graph& graph, const Machine& machine, std::set<NodeId> kept = {});

// The fastest of the engines with all tensors in fp32, with all of store_in_bf16(), and with those alone whose layers
// are faster so. What was decided goes into `build`: a row for each layer that has none there. Errors: those of
// lower().
Result<EngineData> choose_bf16(const Graph& graph, const Machine& machine, const Bf16Ways& ways, BuildSummary& build);

// How far bf16, which is allowed, got.
std::string bf16_note(const Program& program, const Machine& machine);

// How far bf16 moves the outputs from those of fp32, on a few of the samples or on random inputs, whose shapes must be
// known; nothing where it is not used, or where the outputs cannot be compared.
Result<std::string> bf16_distance(const Graph& graph, const EngineData& engine, const CompileOptions& options);

}  // namespace hone
