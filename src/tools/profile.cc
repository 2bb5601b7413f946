#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <numeric>

#include "base/file_map.h"
#include "engine/floor.h"
#include "engine/inspect.h"
#include "tools/common.h"
#include "tools/inputs.h"
#include "tools/measure.h"
#include "tools/trace.h"

namespace hone::tools {
namespace {

using Clock = std::chrono::steady_clock;

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

struct Profile {
  ModelOptions model;
  Output output;
  InputOptions input;
  std::string trace;
  int runs = 20;

  Result<std::vector<ProfiledRun>> measure(ExecutionContext& context) const {
    HONE_CHECK(context.run());
    HONE_CHECK(context.run());
    std::vector<ProfiledRun> profiled;
    const auto begin = Clock::now();
    const auto now_us = [&] { return std::chrono::duration<double, std::micro>(Clock::now() - begin).count(); };
    context.profiler = [&](size_t step, double us) { profiled.back().steps.push_back({step, now_us() - us, us}); };
    for (int i = 0; i < runs; ++i) {
      profiled.push_back({.start_us = now_us()});
      HONE_CHECK(context.run());
      profiled.back().duration_us = now_us() - profiled.back().start_us;
    }
    return profiled;
  }

  // The median time of each step in a run, all its iterations together.
  static std::vector<double> step_times(size_t steps, const std::vector<ProfiledRun>& profiled) {
    std::vector<std::vector<double>> sums(steps, std::vector<double>(profiled.size(), 0.0));
    for (size_t i = 0; i < profiled.size(); ++i)
      for (const StepRun& run : profiled[i].steps) sums[run.step][i] += run.duration_us;
    std::vector<double> times(steps);
    std::transform(sums.begin(), sums.end(), times.begin(), median);
    return times;
  }

  static Json layers_json(const Program& program, const std::vector<double>& times) {
    const double total = std::accumulate(times.begin(), times.end(), 0.0);
    Json layers = Json::array();
    for (size_t i = 0; i < times.size(); ++i) {
      const Step& step = program.steps[i];
      const auto floor = floor_us(program, step);
      layers.push_back({{"name", layer_name(step)},
                        {"op", step.op},
                        {"precision", precision_of(step)},
                        {"tactic", step.tactic},
                        {"variant", step.variant},
                        {"fused", step.sources},
                        {"time_us", times[i]},
                        {"floor_us", floor ? Json(*floor) : Json()},
                        {"share", total > 0 ? times[i] / total : 0}});
    }
    return layers;
  }

  static void print(const Json& result) {
    fmt::print("{:>10} {:>10} {:>7}  {:<28} {:<14} {}\n", "us", "floor", "share", "tactic", "op", "source nodes");
    for (const Json& layer : result["layers"])
      fmt::print("{:>10.1f} {:>10} {:>6.1f}%  {:<28} {:<14} {}\n", layer["time_us"].get<double>(),
                 layer["floor_us"].is_null() ? "-" : fmt::format("{:.1f}", layer["floor_us"].get<double>()),
                 100 * layer["share"].get<double>(),
                 fmt::format("{}/{}", layer["tactic"].get<std::string>(), layer["variant"].get<int>()),
                 layer["op"].get<std::string>(), fmt::join(layer["fused"].get<std::vector<std::string>>(), " + "));
    fmt::print("{:>10.1f} us a run, profiled; median of {}\n", result["run_us"].get<double>(),
               result["runs"].get<int>());
  }

  Status run() const {
    HONE_TRY(const GivenInputs given, input.read());
    HONE_TRY(const Opened opened, open_model(model, given.shapes(), 1, output));
    const Program& program = opened.engine->program();
    HONE_TRY(const NamedTensors values, given.values(program.inputs, input.seed));
    ExecutionContext context(opened.engine);
    // Or the first step would be given the time of copying its input to the GPU.
    if (opened.engine->all_on_gpu()) HONE_CHECK(bind_on_device(context, values));
    else
      for (const auto& [name, value] : values) HONE_CHECK(context.bind_input(name, value));
    HONE_TRY(const auto profiled, measure(context));
    std::vector<double> whole;
    for (const ProfiledRun& run : profiled) whole.push_back(run.duration_us);
    const Json result{{"layers", layers_json(program, step_times(program.steps.size(), profiled))},
                      {"runs", runs},
                      {"run_us", median(whole)}};
    if (!trace.empty()) {
      const std::string text =
          chrome_trace(model.model, *opened.engine, profiled).dump(-1, ' ', false, Json::error_handler_t::replace);
      const std::string_view parts[] = {text};
      HONE_CHECK(write_file(trace, parts));
    }
    HONE_CHECK(output.write(result));
    if (output.shows_table()) print(result);
    return {};
  }
};

}  // namespace

void add_profile(CLI::App& app, int& exit) {
  auto* sub = app.add_subcommand("profile", "Time each layer, as a table and as a trace for Chrome or Perfetto");
  auto command = std::make_shared<Profile>();
  command->model.add_to(*sub);
  command->output.add_to(*sub);
  command->input.add_to(*sub);
  sub->add_option("-o,--output", command->trace, "The trace to write, for about:tracing or ui.perfetto.dev");
  sub->add_option("--runs", command->runs, "How often to run")->check(CLI::Range(1, 100000))->capture_default_str();
  sub->footer(
      "Each step is waited for, which on a GPU adds the time of its launch.\n"
      "Example: hone profile resnet50.hone -o trace.json");
  sub->callback([command, &exit] { exit = report(about(command->model.model, [&] { return command->run(); })); });
}

}  // namespace hone::tools
