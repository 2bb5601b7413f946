#include "hone/build.h"

#include <algorithm>

#include "api/access.h"
#include "backends/integers.h"
#include "base/counted.h"
#include "base/file_map.h"
#include "builder/options.h"
#include "builder/user_batches.h"
#include "calibrate/build_data.h"
#include "calibrate/held_back.h"
#include "calibrate/observed_model.h"
#include "calibrate/thresholds.h"
#include "compile/build_engine.h"
#include "compile/import_model.h"

namespace hone {
namespace {

Result<std::vector<Tensors>> samples_of(v0::CalibrationData& data, const std::string& path,
                                        const std::map<std::string, Dims>& shapes) {
  HONE_TRY(auto inputs, calibrate::inputs_of(path, shapes));
  UserBatches batches(data, inputs);
  return calibrate::runs_of(batches, inputs);
}

// Those that fit.
Result<std::vector<Tensors>> fitted(const std::vector<Tensors>& runs, const Graph& graph) {
  auto samples = calibrate::fitted(runs, graph);
  if (samples.empty()) return invalid("of {} none fits the shapes of the engine", counted(runs.size(), "sample"));
  return samples;
}

// What there is to compile, and how.
struct Network {
  Graph graph;
  CompileOptions options;
  std::vector<std::string> notes = {};
};

// Reads the cache, and the data once, as far as the build asks for them.
Result<calibrate::BuildData> calibrated(const std::string& path, const v0::BuildOptions& options,
                                        const CompileOptions& translated) {
  const std::string& cache = options.calibration_cache;
  v0::CalibrationData* const data = options.calibration_data;
  const bool bytes = !translated.bytes.empty(), budget = translated.budget && options.accuracy_data == nullptr;
  if (bytes && cache.empty() && data == nullptr)
    return invalid("{} among the precisions needs calibration_data or a calibration_cache",
                   precision_name(translated.bytes.front()));
  if (budget && data == nullptr)
    return invalid("an accuracy budget is measured on data: give accuracy_data or calibration_data");
  const auto sources = calibrate::sources_of(bytes, translated.half == DType::f16, budget, cache, data != nullptr);
  calibrate::BuildData result;
  if (sources.data) {
    calibrate::BuildDataOptions how{.ranges = sources.ranges, .cache = cache, .budget = budget};
    HONE_TRY(how.calibration.compile,
             api::compile_options({.target = calibrate::target_for(translated), .threads = options.threads}));
    HONE_TRY(const auto inputs, calibrate::inputs_of(path, {}));
    UserBatches batches(*data, inputs);
    HONE_TRY(result, calibrate::collect(path, batches, inputs, how));
  }
  if (sources.cache) {
    HONE_TRY(result.thresholds, calibrate::read_thresholds(cache, path, translated.shapes));
  }
  return result;
}

Result<Network> read_model(const std::string& path, const v0::BuildOptions& options) {
  HONE_TRY(CompileOptions translated, api::compile_options(options));
  HONE_CHECK(check_precisions(translated));
  HONE_TRY(calibrate::BuildData data, calibrated(path, options, translated));
  HONE_TRY(ImportedModel model, import_model(path, translated.shapes));
  std::string open;
  for (ValueId v : model.open)
    open += fmt::format("{}'{}' {}", open.empty() ? "" : ", ", model.graph.value(v).name, to_text(model.graph.type(v)));
  if (!open.empty()) return invalid("{}: some dims are open, give shapes for the inputs {}", path, open);
  if (!translated.bytes.empty()) {
    translated.thresholds = data.thresholds;
    translated.samples = calibrate::fitted(data.typical, model.graph);
  }
  translated.ranges = std::move(data.thresholds);
  if (translated.budget) {
    if (options.accuracy_data != nullptr) {
      HONE_TRY(data.held_back, samples_of(*options.accuracy_data, path, translated.shapes));
    }
    HONE_TRY(translated.budget->samples, fitted(data.held_back, model.graph));
  }
  return Network{std::move(model.graph), std::move(translated), std::move(data.warnings)};
}

Result<Network> read_engine(const std::string& path, const v0::BuildOptions& options) {
  if (!options.shapes.empty() || !options.calibration_cache.empty() || options.calibration_data != nullptr ||
      options.accuracy_budget > 0)
    return invalid(
        "{}: the shapes and ranges of an engine are fixed: shapes, calibration_cache, calibration_data and "
        "accuracy_budget need its model",
        path);
  HONE_TRY(const EngineFile file, EngineFile::open(path));
  HONE_TRY(Portable portable, file.portable());
  HONE_TRY(CompileOptions given, api::compile_options(options));
  auto merged = options_from(portable.recipe, std::move(given), !options.precisions.empty());
  if (!merged.ok()) return merged.status().within(path);
  return Network{std::move(portable.graph), std::move(*merged)};
}

Result<std::shared_ptr<v0::Engine::Impl>> make(const std::string& path, const v0::BuildOptions& options) {
  const Start start = now();
  HONE_TRY(const auto file, FileMap::open(path));
  HONE_TRY(Network network, looks_like_engine(file->text()) ? read_engine(path, options) : read_model(path, options));
  std::vector<std::string> warnings = std::move(network.notes);
  std::ranges::move(unused_precisions(network.options), std::back_inserter(warnings));
  network.options.warn = [&](const std::string& line) { warnings.push_back(line); };
  auto built = build_engine(std::move(network.graph), network.options, {.portable = options.portable}, start);
  if (!built.ok()) return built.status().within(path);
  EngineData& program = built->programs.front();
  auto& notes = program.program.build.notes;
  notes.insert(notes.end(), warnings.begin(), warnings.end());
  auto engine = api::instantiate(std::move(program));
  if (!engine.ok()) return engine.status().within(path);
  (*engine)->portable = std::move(built->portable);
  return engine;
}

}  // namespace

v0::Result<v0::Engine> v0::build(const std::string& path, const BuildOptions& options) {
  auto engine = api::guarded([&] { return make(path, options); });
  if (!engine.ok()) return api::to_public(engine.status());
  return Engine(std::move(*engine));
}

}  // namespace hone
