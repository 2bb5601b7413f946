#include "backends/quantize_weights.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "backends/channel_factors.h"
#include "base/counted.h"
#include "base/cpu_info.h"
#include "base/thread_pool.h"
#include "ops/matmul.h"
#include "ops/numbers.h"
#include "passes/rewrite.h"

namespace hone {
namespace {

using namespace rewrite;

// The largest weight of a block is so many times the largest whole number: those above 1 are clipped.
constexpr double kFirstRatio = 0.92, kRatioStep = 0.04;
constexpr int kRatios = 16;

// Factors of columns are the root of their importance to such a power.
constexpr double kPowers[] = {0.125, 0.25, 0.375, 0.5, 0.75};
// They must leave so much of the error at most: a gain on the data that is smaller may be none on other data.
constexpr double kWorthwhile = 0.97;

// Weights of one block by a scale.
class Block {
 public:
  Block(int64_t bits, int64_t count) : low_(-std::ldexp(1.f, int(bits) - 1)) {
    weights_.reserve(static_cast<size_t>(count));
    importance_.reserve(static_cast<size_t>(count));
  }

  void add(float weight, double importance) {
    weights_.push_back(weight);
    importance_.push_back(importance);
  }

  // To the nearest, even ones in the middle: adding 1.5 * 2^23 leaves no fraction bits.
  float whole(float weight, float scale) const {
    constexpr float kNoFraction = 12582912;
    return std::clamp(weight / scale + kNoFraction - kNoFraction, low_, -low_ - 1);
  }

  double error(float scale) const {
    double sum = 0;
    for (size_t i = 0; i < weights_.size(); ++i) {
      const float w = weights_[i];
      const double e = static_cast<double>(w) - static_cast<double>(whole(w, scale)) * static_cast<double>(scale);
      sum += importance_[i] * e * e;
    }
    return sum;
  }

  // The scale with the smallest error, above 0 or of either sign.
  float best(bool either_sign) const {
    float largest = 0;
    for (const float w : weights_) largest = std::max(largest, std::fabs(w));
    const double top = -low_ - 1;
    // So small that quotients would overflow: all are 0.
    if (!(largest / top > 1e-36)) return 1;
    float best = 0;
    double least = INFINITY;
    const auto consider = [&](double scale) {
      const auto rounded = static_cast<float>(scale);
      const double e = error(rounded);
      if (e < least) {
        least = e;
        best = rounded;
      }
    };
    for (int i = 0; i < kRatios; ++i) {
      const double scale = largest / (top * (kFirstRatio + i * kRatioStep));
      consider(scale);
      if (either_sign) consider(-scale);
    }
    consider(fitted(best));
    return best;
  }

 private:
  // The scale that fits the whole numbers of `scale` best, by least squares.
  double fitted(float scale) const {
    double product = 0, square = 0;
    for (size_t i = 0; i < weights_.size(); ++i) {
      const auto q = static_cast<double>(whole(weights_[i], scale));
      product += importance_[i] * static_cast<double>(weights_[i]) * q;
      square += importance_[i] * q * q;
    }
    return product != 0 ? product / square : static_cast<double>(scale);
  }

  float low_;
  std::vector<float> weights_;
  std::vector<double> importance_;  // of their squared errors
};

// A row of a matrix while it is rounded from the first column to the last.
class Row {
 public:
  Row(const ErrorFeedback& feedback, std::span<const double> factors, const float* weights, int64_t step,
      int64_t columns)
      : feedback_(feedback), factors_(factors), columns_(columns) {
    for (int64_t c = 0; c < columns; ++c) weights_.push_back(static_cast<double>(weights[c * step]));
    if (feedback.any()) errors_ = sums_ = std::vector<double>(weights_.size());
  }

  void round(const WeightFormat& format, int8_t* values, float* scales) {
    for (int64_t first = 0; first < columns_; first += format.block) {
      const int64_t end = std::min(first + format.block, columns_);
      Block block(format.bits, end - first);
      for (int64_t c = first; c < end; ++c)
        block.add(static_cast<float>(aim(c) * factor(c)), feedback_.importance(c) / (factor(c) * factor(c)));
      const float scale = *scales++ = block.best(format.signed_scales);
      for (int64_t c = first; c < end; ++c) {
        const float whole = block.whole(static_cast<float>(aim(c) * factor(c)), scale);
        *values++ = static_cast<int8_t>(whole);
        take(c, static_cast<double>(whole) * static_cast<double>(scale) / factor(c));
      }
    }
  }

