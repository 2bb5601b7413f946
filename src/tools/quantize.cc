#include "base/file_map.h"
#include "calibrate/held_back.h"
#include "export/qdq.h"
#include "tools/calibration.h"
#include "tools/interrupt.h"
#include "tools/precisions.h"

namespace hone::tools {
namespace {

struct Quantize {
  ModelOptions model;
  Output output;
  std::string path;

  Status run() {
    HONE_CHECK(check_writable(path));
    HONE_CHECK(check_quantizable(model.model));
    const InterruptGuard guard;
    model.precisions = {"int8"};
    HONE_TRY(CompileOptions options, model.compile_options());
    options.cancelled = interrupted;
    HONE_TRY(Calibrated data, calibrated(model, options.shapes, output));
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
  auto* sub = app.add_subcommand("quantize", "Write an ONNX model with QuantizeLinear and DequantizeLinear for int8");
  auto command = std::make_shared<Quantize>();
  command->model.add_to(*sub);
  for (const char* other :
       {"--precision", "--target", "--cuda-arch", "--no-tune", "--time-budget", "--timing-cache", "--max-workspace",
        "--no-winograd", "--strict", "--deterministic", "--accuracy-budget", "--accuracy-metric"})
    sub->remove_option(sub->get_option(other));
  command->output.add_to(*sub);
  sub->add_option("-o,--output", command->path, "The ONNX file to write")->required();
  sub->footer("Example: hone quantize resnet50.onnx --calibrate photos --preprocess imagenet -o resnet50-int8.onnx");
  sub->callback([command, &exit] { exit = report(command->run()); });
}

}  // namespace hone::tools
