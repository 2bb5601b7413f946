#include "compile/compile.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <future>
#include <map>
#include <regex>

#include "backends/blocks.h"
#include "backends/cpu_fusion.h"
#include "backends/fp16_range.h"
#include "backends/gpu_fusion.h"
#include "backends/network_timing.h"
#include "backends/peaks.h"
#include "backends/quantized_model.h"
#include "backends/requantize.h"
#include "backends/streams.h"
#include "backends/sub_batches.h"
#include "backends/variation.h"
#include "base/cpu_info.h"
#include "compile/bf16.h"
#include "compile/bias_correction.h"
#include "compile/mixed_precision.h"
#include "compile/smoothing.h"
#include "cuda/cublaslt.h"
#include "cuda/cudnn.h"
#include "cuda/device.h"
#include "cuda/nvrtc.h"
#include "import/onnx/model.h"
#include "passes/pipeline.h"
#include "tactics/cuda/gemm.h"

namespace hone {
namespace {

// All before fusion. What was decided about precisions goes into `build`.
Status prepare(Graph& graph, const CompileOptions& options, const Machine& machine, SeenRanges& seen,
               BuildSummary& build) {
  const PassOptions passes{.verify = options.verify_passes};
  const bool gpu = !machine.cuda_arch.empty();
  HONE_CHECK(canonicalize(graph, passes));
  HONE_CHECK(assign_layout(graph, passes));
  if (run_quantized_model_in_integers(graph, machine)) HONE_CHECK(merge_elementwise(graph, passes));
  if (!options.thresholds.empty() && !options.bytes.empty()) {
    const Graph floats = graph;
    const DType type = options.bytes.front();
    Int8Network made;
    if (type == DType::i8) {
      HONE_TRY(made, quantize_smoothly(floats, options, machine, options.floats, graph));
    } else {
      made = quantize(graph, options.thresholds, machine, options.floats, type);
    }
    for (const Int8Layer& layer : made.layers)
      build.layers.push_back({.name = layer.name, .range = layer.range, .reason = layer.reason});
    HONE_TRY(const std::string note, correct_biases(floats, made.layers, options, type, graph));
    if (!note.empty()) build.notes.push_back(note);
    HONE_CHECK(merge_elementwise(graph, passes));
    fold_steps(graph);
  }
  if (gpu && options.half != DType::none) {
    HONE_TRY(const auto notes, reduce_safely(graph, options.half, machine, options.ranges, options.strict, seen,
                                             nodes_of(graph, options.fp32_layers)));
    build.notes.insert(build.notes.end(), notes.begin(), notes.end());
  }
  return {};
}

Status fuse_for(Graph& graph, const CompileOptions& options, const Machine& machine) {
  const PassOptions passes{.verify = options.verify_passes};
  HONE_CHECK(fuse(graph, passes));
  if (!machine.cuda_arch.empty()) {
    fuse_for_gpu(graph, machine);
  } else {
    fuse_for_cpu(graph, machine);
    HONE_CHECK(merge_elementwise(graph, passes));
  }
  return options.verify_passes ? verify(graph) : Status();
}

TimeNetwork timer_of(TacticCache& cache) {
  return [&cache](const EngineData& engine) { return network_us(engine, cache); };
}

// An engine that runs as it is: it may be timed.
Result<EngineData> lower_here(const Graph& graph, const CompileOptions& options, const Machine& machine,
                              Selector& selector, const Refusals& refusals = {}) {
  HONE_TRY(EngineData engine, lower(graph, selector, machine, options.progress, refusals, options.keep_outputs));
  engine.program.target = options.target;
  return engine;
}

// Takes one kernel for each of the blocks that have one, where the network is faster so.
Result<EngineData> lower_with_blocks(const Graph& graph, const CompileOptions& options, const Machine& machine,
                                     Selector& selector, TacticCache& cache, BuildSummary& build) {
  const bool timed = options.tune && machine.cuda_device >= 0;
  if (timed)
    for (const Problem& problem : block_problems(graph, machine)) HONE_CHECK(selector.expect(problem));
  HONE_TRY(const JoinedBlocks blocks, join_blocks(graph, machine, [&](const Problem& problem) -> Result<double> {
             if (!timed) return 0.0;
             HONE_TRY(const Choice choice, selector.choose(problem));
             if (choice.tactic->backend == Backend::cuda) return choice.time_us;
             return unsupported("{}", choice.refused.empty() ? "no kernel" : choice.refused.back().second);
           }));
  if (blocks.blocks.empty()) return lower_here(graph, options, machine, selector, blocks.refused);
  HONE_TRY(const EngineData apart, lower_here(graph, options, machine, selector));
  HONE_TRY(EngineData joined, lower_here(blocks.graph, options, machine, selector, blocks.when_joined()));
  Comparison compared = compare(joined, apart, fmt::format("{} of its blocks as one kernel each", blocks.blocks.size()),
                                [&](const EngineData& engine) -> Result<double> {
                                  if (selector.out_of_time()) return unsupported("the time budget ran out");
                                  return network_us(engine, cache);
                                });
  build.notes.push_back(std::move(compared.note));
  if (compared.faster) return joined;
  const std::string reason = compared.failure.ok()
                                 ? "the whole network is slower with it"
                                 : fmt::format("the network could not be timed ({})", compared.failure.message());
  return lower_here(graph, options, machine, selector, blocks.when_apart(reason));
}

Result<EngineData> lower_fused(Graph graph, const CompileOptions& options, const Machine& machine, Selector& selector,
                               TacticCache& cache, BuildSummary& build) {
  if (selector.reference_only()) return lower_here(graph, options, machine, selector);
  HONE_CHECK(fuse_for(graph, options, machine));
  return machine.cuda_arch.empty() ? lower_here(graph, options, machine, selector)
                                   : lower_with_blocks(graph, options, machine, selector, cache, build);
}

// Takes layers by parts of the batch where the network is faster so.
Status try_sub_batches(EngineData& engine, const Graph& graph, const CompileOptions& options, const Machine& machine,
                       Selector& selector, TacticCache& cache, BuildSummary& build) {
  const bool gpu = !machine.cuda_arch.empty();
  if (!options.tune || selector.reference_only() || selector.out_of_time() || (gpu && machine.cuda_device < 0))
    return {};
  const CacheSizes caches = gpu ? gpu_cache_sizes(machine, cache) : cpu_cache_sizes(machine.threads);
  HONE_TRY(auto divided, in_sub_batches(graph, caches, gpu ? 1 : machine.threads));
  if (!divided) return {};
  BuildSummary of_parts;
  HONE_TRY(EngineData parts, lower_fused(std::move(divided->graph), options, machine, selector, cache, of_parts));
  Comparison compared = compare(parts, engine, divided->change, timer_of(cache));
  build.notes.push_back(std::move(compared.note));
  if (!compared.faster) return {};
  engine = std::move(parts);
  build.notes.insert(build.notes.end(), of_parts.notes.begin(), of_parts.notes.end());
  return {};
}

// Unknown where a GPU's cannot be measured.
Peaks peaks_of(const Machine& machine, TacticCache& cache) {
  if (machine.cuda_arch.empty()) return cpu_peaks(machine, cache);
  auto peaks = gpu_peaks(machine, cache);
  return peaks.ok() ? std::move(*peaks) : Peaks();
}

bool is_static(const Graph& graph) {
  return std::ranges::all_of(graph.inputs(), [&](ValueId v) { return graph.type(v).shape.concrete().has_value(); });
}

Result<EngineData> lower_in_parts(const Graph& graph, const CompileOptions& options, const Machine& machine,
                                  Selector& selector, TacticCache& cache, BuildSummary& build) {
  HONE_TRY(EngineData engine, lower_fused(graph, options, machine, selector, cache, build));
  HONE_CHECK(try_sub_batches(engine, graph, options, machine, selector, cache, build));
  return engine;
}

// With bf16 allowed, what is faster of tensors in bf16 and in fp32; where nothing is timed, bf16.
Result<EngineData> lower_stored(const Graph& graph, const CompileOptions& options, const Machine& machine,
                                Selector& selector, TacticCache& cache, BuildSummary& build) {
  const auto lower = [&](const Graph& g, BuildSummary& b) {
    return lower_in_parts(g, options, machine, selector, cache, b);
  };
  if (!machine.bf16) return lower(graph, build);
  if (!options.tune) return lower(store_in_bf16(graph, machine).value_or(graph), build);
  const auto gains = [&](const EngineData& in_bf16, const EngineData& in_fp32) {
    return measure_gains(in_bf16, in_fp32, std::array{DType::bf16}, "bf16", peaks_of(machine, cache));
  };
  return choose_bf16(graph, machine,
                     {.lower = lower,
                      .time_us = timer_of(cache),
                      .gains = gains,
                      .out_of_time = [&] { return selector.out_of_time(); }},
                     build);
}

Result<EngineData> compile_for(Graph graph, const CompileOptions& options, const Machine& machine, Selector& selector,
                               TacticCache& cache, SeenRanges& seen) {
  BuildSummary build;
  if (!selector.reference_only()) HONE_CHECK(prepare(graph, options, machine, seen, build));
  HONE_TRY(EngineData engine, lower_stored(graph, options, machine, selector, cache, build));
  engine.program.build.layers = std::move(build.layers);
  engine.program.build.notes = std::move(build.notes);
  if (machine.bf16) engine.program.build.notes.push_back(bf16_note(engine.program, machine));
  if (std::string spent = selector.spent(); !spent.empty()) engine.program.build.notes.push_back(std::move(spent));
  name_precisions(engine.program);
  return engine;
}

// Engines of one graph that differ in what they may be computed in. No problem is timed twice, and all share the time
// for tuning.
class Engines {
 public:
  Engines(const Graph& graph, const SelectOptions& select) : graph_(graph), select_(select) {}