  // Sums of squares of the results and of their errors; without feedback, of the weights and of theirs.
  double signal() const { return signal_; }
  double noise() const { return noise_; }

 private:
  double factor(int64_t c) const { return factors_.empty() ? 1 : factors_[static_cast<size_t>(c)]; }

  // The weight, with what earlier ones have left to it.
  double aim(int64_t c) const {
    const auto i = static_cast<size_t>(c);
    return feedback_.any() ? weights_[i] + errors_[i] : weights_[i];
  }

  void take(int64_t c, double rounded) {
    const double weight = weights_[static_cast<size_t>(c)], missed = aim(c) - rounded, error = weight - rounded;
    if (!feedback_.any()) {
      signal_ += weight * weight;
      noise_ += missed * missed;
      return;
    }
    const double *shares = feedback_.row(c), power = shares[0] * shares[0];
    const double result = weight + sums_[static_cast<size_t>(c)];
    signal_ += power * result * result;
    noise_ += power * missed * missed;
    double *errors = errors_.data() + c, *sums = sums_.data() + c;
    for (int64_t i = 1; i < columns_ - c; ++i) {
      errors[i] += error * shares[i];
      sums[i] += weight * shares[i];
    }
  }

  const ErrorFeedback& feedback_;
  std::span<const double> factors_;
  int64_t columns_;
  std::vector<double> weights_;
  std::vector<double> errors_, sums_;  // of earlier columns' errors and weights, what falls to each
  double signal_ = 0, noise_ = 0;
};

double decibels(double signal, double noise) { return noise > 0 ? 10 * std::log10(signal / noise) : INFINITY; }

// Rounded weights as MatMulNBits reads them: its op, then codes, scales and zeros.
struct Packed {
  MatMulNBits op;
  Tensor codes, scales, zeros;
};

Packed packed(const RoundedWeights& rounded, const WeightFormat& format) {
  Packed p{.op = {.bits = format.bits, .block = format.block}};
  const int64_t rows = rounded.values.dims()[0], columns = rounded.values.dims()[1], blocks = p.op.blocks(columns);
  p.codes = Tensor(DType::u8, {rows, blocks, p.op.block_bytes()});
  p.zeros = Tensor(DType::u8, {rows, blocks});
  p.scales = rounded.scales;
  const int centre = 1 << (format.bits - 1);
  std::fill_n(p.zeros.mutable_data<uint8_t>(), p.zeros.count(), static_cast<uint8_t>(centre));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c)
      p.op.set_code(p.codes.mutable_data<uint8_t>(), blocks, r, c,
                    centre + rounded.values.data<int8_t>()[r * columns + c]);
  return p;
}

// A bias that takes back what rounding adds to the mean of each result, where the means of the columns are known.
Tensor corrected_bias(const Tensor& bias, const Tensor& weights, size_t axis, const RoundedWeights& rounded,
                      const WeightFormat& format, const std::vector<double>& means) {
  const int64_t rows = rounded.values.dims()[0], columns = rounded.values.dims()[1], blocks = rounded.scales.dims()[1];
  const std::vector<float> floats = numbers_of<float>(weights);
  Tensor corrected(bias.defined() ? bias.type() : DType::f32, {rows});
  for (int64_t r = 0; r < rows; ++r) {
    double sum = bias.defined() ? bias.at(r) : 0;
    for (int64_t c = 0; c < columns; ++c) {
      const auto weight = static_cast<double>(floats[static_cast<size_t>(axis == 1 ? r * columns + c : c * rows + r)]);
      const auto scale = static_cast<double>(rounded.scales.data<float>()[r * blocks + c / format.block]) /
                         (rounded.factors.empty() ? 1 : rounded.factors[static_cast<size_t>(c)]);
      sum += means[static_cast<size_t>(c)] * (weight - rounded.values.data<int8_t>()[r * columns + c] * scale);
    }
    corrected.set(r, sum);
  }
  return corrected;
}

// A product by a constant matrix that is to be rounded.
struct Product {
  NodeId id = NodeId::none;
  Tensor weights;
  size_t axis = 0;          // of its sums
  Tensor bias;              // may be undefined
  bool takes_data = false;  // a bias that is computed takes nothing back: then no data is looked at
  size_t report = 0;
};

// Those of a graph, together where they read the same, in the order of the network; a report for each that is there.
std::vector<std::vector<Product>> products_by_input(const Graph& graph, std::vector<WeightReport>& reports) {
  std::vector<std::vector<Product>> groups;
  for (NodeId id : graph.order()) {
    const auto* op = op_of<MatMul>(graph, id);
    if (op == nullptr) continue;
    const Tensor& weights = graph.value(input(graph, id, 1)).constant;
    if (!weights.defined() || weights.rank() != 2 || !is_float(weights.type())) continue;
    WeightReport& report = reports.emplace_back(WeightReport{.name = graph.label(id)});
    report.bytes_before = report.bytes_after = static_cast<int64_t>(weights.bytes());
    report.reason = op->trans_a ? "the left operand is transposed" : refuse_weights(weights);
    if (!report.reason.empty()) continue;
    const ValueId x = input(graph, id, 0), bias = input(graph, id, 2);
    auto group = std::ranges::find(groups, x, [&](const auto& g) { return input(graph, g.front().id, 0); });
    if (group == groups.end()) group = groups.emplace(groups.end());
    const Tensor constant = bias == ValueId::none ? Tensor() : graph.value(bias).constant;
    group->push_back({.id = id,
                      .weights = weights,
                      .axis = op->trans_b ? size_t{1} : size_t{0},
                      .bias = constant,
                      .takes_data = bias == ValueId::none || constant.defined(),
                      .report = reports.size() - 1});
  }
  return groups;
}

// Whether these products, for data, are all that reads a value.
bool reads_alone(const Graph& graph, ValueId x, std::span<const Product> products) {
  const auto is_one = [&](NodeId user) {
    return std::ranges::any_of(products, [&](const Product& p) { return p.id == user && p.takes_data; });
  };
  return std::ranges::find(graph.outputs(), x) == graph.outputs().end() &&
         std::ranges::all_of(graph.value(x).users, is_one);
}

// The weights of products that read the same, by the factors of their columns, of a few and of none where `factors`
// allows no others, with which the results are closest.
std::vector<RoundedWeights> rounded_together(std::span<const Product> products, const WeightFormat& format,
                                             const ErrorFeedback& feedback, bool factors) {
  const auto rounded_by = [&](const std::vector<double>& by) {
    std::vector<RoundedWeights> all;
    for (const Product& p : products) {
      const ErrorFeedback nothing(p.weights.dims()[p.axis]);
      all.push_back(round_weights(p.weights, p.axis, format, p.takes_data ? feedback : nothing, by));
    }
    return all;
  };
  const auto lost = [](std::span<const RoundedWeights> all) {
    double sum = 0;
    for (const RoundedWeights& r : all) sum += std::pow(10, -r.sqnr_db / 10);
    return sum;
  };
  std::vector<RoundedWeights> best = rounded_by({});
  double least = kWorthwhile * lost(best);
  for (const double power : kPowers) {
    if (!factors) break;
    std::vector<double> by;
    for (int64_t c = 0; c < best.front().values.dims()[1]; ++c)
      by.push_back(std::pow(feedback.importance(c), power / 2));
    std::vector<RoundedWeights> next = rounded_by(by);
    if (lost(next) >= least) break;
    least = lost(next);
    best = std::move(next);
  }
  return best;
}

// The product, with rounded weights, of `x`, which may be divided by their factors.
void pack(Graph& graph, const Product& product, ValueId x, const RoundedWeights& rounded, const WeightFormat& format,
          const std::vector<double>& means, WeightReport& report) {
  const Node node = graph.node(product.id);
  ValueId bias = input(graph, product.id, 2);
  if (product.takes_data && !means.empty())
    bias = graph.add_constant(corrected_bias(product.bias, product.weights, product.axis, rounded, format, means));
  const Packed p = packed(rounded, format);
  std::vector<ValueId> inputs{x, graph.add_constant(p.codes, graph.value(node.inputs[1]).name),
                              graph.add_constant(p.scales), graph.add_constant(p.zeros)};
  if (bias != ValueId::none) inputs.push_back(bias);
  if (!replace(graph, node.outputs[0], emit(graph, p.op, inputs, {product.id}))) {
    report.reason = "its operands are of two types";
    return;
  }
  report.sqnr_db = rounded.sqnr_db;
  report.bytes_after = static_cast<int64_t>(p.codes.bytes() + p.scales.bytes());
}

}  // namespace

