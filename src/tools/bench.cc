#include <algorithm>
#include <fstream>
#include <set>

#include "engine/inspect.h"
#include "tools/against.h"
#include "tools/common.h"
#include "tools/inputs.h"
#include "tools/measure.h"

namespace hone::tools {
namespace {

// Of this process alone: what getrusage() says begins with the peak of the one that started it.
int64_t peak_resident_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (int64_t kib = 0; word == "VmHWM:" && status >> kib) return kib * 1024;
  return 0;
}

struct Bench {
  ModelOptions model;
  Output output;
  InputOptions input;
  std::vector<int64_t> batches{0};  // 0: as the model has it
  int streams = 1;
  Io io = Io::host;
  std::string duration = "2s", warm_up = "300ms", against;

  Result<Json> row(const GivenInputs& given, int64_t batch) const {
    HONE_TRY(const Opened opened, open_model(model, given.shapes(), batch, output));
    const Program& p = opened.engine->program();
    HONE_CHECK(check_batch(p, batch));
    HONE_TRY(const NamedTensors values, given.values(p.inputs, input.seed));
    HONE_TRY(const double warm_up_s, parse_seconds(warm_up));
    HONE_TRY(const double duration_s, parse_seconds(duration));
    const auto measured = measure(opened.engine, values, streams, io, warm_up_s, duration_s);
    if (!measured.ok()) return measured.status().within(model.model);
    const Measurement& m = *measured;
    Json shapes = Json::object();
    for (const auto& [name, value] : values) shapes[name] = value.dims();
    const Dims first = p.inputs.empty() ? Dims() : values.at(p.inputs[0].name).dims();
    const int64_t rows = first.empty() ? 1 : std::max<int64_t>(first[0], 1);
    std::set<std::string_view> precisions;
    for (const Step& step : p.steps) precisions.insert(precision_of(step));
    return Json{{"model", model.model},
                {"target", p.target},
                {"device", p.device},
                {"precision", precisions},
                {"shapes", shapes},
                {"batch", rows},
                {"threads", p.threads},
                {"streams", streams},
                {"io", io == Io::device ? "device" : "host"},
                {"latency_ms",
                 {{"median", m.quantile(0.5)},
                  {"mean", m.mean()},
                  {"min", m.times_ms.front()},
                  {"p90", m.quantile(0.9)},
                  {"p99", m.quantile(0.99)}}},
                {"throughput_per_s", static_cast<double>(rows) * m.runs_per_s},
                {"build_s", opened.build_s},
                {"load_ms", opened.load_ms},
                {"memory",
                 {{"arena_bytes", p.memory.arena_bytes},
                  {"weights_bytes", p.memory.weights_bytes},
                  {"peak_resident_bytes", peak_resident_bytes()}}}};
  }

  // Models with a fixed batch, engines among them, have that and no other.
  Status check_batch(const Program& program, int64_t batch) const {
    if (batch == 0) return {};
    const auto has_it = [&](const Binding& b) {
      const auto dims = b.type.shape.concrete();
      return !dims || (!dims->empty() && dims->front() == batch);
    };
    if (program.inputs.empty() || std::ranges::any_of(program.inputs, has_it)) return {};
    return invalid("{}: --batch {}: its inputs are of fixed shapes, '{}' is {}", model.model, batch,
                   program.inputs[0].name, to_text(program.inputs[0].type));
  }

  static void print_header(bool against) {
    fmt::print("{:>6} {:>8} {:>8} {:>10} {:>10} {:>10} {:>10} {:>12} {:>9} {:>9}{}\n", "batch", "threads", "streams",
               "median ms", "min", "p90", "p99", "per second", "build s", "load ms", against ? "     speed-up" : "");
  }

  static void print_row(const Json& r) {
    const Json& l = r["latency_ms"];
    fmt::print("{:>6} {:>8} {:>8} {:>10.3f} {:>10.3f} {:>10.3f} {:>10.3f} {:>12.1f} {:>9.2f} {:>9.1f}",
               r["batch"].get<int64_t>(), r["threads"].get<int>(), r["streams"].get<int>(), l["median"].get<double>(),
               l["min"].get<double>(), l["p90"].get<double>(), l["p99"].get<double>(),
               r["throughput_per_s"].get<double>(), r["build_s"].get<double>(), r["load_ms"].get<double>());
    if (const auto former = r.find("against"); former != r.end())
      fmt::print(" {:>12}",
                 former->is_null() ? "no such row" : fmt::format("{:.2f}x", (*former)["ratio"].get<double>()));
    fmt::print("\n");
  }

  Status run() const {
    HONE_TRY(const GivenInputs given, input.read());
    std::optional<FormerBench> former;
    if (!against.empty()) {
      HONE_TRY(former, FormerBench::read(against));
    }
    Json rows = Json::array();
    for (int64_t batch : batches) {
      HONE_TRY(Json r, row(given, batch));
      if (former) {
        const auto median = former->median_ms(r);
        r["against"] = median
                           ? Json{{"median_ms", *median}, {"ratio", *median / r["latency_ms"]["median"].get<double>()}}
                           : Json();
      }
      if (output.shows_table()) {
        if (rows.empty()) print_header(former.has_value());
        print_row(r);
      }
      rows.push_back(std::move(r));
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
  command->input.add_to(*sub);
  sub->add_option("--batch", command->batches, "Batch sizes, e.g. 1,8,32, for models that leave the batch open")
      ->delimiter(',');
  sub->add_option("--streams", command->streams, "Contexts that run at once, each on --threads threads of its own")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  sub->add_option(
      "--against", command->against,
      "A former --json: how many times faster each row with the same model, shapes, threads and streams is");
  const std::map<std::string, Io> places{{"host", Io::host}, {"device", Io::device}};
  sub->add_option("--io", command->io,
                  "Where inputs and outputs lie: host, or device, for the time that a GPU takes without copies")
      ->transform(CLI::CheckedTransformer(places, CLI::ignore_case))
      ->option_text("{host,device}=host")
      ->default_str("host");
  sub->add_option("--duration", command->duration, "Time to measure for")->capture_default_str();
  sub->add_option("--warm-up", command->warm_up, "Time to run before measuring")->capture_default_str();
  sub->footer(
      "Examples: hone bench resnet50.onnx --batch 1,8 --threads 2\n"
      "          hone bench resnet50.hone --streams 4 --json now.json --against before.json");
  sub->callback([command, &exit] { exit = report(about(command->model.model, [&] { return command->run(); })); });
}

}  // namespace hone::tools
