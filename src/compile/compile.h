#pragma once

#include <chrono>
#include <future>
#include <map>
#include <string>

#include "backends/lower.h"
#include "backends/quantize.h"
#include "compile/accuracy.h"
#include "engine/engine_file.h"

namespace hone {

struct CompileOptions {
  std::string target = "auto";  // cpu, cuda, cuda:N, reference; auto: a GPU that can be used, else the CPU
  std::string cuda_arch;  // "sm_90", of a GPU that need not be here; nothing is timed then; empty: the target's own
  std::map<std::string, Dims> shapes;  // of inputs, by name
  int threads = 0;                     // 0: as many as usable
  int max_tier = 2;                    // highest instruction tier: 0 scalar, 1 AVX2, 2 AVX-512
  bool winograd = true;
  bool tf32 = false;                    // beside fp32; the CPU has none
  DType half = DType::none;             // f16 or bf16: what a GPU may compute in that type it does
  bool bf16 = false;                    // a CPU may round factors of products to bf16, where that is faster
  Thresholds thresholds;                // `bytes` are allowed where there are any; see backends/quantize.h
  std::vector<DType> bytes{DType::i8};  // i8, f8e4m3fn or both: the faster is taken
  Thresholds ranges;                    // what f16 is to hold, where it is known; see backends/fp16_range.h
  bool strict = false;                  // f16 where it does not hold a tensor is an error, and not f32 there
  std::set<std::string> floats;         // layers that int8 and fp8 may not compute, by name
  std::set<std::string> fp32_layers;    // layers that f16 and bf16 of a GPU may not compute, by name
  std::vector<Tensors> samples;  // of the inputs, in the shapes of the build: biases of int8 are corrected on them
  std::optional<AccuracyBudget> budget;
  std::string accuracy;               // what a budget of an earlier build found, for the report
  bool deterministic = false;         // the same engine gives the same bits in every run
  int64_t max_workspace = INT64_MAX;  // of a step, in bytes
  bool tune = true;
  double time_budget_s = 60;
  std::string timing_cache;  // file, with a store beside it (tune/cache.h); empty: none
  // False: an output lives until the last step that reads it, for who observes steps.
  bool keep_outputs = true;
  bool verify_passes = false;
  Progress progress;
  std::function<bool()> cancelled;  // asked before each timing as well; true cancels the build
  // Called when a kernel that was timed has faulted, which ends what this process can do with the GPU, and the timing
  // cache knows it: may begin the build anew in another process, and not return. Empty: the build fails.
  std::function<void(const Status& fault)> restart;
  // Told, a line each, of what went wrong beside the engine; may be empty.
  std::function<void(const std::string& line)> warn;
};

struct Compiled {
  EngineData engine;
  CompileOptions options;  // as they were given, less what an accuracy budget has ruled out
};

// Begins to open, in another thread, what a build for the GPU takes long to open (0.3 s): the driver, NVRTC, a context,
// libraries. What is wrong with them is found where they are used.
std::future<void> open_gpu(int ordinal);

// Whether it names an architecture of GPUs: "sm_90".
Status check_cuda_arch(const std::string& arch);

// What the target cannot be built for with the precisions allowed: fp8 is not on every GPU, and on no CPU. Before
// ranges are looked for, which takes time.
Status check_precisions(const CompileOptions& options);

// What the target is that the options name, or that `auto` is here.
std::string resolve_target(const CompileOptions& options);

// A line for each precision that the target has no use for: the engine is right, and in fp32.
std::vector<std::string> unused_precisions(const CompileOptions& options);

using Start = std::chrono::steady_clock::time_point;  // of a build, for its report
inline Start now() { return std::chrono::steady_clock::now(); }

// The whole pipeline: import, canonical, fuse, layout, tune, plan. A tactic cache that cannot be saved is warned of.
Result<EngineData> compile_file(const std::string& path, const CompileOptions& options);
Result<EngineData> compile_graph(const Graph& graph, const CompileOptions& options, Start start = now());
Result<Compiled> compile(const Graph& graph, const CompileOptions& options, Start start = now());

}  // namespace hone
