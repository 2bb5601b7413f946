#include "tactics/cuda/wgmma.h"

#include <gtest/gtest.h>

namespace hone::cuda {
namespace {

// A convolution of ResNet-50 in fp16, and the tile that was the fastest of all for it on an H200.
struct Winner {
  int64_t images, size, channels, outputs, filter;
  int tile_n, groups, split;
  bool alternate = false;
};

constexpr Winner kWinners[] = {
    {1, 56, 64, 256, 1, 64, 1, 1},       {1, 56, 256, 64, 1, 32, 1, 1},     {1, 28, 256, 512, 1, 64, 1, 1},
    {1, 56, 256, 128, 1, 64, 1, 1},      {1, 28, 128, 128, 3, 32, 1, 2},    {1, 28, 128, 512, 1, 64, 1, 1},
    {1, 28, 512, 128, 1, 32, 1, 1},      {1, 14, 512, 1024, 1, 32, 1, 1},   {1, 28, 512, 256, 1, 32, 1, 1},
    {1, 14, 256, 256, 3, 64, 1, 4},      {1, 14, 256, 1024, 1, 64, 1, 1},   {1, 14, 1024, 256, 1, 64, 1, 4},
    {1, 7, 1024, 2048, 1, 32, 1, 2},     {1, 14, 1024, 512, 1, 32, 1, 2},   {1, 7, 512, 512, 3, 32, 1, 4},
    {1, 7, 512, 2048, 1, 32, 1, 1},      {1, 7, 2048, 512, 1, 32, 1, 4},    {1, 1, 2048, 1000, 1, 64, 1, 4},
    {8, 56, 256, 64, 1, 64, 2, 1, true}, {8, 28, 256, 512, 1, 64, 1, 1},    {8, 56, 256, 128, 1, 64, 1, 1},
    {8, 28, 128, 128, 3, 128, 1, 1},     {8, 28, 512, 128, 1, 128, 1, 1},   {8, 14, 512, 1024, 1, 128, 2, 1},
    {8, 28, 512, 256, 1, 128, 2, 1},     {8, 14, 256, 256, 3, 64, 1, 1},    {8, 14, 256, 1024, 1, 128, 2, 1},
    {8, 14, 1024, 256, 1, 64, 1, 1},     {8, 7, 1024, 2048, 1, 128, 1, 1},  {8, 14, 1024, 512, 1, 128, 1, 1},
    {8, 7, 512, 512, 3, 64, 1, 2},       {8, 7, 512, 2048, 1, 128, 1, 1},   {8, 7, 2048, 512, 1, 64, 1, 2},
    {8, 1, 2048, 1000, 1, 64, 1, 4},     {32, 56, 64, 256, 1, 64, 2, 1},    {32, 56, 256, 64, 1, 64, 1, 1},
    {32, 28, 256, 512, 1, 256, 2, 1},    {32, 56, 256, 128, 1, 128, 2, 1},  {32, 28, 128, 128, 3, 128, 2, 1},
    {32, 28, 128, 512, 1, 64, 1, 1},     {32, 14, 512, 1024, 1, 128, 2, 1}, {32, 14, 256, 256, 3, 128, 2, 1},
    {32, 14, 256, 1024, 1, 64, 1, 1},    {32, 14, 1024, 256, 1, 128, 2, 1}, {32, 7, 1024, 2048, 1, 256, 2, 1},
    {32, 1, 2048, 1000, 1, 64, 1, 4}};

WarpgroupProduct product_of(const Winner& w) {
  WarpgroupProduct product{.gemm = {.m = w.images * w.size * w.size,
                                    .n = w.outputs,
                                    .k = w.channels * w.filter * w.filter,
                                    .type = DType::f16},
                           .b_constant = true,
                           .result = DType::f16};
  const int64_t pad = w.filter / 2;
  if (w.filter > 1)
    product.patches =
        Patches{w.images, w.size, w.size, w.channels, w.size, w.size, w.filter, w.filter, 1, 1, 1, 1, pad, pad};
  return product;
}

TEST(WarpgroupTiles, ThoseThatWonOnAnH200AreAmongTheFewThatAreTimed) {
  for (const Winner& w : kWinners) {
    const WarpgroupProduct product = product_of(w);
    const int variants = wgmma_variants(product);
    EXPECT_LE(variants, 6);
    bool found = false;
    for (int v = 0; v < variants; ++v) {
      const std::string text = wgmma_source(product, v, "f16* y, const f16* x, const f16* w", "").text;
      const auto has = [&](std::string_view name, auto value) {
        return text.find(fmt::format("#define {} {}\n", name, value)) != std::string::npos;
      };
      found = found || (has("TILE_N", w.tile_n) && has("GROUPS", w.groups) && has("SPLIT", w.split) &&
                        has("CLUSTER", 1) && has("ALTERNATE", w.alternate));
    }
    EXPECT_TRUE(found) << w.images << " x " << w.size << " x " << w.size << " x " << w.channels << " to " << w.outputs
                       << ", filter " << w.filter;
  }
}

// [n][k] of small whole numbers, no two neighbours alike.
Tensor weights_of(const Gemm& gemm) {
  Tensor weights(gemm.type, {gemm.n, gemm.k});
  for (int64_t i = 0; i < weights.count(); ++i) weights.set(i, static_cast<double>(i % 97 + 1));
  return weights;
}

// Each step has 128 bytes of k of every column, or 64 where a tap has no more; behind the last of a tap are zeros.
void check(const WarpgroupProduct& product, int64_t taps, int64_t row, int64_t chunks) {
  const auto& [m, n, k, batch, type] = product.gemm;
  const Tensor from = weights_of(product.gemm), packed = wgmma_weights(product, from);
  ASSERT_EQ(packed.dims(), (Dims{taps * chunks, n, row}));
  const int64_t tap_k = k / taps;
  for (int64_t step = 0; step < taps * chunks; ++step)
    for (int64_t column = 0; column < n; ++column)
      for (int64_t e = 0; e < row; ++e) {
        const int64_t in_tap = step % chunks * row + e;
        const double want = in_tap < tap_k ? from.at(column * k + step / chunks * tap_k + in_tap) : 0;
        ASSERT_EQ(packed.at((step * n + column) * row + e), want) << step << " " << column << " " << e;
      }
}

TEST(WarpgroupWeights, LieBySteps) {
  check({.gemm = {.m = 8, .n = 12, .k = 200, .type = DType::f16}, .b_constant = true}, 1, 64, 4);
  check({.gemm = {.m = 8, .n = 4, .k = 24, .type = DType::bf16}, .b_constant = true}, 1, 32, 1);
  check({.gemm = {.m = 8, .n = 4, .k = 160, .type = DType::i8}, .b_constant = true}, 1, 128, 2);
  Patches patches{.n = 1, .h = 4, .w = 4, .channels = 72, .oh = 4, .ow = 3, .kh = 1, .kw = 2};
  check({.gemm = {.m = 12, .n = 8, .k = 144, .type = DType::f16}, .patches = patches, .b_constant = true}, 2, 64, 2);
}

}  // namespace
}  // namespace hone::cuda
