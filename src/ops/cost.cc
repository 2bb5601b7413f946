#include "ops/cost.h"

#include "ops/attention.h"
#include "ops/conv.h"
#include "ops/fused.h"
#include "ops/matmul.h"
#include "ops/matmul_nbits.h"
#include "ops/rnn.h"

namespace hone {
namespace {

using TypeList = std::span<const TensorType>;

double count(const TensorType& type) {
  const auto dims = type.shape.concrete();
  return dims ? static_cast<double>(element_count(*dims)) : 0;
}

// The size of dim `at`, from the back when it is negative; 0 when there is none.
double dim(const TensorType& type, int64_t at) {
  if (at < 0) at += type.shape.rank();
  if (at < 0 || at >= type.shape.rank()) return 0;
  return static_cast<double>(std::max<int64_t>(type.shape.dims[static_cast<size_t>(at)].value, 0));
}

double per(double whole, double part) { return part > 0 ? whole / part : 0; }

double fused(const Fused& op) {
  double sum = 0;
  const auto types = [&](const std::vector<ValueId>& values) {
    Types list;
    for (ValueId v : values) list.push_back(v == ValueId::none ? TensorType() : op.body->type(v));
    return list;
  };
  for (NodeId id : op.body->order()) {
    const Node& node = op.body->node(id);
    sum += operation_count(node.op, types(node.inputs), types(node.outputs));
  }
  return sum;
}

double matmul(const MatMul& op, const TensorType& a, const TensorType& y) {
  const bool turned = op.trans_a && a.shape.rank() > 1;
  return 2 * count(y) * dim(a, turned ? -2 : -1);
}

// Twice queries x keys x size for each head; a causal product is counted by half.
double attention(const Attention& op, TypeList inputs) {
  const TensorType& q = inputs[0];
  if (op.layout == "packed") return 4 * per(count(q), 3) * dim(q, 1) * (op.causal ? 0.5 : 1);
  const TensorType &k = inputs[1], &v = inputs[2];
  const double keys = dim(k, op.layout == "rows" ? 1 : 2), queries = per(count(q), dim(q, -1));
  return 2 * queries * keys * (dim(q, -1) + dim(v, -1)) * (op.causal ? 0.5 : 1);
}

}  // namespace

double operation_count(const Op& op, TypeList inputs, TypeList outputs) {
  if (const auto* f = op.as<Fused>()) return fused(*f);
  if (outputs.empty()) return 0;
  const auto has = [&](size_t n) { return inputs.size() >= n; };
  if (op.as<Conv>() != nullptr && has(2)) return 2 * count(outputs[0]) * per(count(inputs[1]), dim(inputs[1], 0));
  if (op.as<ConvTranspose>() != nullptr && has(2))
    return 2 * count(inputs[0]) * per(count(inputs[1]), dim(inputs[1], 0));
  if (const auto* m = op.as<MatMul>(); m != nullptr && has(1)) return matmul(*m, inputs[0], outputs[0]);
  if (op.as<MatMulNBits>() != nullptr && has(1)) return 2 * count(outputs[0]) * dim(inputs[0], -1);
  if (const auto* a = op.as<Attention>(); a != nullptr && has(a->layout == "packed" ? 1 : 3))
    return attention(*a, inputs);
  if (op.as<Rnn>() != nullptr && has(3))
    return 2 * dim(inputs[0], 0) * dim(inputs[0], 1) * (count(inputs[1]) + count(inputs[2]));
  return 0;
}

}  // namespace hone
