#pragma once

#include "gpu/row_case.h"

// Small problems for the kernels of products: convolutions, matrix products, attention.
namespace hone {

inline Case product(Dims a, Dims b, const Attrs& attrs = {}) {
  return {"MatMul", attrs, {few(std::move(a)), weights(std::move(b))}};
}

// Both operands are computed.
inline Case batched_product(Dims a, Dims b) {
  return {"MatMul", {{"trans_b", true}}, {few(std::move(a)), few(std::move(b))}};
}

struct Window {
  int64_t stride = 1, pad = 0, dilation = 1, groups = 1;
};

inline Case convolution(Dims x, Dims w, const Window& at) {
  return {"Conv",
          {{"strides", Ints{at.stride, at.stride}},
           {"dilations", Ints{at.dilation, at.dilation}},
           {"pads", Ints(4, at.pad)},
           {"groups", at.groups},
           {"channels_last", true}},
          {few(std::move(x)), weights(std::move(w))}};
}

// Weights are multiples of 1/4 under 64, which bf16 holds.
inline Case few_bits(int64_t bits, int64_t block, int64_t m, int64_t n, int64_t k, bool centred) {
  const int64_t blocks = (k + block - 1) / block, top = int64_t{1} << bits;
  Case c{"MatMulNBits",
         {{"bits", bits}, {"block", block}},
         {few({m, k}), whole(DType::u8, {n, blocks, (block * bits + 7) / 8}, 0, 256),
          whole(DType::f32, {n, blocks}, 1, 3), whole(DType::u8, {n, blocks}, centred ? top / 2 : 0, top / 2 + 1)}};
  for (int64_t i = 0; i < n * blocks; ++i) c.inputs[2].value.set(i, c.inputs[2].value.at(i) / 4);
  for (size_t i = 1; i < 4; ++i) c.inputs[i].constant = true;
  return c;
}

inline Case attention(const char* layout, Dims q, Dims k, Dims v, bool causal = false, Input mask = absent(),
                      Input lengths = absent()) {
  Case c{"Attention", {{"layout", std::string(layout)}, {"causal", causal}}, {real(std::move(q))}, 1, 8};
  c.inputs.push_back(k.empty() ? absent() : real(std::move(k)));
  c.inputs.push_back(v.empty() ? absent() : real(std::move(v)));
  c.inputs.push_back(std::move(mask));
  c.inputs.push_back(std::move(lengths));
  return c;
}

inline const RowCase kProductRows[] = {
    // One B for all rows: tiles that blocks split, tiles that a block takes one after another, B as the other operand.
    {"cuda.matmul_wgmma", kRowTypes,
     [](DType t) {
       return product({70, in_bytes(t, 8208)}, {in_bytes(t, 8208), 40});
     },
     true},
    {"cuda.matmul_wgmma", kRowTypes,
     [](DType t) {
       return product({33900, in_bytes(t, 400)}, {in_bytes(t, 400), 36});
     }},
    {"cuda.matmul_wgmma", kRowTypes,
     [](DType t) {
       return product({33900, in_bytes(t, 400)}, {in_bytes(t, 400), 120});
     }},
    // The largest tiles: of three groups, of clusters of four, of groups that take turns.
    {"cuda.matmul_wgmma", kHalves,
     [](DType t) {
       return product({8500, in_bytes(t, 656)}, {in_bytes(t, 656), 760});
     }},
    {"cuda.matmul_wgmma",
     {DType::i8},
     [](DType t) {
       return product({8500, in_bytes(t, 400)}, {in_bytes(t, 400), 764});
     }},
    {"cuda.matmul_wgmma", kRowTypes,
     [](DType t) {
       return batched_product({3, 70, in_bytes(t, 656)}, {3, 72, in_bytes(t, 656)});
     }},
    {"cuda.matmul_mma", kRowTypes,
     [](DType t) {
       return product({150, in_bytes(t, 4144)}, {in_bytes(t, 4144), 76});
     },
     true},
    {"cuda.matmul_mma", kRowTypes,
     [](DType t) {
       return batched_product({3, 70, in_bytes(t, 656)}, {3, 33, in_bytes(t, 656)});
     }},
    {"cuda.matmul_simt",
     {DType::f32},
     [](DType) {
       return product({150, 1036}, {1036, 76});
     },
     true},
    {"cuda.matmul_simt",
     {DType::f32},
     [](DType) {
       return product({37, 20}, {20, 129});
     }},
    {"cuda.matmul_simt",
     {DType::f32},
     [](DType) {
       return batched_product({3, 70, 164}, {3, 33, 164});
     }},
    {"cuda.matmul", kRowTypes,
     [](DType) {
       return product({1500, 20}, {20, 1450});
     }},
    {"cuda.matmul", kRowTypes,
     [](DType) {
       return product({70, 37}, {37, 129});
     },
     true},
    {"cuda.matmul", kRowTypes,
     [](DType) {
       return batched_product({2, 3, 17, 20}, {3, 66, 20});
     }},
    {"cuda.matmul_nbits_rows", kFloats, [](DType) { return few_bits(4, 16, 3, 50, 1048, false); }},
    {"cuda.matmul_nbits_rows", kFloats, [](DType) { return few_bits(8, 128, 13, 36, 1032, true); }},
    {"cuda.matmul_nbits_wgmma", kFloats, [](DType) { return few_bits(4, 32, 130, 136, 712, false); }},
    {"cuda.matmul_nbits_mma", kFloats, [](DType) { return few_bits(8, 72, 70, 76, 2104, true); }},
    {"cuda.matmul_nbits", kFloats, [](DType) { return few_bits(4, 15, 70, 9, 31, false); }},

    {"cuda.conv_wgmma", kRowTypes,
     [](DType t) {
       return convolution({2, 7, 7, in_bytes(t, 528)}, {40, in_bytes(t, 528), 3, 3}, {.pad = 1});
     },
     true},
    {"cuda.conv_wgmma", kRowTypes,
     [](DType t) {
       return convolution({9, 61, 59, in_bytes(t, 80)}, {72, in_bytes(t, 80), 3, 2},
                          {.stride = 2, .pad = 2, .dilation = 2});
     }},
    {"cuda.conv_mma", kRowTypes,
     [](DType t) {
       return convolution({3, 9, 8, in_bytes(t, 464)}, {76, in_bytes(t, 464), 3, 3}, {.pad = 1});
     },
     true},
    {"cuda.conv_simt",
     {DType::f32},
     [](DType) {
       return convolution({3, 9, 8, 116}, {76, 116, 3, 3}, {.pad = 1});
     },
     true},
    {"cuda.conv_gathered_mma", kRowTypes,
     [](DType) {
       return convolution({3, 9, 8, 55}, {76, 55, 7, 5}, {.stride = 2, .pad = 3});
     },
     true},
    {"cuda.conv", kRowTypes,
     [](DType) {
       return convolution({3, 9, 8, 7}, {70, 7, 3, 3}, {.stride = 2, .pad = 1});
     },
     true},
    {"cuda.conv", kRowTypes,
     [](DType) {
       return convolution({5, 61, 59, 4}, {132, 4, 2, 2}, {.pad = 1});
     }},
    {"cuda.conv_cells_wgmma", kRowTypes,
     [](DType) {
       return convolution({1, 37, 33, 3}, {24, 3, 7, 7}, {.stride = 2, .pad = 3});
     },
     true},
    {"cuda.conv_cells_wgmma", kRowTypes,
     [](DType) {
       return convolution({3, 133, 131, 2}, {36, 2, 5, 4}, {.stride = 1, .pad = 1});
     }},
    // Tiles for each group several times, and channels in two chunks.
    {"cuda.conv_halo_wgmma", kRowTypes,
     [](DType t) {
       return convolution({1, 400, 400, in_bytes(t, 16)}, {12, in_bytes(t, 16), 1, 1}, {});
     }},
    {"cuda.conv_halo_wgmma", kRowTypes,
     [](DType t) {
       return convolution({3, 30, 29, in_bytes(t, 144)}, {36, in_bytes(t, 144), 3, 2}, {.pad = 1});
     },
     true},
    {"cuda.conv_halo_ring_wgmma", kNotFp8,
     [](DType t) {
       return convolution({6, 6, 6, in_bytes(t, 2048)}, {104, in_bytes(t, 2048), 3, 3}, {.pad = 1});
     },
     true},
    {"cuda.conv_halo_ring_wgmma", kNotFp8,
     [](DType t) {
       return convolution({5, 31, 13, in_bytes(t, 512)}, {128, in_bytes(t, 512), 3, 2}, {.stride = 2, .pad = 1});
     }},
    {"cuda.conv_depthwise_mma", kHalves,
     [](DType) {
       return convolution({2, 15, 19, 48}, {48, 1, 5, 4}, {.pad = 2, .groups = 48});
     },
     true},
    {"cuda.conv_depthwise_mma", kHalves,
     [](DType) {
       return convolution({1, 23, 41, 40}, {40, 1, 7, 7}, {.stride = 2, .pad = 3, .dilation = 2, .groups = 40});
     }},
    {"cuda.conv_depthwise", kRowTypes,
     [](DType) {
       return convolution({2, 15, 19, 48}, {48, 1, 3, 3}, {.pad = 1, .groups = 48});
     },
     true},
    {"cuda.conv_depthwise", kRowTypes,
     [](DType) {
       return convolution({1, 23, 21, 7}, {7, 1, 5, 3}, {.stride = 2, .pad = 2, .dilation = 2, .groups = 7});
     }},
    {"cuda.conv_grouped", kRowTypes,
     [](DType) {
       return convolution({2, 9, 11, 12}, {18, 4, 3, 3}, {.stride = 2, .pad = 1, .groups = 3});
     },
     true},
    {"cuda.conv_direct", kNotFp8,
     [](DType) {
       Case c = convolution({2, 4, 5, 6, 7}, {6, 2, 3, 1, 2}, {});
       c.attrs = {{"strides", Ints{1, 2, 1}},
                  {"dilations", Ints{1, 1, 2}},
                  {"pads", Ints{1, 0, 1, 1, 0, 0}},
                  {"groups", int64_t{2}}};
       return c;
     }},
    {"cuda.conv_transpose", kFloats,
     [](DType) {
       return Case{"ConvTranspose",
                   {{"strides", Ints{2, 3}},
                    {"dilations", Ints{1, 2}},
                    {"pads", Ints{1, 0, 0, 1}},
                    {"output_padding", Ints{1, 0}},
                    {"groups", int64_t{2}},
                    {"channels_last", true}},
                   {few({2, 9, 11, 12}), weights({12, 8, 3, 2})}};
     }},
    {"cuda.deform_conv", kFloats,
     [](DType) {
       return Case{"DeformConv",
                   {{"strides", Ints{2, 1}},
                    {"dilations", Ints{1, 2}},
                    {"pads", Ints{0, 1, 1, 0}},
                    {"groups", int64_t{2}},
                    {"offset_groups", int64_t{3}}},
                   {real({1, 6, 9, 8}), real({6, 3, 2, 3}), real({1, 36, 5, 5}, 4)},
                   1,
                   64};
     }},

    // Keys in one block, in several that are all there, and in more than a ring has stages.
    {"cuda.attention_wgmma", kHalves,
     [](DType) {
       return attention("packed", {1, 197, 3, 2, 64}, {}, {});
     }},
    {"cuda.attention_wgmma", kHalves,
     [](DType) {
       return attention("heads", {1, 70, 150, 24}, {1, 70, 90, 24}, {1, 70, 90, 24}, false, real({150, 90}));
     }},
    {"cuda.attention_wgmma", kHalves,
     [](DType) {
       return attention("heads", {1, 2, 200, 128}, {1, 2, 1000, 128}, {1, 2, 1000, 120});
     }},
    {"cuda.attention_wgmma", kHalves,
     [](DType) {
       return attention("rows", {2, 300, 4, 64}, {2, 300, 2, 64}, {2, 300, 2, 64}, true, absent(),
                        {Tensor::vector(Ints{300, 110})});
     }},
    {"cuda.attention_mma", kHalves,
     [](DType) {
       return attention("heads", {1, 2, 70, 48}, {1, 2, 330, 48}, {1, 2, 330, 32}, false, real({70, 330}));
     }},
    {"cuda.attention_mma", kHalves,
     [](DType) {
       return attention("rows", {2, 100, 4, 64}, {2, 100, 2, 64}, {2, 100, 2, 64}, true, absent(),
                        {Tensor::vector(Ints{100, 50})});
     }},
    {"cuda.attention_tiles", kFloats,
     [](DType) {
       return attention("heads", {1, 2, 70, 20}, {1, 2, 301, 20}, {1, 2, 301, 7}, true);
     }},
    {"cuda.attention_tiles", kFloats,
     [](DType) {
       return attention("rows", {2, 100, 4, 128}, {2, 100, 2, 128}, {2, 100, 2, 128}, true, absent(),
                        {Tensor::vector(Ints{100, 50})});
     }},
    {"cuda.attention_tiles", kFloats,
     [](DType) {
       return attention("packed", {1, 197, 3, 2, 64}, {}, {});
     }},
    {"cuda.attention_tiles", kFloats,
     [](DType) {
       return attention("heads", {1, 2, 9, 63}, {1, 2, 330, 63}, {1, 2, 330, 33}, false, real({9, 330}));
     }},
    {"cuda.attention", kFloats,
     [](DType) {
       return attention("heads", {1, 2, 19, 20}, {1, 2, 301, 20}, {1, 2, 301, 7}, true);
     }},
};

}  // namespace hone
