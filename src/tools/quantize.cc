#include "base/file_map.h"
#include "calibrate/held_back.h"
#include "export/qdq.h"
#include "export/weights.h"
#include "tools/calibration.h"
#include "tools/interrupt.h"
#include "tools/precisions.h"

namespace hone::tools {
namespace {

struct Quantize {
  ModelOptions model;
  Output output;
  std::string path;

  // Weights alone, without data: the file's tensors are not those of the graph that runs.
  Status run_weights() const {
    if (!model.calibration_data.empty() || !model.calibration_cache.empty())
      return invalid(
          "--weights takes no data here, but in hone build: give either --weights or --calibrate and "
          "--calibration-cache");
    HONE_TRY(const WeightsModel made, quantized_weights_onnx(model.model, model.weights.format()));
    const std::string_view parts[] = {made.bytes};
    HONE_CHECK(write_file(path, parts));
    const std::string line = summary(made.weights, model.weights.format());
    HONE_CHECK(
        output.write({{"model", path}, {"weights", weights_json(made.weights)}, {"notes", Json::array({line})}}));
    if (output.shows_table()) {
      print_weights(made.weights);
      fmt::print("  {}\n", line);
    }
    return {};
  }

  Status run() {
    HONE_CHECK(check_output(path, model.model));
    HONE_CHECK(check_is_model(model.model));
    if (model.weights.given()) return run_weights();
    HONE_CHECK(check_quantizable(model.model));
    const InterruptGuard guard;
    model.precisions = {"int8"};
    if (model.target == "auto") model.target = "cpu";
    HONE_TRY(CompileOptions options, model.compile_options());
    options.cancelled = interrupted;
    HONE_TRY(calibrate::BuildData data, calibrated(model, options.shapes, output));
    options.thresholds = std::move(data.thresholds);
    HONE_TRY(const Graph graph, import_filled(model.model, options.shapes, 1));
    options.samples = calibrate::fitted(data.typical, graph);
    HONE_TRY(const QdqModel made, quantized_onnx(model.model, graph, options));
    const std::string_view parts[] = {made.bytes};
    HONE_CHECK(write_file(path, parts));
    BuildSummary summary;
    Json layers = Json::array();
    for (const Int8Layer& l : made.layers) {
      const char* precision = l.reason.empty() ? "int8" : "fp32";
      summary.layers.push_back({.name = l.name, .precision = precision, .range = l.range, .reason = l.reason});
      layers.push_back({{"name", l.name}, {"precision", precision}, {"range", l.range}, {"reason", l.reason}});
    }
    if (!made.note.empty()) summary.notes.push_back(made.note);
    HONE_CHECK(output.write({{"model", path}, {"layers", layers}, {"notes", summary.notes}}));
    if (output.shows_table()) print_precisions(summary);
    return {};
  }
};

}  // namespace

void add_quantize(CLI::App& app, int& exit) {
  auto* sub = app.add_subcommand(
      "quantize", "Write an ONNX model with QuantizeLinear and DequantizeLinear, for int8 or for small weights");
  auto command = std::make_shared<Quantize>();
  command->model.add_to(*sub)->description("An .onnx file");
  for (const char* other :
       {"--precision", "--cuda-arch", "--no-tune", "--time-budget", "--timing-cache", "--max-workspace",
        "--no-winograd", "--strict", "--deterministic", "--accuracy-budget", "--accuracy-metric"})
    sub->remove_option(sub->get_option(other));
  sub->get_option("--target")->description(std::string(kTargetHelp));
  command->output.add_to(*sub);
  sub->add_option("-o,--output", command->path, "The ONNX file to write")->required();
  sub->footer(
      "Examples: hone quantize resnet50.onnx --calibrate photos --preprocess imagenet -o resnet50-int8.onnx\n"
      "          hone quantize bert.onnx --weights int4 -o bert-int4.onnx");
  sub->callback([command, &exit] { exit = report(about(command->model.model, [&] { return command->run(); })); });
}

}  // namespace hone::tools
