// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// conv_winograd_phases: a convolution of stride s as one of stride 1, whose pixels are squares of s x s pixels and hold
// the channels of all of them (space to depth), by Winograd's algorithm. It is for the first layers of networks: 7x7 at
// stride 2 is 4x4 of four times as many channels.
#include <algorithm>
#include <vector>

#include "base/dtype.h"
#include "kernels/cpu/conv/algorithms.h"
#include "kernels/cpu/gemm/dense.h"

namespace hone::cpu {
namespace {

int64_t taps(const ConvProblem& p) { return ceil_div(p.kh, p.stride_h); }

ConvProblem inner(const ConvProblem& p) {
  const int64_t k = taps(p);
  ConvProblem q{.n = p.n, .h = p.out_h() + k - 1, .w = p.out_w() + k - 1, .cout = p.cout, .kh = k, .kw = k};
  q.cin = p.cin * p.stride_h * p.stride_h;
  q.out_ldc = p.out_ldc;
  return q;
}

const ConvAlgorithm& algorithm(const ConvProblem& p) { return taps(p) == 4 ? conv_winograd_f4_k4 : conv_winograd_f4; }

const char* supports(const ConvProblem& p) {
  if (p.stride_h < 2 || p.stride_h != p.stride_w) return "stride is 1 or differs between dims";
  if (p.dilation_h != 1 || p.dilation_w != 1) return "dilated";
  if (p.groups != 1) return "grouped";
  if (taps(p) != ceil_div(p.kw, p.stride_w) || taps(p) < 3 || taps(p) > 4) return "kernel is not 3 or 4 strides wide";
  return algorithm(p).supports(inner(p));
}

// Of the image of squares, up to a whole line.
size_t image_bytes(const ConvProblem& squares) {
  return static_cast<size_t>(round_up(squares.n * squares.h * squares.w * squares.cin, 16)) * sizeof(float);
}

// [cout][cin][kh][kw] to [cout][row of a square][column][cin][taps][taps]
std::vector<float> by_phases(const ConvProblem& p, const float* weights) {
  const int64_t s = p.stride_h, k = taps(p), channels = inner(p).cin;
  std::vector<float> out(static_cast<size_t>(p.cout * channels * k * k));
  for (int64_t oc = 0; oc < p.cout; ++oc)
    for (int64_t ic = 0; ic < p.cin; ++ic)
      for (int64_t y = 0; y < p.kh; ++y)
        for (int64_t x = 0; x < p.kw; ++x) {
          const int64_t channel = (y % s * s + x % s) * p.cin + ic;
          out[static_cast<size_t>(((oc * channels + channel) * k + y / s) * k + x / s)] =
              weights[((oc * p.cin + ic) * p.kh + y) * p.kw + x];
        }
  return out;
}

size_t packed_bytes(const ConvProblem& p, Tier tier) { return algorithm(p).packed_bytes(inner(p), tier); }

void pack(const ConvProblem& p, Tier tier, const float* weights, void* packed) {
  algorithm(p).pack(inner(p), tier, by_phases(p, weights).data(), packed);
}

size_t workspace_bytes(const ConvProblem& p, const ConvContext& ctx) {
  return image_bytes(inner(p)) + algorithm(p).workspace_bytes(inner(p), ctx);
}

// One row of the image of squares, line of pixels by line.
template <class T>
void space_to_depth(const ConvProblem& p, const ConvProblem& image, int64_t row, const T* in, T* out) {
  const int64_t s = p.stride_h, squares = image.w, square = image.cin, run = s * p.cin;
  const int64_t n = row / image.h, y0 = row % image.h * s - p.pad_top;
  const bool dense = p.in_pitch() == p.cin;
  // Squares all of whose columns lie in the image.
  const int64_t first = std::min(squares, ceil_div(p.pad_left, s));
  const int64_t last = std::clamp((p.w + p.pad_left) / s, first, squares);
  T* const to = out + row * squares * square;
  for (int64_t phase = 0; phase < s; ++phase) {
    const int64_t y = y0 + phase;
    T* const line = to + phase * run;
    const bool inside = y >= 0 && y < p.h;
    const T* const pixels = in + (n * p.h + (inside ? y : 0)) * p.w * p.in_pitch();
    const auto one_by_one = [&](int64_t from, int64_t end) {
      for (int64_t i = from; i < end; ++i)
        for (int64_t j = 0; j < s; ++j) {
          const int64_t x = i * s - p.pad_left + j;
          for (int64_t c = 0; c < p.cin; ++c)
            line[i * square + j * p.cin + c] = inside && x >= 0 && x < p.w ? pixels[x * p.in_pitch() + c] : T();
        }
    };
    if (!inside || !dense) {
      one_by_one(0, squares);
      continue;
    }
    one_by_one(0, first);
    const T* const from = pixels + (first * s - p.pad_left) * p.cin;
    for (int64_t c = 0; c < run; ++c)
      for (int64_t i = first; i < last; ++i) line[i * square + c] = from[(i - first) * run + c];
    one_by_one(last, squares);
  }
}

template <class T>
void run_on(const ConvProblem& p, const ConvContext& ctx, const ConvArgs& args) {
  const ConvProblem squares = inner(p);
  auto* const image = static_cast<T*>(args.workspace);
  args.pool->parallel(p.n * squares.h, [&](int64_t row, int) {
    space_to_depth(p, squares, row, static_cast<const T*>(args.in), image);
  });
  ConvArgs rest = args;
  rest.in = image;
  rest.workspace = static_cast<std::byte*>(args.workspace) + image_bytes(squares);
  algorithm(p).run(squares, ctx, rest);
}

void run(const ConvProblem& p, const ConvContext& ctx, const ConvArgs& args) {
  ctx.in_bf16 ? run_on<bf16>(p, ctx, args) : run_on<float>(p, ctx, args);
}

size_t candidates(const ConvProblem& p, const ConvContext& ctx, std::span<ConvVariant> variants) {
  return algorithm(p).candidates(inner(p), ctx, variants);
}

double error_bound(const ConvProblem& p, const float* weights) {
  return algorithm(p).error_bound(inner(p), by_phases(p, weights).data());
}

}  // namespace

const ConvAlgorithm conv_winograd_phases{.name = "conv_winograd_phases",
                                         .supports = supports,
                                         .packed_bytes = packed_bytes,
                                         .pack = pack,
                                         .workspace_bytes = workspace_bytes,
                                         .run = run,
                                         .candidates = candidates,
                                         .error_bound = error_bound,
                                         .takes_bf16 = true};

}  // namespace hone::cpu
