#include "engine/inspect.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/floor.h"
#include "engine/manifest.h"

namespace hone {
namespace {

using Json = nlohmann::json;

Json bindings_json(const std::vector<Binding>& bindings) {
  Json list = Json::array();
  for (const Binding& b : bindings) {
    Json shape = Json::array();
    for (const Dim& d : b.type.shape.dims)
      shape.push_back(d.known() ? Json(d.value) : Json(d.symbol.empty() ? "?" : d.symbol));
    list.push_back({{"name", b.name}, {"dtype", hone::name(b.type.dtype)}, {"shape", shape}});
  }
  return list;
}

Json names_json(const Program& program, const std::vector<int>& slots) {
  Json list = Json::array();
  for (int s : slots) {
    if (s < 0) continue;
    const std::string& name = program.slots[static_cast<size_t>(s)].name;
    list.push_back(name.empty() ? fmt::format("%{}", s) : name);
  }
  return list;
}

}  // namespace

std::string_view precision_of(const Step& step) {
  const auto is = [&](DType type) {
    return std::any_of(step.input_types.begin(), step.input_types.end(),
                       [&](const TensorType& t) { return t.dtype == type; });
  };
  if (is(DType::i8)) return "int8";
  if (is(DType::f8e4m3fn)) return "fp8";
  if (is(DType::f16)) return "fp16";
  if (is(DType::bf16) || step.tactic.ends_with("_bf16")) return "bf16";
  return step.tactic.ends_with("mma") || step.tactic.ends_with("tf32") ? "tf32" : "fp32";
}

std::vector<std::string> libraries_of(const Program& program) {
  std::set<std::string> names;
  for (const Step& step : program.steps)
    if (!step.library.empty()) names.insert(step.library);
  return {names.begin(), names.end()};
}

std::string layer_name(const Step& step) { return step.sources.empty() ? step.label : step.sources.front(); }

namespace {

Json layer_json(const Program& program, const Step& step) {
  Json refused = Json::array();
  for (const auto& [tactic, reason] : step.refused) refused.push_back({{"tactic", tactic}, {"reason", reason}});
  const auto floor = floor_us(program, step);
  return {{"name", layer_name(step)},
          {"op", step.op},
          {"precision", precision_of(step)},
          {"tactic", step.tactic},
          {"variant", step.variant},
          {"varies", step.varies.empty() ? Json() : Json(step.varies)},
          {"library", step.library.empty() ? Json() : Json(step.library)},
          {"algorithm", step.algorithm.empty() ? Json() : Json(step.algorithm)},
          {"stream", step.stream},
          {"threads", step.threads},
          {"waits", step.waits},
          {"fused", step.sources},
          {"inputs", names_json(program, step.inputs)},
          {"outputs", names_json(program, step.outputs)},
          {"time_us", step.time_us},
          {"floor_us", floor ? Json(*floor) : Json()},
          {"refused", refused}};
}

// Values that lie in the memory of others, so that no step copies them.
Json aliases_json(const Program& program) {
  Json list = Json::array();
  for (const Slot& s : program.slots)
    if (s.kind == Slot::Kind::alias)
      list.push_back({{"name", s.name},
                      {"of", program.slots[static_cast<size_t>(s.alias_of)].name},
                      {"offset", s.offset},
                      {"type", to_text(s.type)}});
  return list;
}

}  // namespace

FileSummary summary_of(const EngineFile& file) {
  FileSummary summary;
  for (const auto& p : file.programs())
    if (!p.cuda_arch.empty()) summary.cuda_archs.push_back(p.cuda_arch);
  if (file.has_portable()) summary.portable_bytes = file.portable_bytes();
  return summary;
}

std::string inspect_json(const Program& program, const FileSummary& file) {
  Json layers = Json::array();
  for (const Step& s : program.steps) layers.push_back(layer_json(program, s));
  const MemorySummary& m = program.memory;
  const Json json = {{"inputs", bindings_json(program.inputs)},
                     {"outputs", bindings_json(program.outputs)},
                     {"target", program.target},
                     {"device", program.device},
                     {"cuda_arch", program.cuda_arch.empty() ? Json() : Json(program.cuda_arch)},
                     {"cuda_archs", file.cuda_archs},
                     {"portable_bytes", file.portable_bytes ? Json(*file.portable_bytes) : Json()},
                     {"needs", libraries_of(program)},
                     {"layers", layers},
                     {"aliases", aliases_json(program)},
                     {"memory",
                      {{"arena_bytes", m.arena_bytes},
                       {"lower_bound_bytes", m.lower_bound_bytes},
                       {"without_reuse_bytes", m.without_reuse_bytes},
                       {"weights_bytes", m.weights_bytes},
                       {"workspace_bytes", m.workspace_bytes}}},
                     {"streams", program.streams()},
                     {"build",
                      {{"seconds", program.build.seconds},
                       {"tactics_timed", program.build.tactics_timed},
                       {"cache_hits", program.build.cache_hits},
                       {"notes", program.build.notes},
                       {"precisions", precisions_json(program.build.layers)}}}};
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + '\n';
}

}  // namespace hone
