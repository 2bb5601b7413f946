#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>

#include "base/counted.h"
#include "import/onnx/model.h"
#include "import/onnx/test_set.h"
#include "runtime/load.h"
#include "tools/common.h"

namespace hone::tools {
namespace {

namespace fs = std::filesystem;

struct Tolerance {
  double relative = 1e-3, absolute = 1e-5;
  bool of_range = false;  // relative to the largest magnitude of the output, not to each element
};

// Of one output; the reason is empty where it is right within the tolerance.
struct Comparison {
  std::string output, reason;
  double max_abs = 0, max_rel = 0;
  double range = 0;  // the largest finite magnitude that was recorded
};

Comparison compare(const Tensor& got, const Tensor& want, const Tolerance& tolerance) {
  Comparison result;
  if (got.type() != want.type() || (got.type() != DType::sequence && got.dims() != want.dims())) {
    result.reason = fmt::format("is {}{}, expected {}{}", name(got.type()), to_string(got.dims()), name(want.type()),
                                to_string(want.dims()));
    return result;
  }
  if (!got.defined()) return result;
  if (got.type() == DType::sequence) {
    if (got.items().size() != want.items().size())
      result.reason = fmt::format("has {}, expected {}", counted(got.items().size(), "item"), want.items().size());
    for (size_t i = 0; result.reason.empty() && i < got.items().size(); ++i)
      if (auto inner = compare(got.items()[i], want.items()[i], tolerance); !inner.reason.empty()) return inner;
    return result;
  }
  if (!is_float(got.type())) {
    if (got == want) return result;
    if (is_complex(got.type())) {
      const DType part = got.type() == DType::c64 ? DType::f32 : DType::f64;
      return compare(Tensor(part, {got.count() * 2}, got.raw(), nullptr),
                     Tensor(part, {got.count() * 2}, want.raw(), nullptr), tolerance);
    }
    result.reason = "differs";
    return result;
  }
  for (int64_t i = 0; i < want.count(); ++i)
    if (std::isfinite(want.at(i))) result.range = std::max(result.range, std::fabs(want.at(i)));
  double worst = 0;
  for (int64_t i = 0; i < want.count(); ++i) {
    const double a = got.at(i), b = want.at(i);
    if (a == b || (std::isnan(a) && std::isnan(b))) continue;
    const double error = std::fabs(a - b);
    const double allowed = tolerance.absolute + tolerance.relative * (tolerance.of_range ? result.range : std::fabs(b));
    result.max_abs = std::max(result.max_abs, error);
    if (b != 0) result.max_rel = std::max(result.max_rel, error / std::fabs(b));
    if (error <= allowed) continue;
    if (const double excess = std::isnan(error) ? 1e300 : error / allowed; excess > worst) {
      worst = excess;
      result.reason = fmt::format("element {} is {}, expected {}", i, a, b);
    }
  }
  return result;
}

struct Verify {
  ModelOptions model;
  Output output;
  std::vector<std::string> folders;
  std::string skip_file;
  Tolerance tolerance;
  int passed = 0, failed = 0, skipped = 0;
  Json failures = Json::array();
  std::map<std::string, std::string> skips;

  // "name reason..." a line; # starts a comment.
  Status read_skips() {
    if (skip_file.empty()) return {};
    std::ifstream in(skip_file);
    if (!in) return invalid("{}: cannot be opened", skip_file);
    for (std::string line; std::getline(in, line);) {
      if (line.empty() || line[0] == '#') continue;
      const size_t space = line.find(' ');
      skips[line.substr(0, space)] = space == std::string::npos ? "" : line.substr(space + 1);
    }
    return {};
  }

