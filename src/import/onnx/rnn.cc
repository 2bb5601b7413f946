#include "ops/rnn.h"

#include <algorithm>
#include <cctype>

#include "import/onnx/importer.h"

namespace hone::import_onnx {
namespace {

// Activations that have parameters, and ONNX's defaults for them.
struct Parameters {
  std::string_view name;
  bool has_alpha, has_beta;
  double alpha, beta;
};
constexpr Parameters kParameters[] = {
    {"affine", true, true, 1, 0},     {"leakyrelu", true, false, 0.01, 0},   {"thresholdedrelu", true, false, 1, 0},
    {"scaledtanh", true, true, 1, 1}, {"hardsigmoid", true, true, 0.2, 0.5}, {"elu", true, false, 1, 0},
};

Parameters parameters_of(std::string_view name) {
  for (const Parameters& row : kParameters)
    if (row.name == name) return row;
  return {name, false, false, 0, 0};
}

// activation_alpha and activation_beta list values for the activations that take one, or for all of them.
std::vector<double> spread(NodeImport& n, const char* attr, const std::vector<std::string>& names, bool alpha) {
  const std::vector<double> given = n.floats(attr);
  std::vector<double> out;
  size_t next = 0;
  for (size_t i = 0; i < names.size(); ++i) {
    const Parameters p = parameters_of(names[i]);
    out.push_back(alpha ? p.alpha : p.beta);
    if (!(alpha ? p.has_alpha : p.has_beta)) continue;
    const size_t at = given.size() == names.size() ? i : next++;
    if (at < given.size()) out.back() = given[at];
  }
  return out;
}

void set_activations(NodeImport& n, Rnn& op, const std::vector<std::string>& defaults) {
  op.activations = n.strings("activations");
  for (std::string& name : op.activations)
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (op.activations.empty())
    for (int64_t d = 0; d < op.directions(); ++d)
      op.activations.insert(op.activations.end(), defaults.begin(), defaults.end());
  op.alpha = spread(n, "activation_alpha", op.activations, true);
  op.beta = spread(n, "activation_beta", op.activations, false);
}

void import_recurrent(NodeImport& n, const char* cell, const std::vector<std::string>& defaults) {
  Rnn op{.cell = cell, .direction = n.s("direction", "forward"), .hidden = n.i("hidden_size")};
  const Shape& r = n.type(n.input(2)).shape;
  if (op.hidden == 0 && r.rank() == 3 && r.dims[2].known()) op.hidden = r.dims[2].value;
  set_activations(n, op, defaults);
  op.clip = n.f("clip");
  op.linear_before_reset = n.i("linear_before_reset") != 0;
  op.input_forget = n.i("input_forget") != 0;
  const bool batch_first = n.i("layout") != 0;
  n.ignore({"output_sequence"});  // before opset 7: the node's outputs say it
  std::vector<ValueId> inputs = n.inputs();
  if (n.failed()) return;
  for (size_t k : {0u, 5u, 6u})
    if (batch_first && k < inputs.size() && inputs[k] != ValueId::none) inputs[k] = n.transpose(inputs[k], {1, 0, 2});
  size_t outputs = 1;
  for (size_t k = 1; k < n.output_count(); ++k)
    if (n.has_output(k)) outputs = k + 1;
  const auto results = n.add(std::move(op), inputs, outputs);
  if (n.failed()) return;
  for (size_t k = 0; k < outputs; ++k) {
    if (!n.has_output(k)) continue;
    if (!batch_first) n.output(k, results[k]);
    else n.output(k, k == 0 ? n.transpose(results[0], {2, 0, 1, 3}) : n.transpose(results[k], {1, 0, 2}));
  }
}

void import_lstm(NodeImport& n) { import_recurrent(n, "lstm", {"sigmoid", "tanh", "tanh"}); }
void import_gru(NodeImport& n) { import_recurrent(n, "gru", {"sigmoid", "tanh"}); }
void import_rnn(NodeImport& n) { import_recurrent(n, "rnn", {"tanh"}); }

}  // namespace

std::span<const ImporterRow> rnn_importers() {
  static constexpr ImporterRow kRows[] = {{"LSTM", import_lstm}, {"GRU", import_gru}, {"RNN", import_rnn}};
  return kRows;
}

}  // namespace hone::import_onnx
