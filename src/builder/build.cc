#include "hone/build.h"

#include <algorithm>

#include "api/access.h"
#include "backends/integers.h"
#include "builder/options.h"
#include "builder/user_batches.h"
#include "calibrate/held_back.h"
#include "calibrate/observed_model.h"
#include "calibrate/thresholds.h"
#include "compile/build_engine.h"
#include "compile/import_model.h"

namespace hone {
namespace {

// The user's data as the graph takes it.
Result<std::vector<Tensors>> samples_for(const Graph& graph, const std::string& path,
                                         const std::map<std::string, Dims>& shapes, v0::CalibrationData* data) {
  if (data == nullptr) return invalid("an accuracy budget is measured on data: give accuracy_data");
  HONE_TRY(auto inputs, calibrate::inputs_of(path, shapes));
  UserBatches batches(*data, inputs);
  HONE_TRY(const auto runs, calibrate::runs_of(batches, inputs));
  auto samples = calibrate::fitted(runs, graph);
  if (samples.empty()) return invalid("none of the {} samples fits the shapes of the engine", runs.size());
  return samples;
}

// What there is to compile, and how.
struct Network {
  Graph graph;
  CompileOptions options;
};

Result<Network> read_model(const std::string& path, const v0::BuildOptions& options) {
  HONE_TRY(CompileOptions translated, api::compile_options(options));
  HONE_CHECK(check_precisions(translated));
  const bool bytes = !translated.bytes.empty();
  if (bytes && options.calibration_cache.empty())
    return invalid("{} among the precisions needs a calibration cache", precision_name(translated.bytes.front()));
  if (bytes || (translated.half == DType::f16 && !options.calibration_cache.empty())) {
    HONE_TRY(translated.ranges, calibrate::read_thresholds(options.calibration_cache, path, translated.shapes));
    if (bytes) translated.thresholds = translated.ranges;
  }
  HONE_TRY(ImportedModel model, import_model(path, translated.shapes));
  std::string open;
  for (ValueId v : model.open)
    open += fmt::format("{}'{}' {}", open.empty() ? "" : ", ", model.graph.value(v).name, to_text(model.graph.type(v)));
  if (!open.empty()) return invalid("{}: some dims are open, give shapes for the inputs {}", path, open);
  if (translated.budget) {
    HONE_TRY(translated.budget->samples, samples_for(model.graph, path, translated.shapes, options.accuracy_data));
  }
  return Network{std::move(model.graph), std::move(translated)};
}

Result<Network> read_engine(const std::string& path, const v0::BuildOptions& options) {
  if (!options.shapes.empty() || !options.calibration_cache.empty() || options.accuracy_budget > 0)
    return invalid(
        "{}: the shapes and ranges of an engine are fixed: shapes, calibration_cache and accuracy_budget need its "
        "model",
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
  std::vector<std::string> warnings;
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
