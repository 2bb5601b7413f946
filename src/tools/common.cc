#include "tools/common.h"

#include <fmt/ranges.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <random>

#include "base/counted.h"
#include "base/cpu_info.h"
#include "base/file_map.h"
#include "calibrate/held_back.h"
#include "compile/import_model.h"
#include "runtime/load.h"
#include "tools/calibration.h"
#include "tools/interrupt.h"
#include "tools/restart.h"

namespace hone::tools {
namespace {

Result<std::pair<std::string, Dims>> parse_shape(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) return invalid("--shape {}: expected NAME:1x3x224x224", text);
  Dims dims;
  std::string_view rest = std::string_view(text).substr(colon + 1);
  while (!rest.empty()) {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
    if (error != std::errc() || value < 0) return invalid("--shape {}: expected NAME:1x3x224x224", text);
    dims.push_back(value);
    rest.remove_prefix(static_cast<size_t>(end - rest.data()));
    if (rest.empty()) break;
    if (rest.front() != 'x' || rest.size() == 1) return invalid("--shape {}: expected NAME:1x3x224x224", text);
    rest.remove_prefix(1);
  }
  return std::pair(text.substr(0, colon), dims);
}

// The user's own cache, or none where it cannot be kept: a home that is read only does not stop a build.
std::string own_cache() {
  const std::string path = default_cache_path();
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::error_code ignored;
  if (!folder.empty()) std::filesystem::create_directories(folder, ignored);
  return access(folder.empty() ? "." : folder.c_str(), W_OK) == 0 ? path : "";
}

Result<EngineData> read_engine(const ModelOptions& options) {
  HONE_TRY(EngineData data, load_engine(options.model));
  if (options.threads > 0 && options.threads != data.program.threads)
    return invalid("{}: built for {}, not {}: build it again with --threads {}", options.model,
                   counted(data.program.threads, "thread"), options.threads, options.threads);
  for (const Step& step : data.program.steps)
    if (options.deterministic && !step.varies.empty())
      return unsupported("{}: {} may differ from run to run ({}): build it again with --deterministic", options.model,
                         step.label, step.varies);
  HONE_CHECK(check_for_engine(options, data.program));
  return data;
}

Progress progress_line(const Output& output) {
  const bool terminal = isatty(STDERR_FILENO) && !output.quiet;
  return [terminal](size_t done, size_t total, std::string_view) {
    if (terminal) show_progress("tuning", done + 1, total);
    return !interrupted();
  };
}

}  // namespace

void show_progress(std::string_view what, size_t done, size_t total) {
  const size_t width = 30, filled = width * done / total;
  tell(fmt::format("\r{} [{:<{}}] {}/{}{}", what, std::string(filled, '='), width, done, total,
                   done == total ? "\r\033[K" : ""));
  std::fflush(stderr);
}

const std::vector<std::string>& precision_names() {
  static const std::vector<std::string> names{"fp32", "tf32", "fp16", "bf16", "fp8", "int8"};
  return names;
}

CLI::Option* ModelOptions::add_to(CLI::App& app) {
  auto* option = app.add_option("MODEL", model, "An .onnx file or an engine")->required();
  add_options_to(app);
  return option;
}

