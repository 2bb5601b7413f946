#include "ops/rnn.h"

#include <algorithm>
#include <cmath>

#include "base/counted.h"
#include "ops/eval.h"
#include "ops/numbers.h"
#include "ops/table.h"

namespace hone {
namespace {

using Activation = double (*)(double x, double alpha, double beta);

struct ActivationRow {
  std::string_view name;
  Activation function;
};
constexpr ActivationRow kActivations[] = {
    {"sigmoid", [](double x, double, double) { return 1 / (1 + std::exp(-x)); }},
    {"tanh", [](double x, double, double) { return std::tanh(x); }},
    {"relu", [](double x, double, double) { return std::max(x, 0.0); }},
    {"affine", [](double x, double a, double b) { return a * x + b; }},
    {"leakyrelu", [](double x, double a, double) { return x < 0 ? a * x : x; }},
    {"thresholdedrelu", [](double x, double a, double) { return x > a ? x : 0; }},
    {"scaledtanh", [](double x, double a, double b) { return a * std::tanh(b * x); }},
    {"hardsigmoid", [](double x, double a, double b) { return std::clamp(a * x + b, 0.0, 1.0); }},
    {"elu", [](double x, double a, double) { return x < 0 ? a * std::expm1(x) : x; }},
    {"softsign", [](double x, double, double) { return x / (1 + std::abs(x)); }},
    {"softplus",
     [](double x, double, double) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }},
};

Activation find_activation(std::string_view name) {
  for (const ActivationRow& row : kActivations)
    if (row.name == name) return row.function;
  return nullptr;
}

Status check_attributes(const Rnn& op) {
  if (op.cell != "lstm" && op.cell != "gru" && op.cell != "rnn") return invalid("there is no cell '{}'", op.cell);
  if (op.direction != "forward" && op.direction != "reverse" && op.direction != "bidirectional")
    return invalid("there is no direction '{}'", op.direction);
  if (op.hidden < 1 || op.hidden > (int64_t{1} << 30)) return invalid("the hidden size is {}", op.hidden);
  const size_t count = op.functions() * static_cast<size_t>(op.directions());
  if (op.activations.size() != count || op.alpha.size() != count || op.beta.size() != count)
    return invalid("{} with {} alpha and {} beta values, expected {} of each",
                   counted(op.activations.size(), "activation"), op.alpha.size(), op.beta.size(), count);
  for (const std::string& name : op.activations)
    if (find_activation(name) == nullptr) return invalid("there is no activation '{}'", name);
  if (!(op.clip >= 0)) return invalid("clip is {}", op.clip);
  return {};
}

// Dims of input i must agree with `expected` where both are known; unknown expected dims are learned from it.
Status unify(const InferArgs& args, size_t i, std::vector<Dim*> expected) {
  if (!args.has(i) || !args.type(i).shape.ranked) return {};
  const auto& dims = args.type(i).shape.dims;
  bool fits = dims.size() == expected.size();
  for (size_t d = 0; fits && d < dims.size(); ++d) {
    if (!expected[d]->known() && (dims[d].known() || expected[d]->symbol.empty())) *expected[d] = dims[d];
    else if (expected[d]->known()) fits = !dims[d].known() || dims[d] == *expected[d];
  }
  if (!fits) return invalid("input {} is {}, which does not fit the other inputs", i, to_text(args.type(i)));
  return {};
}

// The work of one direction.
class Layer {
 public:
  Layer(const Rnn& op, const EvalArgs& args, int64_t d);
  // Fills its slices of y and leaves the last states in h() and c().
  void run(std::vector<double>& y);
  const std::vector<double>& h() const { return h_; }
  const std::vector<double>& c() const { return c_; }

 private:
  double activate(size_t k, double x) const;
  void step_lstm(int64_t b, const double* gates);
  void step_gru(int64_t b, const double* gates, const double* recurrent);

