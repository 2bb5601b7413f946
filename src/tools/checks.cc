// What the commands refuse or warn of before they begin.
#include <fmt/ranges.h>

#include <filesystem>

#include "base/file_map.h"
#include "tools/common.h"

namespace hone::tools {
namespace {

// Options that change what an engine computes, and how.
std::vector<std::string_view> options_of_builds(const ModelOptions& options) {
  std::vector<std::string_view> given;
  const auto add = [&](std::string_view option, bool is_given) {
    if (is_given) given.push_back(option);
  };
  add("--precision", !options.precisions.empty());
  add("--isa", options.isa != "auto");
  add("--no-winograd", options.no_winograd);
  add("--strict", options.strict);
  add("--max-workspace", !options.max_workspace.empty());
  add("--shapes", !options.shape_ranges.empty());
  add("--calibrate", !options.calibration_data.empty());
  add("--calibration-cache", !options.calibration_cache.empty());
  add("--accuracy-budget", !options.accuracy_budget.empty());
  add("--weights", options.weights.given());
  return given;
}

std::string_view kind_of(std::string_view target) { return target.substr(0, target.find(':')); }

Status check_shapes(const ModelOptions& options, const Program& program) {
  HONE_TRY(const CompileOptions asked, options.compile_options());
  for (const auto& [name, dims] : asked.shapes) {
    const auto found = std::ranges::find(program.inputs, name, &Binding::name);
    if (found == program.inputs.end()) return invalid("{}: there is no input '{}'", options.model, name);
    if (found->type.shape.known() && *found->type.shape.concrete() != dims)
      return invalid("{}: input '{}' of the engine is {}: build one for {}", options.model, name, to_text(found->type),
                     to_string(dims));
  }
  return {};
}

}  // namespace

Status check_output(const std::string& path, const std::string& model) {
  if (path.empty()) return invalid("--output: the name is empty");
  std::error_code missing;
  if (!model.empty() && std::filesystem::equivalent(path, model, missing))
    return invalid("{}: is the model itself: give --output another name", path);
  return check_writable(path);
}

Status check_is_model(const std::string& path) {
  HONE_TRY(const bool is_engine, is_engine_file(path));
  return is_engine ? invalid("{}: is an engine: give the model that it was built from", path) : Status();
}

Status check_for_engine(const ModelOptions& options, const Program& program) {
  if (const auto given = options_of_builds(options); !given.empty())
    return invalid("{}: is an engine, and {} for building one: build it again", options.model,
                   given.size() == 1 ? fmt::format("{} is", given[0]) : fmt::format("{} are", fmt::join(given, ", ")));
  if (options.target != "auto" && kind_of(options.target) != kind_of(program.target))
    return invalid("{}: is an engine for target '{}', not '{}': build one for that", options.model, program.target,
                   options.target);
  return check_shapes(options, program);
}

void warn_of_unused(const ModelOptions& options, const CompileOptions& compile, const Output& output) {
  for (const std::string& line : unused_precisions(compile)) warn(output, line);
  const bool bytes = options.allows("int8") || options.allows("fp8");
  const bool halves = options.allows("fp16") || options.allows("bf16") || options.allows("tf32");
  if (bytes && !halves && kind_of(resolve_target(compile)) == "cuda")
    warn(output, "what stays in floats is computed in fp32: on a GPU --precision int8,fp16 is faster as a rule");
  const bool weighs = options.weights.given(), budget = !options.accuracy_budget.empty();
  const bool ranges = options.allows("int8") || options.allows("fp8") || options.allows("fp16");
  if (!options.calibration_data.empty() && !ranges && !weighs && !budget)
    warn(output, "--calibrate is not used: int8, fp8, fp16, --weights and --accuracy-budget ask for data");
  if (!options.calibration_cache.empty() && !ranges)
    warn(output, "--calibration-cache is not used: int8, fp8 and fp16 ask for ranges");
  if (options.strict && !options.allows("fp16")) warn(output, "--strict is not used: it is about fp16");
  if (!budget && options.accuracy_metric != "auto")
    warn(output, "--accuracy-metric is not used: it is that of an --accuracy-budget");
  if (!weighs && options.weights.block != WeightFormat().block)
    warn(output, "--block is not used: it is that of --weights");
}

}  // namespace hone::tools
