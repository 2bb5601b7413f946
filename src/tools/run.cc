#include <filesystem>

#include "base/npy.h"
#include "tools/common.h"
#include "tools/inputs.h"

namespace hone::tools {
namespace {

std::string file_name(std::string name) {
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '_' && c != '-') c = '_';
  return name + ".npy";
}

struct Run {
  ModelOptions model;
  Output output;
  InputOptions input;
  std::string folder;

  Status run() const {
    HONE_TRY(const GivenInputs given, input.read());
    HONE_TRY(const Opened opened, open_model(model, given.shapes(), 1, output));
    const auto& inputs = opened.engine->program().inputs;
    HONE_TRY(const NamedTensors values, given.values(inputs, input.seed));
    for (const Binding& b : inputs)
      if (!given.empty() && !given.contains(b.name))
        return invalid("input '{}' ({}) is not given", b.name, to_text(b.type));
    ExecutionContext context(opened.engine);
    HONE_CHECK(compute(context, values).within(model.model));
    return write_outputs(context);
  }

  static Status compute(ExecutionContext& context, const NamedTensors& values) {
    for (const auto& [name, value] : values) HONE_CHECK(context.bind_input(name, value));
    return context.run();
  }

  Status write_outputs(const ExecutionContext& context) const {
    std::error_code error;
    if (!folder.empty()) std::filesystem::create_directories(folder, error);
    if (error) return invalid("{}: cannot be created: {}", folder, error.message());
    Json list = Json::array();
    for (const Binding& b : context.engine().program().outputs) {
      HONE_TRY(const Tensor value, context.output(b.name));
      const std::string path = (std::filesystem::path(folder) / file_name(b.name)).string();
      if (!folder.empty()) HONE_CHECK(write_npy(path, value));
      Json row = type_json({value.type(), Shape::of(value.dims())});
      row["name"] = b.name;
      list.push_back(row);
      if (output.shows_table())
        fmt::print("{} : {}{}{}\n", b.name, name(value.type()), to_string(value.dims()),
                   folder.empty() ? "" : " -> " + path);
    }
    return output.write({{"outputs", list}});
  }
};

}  // namespace

void add_run(CLI::App& app, int& exit) {
  auto* sub = app.add_subcommand("run", "Run a model or an engine once");
  auto command = std::make_shared<Run>();
  command->model.add_to(*sub);
  command->output.add_to(*sub);
  command->input.add_to(*sub);
  sub->add_option("--output-dir", command->folder, "Where NAME.npy of every output is written");
  sub->footer("Example: hone run resnet50.hone --input x=photo.npy --input training=0 --output-dir out");
  sub->callback([command, &exit] { exit = report(about(command->model.model, [&] { return command->run(); })); });
}

}  // namespace hone::tools
