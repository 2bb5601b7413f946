// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// conv_dot: with few output channels most lanes of a vector of them would be empty, so vectors run along
// the lines of a window instead, kw * cin adjacent values. Threads share out blocks of output pixels.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/conv/algorithms.h"
#include "kernels/cpu/conv/dot_kernel.h"
#include "kernels/cpu/conv/windows.h"
#include "kernels/cpu/gemm/dense.h"

namespace hone::cpu {

namespace scalar {
extern const DotKernel kDotKernel;
}
namespace avx2 {
extern const DotKernel kDotKernel;
}
namespace avx512 {
extern const DotKernel kDotKernel;
}

const DotKernel& dot_kernel(Tier tier) {
  switch (tier) {
    case Tier::avx512: return avx512::kDotKernel;
    case Tier::avx2: return avx2::kDotKernel;
    case Tier::scalar: break;
  }
  return scalar::kDotKernel;
}

namespace {

constexpr int64_t kBlock = 48;         // output pixels whose lines are looked up at once
constexpr int64_t kPointerFloats = 2;  // that a pointer takes

const char* supports(const ConvProblem& p) {
  if (p.groups != 1) return "grouped";
  if (p.cout > kMostDotChannels) return "output channels enough to fill vectors";
  if (p.kw * p.cin < 16) return "lines of windows too short to fill vectors";
  if (p.out_pitch() != p.cout) return "the output is a slice";
  return nullptr;
}

int64_t vectors(const ConvProblem& p, int64_t lanes) { return ceil_div(p.kw * p.cin, lanes); }

size_t packed_bytes(const ConvProblem& p, Tier tier) {
  const int64_t lanes = dot_kernel(tier).lanes;
  return static_cast<size_t>(p.kh * vectors(p, lanes) * p.cout * lanes) * sizeof(float);
}

// [line][vector][channel][lane]
void pack(const ConvProblem& p, Tier tier, const float* weights, void* packed) {
  const int64_t lanes = dot_kernel(tier).lanes, count = vectors(p, lanes);
  std::memset(packed, 0, packed_bytes(p, tier));
  for (int64_t out = 0; out < p.cout; ++out)
    for (int64_t in = 0; in < p.cin; ++in)
      for (int64_t tap = 0; tap < p.kh * p.kw; ++tap) {
        const int64_t k = tap % p.kw * p.cin + in, vector = tap / p.kw * count + k / lanes;
        static_cast<float*>(packed)[(vector * p.cout + out) * lanes + k % lanes] =
            weights[(out * p.cin + in) * p.kh * p.kw + tap];
      }
}

// How work is cut, and the floats of the workspace: a line of zeros, then for each worker copies of lines and pointers.
struct Layout {
  int64_t block, blocks;  // output pixels of one, and how many there are
  int64_t zeros, scratch, total;
};

Layout layout_of(const ConvProblem& p, int threads) {
  constexpr int64_t kLine = kAlign / sizeof(float);
  const int64_t pixels = p.n * p.out_h() * p.out_w();
  Layout l{};
  l.blocks = std::min(pixels, round_up(ceil_div(pixels, kBlock), threads));
  l.block = ceil_div(pixels, l.blocks);
  l.zeros = round_up(p.kw * p.cin, kLine);
  l.scratch = round_up(l.block * p.kh * p.kw * p.cin, kLine);
  l.total = l.scratch + round_up(l.block * p.kh * kPointerFloats, kLine);
  return l;
}

size_t workspace_bytes(const ConvProblem& p, const ConvContext& ctx) {
  const Layout l = layout_of(p, ctx.threads);
  return static_cast<size_t>(l.zeros + ctx.threads * l.total) * sizeof(float);
}

void run(const ConvProblem& p, const ConvContext& ctx, const ConvArgs& args) {
  const Layout l = layout_of(p, ctx.threads);
  const Epilogue& ep = args.epilogue;
  auto* const zeros = static_cast<float*>(args.workspace);
  std::fill(zeros, zeros + l.zeros, 0.f);
  const WindowSource source{&p, static_cast<const float*>(args.in), zeros};
  const int64_t pixels = p.n * p.out_h() * p.out_w();
  args.pool->parallel(l.blocks, [&](int64_t block, int worker) {
    float* const scratch = zeros + l.zeros + worker * l.total;
    auto** const lines = reinterpret_cast<const float**>(scratch + l.scratch);
    const int64_t first = pixels * block / l.blocks, count = pixels * (block + 1) / l.blocks - first;
    point_lines(&source, first, count, lines, l.block, scratch);
    const int64_t at = first * p.cout;
    DotJob job{};
    job.lines = lines;
    job.lines_ld = l.block;
    job.line_count = p.kh;
    job.depth = p.kw * p.cin;
    job.pixels = count;
    job.channels = p.cout;
    job.weights = static_cast<const float*>(args.packed);
    job.out = static_cast<float*>(args.out) + at;
    job.epilogue = &ep;
    job.residual = ep.residual_at<float>(at);
    dot_kernel(ctx.tier).run(job);
    if (ep.tile_hook != nullptr) ep.tile_hook(ep.hook_user, job.out, first, count, 0, p.cout, p.cout);
  });
}

size_t candidates(const ConvProblem&, const ConvContext&, std::span<ConvVariant> variants) {
  if (variants.empty()) return 0;
  variants[0] = {};
  return 1;
}

}  // namespace

const ConvAlgorithm conv_dot{"conv_dot", supports, packed_bytes, pack, workspace_bytes, run, candidates};

}  // namespace hone::cpu
