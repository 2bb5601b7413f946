// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/nbits/nbits.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/nbits/kernel.h"

namespace hone::cpu {

namespace scalar {
extern const NBitsKernel kNBitsKernel;
}
namespace avx2 {
extern const NBitsKernel kNBitsKernel;
}
namespace avx512 {
extern const NBitsKernel kNBitsKernel;
}

const NBitsKernel& nbits_kernel(Tier tier) {
  switch (tier) {
    case Tier::avx512: return avx512::kNBitsKernel;
    case Tier::avx2: return avx2::kNBitsKernel;
    case Tier::scalar: break;
  }
  return scalar::kNBitsKernel;
}

namespace {

// Words of 32 bits that a panel of `nr` columns takes.
int64_t panel_words(const NBitsProblem& p, int nr) {
  const int64_t blocks = nbits_blocks(p);
  int64_t words = blocks * (p.centred ? 1 : 2);
  if (blocks > 0) words += (blocks - 1) * nbits_words(p, 0) + nbits_words(p, blocks - 1);
  return words * nr;
}

// The code of weight [j, i], less 2^(bits - 1), in its lowest bits.
uint32_t centred_code(const NBitsProblem& p, const uint8_t* codes, int64_t j, int64_t i) {
  const int64_t at = i % p.block, bytes = (p.block * p.bits + 7) / 8;
  const uint8_t byte = codes[(j * nbits_blocks(p) + i / p.block) * bytes + at * p.bits / 8];
  return p.bits == 8 ? byte ^ 0x80u : (byte >> (4 * (at & 1)) & 15u) ^ 8u;
}

void pack_panel(const NBitsProblem& p, const NBitsWeights& from, int64_t column, int nr, uint32_t* to) {
  const int64_t blocks = nbits_blocks(p), codes = nbits_codes_per_word(p);
  const int64_t columns = std::min<int64_t>(nr, p.n - column);
  const auto centre = static_cast<float>(1 << (p.bits - 1));
  for (int64_t b = 0; b < blocks; ++b) {
    auto* scales = reinterpret_cast<float*>(to);
    for (int64_t j = 0; j < columns; ++j) scales[j] = from.scales[(column + j) * blocks + b];
    to += nr;
    if (!p.centred) {
      auto* zeros = reinterpret_cast<float*>(to);
      for (int64_t j = 0; j < columns; ++j) zeros[j] = from.zeros[(column + j) * blocks + b] - centre;
      to += nr;
    }
    const int64_t end = std::min(p.k, (b + 1) * p.block);
    for (int64_t w = 0; w < nbits_words(p, b); ++w, to += nr)
      for (int64_t j = 0; j < columns; ++j)
        for (int64_t c = 0; c < codes; ++c)
          if (const int64_t i = b * p.block + w * codes + c; i < end)
            to[j] |= centred_code(p, from.codes, column + j, i) << (p.bits * c);
  }
}

}  // namespace

size_t nbits_packed_bytes(const NBitsProblem& p, Tier tier) {
  const int nr = panel_kernel(tier).nr;
  return static_cast<size_t>(ceil_div(p.n, nr) * panel_words(p, nr)) * sizeof(uint32_t);
}

void nbits_pack(const NBitsProblem& p, const NBitsWeights& weights, Tier tier, void* packed) {
  std::memset(packed, 0, nbits_packed_bytes(p, tier));
  const int nr = panel_kernel(tier).nr;
  for (int64_t panel = 0; panel * nr < p.n; ++panel)
    pack_panel(p, weights, panel * nr, nr, static_cast<uint32_t*>(packed) + panel * panel_words(p, nr));
}

void nbits_rows(const NBitsProblem& p, Tier tier, const float* a, const void* packed, float* c, const Epilogue& ep,
                ThreadPool& pool) {
  const int nr = panel_kernel(tier).nr;
  const int64_t words = panel_words(p, nr);
  pool.parallel(ceil_div(p.n, nr), [&](int64_t i, int) {
    const int64_t column = i * nr;
    nbits_kernel(tier).multiply({.problem = p,
                                 .packed = static_cast<const uint32_t*>(packed) + i * words,
                                 .columns = std::min<int64_t>(nr, p.n - column),
                                 .a = a,
                                 .c = c + column,
                                 .epilogue = ep,
                                 .bias = ep.bias == nullptr ? nullptr : ep.bias + column,
                                 .residual = ep.residual_at<float>(column)});
  });
}

namespace {

struct Source {
  const NBitsProblem& problem;
  const uint32_t* packed;
  int64_t words;
  const NBitsKernel& kernel;
};

void fill_panel(const void* context, int64_t panel, float* to) {
  const auto& from = *static_cast<const Source*>(context);
  from.kernel.unpack(from.problem, from.packed + panel * from.words, to);
}

}  // namespace

size_t nbits_panels_workspace_bytes(const NBitsProblem& p, const GemmContext& ctx) {
  return gemm_filled_workspace_bytes({.m = p.m, .n = p.n, .k = p.k}, ctx);
}

void nbits_panels(const NBitsProblem& p, const GemmContext& ctx, const float* a, const void* packed, float* c,
                  const Epilogue& ep, void* workspace, ThreadPool& pool) {
  const Source source{p, static_cast<const uint32_t*>(packed), panel_words(p, panel_kernel(ctx.tier).nr),
                      nbits_kernel(ctx.tier)};
  gemm_filled({.m = p.m, .n = p.n, .k = p.k}, ctx, a, {fill_panel, &source}, c, ep, workspace, pool);
}

}  // namespace hone::cpu
