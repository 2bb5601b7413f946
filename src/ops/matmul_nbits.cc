#include "ops/matmul_nbits.h"

#include <algorithm>

#include "base/counted.h"
#include "ops/eval.h"
#include "ops/matmul.h"
#include "ops/numbers.h"
#include "ops/table.h"

namespace hone {
namespace {

constexpr int64_t kMaxBlock = int64_t{1} << 30;

bool agrees(const Shape& shape, std::initializer_list<Dim> dims) {
  if (!shape.ranked) return true;
  if (shape.dims.size() != dims.size()) return false;
  size_t i = 0;
  for (const Dim& d : dims) {
    const Dim& own = shape.dims[i++];
    if (own.known() && d.known() && own != d) return false;
  }
  return true;
}

}  // namespace

Result<Types> MatMulNBits::infer(const InferArgs& args) const {
  if (bits != 4 && bits != 8) return invalid("weights of {}: 4 and 8 are possible", counted(bits, "bit"));
  if (block < 1 || block > kMaxBlock) return invalid("blocks of {}", counted(block, "weight"));
  for (size_t i = 0; i < 4; ++i)
    if (!args.has(i)) return invalid("needs an input, codes, scales and zero points");
  const TensorType &a = args.type(0), &codes = args.type(1), &scales = args.type(2), &zeros = args.type(3),
                   &bias = args.type(4);
  if (!is_float(a.dtype)) return invalid("the input is {}", name(a.dtype));
  if (codes.dtype != DType::u8) return invalid("the codes are {}", name(codes.dtype));
  if (scales.dtype != DType::f32) return invalid("the scales are {}", name(scales.dtype));
  if (zeros.dtype != DType::u8 && zeros.dtype != DType::f32)
    return invalid("the zero points are {}", name(zeros.dtype));
  if (bias.defined() && bias.dtype != a.dtype && bias.dtype != DType::f32)
    return invalid("the bias is {}, the input {}", name(bias.dtype), name(a.dtype));
  if (a.shape.ranked && a.shape.dims.empty()) return invalid("the input is a scalar");
  if (codes.shape.ranked && codes.shape.rank() != 3) return invalid("the codes are {}", to_text(codes));
  const Dim n = codes.shape.ranked ? codes.shape.dims[0] : Dim();
  const Dim k = a.shape.ranked ? a.shape.dims.back() : Dim();
  const Dim count = k.known() ? Dim(blocks(k.value)) : codes.shape.ranked ? codes.shape.dims[1] : Dim();
  if (!agrees(codes.shape, {n, count, Dim(block_bytes())}) || !agrees(scales.shape, {n, count}) ||
      !agrees(zeros.shape, {n, count}))
    return invalid("codes {}, scales {} and zero points {} of {} in blocks of {} for an input {}", to_text(codes),
                   to_text(scales), to_text(zeros), counted(bits, "bit"), block, to_text(a));
  if (bias.defined() && !agrees(bias.shape, {n}))
    return invalid("the bias is {} for {}", to_text(bias), counted(n.value, "column"));
  if (!a.shape.ranked) return Types{{a.dtype, Shape::unranked()}};
  Shape shape = a.shape;
  shape.dims.back() = n;
  return Types{{a.dtype, shape}};
}

Tensor dequantized_weights(const MatMulNBits& op, int64_t k, const Tensor& codes, const Tensor& scales,
                           const Tensor& zeros) {
  const int64_t n = codes.dims()[0], blocks = codes.dims()[1];
  Tensor weights(DType::f32, {n, k});
  auto* to = weights.mutable_data<float>();
  for (int64_t r = 0; r < n; ++r)
    for (int64_t b = 0; b < blocks; ++b) {
      const double scale = scales.at(r * blocks + b), zero = zeros.at(r * blocks + b);
      for (int64_t c = b * op.block; c < std::min(k, (b + 1) * op.block); ++c)
        *to++ = static_cast<float>((op.code(codes.data<uint8_t>(), blocks, r, c) - zero) * scale);
    }
  return weights;
}

Result<Tensors> MatMulNBits::evaluate(const EvalArgs& args) const {
  const Types types = types_of(args);
  HONE_TRY(const Types result, infer({types, {}, 1}));
  const Tensor& a = args[0];
  HONE_CHECK(checked_bytes(DType::f32, Dims{args[1].dims()[0], a.dims().back()}));
  // In f32 at least: what the smaller types lose is lost once, by the result.
  const DType type = a.type() == DType::f64 ? DType::f64 : DType::f32;
  const auto in_type = [&](const Tensor& t, DType to) {
    return !t.defined() || t.type() == to ? t : tensor_from(to, t.dims(), numbers_of<double>(t));
  };
  const Tensor weights = dequantized_weights(*this, a.dims().back(), args[1], args[2], args[3]);
  const Tensors inputs{in_type(a, type), in_type(weights, type), in_type(args[4], type)};
  HONE_TRY(const Tensors product, MatMul{.trans_b = true}.evaluate({inputs, 1}));
  return Tensors{in_type(product[0], a.type())};
}

std::span<const OpRow> matmul_nbits_ops() {
  static constexpr OpRow kRows[] = {op_row<MatMulNBits>()};
  return kRows;
}

}  // namespace hone
