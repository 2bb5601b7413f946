#include "compile/compile.h"

#include <chrono>

#include "base/cpu_info.h"
#include "import/onnx/model.h"
#include "passes/pipeline.h"

namespace hone {
namespace {

Status optimise(Graph& graph, const CompileOptions& options) {
  const PassOptions passes{.verify = options.verify_passes};
  HONE_CHECK(canonicalize(graph, passes));
  HONE_CHECK(assign_layout(graph, passes));
  return fuse(graph, passes);
}

}  // namespace

Result<EngineData> compile_graph(Graph graph, const CompileOptions& options, std::chrono::steady_clock::time_point start) {
  const bool reference = options.target == "reference";
  if (!reference && options.target != "cpu")
    return Status(Code::device, fmt::format("target '{}' is not available: this build knows cpu and reference", options.target));
  if (!reference) HONE_CHECK(optimise(graph, options));

  TacticCache cache;
  if (!options.timing_cache.empty() && !reference) {
    HONE_TRY(cache, TacticCache::load(options.timing_cache));
  }
  const Machine machine{.threads = options.threads > 0 ? options.threads : cpu::usable_cpu_count(),
                        .max_tier = options.max_tier, .winograd = options.winograd};
  Selector selector({.machine = machine, .reference_only = reference, .tune = options.tune,
                     .time_budget_s = options.time_budget_s, .cache = &cache});
  auto engine = lower(graph, selector, machine, options.progress);
  // What was learnt is kept even when the build was stopped.
  if (selector.timed() > 0 && !options.timing_cache.empty()) HONE_CHECK(cache.save(options.timing_cache));
  HONE_CHECK(engine);
  engine->program.target = options.target;
  engine->program.build.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return engine;
}

Result<EngineData> compile_file(const std::string& path, const CompileOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  HONE_TRY(Graph graph, import_onnx_file(path, {.shapes = options.shapes}));
  auto engine = compile_graph(std::move(graph), options, start);
  if (!engine.ok()) return engine.status().within(path);
  return engine;
}

}  // namespace hone
