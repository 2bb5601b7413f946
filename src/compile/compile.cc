#include "compile/compile.h"

#include <algorithm>
#include <chrono>
#include <regex>

#include "backends/cpu_fusion.h"
#include "backends/fp16_range.h"
#include "backends/gpu_fusion.h"
#include "backends/peaks.h"
#include "backends/quantized_model.h"
#include "backends/requantize.h"
#include "base/cpu_info.h"
#include "compile/mixed_precision.h"
#include "cuda/device.h"
#include "cuda/nvrtc.h"
#include "import/onnx/model.h"
#include "passes/pipeline.h"

namespace hone {
namespace {

// What was decided about precisions goes into `build`.
Status optimise(Graph& graph, const CompileOptions& options, const Machine& machine, BuildSummary& build) {
  const PassOptions passes{.verify = options.verify_passes};
  const bool gpu = !machine.cuda_arch.empty();
  HONE_CHECK(canonicalize(graph, passes));
  HONE_CHECK(assign_layout(graph, passes));
  if (run_quantized_model_in_integers(graph, machine)) HONE_CHECK(merge_elementwise(graph, passes));
  if (!options.thresholds.empty()) {
    for (const Int8Layer& layer : quantize(graph, options.thresholds, machine, options.floats))
      build.layers.push_back({.name = layer.name, .range = layer.range, .reason = layer.reason});
    HONE_CHECK(merge_elementwise(graph, passes));
    fold_steps(graph);
  }
  if (gpu && options.half != DType::none) {
    HONE_TRY(build.notes, reduce_safely(graph, options.half, machine, options.ranges, options.strict));
  }
  HONE_CHECK(fuse(graph, passes));
  if (gpu) {
    fuse_for_gpu(graph, machine);
  } else {
    fuse_for_cpu(graph);
    HONE_CHECK(merge_elementwise(graph, passes));
  }
  return options.verify_passes ? verify(graph) : Status();
}

Result<EngineData> compile_for(Graph graph, const CompileOptions& options, const Machine& machine, Selector& selector) {
  BuildSummary build;
  if (!selector.reference_only()) HONE_CHECK(optimise(graph, options, machine, build));
  HONE_TRY(EngineData engine, lower(graph, selector, machine, options.progress));
  engine.program.target = options.target;
  engine.program.build.layers = std::move(build.layers);
  engine.program.build.notes = std::move(build.notes);
  name_precisions(engine.program);
  return engine;
}

// With int8 allowed or an accuracy to keep: the best of several engines.
Result<Compiled> compile_best(const Graph& graph, const CompileOptions& options, const Machine& machine,
                              const SelectOptions& select) {
  Selector selector(select);
  if (selector.reference_only() || (options.thresholds.empty() && !options.budget)) {
    HONE_TRY(EngineData engine, compile_for(graph, options, machine, selector));
    return Compiled{std::move(engine), options};
  }
  SelectOptions quick = select;
  quick.tune = false;
  Selector untuned(quick);
  const bool open = std::any_of(graph.inputs().begin(), graph.inputs().end(),
                                [&](ValueId v) { return !graph.type(v).shape.concrete(); });
  const bool here = machine.cuda_arch.empty() || machine.cuda_device >= 0;
  return choose_precisions(
      options,
      {.compile = [&](const CompileOptions& o) { return compile_for(graph, o, machine, o.tune ? selector : untuned); },
       .fp32 =
           [&] {
             return compile_graph(graph, {.target = "cpu",
                                          .threads = options.threads,
                                          .max_tier = options.max_tier,
                                          .winograd = false,
                                          .tune = false,
                                          .progress = options.progress});
           },
       .runs = here,
       .timed = options.tune && !open && here});
}

// What `auto` stands for on this machine.
std::string resolve_target(const CompileOptions& options) {
  if (options.target != "auto") return options.target;
  if (!options.cuda_arch.empty()) return "cuda";
  const auto gpus = cuda::devices();
  return gpus.ok() && !gpus->empty() && cuda::nvrtc_version().ok() ? "cuda" : "cpu";
}

Result<Machine> machine_of(const std::string& target, const CompileOptions& options) {
  Machine machine{.threads = options.threads > 0 ? options.threads : cpu::usable_cpu_count(),
                  .max_tier = options.max_tier,
                  .winograd = options.winograd};
  if (target == "cpu" || target == "reference") {
    if (!options.cuda_arch.empty()) return invalid("target '{}' has no CUDA architecture", target);
    return machine;
  }
  const auto ordinal = cuda::ordinal_of(target);
  if (!ordinal)
    return Status(Code::device,
                  fmt::format("there is no target '{}': it is cpu, cuda, cuda:N, reference or auto", target));
  HONE_CHECK(cuda::nvrtc_version());
  machine.tf32 = options.tf32;
  if (!options.cuda_arch.empty()) {
    HONE_CHECK(check_cuda_arch(options.cuda_arch));
    machine.cuda_arch = options.cuda_arch;
    if (const auto here = cuda::device(*ordinal); here.ok() && here->arch() == machine.cuda_arch)
      machine.cuda_device = *ordinal;
    return machine;
  }
  HONE_TRY(const cuda::Device device, cuda::device(*ordinal));
  machine.cuda_arch = device.arch();
  machine.cuda_device = *ordinal;
  return machine;
}

// Of the devices that are here. An engine is none the worse for not knowing a GPU's.
void add_peaks(Program& program, const Machine& machine, TacticCache& cache) {
  program.build.cpu = cpu_peaks(machine, cache);
  if (machine.cuda_device < 0) return;
  if (auto peaks = gpu_peaks(machine, cache); peaks.ok()) program.build.gpu = *peaks;
}

}  // namespace

Status check_cuda_arch(const std::string& arch) {
  if (std::regex_match(arch, std::regex("sm_[1-9][0-9]+"))) return {};
  return invalid("'{}' is no CUDA architecture such as sm_90", arch);
}

Result<Compiled> compile(Graph graph, const CompileOptions& given, Start start) {
  CompileOptions options = given;
  options.target = resolve_target(given);
  const bool reference = options.target == "reference";
  HONE_TRY(const Machine machine, machine_of(options.target, options));

  TacticCache cache;
  if (!options.timing_cache.empty() && !reference) {
    HONE_TRY(cache, TacticCache::load(options.timing_cache));
  }
  auto compiled = compile_best(graph, options, machine,
                               {.machine = machine,
                                .reference_only = reference,
                                .tune = options.tune,
                                .time_budget_s = options.time_budget_s,
                                .max_workspace = options.max_workspace,
                                .cache = &cache,
                                .cancelled = options.cancelled});
  if (compiled.ok() && options.tune && !reference) add_peaks(compiled->engine.program, machine, cache);
  // What was learnt is kept even when the build was stopped; that it cannot be is no reason to lose the engine.
  if (cache.changed() && !options.timing_cache.empty())
    if (const Status saved = cache.save(options.timing_cache); !saved.ok() && options.warn)
      options.warn(fmt::format("what was timed is not remembered: {}", saved.message()));
  HONE_CHECK(compiled);
  BuildSummary& build = compiled->engine.program.build;
  if (!machine.cuda_arch.empty() && machine.cuda_device < 0)
    build.notes.push_back(
        fmt::format("nothing was timed for {}, which is not here: first guesses are taken, and hone build "
                    "--from-engine tunes there",
                    machine.cuda_arch));
  if (!options.accuracy.empty() && !options.budget)
    build.notes.push_back(fmt::format("not measured again: {}", options.accuracy));
  build.seconds = std::chrono::duration<double>(now() - start).count();
  return compiled;
}

Result<EngineData> compile_graph(Graph graph, const CompileOptions& options, Start start) {
  HONE_TRY(Compiled compiled, compile(std::move(graph), options, start));
  return std::move(compiled.engine);
}

Result<EngineData> compile_file(const std::string& path, const CompileOptions& options) {
  const auto start = now();
  HONE_TRY(Graph graph, import_onnx_file(path, {.shapes = options.shapes}));
  auto engine = compile_graph(std::move(graph), options, start);
  if (!engine.ok()) return engine.status().within(path);
  return engine;
}

}  // namespace hone
