#include "fuzz/seeds.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "base/file_map.h"
#include "compile/build_engine.h"
#include "engine/engine_file.h"
#include "engine/manifest.h"
#include "import/model_builder.h"
#include "import/onnx/model.h"

namespace hone::fuzz {
namespace {

namespace fs = std::filesystem;
using testing::ModelBuilder;

constexpr uintmax_t kMaxModel = 4096;  // small seeds make fast mutants

// A branch that captures, within a function.
std::string control_flow() {
  ModelBuilder m;
  m.model.add_opset_import()->set_domain("own");
  auto& function = *m.model.add_functions();
  function.set_name("Choose");
  function.set_domain("own");
  function.add_input("c");
  function.add_input("x");
  function.add_output("y");
  auto* opset = function.add_opset_import();
  opset->set_version(20);
  auto& choice = ModelBuilder::node(function, "If", {"c"}, {"y"});
  for (const char* branch : {"then_branch", "else_branch"}) {
    auto& body = *ModelBuilder::attr(choice, branch, onnx::AttributeProto::GRAPH).mutable_g();
    body.set_name(branch);
    ModelBuilder::node(body, branch[0] == 't' ? "Neg" : "Exp", {"x"}, {"z"});
    body.add_output()->set_name("z");
  }
  m.input("c", {}, onnx::TensorProto::BOOL);
  m.input("x", {2, 3});
  m.node("Choose", {"c", "x"}, {"y"}, "own");
  m.output("y");
  return m.bytes();
}

std::vector<std::string> models(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code none;
  for (fs::recursive_directory_iterator it(folder, none), end; it != end; it.increment(none))
    if (it->path().extension() == ".onnx" && it->is_regular_file(none) && it->file_size(none) <= kMaxModel)
      paths.push_back(it->path());
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> all{testing::small_net().bytes(), control_flow()};
  for (const fs::path& path : paths)
    if (const auto file = FileMap::open(path.string()); file.ok()) all.emplace_back((*file)->text());
  return all;
}

}  // namespace

std::string written(const std::function<bool(const std::string& path)>& write) {
  const std::string path = (fs::temp_directory_path() / fmt::format("hone_seed.{}", getpid())).string();
  std::string bytes;
  if (write(path))
    if (const auto file = FileMap::open(path); file.ok()) bytes = (*file)->text();
  std::error_code none;
  fs::remove(path, none);
  return bytes;
}

std::vector<std::string> seeds(std::string_view target, const fs::path& folder) {
  if (auto data = data_seeds(target); !data.empty()) return data;
  std::vector<std::string> all = models(folder);
  if (target == "onnx") return all;
  std::vector<std::string> derived;
  for (const std::string& model : all) {
    const auto graph = import_onnx_bytes(std::as_bytes(std::span(model)), "no such folder");
    if (!graph.ok()) continue;
    if (target == "text") {
      derived.push_back(to_text(*graph));
      continue;
    }
    const auto engine = build_engine(*graph, {.threads = 1, .tune = false});
    if (!engine.ok()) continue;
    derived.push_back(target == "engine"
                          ? written([&](const std::string& path) { return save_engine(*engine, path).ok(); })
                          : to_json(engine->programs[0].program));
  }
  std::erase_if(derived, [](const std::string& bytes) { return bytes.empty() || bytes.size() > 4 * kMaxModel; });
  return derived;
}

}  // namespace hone::fuzz
