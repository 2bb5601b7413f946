#include <fmt/ranges.h>

#include "base/counted.h"
#include "base/file_map.h"
#include "compile/build_engine.h"
#include "cuda/device.h"
#include "engine/inspect.h"
#include "tools/common.h"
#include "tools/interrupt.h"
#include "tools/precisions.h"

namespace hone::tools {
namespace {

struct Build {
  ModelOptions model;
  Output output;
  std::string path, engine;
  bool no_portable = false;

  const std::string& source() const { return engine.empty() ? model.model : engine; }

  // The options but for several architectures, each of which has its own build.
  ModelOptions shared() const {
    ModelOptions options = model;
    if (options.cuda_archs.size() > 1) options.cuda_archs.resize(1);
    return options;
  }

  // While the model is read.
  std::future<void> open_target() const {
    const auto ordinal = model.target == "auto" ? 0 : cuda::ordinal_of(model.target);
    return ordinal && model.cuda_archs.empty() ? open_gpu(*ordinal) : std::future<void>();
  }

  // What asks for the model itself.
  std::vector<std::string_view> options_of_models() const {
    std::vector<std::string_view> given;
    const auto add = [&](std::string_view option, bool is_given) {
      if (is_given) given.push_back(option);
    };
    add("--shape", !model.shapes.empty());
    add("--shapes", !model.shape_ranges.empty());
    add("--calibrate", !model.calibration_data.empty());
    add("--calibration-cache", !model.calibration_cache.empty());
    add("--preprocess", !model.preprocess.empty());
    add("--accuracy-budget", !model.accuracy_budget.empty());
    return given;
  }

  // From the graph in the engine, whose shapes and ranges are what they are.
  Result<Network> read_engine() const {
    if (const auto given = options_of_models(); !given.empty())
      return invalid("{}: the shapes and ranges of an engine are fixed, {} needs the model: build from that", engine,
                     fmt::join(given, ", "));
    HONE_TRY(const EngineFile file, EngineFile::open(engine));
    HONE_TRY(Portable portable, file.portable());
    HONE_TRY(CompileOptions given, attended_options(shared(), output));
    warn_of_unused(model, given, output);
    auto options = options_from(portable.recipe, std::move(given), !model.precisions.empty());
    if (!options.ok()) return options.status().within(engine);
    Network network{std::move(portable.graph), std::move(*options)};
    HONE_TRY(network.weights, model.weights.apply(network.graph, {}, network.options));
    return network;
  }

  Result<Network> read() const {
    if (engine.empty() == model.model.empty()) return invalid("give MODEL, or an engine with --from-engine");
    if (!engine.empty()) return read_engine();
    HONE_TRY(const bool is_engine, is_engine_file(model.model));
    if (is_engine) return invalid("{}: is an engine: give it as --from-engine {}", model.model, model.model);
    return read_network(shared(), {}, 1, output);
  }

  Status run() const {
    HONE_CHECK(check_output(path, model.model));
    const std::future<void> opened = open_target();
    const InterruptGuard guard;
    HONE_TRY(Network network, read());
    auto built = build_engine(std::move(network.graph), network.options,
                              {.cuda_archs = model.cuda_archs, .portable = !no_portable}, network.start);
    if (interrupted()) return Status(Code::cancelled, fmt::format("{}: interrupted", source()));
    if (!built.ok()) return built.status().within(source());
    if (model.weights.given())
      for (EngineData& program : built->programs)
        program.program.build.notes.push_back(summary(network.weights, model.weights.format()));
    HONE_CHECK(save_engine(*built, path));
    return show(*built, network.weights);
  }

  Status show(const EngineContents& built, const std::vector<WeightReport>& weights) const {
    Json programs = Json::array();
    for (const EngineData& engine : built.programs)
      programs.push_back(
          {{"cuda_arch", engine.program.cuda_arch}, {"build", Json::parse(inspect_json(engine.program))["build"]}});
    Json result{{"engine", path}, {"build", programs[0]["build"]}, {"programs", programs}};
    if (model.weights.given()) result["weights"] = weights_json(weights);
    HONE_CHECK(output.write(result));
    if (!output.shows_table()) return {};
    print_weights(weights);
    for (const EngineData& engine : built.programs) {
      const Program& p = engine.program;
      fmt::print(
          "{}: {}{}, {:.1f} MB weights, {:.1f} MB arena, built in {:.2f} s ({} timed, {} from the "
          "cache)\n",
          path, built.programs.size() > 1 ? p.cuda_arch + ": " : "", counted(p.steps.size(), "step"),
          p.memory.weights_bytes / 1e6, p.memory.arena_bytes / 1e6, p.build.seconds,
          counted(p.build.tactics_timed, "tactic"), p.build.cache_hits);
      print_precisions(p.build);
    }
    return {};
  }
};

}  // namespace

void add_build(CLI::App& app, int& exit) {
  auto* sub = app.add_subcommand("build", "Optimise a model for this machine and save the engine");
  auto command = std::make_shared<Build>();
  command->model.add_to(*sub)->required(false);
  command->output.add_to(*sub);
  sub->add_option("-o,--output", command->path, "The engine file to write")->required();
  sub->add_option("--from-engine", command->engine,
                  "Build again, for this machine or another, from the graph in an engine, in the place of MODEL; "
                  "options that are not given are those of the engine");
  sub->add_flag("--no-portable", command->no_portable, "Leave out the graph that --from-engine needs: a smaller file");
  sub->footer(
      "Examples: hone build resnet50.onnx --shape x:8x3x224x224 -o resnet50.hone\n"
      "          hone build --from-engine resnet50.hone -o here.hone");
  sub->callback([command, &exit] { exit = report(about(command->source(), [&] { return command->run(); })); });
}

}  // namespace hone::tools
