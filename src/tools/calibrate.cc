#include "calibrate/calibrate.h"

#include <chrono>
#include <cstdio>

#include "base/counted.h"
#include "base/file_map.h"
#include "calibrate/cache.h"
#include "calibrate/observed_model.h"
#include "tools/calibration.h"
#include "tools/interrupt.h"

namespace hone::tools {
namespace {

using namespace hone::calibrate;

struct Calibrate {
  ModelOptions model;
  Output output;
  Options options;
  std::string data, path, format, preprocess, check;

  // Of the fp32 network.
  Result<CompileOptions> compile_options() const {
    HONE_TRY(CompileOptions compile, model.compile_options());
    if (compile.target == "auto") compile.target = "cpu";
    compile.progress = [](size_t, size_t, std::string_view) { return !interrupted(); };
    return compile;
  }

  Result<const CacheFormat*> cache_format() const {
    if (format.empty()) return &cache_format_for(path);
    return find_cache_format(format);
  }

  static Json tensor_json(const TensorReport& t) {
    const Statistics& s = t.statistics;
    Json row{{"name", t.name},
             {"node", t.node},
             {"values", s.magnitudes.total()},
             {"channels", s.channels.low.size()},
             {"nan", s.nans},
             {"infinite", s.infinities}};
    if (!s.empty()) row.update({{"min", s.low}, {"max", s.high}, {"mean", s.mean()}, {"deviation", s.deviation()}});
    if (!t.calibrator.empty())
      row.update({{"calibrator", t.calibrator},
                  {"low", t.range.low},
                  {"high", t.range.high},
                  {"threshold", t.range.threshold()},
                  {"scale", t.range.threshold() / 127}});
    return row;
  }

  void print_table(const Report& report, double seconds) const {
    size_t width = 6;
    for (const TensorReport& t : report.tensors) width = std::max(width, std::min<size_t>(t.name.size(), 60));
    fmt::print("{:<{}} {:>12} {:>12} {:>12} {:>12}  {}\n", "tensor", width, "min", "max", "threshold", "deviation",
               "calibrator");
    for (const TensorReport& t : report.tensors) {
      const Statistics& s = t.statistics;
      if (t.calibrator.empty()) fmt::print("{:<{}} has no range\n", t.name, width);
      else
        fmt::print("{:<{}} {:>12.5g} {:>12.5g} {:>12.5g} {:>12.5g}  {}\n", t.name, width, s.low, s.high,
                   t.range.threshold(), s.deviation(), t.calibrator);
    }
    fmt::print("{}: {} from {} in {:.2f} s\n", path, counted(report.table.ranges.size(), "range"),
               counted(report.samples, "sample"), seconds);
  }

  Status collect() {
    const auto start = std::chrono::steady_clock::now();
    HONE_CHECK(check_output(path, model.model));
    const InterruptGuard guard;
    HONE_TRY(const CacheFormat* const cache, cache_format());
    HONE_TRY(options.compile, compile_options());
    HONE_TRY(const Report report, run_calibration(model.model, data, preprocess, options, output));
    HONE_CHECK(write_cache(report.table, path, *cache));
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    Json tensors = Json::array();
    for (const TensorReport& t : report.tensors) tensors.push_back(tensor_json(t));
    HONE_CHECK(output.write({{"model", model.model},
                             {"cache", path},
                             {"format", cache->name},
                             {"calibrator", options.calibrator},
                             {"samples", report.samples},
                             {"seconds", seconds},
                             {"warnings", report.warnings},
                             {"tensors", tensors}}));
    if (output.shows_table()) print_table(report, seconds);
    return {};
  }

  // Of a cache that exists: whether it is this model's; with --output, the same in another format.
  Status check_cache() const {
    HONE_TRY(const CompileOptions compile, model.compile_options());
    HONE_TRY(const RangeTable table, read_cache(check));
    HONE_TRY(const auto tensors, tensors_of(model.model, compile.shapes));
    if (const Status complete = check_complete(table, tensors); !complete.ok())
      return complete.within(fmt::format("{}: for {}", check, model.model));
    if (!path.empty()) {
      HONE_TRY(const CacheFormat* const cache, cache_format());
      HONE_CHECK(write_cache(table, path, *cache));
    }
    HONE_CHECK(output.write(
        {{"model", model.model}, {"cache", check}, {"ranges", table.ranges.size()}, {"needed", tensors.size()}}));
    if (output.shows_table())
      fmt::print("{}: has all {} that {} needs\n", check, counted(tensors.size(), "range"), model.model);
    return {};
  }

  Status run() {
    HONE_CHECK(check_is_model(model.model));
    if (!check.empty()) return data.empty() ? check_cache() : invalid("give --data or --check, not both");
    if (data.empty() || path.empty())
      return invalid("calibrating needs --data and --output (or --check for a cache that exists)");
    return collect();
  }
};

}  // namespace

void add_calibrate(CLI::App& app, int& exit) {
  auto* sub = app.add_subcommand("calibrate", "Find the ranges of a network's tensors on data, for int8");
  auto command = std::make_shared<Calibrate>();
  command->model.add_to(*sub)->description("An .onnx file");
  for (const char* tuning : {"--precision", "--calibrate", "--calibration-cache", "--calibrator", "--preprocess",
                             "--accuracy-budget", "--accuracy-metric", "--cuda-arch", "--no-tune", "--time-budget",
                             "--timing-cache", "--deterministic", "--strict", "--weights", "--block"})
    sub->remove_option(sub->get_option(tuning));
  sub->get_option("--target")->description(std::string(kTargetHelp));
  command->output.add_to(*sub);
  std::vector<std::string> names{std::string(kAuto)};
  for (const Calibrator& c : calibrators()) names.emplace_back(c.name);
  std::vector<std::string> formats;
  for (const CacheFormat& f : cache_formats()) formats.emplace_back(f.name);
  Options& options = command->options;
  sub->add_option("--data", command->data,
                  "A folder of .npy or .npz files, of images, or of ONNX test data; or one such file");
  sub->add_option("-o,--output", command->path, "The calibration cache to write");
  sub->add_option("--calibrator", options.calibrator, "How ranges are chosen")
      ->check(CLI::IsMember(names))
      ->capture_default_str();
  sub->add_option("--percentile", options.parameters.percentile, "Of percentile: per cent of the values to keep")
      ->capture_default_str();
  sub->add_option("--quantile", options.parameters.quantile, "Of legacy: fraction of the values to keep")
      ->capture_default_str();
  sub->add_option("--cutoff", options.parameters.cutoff,
                  "Of legacy: fraction of the maximum that the regression looks at; 1: none")
      ->capture_default_str();
  sub->add_option("--format", command->format, "Of the cache; default: onnxruntime for .json, else tensorrt")
      ->check(CLI::IsMember(formats));
  sub->add_option("--preprocess", command->preprocess, "Of images: " + preprocess_help());
  sub->add_option("--batch", options.rows,
                  "Rows of an array to run at once, where the model leaves the batch open; 0: all")
      ->capture_default_str();
  sub->add_option("--samples", options.limit, "Stop after so many samples; 0: take all")->capture_default_str();
  sub->add_option("--check", command->check,
                  "Only check that this cache fits the model; with --output, write it in another format");
  sub->footer("Example: hone calibrate resnet50.onnx --data photos --preprocess imagenet -o resnet50.cache");
  sub->callback([command, &exit] { exit = report(about(command->model.model, [&] { return command->run(); })); });
}

}  // namespace hone::tools