void ModelOptions::add_options_to(CLI::App& app) {
  app.add_option("--target", target, "cpu, cuda, cuda:N or reference; auto: the GPU if one can be used, else the CPU")
      ->capture_default_str();
  app.add_option("--cuda-arch", cuda_archs,
                 "Architectures of GPUs that need not be here, e.g. sm_90; hone build takes several: sm_80,sm_90")
      ->delimiter(',');
  app.add_option("--shape", shapes, "Shape of an input, NAME:1x3x224x224 (repeatable)");
  app.add_option("--shapes", shape_ranges, "Ranges of dims, NAME:1..8..32x3x224x224: not supported yet");
  app.add_option("--threads", threads, "CPU threads; 0: as many as usable")->check(CLI::Range(0, 1024));
  app.add_option("--isa", isa, "Highest instruction set: auto, avx512, avx2, scalar")
      ->check(CLI::IsMember({"auto", "avx512", "avx2", "scalar"}))
      ->capture_default_str();
  app.add_option("--precision", precisions,
                 "Precisions allowed beside fp32, e.g. tf32,fp16 or fp16,int8; a CPU has fp32, bf16 and int8, and fp8 "
                 "needs a GPU of compute capability 8.9 or newer")
      ->delimiter(',')
      ->check(CLI::IsMember(precision_names()));
  app.add_option(
      "--calibrate", calibration_data,
      "Of int8, fp8 and fp16: typical inputs to find ranges on, as for hone calibrate --data; of --weights: to "
      "round for");
  app.add_option("--calibration-cache", calibration_cache,
                 "Of int8, fp8 and fp16: file of ranges; read where it exists, else written by --calibrate");
  std::vector<std::string> calibrators{std::string(calibrate::kAuto)};
  for (const calibrate::Calibrator& c : calibrate::calibrators()) calibrators.emplace_back(c.name);
  app.add_option("--calibrator", calibrator, "Of int8: how ranges are chosen")
      ->check(CLI::IsMember(calibrators))
      ->capture_default_str();
  app.add_option("--preprocess", preprocess, "Of images to calibrate with: " + calibrate::preprocess_help());
  std::vector<std::string> metrics;
  for (AccuracyMetric m : {AccuracyMetric::automatic, AccuracyMetric::top1, AccuracyMetric::error})
    metrics.emplace_back(name(m));
  app.add_option("--accuracy-budget", accuracy_budget,
                 "How far outputs may be from fp32, e.g. 0.5%, on data of --calibrate that is kept back for it");
  app.add_option("--accuracy-metric", accuracy_metric,
                 "Of the budget: top1, the share of positions with another largest element; error, the RMS of the "
                 "errors relative to that of the values; auto: top1 of a single output of 10 classes or more, else "
                 "error")
      ->check(CLI::IsMember(metrics))
      ->capture_default_str();
  weights.add_to(app);
  app.add_option("--time-budget", time_budget, "Limit for timing tactics, e.g. 30s")->capture_default_str();
  app.add_option("--max-workspace", max_workspace,
                 "Refuse tactics that need more scratch memory for a step, e.g. 512M");
  app.add_option("--timing-cache", timing_cache,
                 "Tactic cache file, with compiled code in the folder FILE.d beside it; 'none' for neither");
  app.add_flag("--no-winograd", no_winograd, "Forbid Winograd's and Strassen's algorithms");
  app.add_flag("--no-tune", no_tune, "Take the first tactic that fits instead of timing");
  app.add_flag("--strict", strict, "Refuse to build where fp16 cannot hold a tensor, instead of keeping it in fp32");
  app.add_flag("--deterministic", deterministic,
               "The same bits on every run: tactics that do not promise that are refused (there are none on the CPU)");
}

bool ModelOptions::allows(std::string_view precision) const {
  return std::find(precisions.begin(), precisions.end(), precision) != precisions.end();
}

