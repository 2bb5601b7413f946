#include "ops/matmul_nbits.h"

#include <bit>

#include "base/counted.h"
#include "import/onnx/importer.h"
#include "ops/numbers.h"

namespace hone::import_onnx {
namespace {

// What the shapes of B, scales and zero points follow from.
struct Form {
  MatMulNBits op;
  int64_t n = 0, k = 0;

  int64_t blocks() const { return op.blocks(k); }
  // Bytes of a row's zero points, packed as the weights are.
  int64_t zero_bytes() const { return (blocks() * op.bits + 7) / 8; }
};

// The constant at input `i` under `dims`, whatever rank the exporter gave it.
Tensor constant_of(NodeImport& n, size_t i, const char* name, const Dims& dims) {
  const Tensor& value = n.constant(n.input(i));
  if (!value.defined()) {
    n.unsupported("{} is not a constant", name);
    return {};
  }
  if (value.count() == element_count(dims)) return value.reshaped(dims);
  n.invalid("{} is {}, expected {}", name, to_string(value.dims()), to_string(dims));
  return {};
}

// The same as f32, which holds all that smaller floats do.
Tensor floats_of(NodeImport& n, size_t i, const char* name, const Dims& dims) {
  Tensor value = constant_of(n, i, name, dims);
  if (!value.defined() || value.type() == DType::f32) return value;
  if (is_float(value.type())) return tensor_from(DType::f32, dims, numbers_of<double>(value));
  n.invalid("{} is {}", name, hone::name(value.type()));
  return {};
}

// One number a block: 2^(bits - 1) where the model gives none.
Tensor zeros_of(NodeImport& n, const Form& form) {
  const Dims dims{form.n, form.blocks()};
  if (n.has_input(3) && n.type(n.input(3)).dtype != DType::u8) return floats_of(n, 3, "zero_points", dims);
  Tensor zeros(DType::u8, dims);
  if (!n.has_input(3)) {
    for (int64_t i = 0; i < zeros.count(); ++i) zeros.set_int(i, int64_t{1} << (form.op.bits - 1));
    return zeros;
  }
  const Tensor packed = constant_of(n, 3, "zero_points", {form.n, form.zero_bytes()});
  if (n.failed()) return {};
  // A row of zero points is packed as a block of weights is.
  const MatMulNBits row{.bits = form.op.bits, .block = form.zero_bytes() * 8 / form.op.bits};
  for (int64_t r = 0; r < form.n; ++r)
    for (int64_t b = 0; b < form.blocks(); ++b)
      zeros.set_int(r * form.blocks() + b, row.code(packed.data<uint8_t>(), 1, r, b));
  return zeros;
}

// The weights as they are; accuracy_level allows worse than fp32, which is not made use of.
void import_matmul_nbits(NodeImport& n) {
  const Form form{.op = {.bits = n.i("bits", 4), .block = n.i("block_size")}, .n = n.i("N"), .k = n.i("K")};
  const auto [bits, block] = form.op;
  (void)n.i("accuracy_level", 0);
  if (bits != 4 && bits != 8) return n.unsupported("weights of {}: 4 and 8 are known", counted(bits, "bit"));
  if (block < 16 || block > 1 << 20 || !std::has_single_bit(static_cast<uint64_t>(block)))
    return n.invalid("attribute 'block_size' is {}, expected a power of 2 from 16", block);
  if (form.n < 1 || form.k < 1 || form.n > INT32_MAX || form.k > INT32_MAX)
    return n.invalid("attributes N and K are {} and {}", form.n, form.k);
  if (n.has_input(4)) return n.unsupported("input g_idx: weights in another order than their blocks");
  if (n.i("weight_prepacked", 0) != 0) return n.unsupported("weights in a library's own layout (weight_prepacked)");
  const Shape& a = n.type(n.input(0)).shape;
  if (a.rank() >= 1 && a.dims.back().known() && a.dims.back() != Dim(form.k))
    return n.invalid("A is {} for K = {}", to_text(n.type(n.input(0))), form.k);
  const Tensor codes = constant_of(n, 1, "B", {form.n, form.blocks(), form.op.block_bytes()});
  const Tensor scales = floats_of(n, 2, "scales", {form.n, form.blocks()});
  const Tensor zeros = zeros_of(n, form);
  if (n.failed()) return;
  std::vector<ValueId> inputs{n.input(0), n.constant(codes), n.constant(scales), n.constant(zeros)};
  if (n.has_input(5)) inputs.push_back(n.input(5));
  n.output(0, n.add(form.op, inputs));
}

}  // namespace

std::span<const ImporterRow> matmul_nbits_importers() {
  static constexpr ImporterRow kRows[] = {{"MatMulNBits", import_matmul_nbits, 1, "com.microsoft"}};
  return kRows;
}

}  // namespace hone::import_onnx
