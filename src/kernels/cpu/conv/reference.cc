// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// Plain loops summing in double: the last resort, and what the tests compare with.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cpu/conv/algorithms.h"

namespace hone::cpu {
namespace {

double activated(const Epilogue& ep, double x) {
  switch (ep.act) {
    case Activation::none: return x;
    case Activation::relu: return std::max(x, 0.0);
    case Activation::clip: return std::min<double>(std::max<double>(x, ep.a), ep.b);
    case Activation::leaky_relu: return x < 0 ? ep.a * x : x;
    case Activation::hard_swish: return x * std::clamp(x / 6 + 0.5, 0.0, 1.0);
    case Activation::hard_sigmoid: return std::clamp(ep.a * x + ep.b, 0.0, 1.0);
    case Activation::sigmoid: return 1 / (1 + std::exp(-x));
    case Activation::silu: return x / (1 + std::exp(-x));
    case Activation::tanh: return std::tanh(x);
    case Activation::gelu_erf: return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
  }
  return x;
}

double sum_at(const ConvProblem& p, const float* in, const float* weights, int64_t n, int64_t oy, int64_t ox,
              int64_t oc) {
  const int64_t group_in = p.cin / p.groups, first = oc / (p.cout / p.groups) * group_in;
  double sum = 0;
  for (int64_t ky = 0; ky < p.kh; ++ky) {
    const int64_t iy = oy * p.stride_h - p.pad_top + ky * p.dilation_h;
    if (iy < 0 || iy >= p.h) continue;
    for (int64_t kx = 0; kx < p.kw; ++kx) {
      const int64_t ix = ox * p.stride_w - p.pad_left + kx * p.dilation_w;
      if (ix < 0 || ix >= p.w) continue;
      const float* pixel = in + ((n * p.h + iy) * p.w + ix) * p.in_pitch() + first;
      const float* w = weights + oc * group_in * p.kh * p.kw + ky * p.kw + kx;
      for (int64_t c = 0; c < group_in; ++c) sum += double{pixel[c]} * w[c * p.kh * p.kw];
    }
  }
  return sum;
}

const char* supports(const ConvProblem&) { return nullptr; }

size_t packed_bytes(const ConvProblem& p, Tier) {
  return static_cast<size_t>(p.cout * (p.cin / p.groups) * p.kh * p.kw) * sizeof(float);
}

void pack(const ConvProblem& p, Tier tier, const float* weights, void* packed) {
  std::memcpy(packed, weights, packed_bytes(p, tier));
}

size_t workspace_bytes(const ConvProblem&, const ConvContext&) { return 0; }

void run(const ConvProblem& p, const ConvContext&, const ConvArgs& args) {
  const Epilogue& ep = args.epilogue;
  const auto *in = static_cast<const float*>(args.in), *weights = static_cast<const float*>(args.packed);
  auto* const out = static_cast<float*>(args.out);
  const int64_t oh = p.out_h(), ow = p.out_w();
  args.pool->parallel(p.n * oh * ow, [&](int64_t pixel, int) {
    const int64_t base = pixel * p.out_pitch();
    for (int64_t oc = 0; oc < p.cout; ++oc) {
      double v = sum_at(p, in, weights, pixel / (oh * ow), pixel / ow % oh, pixel % ow, oc);
      if (ep.bias != nullptr) v += ep.bias[oc];
      const double r = ep.residual != nullptr ? *ep.residual_at<float>(base + oc) : 0.f;
      v = ep.residual_after_activation ? activated(ep, v) + r : activated(ep, v + r);
      out[base + oc] = static_cast<float>(v);
    }
    if (ep.tile_hook != nullptr) ep.tile_hook(ep.hook_user, out + base, pixel, 1, 0, p.cout, p.out_pitch());
  });
}

size_t candidates(const ConvProblem&, const ConvContext&, std::span<ConvVariant> variants) {
  if (variants.empty()) return 0;
  variants[0] = {};
  return 1;
}

}  // namespace

const ConvAlgorithm conv_reference{"conv_reference", supports, packed_bytes, pack, workspace_bytes, run, candidates};

}  // namespace hone::cpu