  const Rnn& op_;
  int64_t d_, dirs_, time_, batch_, in_, hidden_, width_;  // width_: gates * hidden
  bool reverse_;
  std::vector<double> x_, w_, r_, bias_, peepholes_, h_, c_;  // w_ and r_ transposed to [in or hidden, width]
  std::vector<int64_t> lengths_;
};

// Slice d of a tensor whose first dim is the directions; zeros when absent.
std::vector<double> slice(const Tensor& t, int64_t d, int64_t count) {
  if (!t.defined()) return std::vector<double>(static_cast<size_t>(count));
  const auto all = numbers_of<double>(t);
  return {all.begin() + d * count, all.begin() + (d + 1) * count};
}

std::vector<double> transposed(const std::vector<double>& m, int64_t rows, int64_t columns) {
  std::vector<double> out(m.size());
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c)
      out[static_cast<size_t>(c * rows + r)] = m[static_cast<size_t>(r * columns + c)];
  return out;
}

Layer::Layer(const Rnn& op, const EvalArgs& args, int64_t d)
    : op_(op),
      d_(d),
      dirs_(op.directions()),
      time_(args[0].dims()[0]),
      batch_(args[0].dims()[1]),
      in_(args[0].dims()[2]),
      hidden_(op.hidden),
      width_(op.gates() * op.hidden),
      reverse_(op.direction == "reverse" || d == 1) {
  x_ = numbers_of<double>(args[0]);
  w_ = transposed(slice(args[1], d, width_ * in_), width_, in_);
  r_ = transposed(slice(args[2], d, width_ * hidden_), width_, hidden_);
  bias_ = slice(args[3], d, 2 * width_);
  lengths_ = args.has(4) ? args[4].to_ints() : std::vector<int64_t>(static_cast<size_t>(batch_), time_);
  for (int64_t& length : lengths_) length = std::clamp<int64_t>(length, 0, time_);
  h_ = slice(args[5], d, batch_ * hidden_);
  c_ = slice(args[6], d, batch_ * hidden_);
  peepholes_ = slice(args[7], d, 3 * hidden_);
}

double Layer::activate(size_t k, double x) const {
  if (op_.clip > 0) x = std::clamp(x, -op_.clip, op_.clip);
  const size_t i = static_cast<size_t>(d_) * op_.functions() + k;
  return find_activation(op_.activations[i])(x, op_.alpha[i], op_.beta[i]);
}

void Layer::step_lstm(int64_t b, const double* gates) {
  for (int64_t j = 0; j < hidden_; ++j) {
    double& c = c_[static_cast<size_t>(b * hidden_ + j)];
    const double* p = peepholes_.data() + j;
    const double i = activate(0, gates[j] + p[0] * c);
    const double f = op_.input_forget ? 1 - i : activate(0, gates[2 * hidden_ + j] + p[2 * hidden_] * c);
    c = f * c + i * activate(1, gates[3 * hidden_ + j]);
    const double o = activate(0, gates[hidden_ + j] + p[hidden_] * c);
    h_[static_cast<size_t>(b * hidden_ + j)] = o * activate(2, c);
  }
}

// `gates` holds the input's part with its bias, `recurrent` the state's part with its own.
void Layer::step_gru(int64_t b, const double* gates, const double* recurrent) {
  double* h = h_.data() + b * hidden_;
  std::vector<double> z(static_cast<size_t>(hidden_)), reset(z.size()), inner(z.size());
  for (int64_t j = 0; j < hidden_; ++j) {
    z[j] = activate(0, gates[j] + recurrent[j]);
    reset[j] = activate(0, gates[hidden_ + j] + recurrent[hidden_ + j]);
  }
  for (int64_t j = 0; j < hidden_; ++j) {
    const double bias = bias_[static_cast<size_t>(width_ + 2 * hidden_ + j)];
    inner[j] = op_.linear_before_reset ? reset[j] * recurrent[2 * hidden_ + j] : bias;
    for (int64_t k = 0; k < hidden_ && !op_.linear_before_reset; ++k)
      inner[j] += reset[k] * h[k] * r_[static_cast<size_t>(k * width_ + 2 * hidden_ + j)];
  }
  for (int64_t j = 0; j < hidden_; ++j)
    h[j] = (1 - z[j]) * activate(1, gates[2 * hidden_ + j] + inner[j]) + z[j] * h[j];
}

