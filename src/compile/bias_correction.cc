#include "compile/bias_correction.h"

#include <algorithm>

#include "backends/integers.h"
#include "compile/piecewise.h"

namespace hone {
namespace {

// Of each channel, which are on the last axis.
class ChannelMeans {
 public:
  void add(const Tensor& values) {
    const auto channels = static_cast<size_t>(values.dims().back());
    sums_.resize(channels);
    const float* data = values.data<float>();
    for (size_t i = 0; i < static_cast<size_t>(values.count()); ++i)
      sums_[i % channels] += static_cast<double>(data[i]);
    rows_ += values.count() / values.dims().back();
  }

  std::vector<double> means() const {
    std::vector<double> means = sums_;
    for (double& mean : means) mean /= static_cast<double>(std::max<int64_t>(rows_, 1));
    return means;
  }

 private:
  std::vector<double> sums_;
  int64_t rows_ = 0;
};

Tensor as_f32(std::span<const double> values) {
  Tensor t(DType::f32, {static_cast<int64_t>(values.size())});
  for (size_t i = 0; i < values.size(); ++i) t.mutable_data<float>()[i] = static_cast<float>(values[i]);
  return t;
}

void add_by_channel(Tensor& values, std::span<const double> offsets) {
  float* data = values.mutable_data<float>();
  for (size_t i = 0; i < static_cast<size_t>(values.count()); ++i)
    data[i] += static_cast<float>(offsets[i % offsets.size()]);
}

// The rescaled sums of a layer with the offsets in their bias.
void add_to_bias(Graph& graph, ValueId layer, std::span<const double> offsets) {
  const Node rescaling = graph.node(graph.value(layer).producer);
  std::vector<double> bias(offsets.begin(), offsets.end());
  std::string name;
  if (rescaling.inputs.size() > 2) {
    const Value& own = graph.value(rescaling.inputs[2]);
    if (!own.is_constant()) return;
    name = own.name;
    for (size_t c = 0; c < bias.size(); ++c)
      bias[c] += own.constant.at(own.constant.count() == 1 ? 0 : static_cast<int64_t>(c));
  }
  const ValueId corrected =
      add_rescaling(graph, rescaling.inputs[0], graph.value(rescaling.inputs[1]).constant,
                    graph.add_constant(as_f32(bias), name), graph.type(layer), graph.value(rescaling.inputs[1]).name);
  graph.set_name(corrected, graph.value(layer).name);
  graph.replace_uses(layer, corrected);
}

}  // namespace

Status BiasCorrection::find_means(const Graph& floats, std::span<const Int8Layer> layers) {
  std::vector<ValueId> unknown;
  for (const Int8Layer& layer : layers)
    if (layer.reason.empty() && !means_.contains(layer.in_floats)) unknown.push_back(layer.in_floats);
  if (unknown.empty()) return {};
  HONE_TRY(const CompiledPart part, compile_part(floats, nodes_for(floats, unknown), unknown, options_));
  ExecutionContext context(part.engine);
  std::vector<ChannelMeans> means(unknown.size());
  for (const Tensors& sample : samples_) {
    if (options_.cancelled && options_.cancelled()) return {Code::cancelled, "cancelled"};
    for (size_t i = 0; i < part.inputs.size(); ++i) {
      const auto place = std::ranges::find(floats.inputs(), part.inputs[i]) - floats.inputs().begin();
      HONE_CHECK(context.bind_input(fmt::format("{}", i), sample[static_cast<size_t>(place)]));
    }
    HONE_CHECK(context.run());
    const Tensors outputs = context.outputs();
    for (size_t k = 0; k < outputs.size(); ++k) means[k].add(outputs[k]);
  }
  for (size_t k = 0; k < unknown.size(); ++k) means_[unknown[k]] = means[k].means();
  return {};
}

Status BiasCorrection::correct(const Graph& floats, std::span<const Int8Layer> layers, Graph& integers) {
  if (samples_.empty()) return {};
  HONE_CHECK(find_means(floats, layers));
  std::map<ValueId, std::vector<double>> offsets;
  PiecewiseRun run(integers, samples_, options_);
  for (const Int8Layer& layer : layers) {
    if (!layer.reason.empty()) continue;
    HONE_TRY(std::vector<Tensor>* const values, run.values(layer.in_integers));
    ChannelMeans means;
    for (const Tensor& t : *values) means.add(t);
    std::vector<double>& offset = offsets[layer.in_integers] = means_.at(layer.in_floats);
    const std::vector<double> moved = means.means();
    for (size_t c = 0; c < offset.size(); ++c) offset[c] -= moved[c];
    for (Tensor& t : *values) add_by_channel(t, offset);
  }
  for (const auto& [layer, offset] : offsets) add_to_bias(integers, layer, offset);
  integers.remove_dead();
  return {};
}

}  // namespace hone
