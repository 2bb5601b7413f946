#include "hone/build.h"

#include <algorithm>
#include <chrono>

#include "api/access.h"
#include "builder/options.h"
#include "builder/user_batches.h"
#include "calibrate/held_back.h"
#include "calibrate/observed_model.h"
#include "calibrate/thresholds.h"
#include "compile/compile.h"
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

Result<std::shared_ptr<const v0::Engine::Impl>> compile(const std::string& path, const v0::BuildOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  HONE_TRY(CompileOptions translated, api::compile_options(options));
  const bool int8 =
      std::find(options.precisions.begin(), options.precisions.end(), v0::Precision::int8) != options.precisions.end();
  if (int8 && options.calibration_cache.empty()) return invalid("int8 among the precisions needs a calibration cache");
  if (int8 || (translated.half == DType::f16 && !options.calibration_cache.empty())) {
    HONE_TRY(translated.ranges, calibrate::read_thresholds(options.calibration_cache, path, translated.shapes));
    if (int8) translated.thresholds = translated.ranges;
  }
  HONE_TRY(ImportedModel model, import_model(path, translated.shapes));
  std::string open;
  for (ValueId v : model.open)
    open += fmt::format("{}'{}' {}", open.empty() ? "" : ", ", model.graph.value(v).name, to_text(model.graph.type(v)));
  if (!open.empty()) return invalid("{}: some dims are open, give shapes for the inputs {}", path, open);
  if (translated.budget) {
    HONE_TRY(translated.budget->samples, samples_for(model.graph, path, translated.shapes, options.accuracy_data));
  }
  auto data = compile_graph(std::move(model.graph), translated, start);
  if (!data.ok()) return data.status().within(path);
  auto engine = api::instantiate(std::move(*data));
  if (!engine.ok()) return engine.status().within(path);
  return engine;
}

}  // namespace

v0::Result<v0::Engine> v0::build(const std::string& path, const BuildOptions& options) {
  auto engine = api::guarded([&] { return compile(path, options); });
  if (!engine.ok()) return api::to_public(engine.status());
  return Engine(std::move(*engine));
}

}  // namespace hone
