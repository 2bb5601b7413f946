#include "engine/inspect.h"
#include "tools/common.h"
#include "tools/precisions.h"

namespace hone::tools {
namespace {

struct Build {
  ModelOptions model;
  Output output;
  std::string path;

  Status run() const {
    HONE_CHECK(check_writable(path));
    HONE_TRY(const EngineData engine, build_model(model, {}, 1, output));
    HONE_CHECK(save_engine(engine, path));
    const Program& p = engine.program;
    HONE_CHECK(output.write({{"engine", path}, {"build", Json::parse(inspect_json(p))["build"]}}));
    if (output.shows_table())
      fmt::print(
          "{}: {} steps, {:.1f} MB weights, {:.1f} MB arena, built in {:.2f} s ({} tactics timed, {} from the cache)\n",
          path, p.steps.size(), p.memory.weights_bytes / 1e6, p.memory.arena_bytes / 1e6, p.build.seconds,
          p.build.tactics_timed, p.build.cache_hits);
    if (output.shows_table()) print_precisions(p.build);
    return {};
  }
};

}  // namespace

void add_build(CLI::App& app, int& exit) {
  auto* sub = app.add_subcommand("build", "Optimise a model for this machine and save the engine");
  auto command = std::make_shared<Build>();
  command->model.add_to(*sub);
  command->output.add_to(*sub);
  sub->add_option("-o,--output", command->path, "The engine file to write")->required();
  sub->footer("Example: hone build resnet50.onnx --shape x:8x3x224x224 -o resnet50.hone");
  sub->callback([command, &exit] { exit = report(command->run()); });
}

}  // namespace hone::tools