std::optional<WeightFormat> find_weight_format(std::string_view name) {
  if (name == "int4") return WeightFormat{.bits = 4};
  if (name == "int8") return WeightFormat{.bits = 8};
  return std::nullopt;
}

Status check(const WeightFormat& format) {
  if (format.bits != 4 && format.bits != 8)
    return invalid("weights of {}: 4 and 8 are possible", counted(format.bits, "bit"));
  if (format.block < 16 || format.block > 1024 || !std::has_single_bit(static_cast<uint64_t>(format.block)))
    return invalid("blocks of {}: a power of 2 from 16 to 1024 is possible", counted(format.block, "weight"));
  return {};
}

RoundedWeights round_weights(const Tensor& weights, size_t axis, const WeightFormat& format,
                             const ErrorFeedback& feedback, std::vector<double> factors) {
  const int64_t rows = weights.dims()[1 - axis], columns = weights.dims()[axis];
  const int64_t blocks = columns / format.block + (columns % format.block != 0);
  const int64_t row_step = axis == 1 ? columns : 1, step = axis == 1 ? 1 : rows;
  const Tensor floats = tensor_from(DType::f32, weights.dims(), numbers_of<float>(weights));
  RoundedWeights result{Tensor(DType::i8, {rows, columns}), Tensor(DType::f32, {rows, blocks}), std::move(factors)};
  std::vector<double> signal(static_cast<size_t>(rows)), noise(signal);
  cpu::ThreadPool pool(cpu::usable_cpu_count());
  pool.parallel(rows, [&](int64_t r, int) {
    Row row(feedback, result.factors, floats.data<float>() + r * row_step, step, columns);
    row.round(format, result.values.mutable_data<int8_t>() + r * columns,
              result.scales.mutable_data<float>() + r * blocks);
    signal[static_cast<size_t>(r)] = row.signal();
    noise[static_cast<size_t>(r)] = row.noise();
  });
  double all = 0, lost = 0;
  for (size_t r = 0; r < signal.size(); ++r) {
    all += signal[r];
    lost += noise[r];
  }
  result.sqnr_db = decibels(all, lost);
  return result;
}

