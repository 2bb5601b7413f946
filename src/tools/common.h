#pragma once

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/out_of_memory.h"
#include "compile/compile.h"
#include "runtime/context.h"
#include "tools/weights.h"

namespace hone::tools {

using Json = nlohmann::json;

// Of --precision.
const std::vector<std::string>& precision_names();

// The options that every command on a MODEL shares.
struct ModelOptions {
  std::string model;
  std::string target = "auto";
  std::vector<std::string> cuda_archs;  // empty: the target's own
  std::vector<std::string> shapes;      // NAME:1x3x224x224
  int threads = 0;
  std::string isa = "auto";  // auto, avx512, avx2, scalar
  bool no_winograd = false;
  bool no_tune = false;
  std::string time_budget = "60s";
  std::string max_workspace;  // empty: no limit
  std::vector<std::string> shape_ranges;
  std::string timing_cache;  // empty: the user's own; "none": none
  bool deterministic = false;
  bool strict = false;
  std::vector<std::string> precisions;                                              // beside fp32
  std::string calibration_data, calibration_cache, preprocess, calibrator = "mse";  // for int8, fp16
  std::string accuracy_budget, accuracy_metric = "auto";                            // empty: none
  WeightOptions weights;

  CLI::Option* add_to(CLI::App& app);  // MODEL, which is returned, and the options
  void add_options_to(CLI::App& app);
  bool allows(std::string_view precision) const;
  // All but the ranges for int8 and the samples of a budget, which build_model finds.
  Result<CompileOptions> compile_options() const;
};

struct Output {
  bool quiet = false, verbose = false;
  std::string json;  // file, or - for standard output

  void add_to(CLI::App& app);
  Status write(const Json& value) const;
  Status write_text(const std::string& text) const;  // JSON already
  // The table goes to standard output unless JSON does.
  bool shows_table() const { return json != "-" && !quiet; }
};

// "hone: warning: ..." on standard error.
void warn(const Output& output, std::string_view text);

// What a build needs, of a model.
struct Network {
  Graph graph;
  CompileOptions options;
  Start start = now();                     // of the build proper, behind what is done with data
  std::vector<WeightReport> weights = {};  // where some are to be quantised
};
// Imports a model and collects the data that its options ask for. `inputs` and `batch` as for open_model.
Result<Network> read_network(const ModelOptions& options, const std::map<std::string, Dims>& inputs, int64_t batch,
                             const Output& output);
// The options with what a command does while it builds: progress, warnings, an end when it is interrupted.
Result<CompileOptions> attended_options(const ModelOptions& options, const Output& output);

// Where a command that reads `model` may write.
Status check_output(const std::string& path, const std::string& model);
// Refuses an engine where only a model will do.
Status check_is_model(const std::string& path);
// Refuses an engine for options that it cannot follow: they are for building.
Status check_for_engine(const ModelOptions& options, const Program& program);
// What --precision and the like ask for and this build has no use for, or lack.
void warn_of_unused(const ModelOptions& options, const CompileOptions& compile, const Output& output);

// Runs f, which returns a Status: what it lacks memory for, or that it was interrupted, is said of the model.
template <class F>
Status about(const std::string& model, F&& f) {
  try {
    Status status = f();
    if (status.code() != Code::cancelled || status.message().starts_with(model)) return status;
    return Status(Code::cancelled, fmt::format("{}: interrupted", model));
  } catch (const std::bad_alloc& e) {
    return Status(Code::device, model.empty() ? out_of_memory(e) : fmt::format("{}: {}", model, out_of_memory(e)));
  }
}

// Whether the file is an engine, by content.
Result<bool> is_engine_file(const std::string& path);
// An engine file is loaded; anything else is compiled. `inputs` give the shapes that are not fixed by the options;
// `batch`, when positive, is the leading dim of inputs that leave it open.
struct Opened {
  std::shared_ptr<const LoadedEngine> engine;
  double build_s = 0, load_ms = 0;
};
Result<EngineData> build_model(const ModelOptions& options, const std::map<std::string, Dims>& inputs, int64_t batch,
                               const Output& output);
// A model imported for a build: an error names the inputs whose dims nobody gave.
Result<Graph> import_filled(const std::string& path, const std::map<std::string, Dims>& shapes, int64_t batch);
Result<Opened> open_model(const ModelOptions& options, const std::map<std::string, Dims>& inputs, int64_t batch,
                          const Output& output);

// "512M" and so on: K, M and G are powers of 1024.
Result<int64_t> parse_bytes(const std::string& text);
// "0.5%" as 0.005.
Result<double> parse_percentage(const std::string& text);
// "30s", "500ms", "1.5m" and so on.
Result<double> parse_seconds(const std::string& text);

// A bar on standard error, which goes when done == total.
void show_progress(std::string_view what, size_t done, size_t total);

Json type_json(const TensorType& type);  // {"dtype", "shape"}
std::string default_cache_path();
int exit_status(Code code);
// Writes to standard error. Where that cannot be written, the text is lost and nothing else.
void tell(const std::string& text);
// Writes "hone: error: ..." and returns the exit status.
int report(Code code, const char* message) noexcept;
inline int report(const Status& status) { return status.ok() ? 0 : report(status.code(), status.message().c_str()); }

// Commands: each adds its subcommand, whose result lands in `exit`.
void add_build(CLI::App& app, int& exit);
void add_run(CLI::App& app, int& exit);
void add_bench(CLI::App& app, int& exit);
void add_compare(CLI::App& app, int& exit);
void add_verify(CLI::App& app, int& exit);
void add_profile(CLI::App& app, int& exit);
void add_inspect(CLI::App& app, int& exit);
void add_doctor(CLI::App& app, int& exit);
void add_cache(CLI::App& app, int& exit);
void add_calibrate(CLI::App& app, int& exit);
void add_quantize(CLI::App& app, int& exit);

}  // namespace hone::tools
