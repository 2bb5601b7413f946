#include "builder/options.h"

#include <algorithm>

#include "base/counted.h"

namespace hone {
namespace {

constexpr int kMaxThreads = 1024;

Result<int> tier_of(const std::string& isa) {
  if (isa == "auto" || isa == "avx512") return 2;
  if (isa == "avx2") return 1;
  if (isa == "scalar") return 0;
  return invalid("isa '{}': expected auto, avx512, avx2 or scalar", isa);
}

}  // namespace

Result<CompileOptions> api::compile_options(const v0::BuildOptions& options) {
  if (options.threads < 0 || options.threads > kMaxThreads)
    return invalid("{}: expected 0 to {}", counted(options.threads, "thread"), kMaxThreads);
  if (!(options.time_budget_s >= 0)) return invalid("a time budget of {} s: expected 0 or more", options.time_budget_s);
  CompileOptions result{.target = options.target,
                        .threads = options.threads,
                        .winograd = options.winograd,
                        .strict = options.strict,
                        .deterministic = options.deterministic,
                        .tune = options.tune,
                        .time_budget_s = options.time_budget_s,
                        .timing_cache = options.timing_cache,
                        .progress = options.progress};
  if (!(options.accuracy_budget >= 0)) return invalid("an accuracy budget of {}", options.accuracy_budget);
  if (options.accuracy_budget > 0) {
    const auto metric = find_accuracy_metric(options.accuracy_metric);
    if (!metric) return invalid("accuracy metric '{}': expected top1, error or auto", options.accuracy_metric);
    result.budget = {.most = options.accuracy_budget, .metric = *metric};
  }
  HONE_TRY(result.max_tier, tier_of(options.isa));
  for (const v0::Precision p : options.precisions)
    if (p < v0::Precision::fp32 || p > v0::Precision::int8)
      return invalid("there is no precision number {}", static_cast<int>(p));
  const auto allowed = [&](v0::Precision p) {
    return std::find(options.precisions.begin(), options.precisions.end(), p) != options.precisions.end();
  };
  result.tf32 = allowed(v0::Precision::tf32);
  result.half = allowed(v0::Precision::fp16) ? DType::f16 : allowed(v0::Precision::bf16) ? DType::bf16 : DType::none;
  result.bf16 = allowed(v0::Precision::bf16);
  result.bytes.clear();
  if (allowed(v0::Precision::int8)) result.bytes.push_back(DType::i8);
  if (allowed(v0::Precision::fp8)) result.bytes.push_back(DType::f8e4m3fn);
  for (const auto& [name, dims] : options.shapes) {
    if (!dims.valid())
      return invalid("the shape of '{}' has rank {}, more than {}", name, dims.rank(), v0::Dims::kMaxRank);
    if (std::any_of(dims.begin(), dims.end(), [](int64_t d) { return d < 0; }))
      return invalid("the shape of '{}' is {}: dims must not be negative", name, to_string({dims.begin(), dims.end()}));
    result.shapes[name] = Dims(dims.begin(), dims.end());
  }
  return result;
}

}  // namespace hone