  Result<EngineData> compile(const CompileOptions& options) {
    SelectOptions own = select_;
    own.tune = options.tune;
    own.machine.tf32 &= options.tf32;
    own.machine.bf16 &= options.bf16;
    own.time_budget_s -= std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    auto& selector = selectors_[{options.tune, options.tf32, options.bf16}];
    if (selector == nullptr) selector = std::make_unique<Selector>(own);
    return compile_for(graph_, options, own.machine, *selector, *select_.cache, seen_);
  }

 private:
  const Graph& graph_;
  const SelectOptions& select_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  SeenRanges seen_;
  std::map<std::array<bool, 3>, std::unique_ptr<Selector>> selectors_;
};

// Where precisions may be reduced or an accuracy is to be kept: the best of several engines.
Result<Compiled> compile_best(const Graph& graph, const CompileOptions& options, const Machine& machine,
                              const SelectOptions& select) {
  Engines engines(graph, select);
  const bool reduces = !machine.cuda_arch.empty() && (options.half != DType::none || options.tf32);
  if (select.reference_only || (options.thresholds.empty() && !options.budget && !reduces)) {
    HONE_TRY(EngineData engine, engines.compile(options));
    return Compiled{std::move(engine), options};
  }
  const bool here = machine.cuda_arch.empty() || machine.cuda_device >= 0;
  const bool timed = options.tune && is_static(graph) && here;
  return choose_precisions(options, {.compile = [&](const CompileOptions& o) { return engines.compile(o); },
                                     .fp32 =
                                         [&] {
                                           return compile_graph(graph, {.target = "cpu",
                                                                        .threads = options.threads,
                                                                        .max_tier = options.max_tier,
                                                                        .winograd = false,
                                                                        .tune = false,
                                                                        .progress = options.progress});
                                         },
                                     .time_us = timer_of(*select.cache),
                                     .runs = here,
                                     .timed = timed,
                                     .reduces = reduces,
                                     .peaks = [&] { return timed ? peaks_of(machine, *select.cache) : Peaks(); }});
}

constexpr int kLeastMajor = 8;  // of compute capabilities

Result<Machine> machine_of(const std::string& target, const CompileOptions& options) {
  Machine machine{.threads = options.threads > 0 ? options.threads : cpu::usable_cpu_count(),
                  .max_tier = options.max_tier,
                  .winograd = options.winograd};
  if (target == "cpu" || target == "reference") {
    if (!options.cuda_arch.empty()) return invalid("target '{}' has no CUDA architecture", target);
    machine.bf16 = options.bf16 && target == "cpu";
    return machine;
  }
  const auto ordinal = cuda::ordinal_of(target);
  if (!ordinal) return invalid("there is no target '{}': it is cpu, cuda, cuda:N, reference or auto", target);
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
  if (device.major < kLeastMajor)
    return Status(Code::device, fmt::format("GPU {} ({}) is {}: Hone needs compute capability {}.0 or newer", *ordinal,
                                            device.name, device.arch(), kLeastMajor));
  machine.cuda_arch = device.arch();
  machine.cuda_device = *ordinal;
  return machine;
}

// So that each run of the network finds its weights in memory.
bool weights_exceed_caches(const Graph& graph) {
  size_t bytes = 0;
  for (ValueId v : graph.values()) bytes += graph.value(v).constant.bytes();
  const cpu::CpuInfo& cpu = cpu::cpu_info();
  return static_cast<int64_t>(bytes) > std::max(cpu.l2, cpu.l3);
}

// Of the devices that are here and run steps. An engine is none the worse for not knowing a GPU's.
void add_peaks(Program& program, const Machine& machine, TacticCache& cache) {
  const bool uses_cpu = std::ranges::any_of(program.steps, [](const Step& step) {
    const Tactic* const tactic = find_tactic(step.tactic);
    return tactic == nullptr || tactic->backend != Backend::cuda;
  });
  if (uses_cpu) program.build.cpu = cpu_peaks(machine, cache);
  if (machine.cuda_device < 0) return;
  if (auto peaks = gpu_peaks(machine, cache); peaks.ok()) program.build.gpu = *peaks;
}

// What was not timed or measured is said, and how far bf16 leads away.
Status add_notes(const Graph& graph, const CompileOptions& options, const Machine& machine, EngineData& engine) {
  BuildSummary& build = engine.program.build;
  if (!machine.cuda_arch.empty() && machine.cuda_device < 0)
    build.notes.push_back(
        fmt::format("nothing was timed for {}, which is not here: first guesses are taken, and hone build "
                    "--from-engine tunes there",
                    machine.cuda_arch));
  if (machine.bf16 && !options.budget && is_static(graph)) {
    HONE_TRY(std::string distance, bf16_distance(graph, engine, options));
    if (!distance.empty()) build.notes.push_back(std::move(distance));
  }
  if (!options.accuracy.empty() && !options.budget)
    build.notes.push_back(fmt::format("not measured again: {}", options.accuracy));
  return {};
}

}  // namespace

std::future<void> open_gpu(int ordinal) {
  try {
    return std::async(std::launch::async, [ordinal] {
      if (!cuda::nvrtc_version().ok() || !cuda::make_current(ordinal).ok()) return;
      (void)cuda::cublaslt_version();
      (void)cuda::cudnn_version();
    });
  } catch (const std::system_error&) {  // no more threads to be had
    return {};
  }
}

Status check_cuda_arch(const std::string& arch) {
  if (!std::regex_match(arch, std::regex("sm_[1-9][0-9]{1,2}")))
    return invalid("'{}' is no CUDA architecture such as sm_90", arch);
  if (std::atoi(arch.c_str() + 3) < 10 * kLeastMajor)
    return Status(Code::device, fmt::format("{} is too old: Hone needs sm_{}0 or newer", arch, kLeastMajor));
  return {};
}

Status check_precisions(const CompileOptions& options) {
  if (std::ranges::find(options.bytes, DType::f8e4m3fn) == options.bytes.end()) return {};
  const std::string target = resolve_target(options);
  HONE_TRY(const Machine machine, machine_of(target, options));
  if (machine.cuda_arch.empty())
    return unsupported("fp8 needs a GPU of compute capability 8.9 or newer, which target '{}' is not", target);
  if (!cuda::has_fp8(machine.cuda_arch))
    return unsupported("fp8 needs a GPU of compute capability 8.9 or newer, which {} is not", machine.cuda_arch);
  return {};
}

std::string resolve_target(const CompileOptions& options) {
  if (options.target != "auto") return options.target;
  if (!options.cuda_arch.empty()) return "cuda";
  const auto gpus = cuda::devices();
  return gpus.ok() && !gpus->empty() && gpus->front().major >= kLeastMajor && cuda::nvrtc_version().ok() ? "cuda"
                                                                                                         : "cpu";
}

std::vector<std::string> unused_precisions(const CompileOptions& options) {
  const std::string target = resolve_target(options);
  if (target != "cpu" && target != "reference") return {};
  std::vector<std::string> lines;
  const auto add = [&](bool allowed, std::string_view precision, std::string_view has) {
    if (allowed) lines.push_back(fmt::format("{} is not used: target '{}' computes in {}", precision, target, has));
  };
  const std::string_view has = target == "cpu" ? "fp32, bf16 and int8" : "the types of the model";
  add(options.tf32, "tf32", has);
  add(options.half == DType::f16, "fp16", has);
  add(options.bf16 && target == "reference", "bf16", has);
  return lines;
}

Result<Compiled> compile(const Graph& graph, const CompileOptions& given, Start start) {
  CompileOptions options = given;
  options.target = resolve_target(given);
  const bool reference = options.target == "reference";
  HONE_TRY(Machine machine, machine_of(options.target, options));
  HONE_CHECK(check_precisions(options));
  if (options.deterministic) HONE_CHECK(refuse_variation(graph));

  const bool remembers = !options.timing_cache.empty() && !reference;
  TacticCache cache;
  const Store store(store_folder(options.timing_cache));
  if (remembers) {
    HONE_TRY(cache, TacticCache::load(options.timing_cache));
    machine.store = &store;
  }
  const std::future<void> opened = machine.cuda_device >= 0 ? open_gpu(machine.cuda_device) : std::future<void>();
  const bool timed = options.tune && machine.cuda_device >= 0;
  const std::future<void> expected = timed ? expect_gpu_peaks(machine, cache) : std::future<void>();
  const int64_t known_faults = cache.count_faults();
  auto compiled = compile_best(graph, options, machine,
                               {.machine = machine,
                                .reference_only = reference,
                                .cold_weights = machine.cuda_arch.empty() && weights_exceed_caches(graph),
                                .tune = options.tune,
                                .time_budget_s = options.time_budget_s,
                                .deterministic = options.deterministic,
                                .max_workspace = options.max_workspace,
                                .cache = &cache,
                                .cancelled = options.cancelled});
  if (compiled.ok() && options.tune && !reference) {
    add_peaks(compiled->engine.program, machine, cache);
    const double seconds = std::chrono::duration<double>(now() - start).count();
    if (machine.cuda_device >= 0 && seconds < options.time_budget_s) choose_streams(compiled->engine, timer_of(cache));
  }
  // What was learnt is kept even when the build was stopped; that it cannot be is no reason to lose the engine.
  const bool faulted = cache.count_faults() > known_faults;
  Status saved;
  if (cache.changed() && remembers) saved = cache.save(options.timing_cache);
  if (store.grew()) store.trim(kStoreBytes);
  if (!saved.ok() && options.warn) options.warn(fmt::format("what was timed is not remembered: {}", saved.message()));
  if (faulted) {
    if (remembers && saved.ok() && options.restart) options.restart(compiled.status());
    return Status(Code::device, fmt::format("{}; {}", compiled.status().message(),
                                            remembers && saved.ok()
                                                ? "build again: the timing cache leaves this kernel out"
                                                : "build again with a timing cache, which leaves this kernel out"));
  }
  HONE_CHECK(compiled);
  HONE_CHECK(add_notes(graph, options, machine, compiled->engine));
  compiled->engine.program.build.seconds = std::chrono::duration<double>(now() - start).count();
  return compiled;
}

Result<EngineData> compile_graph(const Graph& graph, const CompileOptions& options, Start start) {
  HONE_TRY(Compiled compiled, compile(graph, options, start));
  return std::move(compiled.engine);
}

Result<EngineData> compile_file(const std::string& path, const CompileOptions& options) {
  const auto start = now();
  HONE_TRY(const Graph graph, import_onnx_file(path, {.shapes = options.shapes}));
  auto engine = compile_graph(graph, options, start);
  if (!engine.ok()) return engine.status().within(path);
  return engine;
}

}  // namespace hone
