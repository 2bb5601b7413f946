#include <filesystem>

#include "tools/common.h"
#include "base/npy.h"

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
  std::vector<std::string> inputs;
  std::string folder;
  uint64_t seed = 0;

  Result<std::map<std::string, Tensor>> read_inputs() const {
    std::map<std::string, Tensor> values;
    for (const std::string& text : inputs) {
      const size_t equals = text.rfind('=');
      if (equals == std::string::npos) return invalid("--input {}: expected NAME=FILE.npy", text);
      HONE_TRY(values[text.substr(0, equals)], read_npy(text.substr(equals + 1)));
    }
    return values;
  }

  Status run() const {
    HONE_TRY(const auto values, read_inputs());
    std::map<std::string, Dims> shapes;
    for (const auto& [name, value] : values) shapes[name] = value.dims();
    HONE_TRY(const Opened opened, open_model(model, shapes, 1, output));
    ExecutionContext context(opened.engine);
    for (const auto& [name, value] : values) HONE_CHECK(context.bind_input(name, value));
    uint64_t salt = seed;
    for (const Binding& b : opened.engine->program().inputs) {
      if (values.contains(b.name)) continue;
      if (!values.empty()) return invalid("input '{}' ({}) is not given", b.name, to_text(b.type));
      if (!b.type.shape.known()) return invalid("input '{}' is {}: give --shape or --input", b.name, to_text(b.type));
      HONE_CHECK(context.bind_input(b.name, random_input(b.type, salt++)));
    }
    HONE_CHECK(context.run());
    return write_outputs(context);
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
        fmt::print("{} : {}{}{}\n", b.name, name(value.type()), to_string(value.dims()), folder.empty() ? "" : " -> " + path);
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
  sub->add_option("--input", command->inputs, "NAME=FILE.npy (repeatable); without any, inputs are random");
  sub->add_option("--output-dir", command->folder, "Where NAME.npy of every output is written");
  sub->add_option("--seed", command->seed, "Of random inputs");
  sub->footer("Example: hone run resnet50.hone --input x=photo.npy --output-dir out");
  sub->callback([command, &exit] { exit = report(command->run()); });
}

}  // namespace hone::tools
