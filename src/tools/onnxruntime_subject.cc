#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/file_map.h"
#include "base/npy.h"
#include "tools/subject.h"

namespace hone::tools {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// Told by FOLDER/job.json: makes the wanted values outputs of the model, runs it, and writes each as FOLDER/K.npy, with
// the names in order in FOLDER/names.json.
constexpr const char* kScript = R"py(
import json, pathlib, sys
import numpy, onnx, onnxruntime

folder = pathlib.Path(sys.argv[1])
job = json.loads((folder / "job.json").read_text())
names = set(job["wanted"])
model = onnx.load(job["model"])
outputs = {value.name for value in model.graph.output}
wanted = [name for node in model.graph.node for name in node.output if name in names]
model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted if name not in outputs)
options = onnxruntime.SessionOptions()
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
options.log_severity_level = 3
session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
values = session.run(wanted, {name: numpy.load(file) for name, file in job["inputs"].items()})
shown = [(name, value) for name, value in zip(wanted, values)
         if isinstance(value, numpy.ndarray) and value.dtype != object]
for index, (name, value) in enumerate(shown):
    numpy.save(folder / f"{index}.npy", numpy.array(value, order="C"))
(folder / "names.json").write_text(json.dumps([name for name, _ in shown]))
)py";

// A folder that is gone when this is.
class TemporaryFolder {
 public:
  TemporaryFolder() = default;
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }

  Status create() {
    std::string pattern = (fs::temp_directory_path() / "hone-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) return invalid("{}: cannot be created: {}", pattern, std::strerror(errno));
    path_ = pattern;
    return {};
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

std::string last_line(const fs::path& file) {
  std::string last;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);)
    if (!line.empty()) last = line;
  return last;
}

// Runs the script with its messages in FOLDER/errors.txt.
Status run_python(const std::string& python, const fs::path& folder) {
  const std::string path = folder.string(), errors = (folder / "errors.txt").string();
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&files, 2, errors.c_str(), O_WRONLY | O_CREAT, 0600);
  std::string name = python, option = "-c", script = kScript, argument = path;
  char* argv[] = {name.data(), option.data(), script.data(), argument.data(), nullptr};
  pid_t child = 0;
  const int failed = posix_spawnp(&child, python.c_str(), &files, nullptr, argv, environ);
  posix_spawn_file_actions_destroy(&files);
  if (failed != 0)
    return invalid("{}: cannot be run: {}: name a Python interpreter by --python", python, std::strerror(failed));
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  const std::string why = last_line(errors);
  if (why.starts_with("ModuleNotFoundError") || why.starts_with("ImportError"))
    return invalid("{}: {}: name a Python with onnx and onnxruntime by --python", python, why);
  return invalid("ONNX Runtime failed: {}", why.empty() ? "it was killed" : why);
}

class OnnxRuntimeSubject : public Subject {
 public:
  OnnxRuntimeSubject(std::string model, std::string python) : model_(std::move(model)), python_(std::move(python)) {}

  std::optional<std::set<std::string>> names() const override { return std::nullopt; }

  Status run(const NamedTensors& inputs, const std::set<std::string>& wanted, const Sink& sink) const override {
    TemporaryFolder folder;
    HONE_CHECK(folder.create());
    HONE_CHECK(write_job(folder.path(), inputs, wanted));
    HONE_CHECK(run_python(python_, folder.path()));
    HONE_TRY(auto file, FileMap::open((folder.path() / "names.json").string()));
    const Json names = Json::parse(file->text(), nullptr, false);
    if (!names.is_array())
      return invalid("{}: gave no answer that can be read: name a Python interpreter by --python", python_);
    for (size_t i = 0; i < names.size(); ++i) {
      HONE_TRY(Tensor value, read_npy((folder.path() / fmt::format("{}.npy", i)).string()));
      sink({names[i].get<std::string>(), std::move(value), {}});
    }
    return {};
  }

 private:
  Status write_job(const fs::path& folder, const NamedTensors& inputs, const std::set<std::string>& wanted) const {
    Json files = Json::object();
    for (const auto& [name, value] : inputs) {
      const std::string file = (folder / fmt::format("input_{}.npy", files.size())).string();
      HONE_CHECK(write_npy(file, value));
      files[name] = file;
    }
    const std::string job = Json{{"model", model_}, {"wanted", wanted}, {"inputs", files}}.dump();
    const std::string_view parts[] = {job};
    return write_file((folder / "job.json").string(), parts);
  }

  std::string model_, python_;
};

}  // namespace

std::unique_ptr<Subject> onnxruntime_subject(std::string model, std::string python) {
  return std::make_unique<OnnxRuntimeSubject>(std::move(model), std::move(python));
}

}  // namespace hone::tools