Result<CompileOptions> ModelOptions::compile_options() const {
  if (cuda_archs.size() > 1)
    return invalid("--cuda-arch {}: only hone build makes an engine for several architectures",
                   fmt::join(cuda_archs, ","));
  CompileOptions options{.target = target, .threads = threads, .winograd = !no_winograd, .tune = !no_tune};
  if (!cuda_archs.empty()) options.cuda_arch = cuda_archs.front();
  options.strict = strict;
  options.deterministic = deterministic;
  options.tf32 = allows("tf32");
  options.half = allows("fp16") ? DType::f16 : allows("bf16") ? DType::bf16 : DType::none;
  options.bf16 = allows("bf16");
  options.bytes.clear();
  if (allows("int8")) options.bytes.push_back(DType::i8);
  if (allows("fp8")) options.bytes.push_back(DType::f8e4m3fn);
  options.max_tier = isa == "scalar" ? 0 : isa == "avx2" ? 1 : 2;
  HONE_TRY(options.time_budget_s, parse_seconds(time_budget));
  options.timing_cache = timing_cache.empty() ? own_cache() : timing_cache == "none" ? "" : timing_cache;
  if (!accuracy_budget.empty()) {
    AccuracyBudget& budget = options.budget.emplace();
    const auto most = parse_percentage(accuracy_budget);
    if (!most.ok()) return most.status().within("--accuracy-budget");
    budget.most = *most;
    budget.metric = *find_accuracy_metric(accuracy_metric);
  }
  if (!max_workspace.empty()) {
    HONE_TRY(options.max_workspace, parse_bytes(max_workspace));
  }
  if (!shape_ranges.empty())
    return unsupported(
        "--shapes {}: an engine is built for fixed shapes: build one for each size with --shape, e.g. --shape "
        "x:8x3x224x224",
        shape_ranges[0]);
  for (const std::string& text : shapes) {
    HONE_TRY(auto shape, parse_shape(text));
    options.shapes.insert(shape);
  }
  return options;
}

void Output::add_to(CLI::App& app) {
  app.add_option("--json", json, "Write the result as JSON to a file, or - for standard output");
  app.add_flag("--quiet", quiet, "Print errors only");
  app.add_flag("--verbose", verbose, "Print more");
}

Status Output::write(const Json& value) const {
  return json.empty() ? Status() : write_text(value.dump(1, ' ', false, Json::error_handler_t::replace) + '\n');
}

Status Output::write_text(const std::string& text) const {
  if (json.empty()) return {};
  if (json == "-") {
    std::fputs(text.c_str(), stdout);
    return {};
  }
  const std::string_view parts[] = {text};
  return write_file(json, parts);
}

void warn(const Output& output, std::string_view text) {
  if (!output.quiet) tell(fmt::format("hone: warning: {}\n", text));
}

Result<Graph> import_filled(const std::string& path, const std::map<std::string, Dims>& shapes, int64_t batch) {
  HONE_TRY(const ImportedModel model, import_model(path, shapes, std::max<int64_t>(batch, 1)));
  std::string open;
  for (ValueId v : model.open)
    open +=
        fmt::format("{}'{}' is {}", open.empty() ? "" : ", ", model.graph.value(v).name, to_text(model.graph.type(v)));
  if (!open.empty()) return invalid("{}: some dims are open: {}: give --shape NAME:1x3x224x224 for each", path, open);
  return model.graph;
}

Result<CompileOptions> attended_options(const ModelOptions& model, const Output& output) {
  HONE_TRY(CompileOptions options, model.compile_options());
  options.progress = progress_line(output);
  options.cancelled = interrupted;
  options.restart = restart;
  options.warn = [quiet = output.quiet](const std::string& line) { warn({.quiet = quiet}, line); };
  return options;
}

Result<Network> read_network(const ModelOptions& model, const std::map<std::string, Dims>& inputs, int64_t batch,
                             const Output& output) {
  HONE_TRY(CompileOptions options, attended_options(model, output));
  HONE_CHECK(check_precisions(options));
  warn_of_unused(model, options, output);
  options.shapes.insert(inputs.begin(), inputs.end());
  HONE_TRY(calibrate::BuildData data, calibrated(model, options.shapes, output));
  if (!options.bytes.empty()) options.thresholds = data.thresholds;
  options.ranges = std::move(data.thresholds);
  const Start start = now();
  HONE_TRY(Graph graph, import_filled(model.model, options.shapes, batch));
  if (options.budget) {
    HONE_TRY(options.budget->samples, budget_samples(graph, data.held_back, output));
  }
  if (model.allows("int8") || model.allows("fp8")) options.samples = calibrate::fitted(data.typical, graph);
  auto weights = model.weights.apply(graph, calibrate::fitted(data.typical, graph), options);
  if (!weights.ok()) return weights.status().within(model.model);
  return Network{std::move(graph), std::move(options), start, std::move(*weights)};
}