  // A model is built for each set, whose shapes may differ.
  Status check_model(const fs::path& model_path, const fs::path& set, std::vector<Comparison>& found) const {
    HONE_TRY(const TestSet data, read_test_set(model_path.string(), set.string()));
    HONE_TRY(CompileOptions options, model.compile_options());
    HONE_TRY(const Graph open, import_onnx_file(model_path.string(), {.shapes = options.shapes}));
    if (data.inputs.size() > open.inputs().size())
      return invalid("{}: {} for a model of {}", set.string(), counted(data.inputs.size(), "input"),
                     open.inputs().size());
    for (size_t i = 0; i < data.inputs.size(); ++i)
      if (data.inputs[i].defined() && data.inputs[i].type() != DType::sequence)
        options.shapes[open.value(open.inputs()[i]).name] = data.inputs[i].dims();
    HONE_TRY(EngineData compiled, compile_file(model_path.string(), options));
    HONE_TRY(auto engine, LoadedEngine::make(std::move(compiled)));
    return check_engine(engine, data, found);
  }

  Status check_engine(const std::shared_ptr<const LoadedEngine>& engine, const TestSet& data,
                      std::vector<Comparison>& found) const {
    const Tensors &inputs = data.inputs, &wanted = data.outputs;
    ExecutionContext context(engine);
    for (size_t i = 0; i < inputs.size(); ++i)
      HONE_CHECK(context.bind_input(engine->program().inputs[i].name, inputs[i]));
    HONE_CHECK(context.run());
    const Tensors got = context.outputs();
    for (size_t i = 0; i < wanted.size(); ++i) {
      const std::string output_name = i < got.size() ? engine->program().outputs[i].name : fmt::format("{}", i);
      found.push_back(i < got.size() ? compare(got[i], wanted[i], tolerance) : Comparison{.reason = "is missing"});
      found.back().output = output_name;
    }
    return {};
  }

  // Calls check(set) for each test_data_set_K.
  static Status for_each_set(const fs::path& folder, const std::function<Status(const fs::path&)>& check) {
    for (int k = 0; fs::exists(folder / fmt::format("test_data_set_{}", k)); ++k)
      HONE_CHECK(check(folder / fmt::format("test_data_set_{}", k)));
    return {};
  }

  // The one engine in a folder, by content.
  static Result<fs::path> find_engine(const fs::path& folder) {
    std::vector<fs::path> engines;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
      if (!entry.is_regular_file()) continue;
      const auto is_engine = is_engine_file(entry.path().string());
      if (is_engine.ok() && *is_engine) engines.push_back(entry.path());
    }
    if (engines.empty()) return invalid("holds neither model.onnx nor an engine");
    if (engines.size() > 1) return invalid("holds {} where one was expected", counted(engines.size(), "engine"));
    return engines[0];
  }

  // An engine does not say which of its inputs and outputs are optional: they are read as what they may hold.
  static std::vector<RecordedKind> kinds_of(const std::vector<Binding>& bindings) {
    std::vector<RecordedKind> kinds;
    kinds.reserve(bindings.size());
    for (const Binding& b : bindings)
      kinds.push_back(b.type.dtype == DType::sequence ? RecordedKind::sequence : RecordedKind::tensor);
    return kinds;
  }

  // Whether there is something to check: bad usage, else, and no check that failed.
  static Status check_usable(const fs::path& folder) {
    std::error_code error;
    if (const auto kind = fs::status(folder, error).type(); kind != fs::file_type::directory)
      return kind == fs::file_type::not_found ? invalid("there is no such folder") : invalid("is not a folder");
    const auto holds = [&](const char* name) { return fs::exists(folder / name, error); };
    if (!holds("model.onnx")) HONE_CHECK(find_engine(folder).status());
    return holds("test_data_set_0") ? Status() : invalid("holds no test_data_set_0");
  }