RoundedWeights round_weights(const Tensor& weights, size_t axis, const WeightFormat& format) {
  return round_weights(weights, axis, format, ErrorFeedback(weights.dims()[axis]));
}

std::string refuse_weights(const Tensor& weights) {
  if (weights.bytes() < static_cast<size_t>(kLeastWeightBytes))
    return fmt::format("less than {} bytes", kLeastWeightBytes);
  for (int64_t i = 0; i < weights.count(); ++i)
    if (!std::isfinite(weights.at(i))) return "not all of them are finite";
  return {};
}

Result<std::vector<WeightReport>> quantize_weights(Graph& graph, const WeightFormat& format, const MomentsOf& moments) {
  const WeightFormat either_sign{format.bits, format.block, true};
  std::vector<WeightReport> reports;
  for (const std::vector<Product>& products : products_by_input(graph, reports)) {
    const ValueId x = input(graph, products.front().id, 0);
    const int64_t columns = products.front().weights.dims()[products.front().axis];
    SecondMoments known;
    if (moments && std::ranges::any_of(products, &Product::takes_data)) {
      HONE_TRY(known, moments(products.front().id));
    }
    const std::vector<double> means = known.means;
    const ErrorFeedback feedback = known.rows > 0 ? ErrorFeedback(std::move(known)) : ErrorFeedback(columns);
    const bool factors = feedback.any() && takes_channel_factors(graph, x) && reads_alone(graph, x, products);
    const std::vector<RoundedWeights> rounded = rounded_together(products, either_sign, feedback, factors);
    const ValueId divided = rounded.front().factors.empty() ? x : divide_channels(graph, x, rounded.front().factors);
    for (size_t i = 0; i < products.size(); ++i)
      pack(graph, products[i], divided, rounded[i], either_sign, means, reports[products[i].report]);
  }
  graph.remove_dead();
  return reports;
}

std::string summary(const std::vector<WeightReport>& reports, const WeightFormat& format) {
  size_t done = 0;
  int64_t before = 0, after = 0;
  double least = INFINITY;
  for (const WeightReport& r : reports) {
    before += r.bytes_before;
    after += r.bytes_after;
    if (!r.reason.empty()) continue;
    ++done;
    least = std::min(least, r.sqnr_db);
  }
  if (done == 0)
    return fmt::format("no matrix becomes int{}: none of floats has {} bytes or more", format.bits, kLeastWeightBytes);
  return fmt::format("{} of {} in int{}, by blocks of {}: {:.2f} MB instead of {:.2f} MB, SQNR {:.1f} dB or better",
                     done, counted(reports.size(), "matrix", "matrices"), format.bits, format.block,
                     static_cast<double>(after) / 1e6, static_cast<double>(before) / 1e6, least);
}

}  // namespace hone
