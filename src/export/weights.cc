#include "export/weights.h"

#include <algorithm>

#include "export/onnx_edit.h"

namespace hone {
namespace {

using export_onnx::ModelEdit;

constexpr int64_t kOpset = 21;      // the first with blocks and int4
constexpr int64_t kIrVersion = 10;  // the same

Status check_opset(const std::string& path, const onnx::ModelProto& model) {
  for (const auto& opset : model.opset_import())
    if ((opset.domain().empty() || opset.domain() == "ai.onnx") && opset.version() < kOpset)
      return unsupported("{}: is of opset {}, blocks of weights need {}: convert it, e.g. by onnx.version_converter",
                         path, opset.version(), kOpset);
  return {};
}

void add_int(onnx::NodeProto& node, const char* name, int64_t value) {
  auto& attribute = *node.add_attribute();
  attribute.set_name(name);
  attribute.set_type(onnx::AttributeProto::INT);
  attribute.set_i(value);
}

// The axis of a node's right operand along which it is summed; nothing where the node is no product.
std::optional<size_t> sum_axis(const onnx::NodeProto& node) {
  if (!node.domain().empty() && node.domain() != "ai.onnx") return std::nullopt;
  if (node.op_type() == "MatMul") return 0;
  if (node.op_type() != "Gemm") return std::nullopt;
  for (const auto& attribute : node.attribute())
    if (attribute.name() == "transB" && attribute.i() != 0) return 1;
  return 0;
}

// Rows and columns in the other order where the sums of the file's matrix are along its axis 0.
Tensor laid_out(const Tensor& rows, DType type, size_t axis) {
  const int64_t m = rows.dims()[0], n = rows.dims()[1];
  Tensor result(type, axis == 1 ? Dims{m, n} : Dims{n, m});
  for (int64_t r = 0; r < m; ++r)
    for (int64_t c = 0; c < n; ++c) result.set(axis == 1 ? r * n + c : c * m + r, rows.at(r * n + c));
  return result;
}

class Writer {
 public:
  Writer(ModelEdit& edit, const WeightFormat& format) : edit_(edit), format_(format) {}

  void write(onnx::NodeProto node) {
    const auto axis = sum_axis(node);
    const Tensor weights = axis && node.input_size() > 1 ? edit_.constant(node.input(1)) : Tensor();
    if (weights.defined() && weights.rank() == 2) {
      WeightReport& report =
          reports_.emplace_back(WeightReport{.name = node.name().empty() ? node.output(0) : node.name()});
      report.bytes_before = report.bytes_after = static_cast<int64_t>(weights.bytes());
      report.reason = refuse_weights(weights);
      if (report.reason.empty()) node.set_input(1, dequantized(node.input(1), weights, *axis, report));
    }
    edit_.append(std::move(node));
  }

  std::vector<WeightReport> reports() && { return std::move(reports_); }

 private:
  // What takes the place of a matrix, made once for all its readers.
  struct Made {
    std::string name;
    double sqnr_db = 0;
    int64_t bytes = 0;
  };

  std::string dequantized(const std::string& name, const Tensor& weights, size_t axis, WeightReport& report) {
    Made& made = made_[{name, axis}];
    if (made.name.empty()) {
      const RoundedWeights rounded = round_weights(weights, axis, format_);
      const Tensor values = laid_out(rounded.values, format_.bits == 4 ? DType::i4 : DType::i8, axis),
                   scales = laid_out(rounded.scales, DType::f32, axis);
      const std::vector<std::string> inputs{edit_.add_constant(name + "_quantized", values),
                                            edit_.add_constant(name + "_scale", scales)};
      made = {.name = edit_.add_node("DequantizeLinear", inputs, name + "_dequantized"),
              .sqnr_db = rounded.sqnr_db,
              .bytes = values.count() * format_.bits / 8 + static_cast<int64_t>(scales.bytes())};
      add_int(edit_.last(), "axis", static_cast<int64_t>(axis));
      add_int(edit_.last(), "block_size", format_.block);
    }
    report.sqnr_db = made.sqnr_db;
    report.bytes_after = made.bytes;
    return made.name;
  }

  ModelEdit& edit_;
  WeightFormat format_;
  std::map<std::pair<std::string, size_t>, Made> made_;
  std::vector<WeightReport> reports_;
};

}  // namespace

Result<WeightsModel> quantized_weights_onnx(const std::string& path, const WeightFormat& format) {
  HONE_CHECK(check(format));
  HONE_TRY(ModelEdit edit, ModelEdit::open(path));
  HONE_CHECK(check_opset(path, edit.model()));
  edit.model().set_ir_version(std::max<int64_t>(edit.model().ir_version(), kIrVersion));
  Writer writer(edit, format);
  const auto nodes = edit.model().graph().node();
  for (const auto& node : nodes) writer.write(node);
  WeightsModel result{.weights = std::move(writer).reports()};
  if (std::ranges::all_of(result.weights, [](const WeightReport& r) { return !r.reason.empty(); }))
    return unsupported("{}: {}", path, summary(result.weights, format));
  HONE_TRY(result.bytes, edit.finish());
  return result;
}

}  // namespace hone
