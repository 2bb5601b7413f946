#include "compile/bias_correction.h"

#include <algorithm>

#include "backends/integers.h"
#include "compile/divided_samples.h"
#include "compile/piecewise.h"

namespace hone {
namespace {

constexpr double kUsual = 4;  // squared errors of so many times their median are usual

// Of rows of values, the squared errors.
std::vector<double> row_errors(std::span<const Tensor> values, std::span<const Tensor> wanted, size_t channels) {
  std::vector<double> errors;
  for (size_t k = 0; k < values.size(); ++k) {
    const float *a = values[k].data<float>(), *b = wanted[k].data<float>();
    for (size_t i = 0; i < static_cast<size_t>(values[k].count()); ++i) {
      if (i % channels == 0) errors.push_back(0);
      const double error = static_cast<double>(b[i]) - static_cast<double>(a[i]);
      errors.back() += error * error;
    }
  }
  return errors;
}

// How much counts a row whose error is e, relative to others: 1, or less where it is unusual.
std::vector<double> row_weights(std::vector<double> errors) {
  std::vector<double> sorted = errors;
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  const double usual = kUsual * *middle;
  for (double& e : errors) e = e > usual ? usual / e : 1;
  return errors;
}

// What the channels, on the last axis, lack.
std::vector<double> mean_difference(std::span<const Tensor> values, std::span<const Tensor> wanted) {
  const auto channels = static_cast<size_t>(values[0].dims().back());
  std::vector<double> means(channels, 0);
  const std::vector<double> weights = row_weights(row_errors(values, wanted, channels));
  double total = 0;
  size_t row = 0;
  for (size_t k = 0; k < values.size(); ++k) {
    const float *a = values[k].data<float>(), *b = wanted[k].data<float>();
    for (size_t i = 0; i < static_cast<size_t>(values[k].count()); i += channels, ++row) {
      total += weights[row];
      for (size_t c = 0; c < channels; ++c)
        means[c] += weights[row] * (static_cast<double>(b[i + c]) - static_cast<double>(a[i + c]));
    }
  }
  for (double& mean : means) mean = total > 0 ? mean / total : 0;
  return means;
}

void add_by_channel(Tensor& values, std::span<const double> offsets) {
  float* data = values.mutable_data<float>();
  for (size_t i = 0; i < static_cast<size_t>(values.count()); ++i)
    data[i] += static_cast<float>(offsets[i % offsets.size()]);
}

// The rescaled sums of a layer with the offsets in their bias. Returns the new ones.
ValueId add_to_bias(Graph& graph, ValueId result, std::span<const double> offsets) {
  const Node rescaling = graph.node(graph.value(result).producer);
  const Tensor scales = graph.value(rescaling.inputs[1]).constant;
  Value own;
  if (rescaling.inputs.size() > 2) own = graph.value(rescaling.inputs[2]);
  Tensor bias(DType::f32, {static_cast<int64_t>(offsets.size())});
  for (int64_t c = 0; c < bias.count(); ++c) {
    const double before = own.is_constant() ? own.constant.at(own.constant.count() == 1 ? 0 : c) : 0;
    bias.mutable_data<float>()[c] = static_cast<float>(before + offsets[static_cast<size_t>(c)]);
  }
  const ValueId corrected = add_rescaling(graph, rescaling.inputs[0], scales, graph.add_constant(bias, own.name),
                                          graph.type(result), graph.value(rescaling.inputs[1]).name);
  graph.set_name(corrected, graph.value(result).name);
  graph.replace_uses(result, corrected);
  return corrected;
}

bool has_constant_bias(const Graph& graph, ValueId result) {
  const auto& inputs = graph.node(graph.value(result).producer).inputs;
  return inputs.size() < 3 || graph.value(inputs[2]).is_constant();
}

struct Corrected {
  Graph graph;
  std::vector<ValueId> results;  // of the layers
};

Result<Corrected> corrected(const Graph& floats, std::span<const Int8Layer> layers, std::span<const Tensors> samples,
                            const CompileOptions& options, const Graph& integers) {
  Corrected made{integers, {}};
  PiecewiseRun exact(floats, samples, options), run(integers, samples, options);
  for (const Int8Layer& layer : layers) {
    made.results.push_back(layer.result);
    if (layer.result == ValueId::none || !has_constant_bias(integers, layer.result)) continue;
    HONE_TRY(std::vector<Tensor>* const values, run.values(layer.result));
    HONE_TRY(const std::vector<Tensor>* const wanted, exact.values(floats.node(layer.node).outputs[0]));
    const std::vector<double> offsets = mean_difference(*values, *wanted);
    for (Tensor& t : *values) add_by_channel(t, offsets);
    made.results.back() = add_to_bias(made.graph, layer.result, offsets);
  }
  made.graph.remove_dead();
  return made;
}

}  // namespace

Result<std::string> correct_biases(const Graph& floats, std::span<Int8Layer> layers, const CompileOptions& options,
                                   DType type, Graph& integers) {
  if (options.samples.empty() || std::ranges::none_of(layers, [](const auto& l) { return l.reason.empty(); }))
    return std::string();
  const DividedSamples samples = divided(floats, options.samples);
  HONE_TRY(Corrected better, corrected(floats, layers, samples.corrects, options, integers));
  HONE_TRY(const EngineData fp32, compile_on_cpu(floats, options));
  HONE_TRY(const Yardstick yardstick,
           Yardstick::make(fp32, {.metric = AccuracyMetric::error, .samples = samples.judges}));
  const auto error = [&](const Graph& graph) -> Result<double> {
    HONE_TRY(const EngineData engine, compile_on_cpu(graph, options));
    HONE_TRY(const Distance distance, yardstick.distance(engine));
    return distance.error;
  };
  HONE_TRY(const double before, error(integers));
  HONE_TRY(const double after, error(better.graph));
  const bool taken = after < before;
  if (taken) {
    integers = std::move(better.graph);
    for (size_t i = 0; i < layers.size(); ++i) layers[i].result = better.results[i];
  }
  return fmt::format("biases of {} are {}corrected: the error of the outputs is {:.3g}% with it and {:.3g}% without",
                     precision_name(type), taken ? "" : "not ", 100 * after, 100 * before);
}

}  // namespace hone
