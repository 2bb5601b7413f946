#pragma once

#include "ir/op.h"

namespace hone {

// matmul_nbits(a, codes, scales, zeros, bias?): a [..., K] times the transpose of weights [N, K] that are kept in
// `bits` (4 or 8) each: weight[n, k] = (code[n, k] - zeros[n, k / block]) * scales[n, k / block].
// Codes are unsigned and packed along K, the first in the lowest bits, each block from a byte of its own on: u8 of
// [N, blocks, ceil(block * bits / 8)], blocks = ceil(K / block). Scales (f32) and zeros (f32 or u8) are
// [N, blocks]; the bias is [N] and of a's type or f32; the result is of a's type.
struct MatMulNBits {
  static constexpr std::string_view kName = "MatMulNBits";
  int64_t bits = 4, block = 32;

  static void fields(auto& self, auto&& field) {
    field("bits", self.bits);
    field("block", self.block);
  }
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;

  int64_t blocks(int64_t k) const { return k / block + (k % block != 0); }
  int64_t block_bytes() const { return (block * bits + 7) / 8; }
  // The code of weight [n, k], of codes as above.
  int code(const uint8_t* codes, int64_t blocks, int64_t n, int64_t k) const {
    const int64_t at = k % block;
    const uint8_t byte = codes[(n * blocks + k / block) * block_bytes() + at * bits / 8];
    return bits == 8 ? byte : byte >> (4 * (at & 1)) & 15;
  }
  void set_code(uint8_t* codes, int64_t blocks, int64_t n, int64_t k, int code) const {
    const int64_t at = k % block, shift = bits == 8 ? 0 : 4 * (at & 1);
    uint8_t& byte = codes[(n * blocks + k / block) * block_bytes() + at * bits / 8];
    byte = static_cast<uint8_t>((byte & ~(((1 << bits) - 1) << shift)) | code << shift);
  }
};

// The weights as floats: f32 [N, K].
Tensor dequantized_weights(const MatMulNBits& op, int64_t k, const Tensor& codes, const Tensor& scales,
                           const Tensor& zeros);

}  // namespace hone
