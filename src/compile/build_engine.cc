#include "compile/build_engine.h"

#include <algorithm>

#include "backends/integers.h"
#include "passes/pipeline.h"

namespace hone {
namespace {

bool allows(const CompileOptions& options, DType bytes) {
  return std::ranges::find(options.bytes, bytes) != options.bytes.end();
}

Recipe recipe_of(const CompileOptions& options) {
  return {.target = options.target,
          .threads = options.threads,
          .max_tier = options.max_tier,
          .winograd = options.winograd,
          .tf32 = options.tf32,
          .bf16 = options.bf16,
          .deterministic = options.deterministic,
          .half = options.half,
          .int8 = !options.thresholds.empty() && allows(options, DType::i8),
          .fp8 = !options.thresholds.empty() && allows(options, DType::f8e4m3fn),
          .ranges = options.thresholds.empty() ? options.ranges : options.thresholds,
          .strict = options.strict,
          .floats = options.floats,
          .accuracy = options.accuracy,
          .max_workspace = options.max_workspace};
}

}  // namespace

Result<EngineContents> build_engine(Graph graph, const CompileOptions& given, const EngineOptions& engine,
                                    Start start) {
  const auto& archs = engine.cuda_archs;
  for (auto arch = archs.begin(); arch != archs.end(); ++arch) {
    HONE_CHECK(check_cuda_arch(*arch));
    if (std::find(archs.begin(), arch, *arch) != arch) return invalid("architecture {} is given twice", *arch);
  }
  // What the reference computes is the model as it came.
  if (given.target != "reference") HONE_CHECK(canonicalize(graph, {.verify = given.verify_passes}));
  EngineContents contents;
  std::optional<Recipe> recipe;
  for (const std::string& arch : archs.empty() ? std::vector{given.cuda_arch} : archs) {
    CompileOptions options = given;
    options.cuda_arch = arch;
    auto compiled = compile(graph, options, contents.programs.empty() ? start : now());
    if (!compiled.ok()) return archs.size() > 1 ? compiled.status().within(arch) : compiled.status();
    contents.programs.push_back(std::move(compiled->engine));
    recipe = recipe_of(compiled->options);
  }
  if (engine.portable) contents.portable = std::make_shared<const Portable>(Portable{std::move(graph), *recipe});
  return contents;
}

Result<CompileOptions> options_from(const Recipe& recipe, CompileOptions given, bool precisions) {
  const CompileOptions plain;
  const auto take = [&](auto member, const auto& recorded) {
    if (given.*member == plain.*member) given.*member = recorded;
  };
  if (given.cuda_arch.empty()) take(&CompileOptions::target, recipe.target);
  take(&CompileOptions::threads, recipe.threads);
  take(&CompileOptions::max_tier, recipe.max_tier);
  take(&CompileOptions::winograd, recipe.winograd);
  take(&CompileOptions::strict, recipe.strict);
  take(&CompileOptions::deterministic, recipe.deterministic);
  take(&CompileOptions::max_workspace, recipe.max_workspace);
  if (!precisions) {
    given.tf32 = recipe.tf32;
    given.bf16 = recipe.bf16;
    given.half = recipe.half;
    given.bytes.clear();
    if (recipe.int8) given.bytes.push_back(DType::i8);
    if (recipe.fp8) given.bytes.push_back(DType::f8e4m3fn);
  }
  given.ranges = recipe.ranges;
  given.floats = recipe.floats;
  given.accuracy = recipe.accuracy;
  if (!given.bytes.empty()) {
    if (recipe.ranges.empty())
      return invalid("{} needs ranges, and the engine holds none: build it from its model with data to calibrate on",
                     precision_name(given.bytes.front()));
    given.thresholds = recipe.ranges;
  }
  return given;
}

}  // namespace hone