void Layer::run(std::vector<double>& y) {
  std::vector<double> inputs(static_cast<size_t>(time_ * batch_ * width_)),
      states(static_cast<size_t>(batch_ * width_));
  for (size_t i = 0; i < inputs.size(); ++i) inputs[i] = bias_[i % static_cast<size_t>(width_)];
  multiply_add(x_.data(), w_.data(), inputs.data(), time_ * batch_, in_, width_);
  for (int64_t step = 0; step < time_; ++step) {
    for (size_t i = 0; i < states.size(); ++i)
      states[i] = bias_[static_cast<size_t>(width_) + i % static_cast<size_t>(width_)];
    multiply_add(h_.data(), r_.data(), states.data(), batch_, hidden_, width_);
    for (int64_t b = 0; b < batch_; ++b) {
      const int64_t length = lengths_[static_cast<size_t>(b)];
      if (step >= length) continue;
      const int64_t t = reverse_ ? length - 1 - step : step;
      double* gates = inputs.data() + (t * batch_ + b) * width_;
      const double* state = states.data() + b * width_;
      if (op_.cell == "gru") {
        step_gru(b, gates, state);
      } else {
        for (int64_t j = 0; j < width_; ++j) gates[j] += state[j];
        if (op_.cell == "lstm") step_lstm(b, gates);
        else
          for (int64_t j = 0; j < hidden_; ++j) h_[static_cast<size_t>(b * hidden_ + j)] = activate(0, gates[j]);
      }
      std::copy_n(h_.begin() + b * hidden_, hidden_, y.begin() + ((t * dirs_ + d_) * batch_ + b) * hidden_);
    }
  }
}

}  // namespace

Result<Types> Rnn::infer(const InferArgs& args) const {
  HONE_CHECK(check_attributes(*this));
  const DType type = args.type(0).dtype;
  if (!is_float(type)) return invalid("a recurrent layer of {}", name(type));
  if (!args.has(1) || !args.has(2)) return invalid("the weights are missing");
  for (size_t i = 1; i < 8; ++i) {
    const DType expected = i == 4 ? DType::i32 : type;
    if (args.has(i) && args.type(i).dtype != expected)
      return invalid("input {} is {}, expected {}", i, name(args.type(i).dtype), name(expected));
  }
  if (cell != "lstm" && (args.has(6) || args.has(7)))
    return invalid("a {} cell has no cell state and no peepholes", cell);
  if (args.outputs > (cell == "lstm" ? 3u : 2u)) return invalid("a {} cell has no output {}", cell, args.outputs - 1);
  Dim time, batch, in, dirs(directions()), h(hidden), width(gates() * hidden), biases(2 * gates() * hidden),
      peeps(3 * hidden);
  HONE_CHECK(unify(args, 0, {&time, &batch, &in}));
  HONE_CHECK(unify(args, 1, {&dirs, &width, &in}));
  HONE_CHECK(unify(args, 2, {&dirs, &width, &h}));
  HONE_CHECK(unify(args, 3, {&dirs, &biases}));
  HONE_CHECK(unify(args, 4, {&batch}));
  HONE_CHECK(unify(args, 5, {&dirs, &batch, &h}));
  HONE_CHECK(unify(args, 6, {&dirs, &batch, &h}));
  HONE_CHECK(unify(args, 7, {&dirs, &peeps}));
  Types types{{type, Shape({time, dirs, batch, h})}};
  while (types.size() < args.outputs) types.push_back({type, Shape({dirs, batch, h})});
  return types;
}

Result<Tensors> Rnn::evaluate(const EvalArgs& args) const {
  const Types inputs = types_of(args);
  HONE_TRY(const Types types, infer({inputs, {}, args.outputs}));
  const Dims y_dims = *types[0].shape.concrete();
  HONE_CHECK(checked_bytes(DType::f64, y_dims));
  std::vector<double> y(static_cast<size_t>(element_count(y_dims))), h, c;
  for (int64_t d = 0; d < directions(); ++d) {
    Layer layer(*this, args, d);
    layer.run(y);
    h.insert(h.end(), layer.h().begin(), layer.h().end());
    c.insert(c.end(), layer.c().begin(), layer.c().end());
  }
  const DType type = types[0].dtype;
  Tensors out{tensor_from(type, y_dims, y)};
  const Dims state_dims{y_dims[1], y_dims[2], y_dims[3]};
  if (args.outputs > 1) out.push_back(tensor_from(type, state_dims, h));
  if (args.outputs > 2) out.push_back(tensor_from(type, state_dims, c));
  return out;
}

std::span<const OpRow> rnn_ops() {
  static constexpr OpRow kRows[] = {op_row<Rnn>()};
  return kRows;
}

}  // namespace hone
