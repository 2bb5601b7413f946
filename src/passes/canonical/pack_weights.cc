#include "passes/canonical/pack_weights.h"

#include <algorithm>
#include <numeric>

#include "ops/matmul.h"
#include "ops/matmul_nbits.h"
#include "ops/movement.h"
#include "ops/quantize.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace hone {
namespace {

using namespace rewrite;

// Constant weights as MatMulNBits has them.
struct Packed {
  MatMulNBits op;
  Tensor codes, scales, zeros;
};

int64_t bits_of(DType type) {
  if (type == DType::i4 || type == DType::u4) return 4;
  return type == DType::i8 || type == DType::u8 ? 8 : 0;
}

// How the elements of a matrix and of its scales lie, by output channel n and place k in the sum.
struct Layout {
  int64_t n = 0, k = 0, n_step = 0, k_step = 0;
  int64_t block = 0, blocks = 0;  // along k
  int64_t n_scale_step = 0, block_scale_step = 0;

  int64_t at(int64_t row, int64_t column) const { return row * n_step + column * k_step; }
  int64_t scale_at(int64_t row, int64_t b) const { return row * n_scale_step + b * block_scale_step; }
};

// Nothing where one scale is neither all weights', nor a channel's, nor a block's along k.
std::optional<Layout> layout_of(const Dequantize& op, const Dims& dims, const Tensor& scale, size_t k_axis) {
  Layout l{.n = dims[1 - k_axis], .k = dims[k_axis]};
  l.n_step = k_axis == 1 ? l.k : 1;
  l.k_step = k_axis == 1 ? 1 : l.n;
  l.block = l.k;
  l.blocks = 1;
  if (op.block == 0 && scale.count() == 1) return l;
  const auto axis = normal_axis(op.axis, 2);
  const bool along_k = axis == static_cast<int64_t>(k_axis);
  if (op.block == 0 && along_k) return std::nullopt;
  if (op.block > 0 && !along_k) return std::nullopt;
  if (op.block > 0) {
    l.block = std::min(op.block, l.k);
    l.blocks = l.k / l.block + (l.k % l.block != 0);
  }
  l.n_scale_step = k_axis == 1 || op.block == 0 ? l.blocks : 1;
  l.block_scale_step = k_axis == 1 || op.block == 0 ? 1 : l.n;
  return l;
}

// The matrix that `dequantize` makes floats of, its sums along `k_axis`; nothing where its form is another.
std::optional<Packed> packed_weights_of(const Graph& graph, NodeId dequantize, size_t k_axis) {
  const auto* op = op_of<Dequantize>(graph, dequantize);
  if (op == nullptr) return std::nullopt;
  for (ValueId v : graph.node(dequantize).inputs)
    if (v != ValueId::none && !graph.value(v).is_constant()) return std::nullopt;
  const Tensor& values = graph.value(input(graph, dequantize, 0)).constant;
  const Tensor& scale = graph.value(input(graph, dequantize, 1)).constant;
  const ValueId zero = input(graph, dequantize, 2);
  const int64_t bits = bits_of(values.type());
  if (bits == 0 || values.rank() != 2 || values.count() == 0) return std::nullopt;
  const auto layout = layout_of(*op, values.dims(), scale, k_axis);
  if (!layout) return std::nullopt;
  Packed packed{.op = {.bits = bits, .block = layout->block}};
  const Dims by_block{layout->n, layout->blocks};
  packed.codes = Tensor(DType::u8, {layout->n, layout->blocks, packed.op.block_bytes()});
  packed.scales = Tensor(DType::f32, by_block);
  packed.zeros = Tensor(DType::u8, by_block);
  const int64_t shift = is_signed(values.type()) ? int64_t{1} << (bits - 1) : 0;
  const Tensor& zeros = graph.value(zero).constant;
  auto* codes = packed.codes.mutable_data<uint8_t>();
  for (int64_t n = 0; n < layout->n; ++n) {
    for (int64_t b = 0; b < layout->blocks; ++b) {
      const int64_t from = layout->scale_at(n, b), to = n * layout->blocks + b;
      packed.scales.set(to, scale.at(from));
      packed.zeros.set_int(to, shift + (zero == ValueId::none ? 0 : zeros.int_at(from)));
    }
    for (int64_t k = 0; k < layout->k; ++k)
      packed.op.set_code(codes, layout->blocks, n, k, static_cast<int>(shift + values.int_at(layout->at(n, k))));
  }
  return packed;
}

// x with its last two dims swapped.
ValueId transposed(Graph& graph, ValueId x, const std::vector<std::string>& sources) {
  Perm perm(graph.type(x).shape.dims.size());
  std::iota(perm.begin(), perm.end(), 0);
  std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
  return emit(graph, Transpose{.perm = perm}, {x}, sources);
}

// The product of `x` by packed weights, as what `id` computes.
bool multiply(Graph& graph, NodeId id, ValueId x, const Packed& packed, bool on_the_left) {
  const Node node = graph.node(id);
  const std::string name = graph.value(input(graph, graph.value(node.inputs[on_the_left ? 0 : 1]).producer, 0)).name;
  std::vector<ValueId> inputs{x, graph.add_constant(packed.codes, name), graph.add_constant(packed.scales),
                              graph.add_constant(packed.zeros)};
  if (const ValueId bias = input(graph, id, 2); bias != ValueId::none) inputs.push_back(bias);
  ValueId product = emit(graph, packed.op, inputs, node.sources);
  if (product == ValueId::none) return false;
  if (on_the_left) product = transposed(graph, product, node.sources);
  return product != ValueId::none && replace(graph, node.outputs[0], product);
}

bool pack_blocks(Graph& graph, NodeId id) {
  for (size_t side : {size_t{0}, size_t{1}})
    if (op_of<MatMul>(graph, id) != nullptr && may_be_integers(graph, input(graph, id, side))) return false;
  return pack_weights_of(graph, id);
}

}  // namespace

bool may_be_integers(const Graph& graph, ValueId weights) {
  const auto* op = producer<Dequantize>(graph, weights);
  return op != nullptr && op->block == 0 &&
         bits_of(graph.type(input(graph, graph.value(weights).producer, 0)).dtype) != 4;
}

bool pack_weights_of(Graph& graph, NodeId id) {
  const auto* found = op_of<MatMul>(graph, id);
  if (found == nullptr) return false;
  const MatMul op = *found;
  const ValueId left = input(graph, id, 0), right = input(graph, id, 1);
  const auto rank_of = [&](ValueId v) { return graph.type(v).shape.rank(); };
  if (!op.trans_a && rank_of(left) >= 1)
    if (const auto packed = packed_weights_of(graph, graph.value(right).producer, op.trans_b ? 1 : 0))
      return multiply(graph, id, left, *packed, false);
  if (rank_of(right) < 2 || input(graph, id, 2) != ValueId::none) return false;
  const auto packed = packed_weights_of(graph, graph.value(left).producer, op.trans_a ? 0 : 1);
  if (!packed) return false;
  const ValueId x = op.trans_b ? right : transposed(graph, right, graph.node(id).sources);
  return x != ValueId::none && multiply(graph, id, x, *packed, true);
}

// Products in which 8 bits may still meet 8 bits are left alone.
Result<int> pack_weights(Graph& graph, int limit) { return apply(graph, limit, {pack_blocks}); }

}  // namespace hone