  Status check_folder(const fs::path& folder, std::vector<Comparison>& found) const {
    if (fs::exists(folder / "model.onnx"))
      return for_each_set(folder, [&](const fs::path& set) { return check_model(folder / "model.onnx", set, found); });
    HONE_TRY(const fs::path path, find_engine(folder));
    HONE_TRY(EngineData loaded, load_engine(path.string()));
    ModelOptions options = model;
    options.model = path.filename().string();
    HONE_CHECK(check_for_engine(options, loaded.program));
    HONE_TRY(const auto engine, LoadedEngine::make(std::move(loaded)));
    const auto inputs = kinds_of(engine->program().inputs), outputs = kinds_of(engine->program().outputs);
    return for_each_set(folder, [&](const fs::path& set) -> Status {
      HONE_TRY(const TestSet data, read_test_set(inputs, outputs, set.string()));
      return check_engine(engine, data, found);
    });
  }

  // What is to be skipped, as it is in `skips`.
  auto find_skip(const fs::path& folder) const {
    const std::string name = folder.filename().string();
    return skips.find(name.empty() ? folder.parent_path().filename().string() : name);
  }

  void check(const fs::path& folder) {
    if (const auto skip = find_skip(folder); skip != skips.end()) {
      ++skipped;
      if (output.verbose) fmt::print("skipped {}: {}\n", folder.string(), skip->second);
      return;
    }
    std::vector<Comparison> found;
    const Status status = about({}, [&] { return check_folder(folder, found); });
    if (!status.ok()) found.push_back({.reason = status.message()});
    for (const Comparison& c : found)
      if (output.verbose && c.range > 0)
        fmt::print("{}: {} differs by {:.2g} at most, {:.2g} of its largest magnitude\n", folder.string(), c.output,
                   c.max_abs, c.max_abs / c.range);
    std::erase_if(found, [](const Comparison& c) { return c.reason.empty(); });
    ++(found.empty() ? passed : failed);
    for (const Comparison& f : found) {
      failures.push_back({{"path", folder.string()},
                          {"output", f.output},
                          {"reason", f.reason},
                          {"max_abs", f.max_abs},
                          {"max_rel", f.max_rel}});
      if (output.json != "-")
        fmt::print("failed {}: {}{}{}\n", folder.string(), f.output, f.output.empty() ? "" : " ", f.reason);
    }
  }

  Status run() {
    for (const char* precision : {"int8", "fp8"})
      if (model.allows(precision))
        return unsupported(
            "verify --precision {0}: a folder's own inputs are no data to calibrate on: put an engine that was built "
            "with {0} into the folder in the place of model.onnx",
            precision);
    HONE_TRY(const CompileOptions options, model.compile_options());
    warn_of_unused(model, options, output);
    HONE_CHECK(read_skips());
    for (const std::string& folder : folders)
      if (find_skip(folder) == skips.end()) HONE_CHECK(check_usable(folder).within(folder));
    for (const std::string& folder : folders) check(folder);
    HONE_CHECK(output.write({{"passed", passed}, {"failed", failed}, {"skipped", skipped}, {"failures", failures}}));
    if (output.json != "-") fmt::print("{} passed, {} failed, {} skipped\n", passed, failed, skipped);
    return {};
  }
};

}  // namespace

void add_verify(CLI::App& app, int& exit) {
  auto* sub = app.add_subcommand("verify",
                                 "Check models and engines against recorded inputs and outputs (the ONNX test layout)");
  auto command = std::make_shared<Verify>();
  command->model.add_options_to(*sub);
  command->output.add_to(*sub);
  sub->add_option("DIR", command->folders, "Folders with model.onnx, or an engine, and test_data_set_*/")->required();
  sub->add_option("--skip", command->skip_file, "File of lines 'NAME reason': tests not to run");
  sub->add_option("--rtol", command->tolerance.relative, "Relative tolerance of floats")->capture_default_str();
  sub->add_option("--atol", command->tolerance.absolute, "Absolute tolerance of floats")->capture_default_str();
  sub->add_flag("--of-range", command->tolerance.of_range, "--rtol is of the output's largest magnitude");
  sub->footer("Example: hone verify onnx/backend/test/data/node/test_relu");
  sub->callback([command, &exit] {
    const hone::Status status = command->run();
    exit = status.ok() ? (command->failed > 0 ? 1 : 0) : report(status);
  });
}

}  // namespace hone::tools
