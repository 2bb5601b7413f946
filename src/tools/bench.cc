#include <sys/resource.h>

#include <chrono>
#include <numeric>
#include <set>

#include "engine/inspect.h"
#include "tools/common.h"

namespace hone::tools {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

struct Bench {
  ModelOptions model;
  Output output;
  std::vector<int64_t> batches;
  std::string duration = "2s", warm_up = "300ms";

  // Sorted milliseconds of single runs.
  Result<std::vector<double>> measure(ExecutionContext& context) const {
    HONE_TRY(const double warm_s, parse_seconds(warm_up));
    HONE_TRY(const double total_s, parse_seconds(duration));
    const auto warm = Clock::now();
    do HONE_CHECK(context.run());
    while (seconds_since(warm) < warm_s);
    std::vector<double> times;
    const auto start = Clock::now();
    while (times.size() < 3 || seconds_since(start) < total_s) {
      const auto one = Clock::now();
      HONE_CHECK(context.run());
      times.push_back(seconds_since(one) * 1e3);
    }
    std::sort(times.begin(), times.end());
    return times;
  }

  Result<Json> row(int64_t batch) const {
    HONE_TRY(const Opened opened, open_model(model, {}, batch, output));
    const Program& p = opened.engine->program();
    ExecutionContext context(opened.engine);
    Json shapes = Json::object();
    uint64_t seed = 0;
    for (const Binding& b : p.inputs) {
      if (!b.type.shape.known())
        return invalid("{}: input '{}' is {}: give --shape", model.model, b.name, to_text(b.type));
      HONE_CHECK(context.bind_input(b.name, random_input(b.type, seed++)));
      shapes[b.name] = *b.type.shape.concrete();
    }
    HONE_TRY(const auto times, measure(context));
    const auto at = [&](double q) {
      return times[std::min(times.size() - 1, static_cast<size_t>(q * static_cast<double>(times.size())))];
    };
    const double mean = std::accumulate(times.begin(), times.end(), 0.0) / static_cast<double>(times.size());
    const int64_t rows = p.inputs.empty() || p.inputs[0].type.shape.dims.empty()
                             ? 1
                             : std::max<int64_t>(p.inputs[0].type.shape.dims[0].value, 1);
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    std::set<std::string_view> precisions;
    for (const Step& step : p.steps) precisions.insert(precision_of(step));
    return Json{{"model", model.model},
                {"target", p.target},
                {"device", p.device},
                {"precision", precisions},
                {"shapes", shapes},
                {"batch", rows},
                {"threads", p.threads},
                {"streams", 1},
                {"latency_ms",
                 {{"median", at(0.5)}, {"mean", mean}, {"min", times.front()}, {"p90", at(0.9)}, {"p99", at(0.99)}}},
                {"throughput_per_s", static_cast<double>(rows) / at(0.5) * 1e3},
                {"build_s", opened.build_s},
                {"load_ms", opened.load_ms},
                {"memory",
                 {{"arena_bytes", p.memory.arena_bytes},
                  {"weights_bytes", p.memory.weights_bytes},
                  {"peak_resident_bytes", usage.ru_maxrss * 1024}}}};
  }

  Status run() const {
    Json rows = Json::array();
    if (output.shows_table())
      fmt::print("{:>6} {:>8} {:>10} {:>10} {:>10} {:>10} {:>12} {:>9} {:>9}\n", "batch", "threads", "median ms", "min",
                 "p90", "p99", "per second", "build s", "load ms");
    for (int64_t batch : batches.empty() ? std::vector<int64_t>{0} : batches) {
      HONE_TRY(const Json r, row(batch));
      const Json& l = r["latency_ms"];
      if (output.shows_table())
        fmt::print("{:>6} {:>8} {:>10.3f} {:>10.3f} {:>10.3f} {:>10.3f} {:>12.1f} {:>9.2f} {:>9.1f}\n",
                   r["batch"].get<int64_t>(), r["threads"].get<int>(), l["median"].get<double>(),
                   l["min"].get<double>(), l["p90"].get<double>(), l["p99"].get<double>(),
                   r["throughput_per_s"].get<double>(), r["build_s"].get<double>(), r["load_ms"].get<double>());
      rows.push_back(r);
    }
    return output.write({{"rows", rows}});
  }
};

}  // namespace

void add_bench(CLI::App& app, int& exit) {
  auto* sub = app.add_subcommand("bench", "Measure latency, throughput, build time and memory");
  auto command = std::make_shared<Bench>();
  command->model.add_to(*sub);
  command->output.add_to(*sub);
  sub->add_option("--batch", command->batches, "Batch sizes, e.g. 1,8,32, for models that leave the batch open")
      ->delimiter(',');
  sub->add_option("--duration", command->duration, "Time to measure for")->capture_default_str();
  sub->add_option("--warm-up", command->warm_up, "Time to run before measuring")->capture_default_str();
  sub->footer("Example: hone bench resnet50.onnx --batch 1,8 --threads 2");
  sub->callback([command, &exit] { exit = report(command->run()); });
}

}  // namespace hone::tools
