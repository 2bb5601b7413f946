#include "compile/smoothing.h"

#include <algorithm>

#include "compile/divided_samples.h"

namespace hone {
namespace {

constexpr double kOtherExponents[] = {0.3, 0.7};

struct Made {
  Graph integers;
  Int8Network network;
  double error = 0;
};

}  // namespace

Result<Int8Network> quantize_smoothly(const Graph& floats, const CompileOptions& options, const Machine& machine,
                                      const std::set<std::string>& in_floats, Graph& integers) {
  const auto made_with = [&](double exponent) {
    Made made{floats, {}};
    made.network = quantize(made.integers, options.thresholds, machine, in_floats, DType::i8, exponent);
    return made;
  };
  Made best = made_with(kUsualExponent);
  const auto is_divided = [](const Int8Layer& layer) { return layer.steps.size() > 1; };
  if (!options.samples.empty() && std::ranges::any_of(best.network.layers, is_divided)) {
    HONE_TRY(const EngineData fp32, compile_on_cpu(floats, options));
    HONE_TRY(const Yardstick yardstick, Yardstick::make(fp32, {.metric = AccuracyMetric::error,
                                                               .samples = divided(floats, options.samples).judges}));
    const auto judge = [&](Made& made) -> Status {
      HONE_TRY(const EngineData engine, compile_on_cpu(made.integers, options));
      HONE_TRY(const Distance distance, yardstick.distance(engine));
      made.error = distance.error;
      return {};
    };
    HONE_CHECK(judge(best));
    for (const double exponent : kOtherExponents) {
      Made other = made_with(exponent);
      HONE_CHECK(judge(other));
      if (other.error < best.error) best = std::move(other);
    }
  }
  integers = std::move(best.integers);
  return std::move(best.network);
}

}  // namespace hone