Result<EngineData> build_model(const ModelOptions& model, const std::map<std::string, Dims>& inputs, int64_t batch,
                               const Output& output) {
  const InterruptGuard guard;
  HONE_TRY(const Network network, read_network(model, inputs, batch, output));
  auto engine = compile_graph(network.graph, network.options, network.start);
  if (interrupted()) return Status(Code::cancelled, fmt::format("{}: interrupted", model.model));
  if (!engine.ok()) return engine.status().within(model.model);
  return engine;
}

Result<bool> is_engine_file(const std::string& path) {
  HONE_TRY(auto file, FileMap::open(path));
  return looks_like_engine(file->text());
}

Result<Opened> open_model(const ModelOptions& options, const std::map<std::string, Dims>& inputs, int64_t batch,
                          const Output& output) {
  HONE_TRY(const bool is_engine, is_engine_file(options.model));
  Opened opened;
  const auto start = std::chrono::steady_clock::now();
  HONE_TRY(EngineData data, is_engine ? read_engine(options) : build_model(options, inputs, batch, output));
  if (!is_engine) opened.build_s = data.program.build.seconds;
  HONE_TRY(opened.engine, LoadedEngine::make(std::move(data)));
  if (is_engine)
    opened.load_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  return opened;
}

Result<double> parse_seconds(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  const std::string_view unit = end;
  const double scale = unit == "s" || unit.empty() ? 1
                       : unit == "ms"              ? 1e-3
                       : unit == "m"               ? 60
                       : unit == "h"               ? 3600
                                                   : -1;
  if (end == text.c_str() || scale < 0 || !(value >= 0))
    return invalid("'{}' is not a time such as 30s, 500ms or 2m", text);
  return value * scale;
}

Result<double> parse_percentage(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (end == text.c_str() || std::string_view(end) != "%" || !(value >= 0 && value <= 100))
    return invalid("'{}' is not a percentage such as 0.5%", text);
  return value / 100;
}

Result<int64_t> parse_bytes(const std::string& text) {
  int64_t value = 0;
  const char* last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, value);
  const std::string_view unit(end, static_cast<size_t>(last - end));
  const size_t shift = std::string_view("KMG").find(unit.empty() ? ' ' : unit[0]);
  const bool known = unit.empty() || (unit.size() == 1 && shift != std::string_view::npos);
  const int bits = unit.empty() ? 0 : 10 * (static_cast<int>(shift) + 1);
  if (error != std::errc() || !known || value < 0 || value > (INT64_MAX >> bits))
    return invalid("'{}' is not a size such as 512M, 64K or 1G", text);
  return value << bits;
}

Json type_json(const TensorType& type) {
  Json shape = Json::array();
  for (const Dim& d : type.shape.dims)
    d.known() ? shape.push_back(d.value) : shape.push_back(d.symbol.empty() ? "?" : d.symbol);
  return {{"dtype", name(type.dtype)}, {"shape", shape}};
}

std::string default_cache_path() {
  if (const char* cache = std::getenv("HONE_TIMING_CACHE")) return cache;
  const char* base = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  if (base == nullptr && home == nullptr) return {};
  return (base ? std::string(base) : std::string(home) + "/.cache") + "/hone/tactics.json";
}

int exit_status(Code code) {
  switch (code) {
    case Code::ok: return 0;
    case Code::check_failed: return 1;
    case Code::invalid: return 2;
    case Code::unsupported: return 3;
    case Code::device: return 4;
    case Code::cancelled: return interrupt_status();
    default: return 70;
  }
}

void tell(const std::string& text) { std::fputs(text.c_str(), stderr); }

int report(Code code, const char* message) noexcept {
  std::fprintf(stderr, "hone: error: %s\n", message);
  if (code == Code::internal)
    std::fputs(
        "This is a bug in Hone: please report it with the command and the model, or the first node named above.\n",
        stderr);
  return exit_status(code);
}

}  // namespace hone::tools
