#include "hone/build.h"

#include <algorithm>
#include <chrono>

#include "api/access.h"
#include "compile/compile.h"
#include "compile/import_model.h"

namespace hone {
namespace {

constexpr int kMaxThreads = 1024;

Result<int> tier_of(const std::string& isa) {
  if (isa == "auto" || isa == "avx512") return 2;
  if (isa == "avx2") return 1;
  if (isa == "scalar") return 0;
  return invalid("isa '{}': expected auto, avx512, avx2 or scalar", isa);
}

Status check_precisions(const std::vector<v0::Precision>& precisions) {
  if (precisions.empty()) return invalid("no precision is allowed: give at least fp32");
  for (v0::Precision p : precisions)
    if (p == v0::Precision::fp8 || p == v0::Precision::int8)
      return unsupported(
          "fp8 and int8 may not be among the precisions: this version computes in fp32, tf32, fp16 and bf16");
  return {};
}

Result<CompileOptions> translate(const v0::BuildOptions& options) {
  HONE_CHECK(check_precisions(options.precisions));
  if (options.threads < 0 || options.threads > kMaxThreads)
    return invalid("{} threads: expected 0 to {}", options.threads, kMaxThreads);
  if (!(options.time_budget_s >= 0)) return invalid("a time budget of {} s: expected 0 or more", options.time_budget_s);
  CompileOptions result{.target = options.target,
                        .threads = options.threads,
                        .winograd = options.winograd,
                        .tune = options.tune,
                        .time_budget_s = options.time_budget_s,
                        .timing_cache = options.timing_cache,
                        .progress = options.progress};
  HONE_TRY(result.max_tier, tier_of(options.isa));
  const auto allowed = [&](v0::Precision p) {
    return std::find(options.precisions.begin(), options.precisions.end(), p) != options.precisions.end();
  };
  result.tf32 = allowed(v0::Precision::tf32);
  result.half = allowed(v0::Precision::fp16) ? DType::f16 : allowed(v0::Precision::bf16) ? DType::bf16 : DType::none;
  for (const auto& [name, dims] : options.shapes) {
    if (!dims.valid())
      return invalid("the shape of '{}' has rank {}, more than {}", name, dims.rank(), v0::Dims::kMaxRank);
    if (std::any_of(dims.begin(), dims.end(), [](int64_t d) { return d < 0; }))
      return invalid("the shape of '{}' is {}: dims must not be negative", name, to_string({dims.begin(), dims.end()}));
    result.shapes[name] = Dims(dims.begin(), dims.end());
  }
  return result;
}

Result<std::shared_ptr<const v0::Engine::Impl>> compile(const std::string& path, const v0::BuildOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  HONE_TRY(const CompileOptions translated, translate(options));
  HONE_TRY(ImportedModel model, import_model(path, translated.shapes));
  std::string open;
  for (ValueId v : model.open)
    open += fmt::format("{}'{}' {}", open.empty() ? "" : ", ", model.graph.value(v).name, to_text(model.graph.type(v)));
  if (!open.empty()) return invalid("{}: some dims are open, give shapes for the inputs {}", path, open);
  auto data = compile_graph(std::move(model.graph), translated, start);
  if (!data.ok()) return data.status().within(path);
  auto engine = api::instantiate(std::move(*data));
  if (!engine.ok()) return engine.status().within(path);
  return engine;
}

}  // namespace

v0::Result<v0::Engine> v0::build(const std::string& path, const BuildOptions& options) {
  auto engine = api::guarded([&] { return compile(path, options); });
  if (!engine.ok()) return api::to_public(engine.status());
  return Engine(std::move(*engine));
}

}  // namespace hone
