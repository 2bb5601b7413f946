#pragma once

#include "ir/op.h"

namespace hone {

// Scaled dot-product attention: attention(q, k, v, mask?, lengths?, causal_offset?).
// q: [batch, heads, queries, size]; k: [batch, kv_heads, keys, size]; v: [batch, kv_heads, keys, v_size]; heads is a
// multiple of kv_heads, and each key head serves that many neighbouring query heads. scores = softcap(q k^T * scale) +
// mask; y = softmax(scores) v: [batch, heads, queries, v_size]. Masks broadcast to [batch, heads, queries, keys]:
// booleans keep where true, numbers are added; keys beyond the mask's last dim are masked out. lengths: i64 [batch],
// how many keys count; causal: query i sees key j when j <= i + causal_offset (i64, one element, default 0). A second
// output, when asked for, is [batch, heads, queries, keys]: `scores_output` says after which stage.
// Layout "rows": q, k, v and y are [batch, queries or keys, heads, size]. Layout "packed": q, k and v are one input 0,
// [batch, queries, 3, heads, size], inputs 1 and 2 are absent, and y is as for "rows". Masks and scores are as ever.
// q, k and v of i8 are the numbers that they hold: `scale` takes their steps. y is then f32, `result_scale` times as
// large, or where `quantizes` its nearest i8; there are no scores to be asked for.
struct Attention {
  static constexpr std::string_view kName = "Attention";
  double scale = 0;    // 0: 1 / sqrt(size)
  double softcap = 0;  // c * tanh(x / c); 0: none
  bool causal = false;
  std::string scores_output = "product";  // product, capped, masked, softmax
  std::string layout = "heads";           // heads, rows, packed
  double result_scale = 1;                // of i8; else 1
  bool quantizes = false;                 // of i8

  static void fields(auto& self, auto&& field) {
    field("scale", self.scale);
    field("softcap", self.softcap);
    field("causal", self.causal);
    field("scores_output", self.scores_output);
    field("layout", self.layout);
    field("result_scale", self.result_scale);
    field("quantizes", self.quantizes);
  }
  // What scores are multiplied by, of queries of a shape that ends with their size.
  double scale_of(const Shape& queries) const;
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
