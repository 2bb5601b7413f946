// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// GFLOP/s of each convolution algorithm on ResNet-50's and MobileNetV2's layers, beside the measured
// FMA peak. Arguments: [batch] [algorithm or net to keep, or all] [tier] [most threads].
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "kernels/cpu/conv/conv.h"
#include "kernels/cpu/gemm/panel.h"

namespace {

using namespace hone::cpu;

struct Layer {
  const char* net;
  int hw, cin, cout, kernel, stride, groups, count;  // count: how often the net has it
};

constexpr Layer kLayers[] = {
    {"resnet50", 224, 3, 64, 7, 2, 1, 1},        {"resnet50", 56, 64, 64, 1, 1, 1, 1},
    {"resnet50", 56, 64, 64, 3, 1, 1, 3},        {"resnet50", 56, 64, 256, 1, 1, 1, 4},
    {"resnet50", 56, 256, 64, 1, 1, 1, 2},       {"resnet50", 56, 256, 128, 1, 1, 1, 1},
    {"resnet50", 56, 128, 128, 3, 2, 1, 1},      {"resnet50", 28, 128, 512, 1, 1, 1, 4},
    {"resnet50", 56, 256, 512, 1, 2, 1, 1},      {"resnet50", 28, 512, 128, 1, 1, 1, 3},
    {"resnet50", 28, 128, 128, 3, 1, 1, 3},      {"resnet50", 28, 512, 256, 1, 1, 1, 1},
    {"resnet50", 28, 256, 256, 3, 2, 1, 1},      {"resnet50", 14, 256, 1024, 1, 1, 1, 6},
    {"resnet50", 28, 512, 1024, 1, 2, 1, 1},     {"resnet50", 14, 1024, 256, 1, 1, 1, 5},
    {"resnet50", 14, 256, 256, 3, 1, 1, 5},      {"resnet50", 14, 1024, 512, 1, 1, 1, 1},
    {"resnet50", 14, 512, 512, 3, 2, 1, 1},      {"resnet50", 7, 512, 2048, 1, 1, 1, 3},
    {"resnet50", 14, 1024, 2048, 1, 2, 1, 1},    {"resnet50", 7, 2048, 512, 1, 1, 1, 2},
    {"resnet50", 7, 512, 512, 3, 1, 1, 2},       {"mobilenetv2", 224, 3, 32, 3, 2, 1, 1},
    {"mobilenetv2", 112, 32, 32, 3, 1, 32, 1},   {"mobilenetv2", 112, 32, 16, 1, 1, 1, 1},
    {"mobilenetv2", 112, 16, 96, 1, 1, 1, 1},    {"mobilenetv2", 112, 96, 96, 3, 2, 96, 1},
    {"mobilenetv2", 56, 96, 24, 1, 1, 1, 1},     {"mobilenetv2", 56, 24, 144, 1, 1, 1, 2},
    {"mobilenetv2", 56, 144, 144, 3, 1, 144, 1}, {"mobilenetv2", 56, 144, 24, 1, 1, 1, 1},
    {"mobilenetv2", 56, 144, 144, 3, 2, 144, 1}, {"mobilenetv2", 28, 144, 32, 1, 1, 1, 1},
    {"mobilenetv2", 28, 32, 192, 1, 1, 1, 3},    {"mobilenetv2", 28, 192, 192, 3, 1, 192, 2},
    {"mobilenetv2", 28, 192, 32, 1, 1, 1, 2},    {"mobilenetv2", 28, 192, 192, 3, 2, 192, 1},
    {"mobilenetv2", 14, 192, 64, 1, 1, 1, 1},    {"mobilenetv2", 14, 64, 384, 1, 1, 1, 4},
    {"mobilenetv2", 14, 384, 384, 3, 1, 384, 4}, {"mobilenetv2", 14, 384, 64, 1, 1, 1, 3},
    {"mobilenetv2", 14, 384, 96, 1, 1, 1, 1},    {"mobilenetv2", 14, 96, 576, 1, 1, 1, 3},
    {"mobilenetv2", 14, 576, 576, 3, 1, 576, 2}, {"mobilenetv2", 14, 576, 96, 1, 1, 1, 2},
    {"mobilenetv2", 14, 576, 576, 3, 2, 576, 1}, {"mobilenetv2", 7, 576, 160, 1, 1, 1, 1},
    {"mobilenetv2", 7, 160, 960, 1, 1, 1, 3},    {"mobilenetv2", 7, 960, 960, 3, 1, 960, 3},
    {"mobilenetv2", 7, 960, 160, 1, 1, 1, 2},    {"mobilenetv2", 7, 960, 320, 1, 1, 1, 1},
    {"mobilenetv2", 7, 320, 1280, 1, 1, 1, 1},
};

ConvProblem problem_of(const Layer& l, int batch) {
  ConvProblem p{.n = batch, .h = l.hw, .w = l.hw, .cin = l.cin, .cout = l.cout, .kh = l.kernel, .kw = l.kernel};
  p.stride_h = p.stride_w = l.stride;
  p.pad_top = p.pad_left = p.pad_bottom = p.pad_right = l.kernel / 2;
  p.groups = l.groups;
  return p;
}

double clock_seconds(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

struct Buffer {
  explicit Buffer(size_t bytes) : data(std::aligned_alloc(64, (bytes + 127) / 64 * 64), &std::free) {
    float* f = static_cast<float*>(data.get());
    for (size_t i = 0; i < bytes / 4; ++i) f[i] = static_cast<float>(i % 1000) * 1e-3f - 0.5f;
  }
  std::unique_ptr<void, void (*)(void*)> data;
};

// Seconds of one call: the 10th percentile over about 0.1 s, since other load only ever adds. With one
// thread it is the thread's own CPU time, so that a busy machine does not matter much.
template <class F>
double call_time(int threads, F&& f) {
  f();
  std::vector<double> times;
  const double start = clock_seconds(CLOCK_MONOTONIC);
  const clockid_t clock = threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
  while (times.size() < 5 || (clock_seconds(CLOCK_MONOTONIC) - start < 0.1 && times.size() < 200)) {
    const double t = clock_seconds(clock);
    f();
    times.push_back(clock_seconds(clock) - t);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 10];
}

// The register tile on operands that stay in L1: what no convolution can beat by direct arithmetic.
double peak_gflops(Tier tier, ThreadPool& pool) {
  const PanelKernel& k = panel_kernel(tier);
  constexpr int kDepth = 128, kCalls = 2000;
  const Buffer a(sizeof(float) * k.mr * kDepth), b(sizeof(float) * k.nr * kDepth);
  const double seconds = call_time(pool.size(), [&] {
    pool.parallel(pool.size(), [&](int64_t, int) {
      const float* rows[16];
      alignas(64) float c[16 * 64];
      const Epilogue ep;
      for (int i = 0; i < k.mr; ++i) rows[i] = static_cast<const float*>(a.data.get()) + i * kDepth;
      PanelJob job;
      job.rows = rows;
      job.m = k.mr;
      job.n = job.b_ld = job.ldc = k.nr;
      job.depth = job.k_block = kDepth;
      job.b = static_cast<const float*>(b.data.get());
      job.c = c;
      job.epilogue = &ep;
      for (int i = 0; i < kCalls; ++i) k.run(job);
    });
  });
  return 2.0 * k.mr * k.nr * kDepth * kCalls * pool.size() / seconds * 1e-9;
}

struct Best {
  double seconds = 1e30;
  ConvVariant variant;
};

Best best_of(const ConvAlgorithm& a, const ConvProblem& p, ConvContext ctx, ThreadPool& pool, double& first) {
  const Buffer in(sizeof(float) * static_cast<size_t>(p.n * p.h * p.w * p.cin));
  const Buffer out(sizeof(float) * static_cast<size_t>(p.n * p.out_h() * p.out_w() * p.cout));
  const Buffer weights(sizeof(float) * static_cast<size_t>(p.cout * (p.cin / p.groups) * p.kh * p.kw));
  const Buffer packed(a.packed_bytes(p, ctx.tier));
  a.pack(p, ctx.tier, static_cast<const float*>(weights.data.get()), packed.data.get());
  Epilogue ep{.bias = static_cast<const float*>(weights.data.get()), .act = Activation::relu};
  std::array<ConvVariant, 32> variants;
  const size_t count = a.candidates(p, ctx, variants);
  Best best;
  for (size_t v = 0; v < count; ++v) {
    ctx.variant = variants[v];
    const Buffer workspace(a.workspace_bytes(p, ctx));
    const ConvArgs args{static_cast<const float*>(in.data.get()),
                        packed.data.get(),
                        static_cast<float*>(out.data.get()),
                        ep,
                        workspace.data.get(),
                        &pool};
    const double t = call_time(ctx.threads, [&] { a.run(p, ctx, args); });
    if (v == 0) first = t;
    if (t < best.seconds) best = {t, variants[v]};
  }
  return best;
}

}  // namespace

int main(int argc, char** argv) {
  const int batch = argc > 1 ? std::atoi(argv[1]) : 1;
  const std::string keep = argc > 2 ? argv[2] : "all";
  const Tier tier = argc > 3 ? static_cast<Tier>(std::atoi(argv[3])) : best_tier();
  const int most_threads = argc > 4 ? std::atoi(argv[4]) : 2;
  for (int threads = 1; threads <= most_threads; threads *= 2) {
    ThreadPool pool(threads);
    const double peak = peak_gflops(tier, pool);
    std::printf("%s, tier %s, %d thread(s), batch %d: peak %.1f GFLOP/s\n", cpu_info().model.c_str(), tier_name(tier),
                threads, batch, peak);
    double totals[2] = {}, best_totals[2] = {}, floors[2] = {};
    for (const Layer& l : kLayers) {
      const ConvProblem p = problem_of(l, batch);
      const double flops = 2.0 * p.n * p.out_h() * p.out_w() * l.cout * (l.cin / l.groups) * l.kernel * l.kernel;
      double fastest = 1e30, fastest_tuned = 1e30;
      for (const ConvAlgorithm* a : conv_algorithms()) {
        if (a->supports(p) != nullptr || std::strcmp(a->name, "conv_reference") == 0) continue;
        if (tier < a->least_tier || !a->takes_f32) continue;
        if (std::strcmp(a->name, "conv_direct") == 0 && l.kernel == 1) continue;
        if (l.groups > 1 && std::strcmp(a->name, "conv_depthwise") != 0) continue;
        if (keep != "all" && keep != a->name && keep != l.net) continue;
        double first = 0;
        const Best best = best_of(*a, p, {tier, threads, {}}, pool, first);
        fastest = std::min(fastest, first);
        fastest_tuned = std::min(fastest_tuned, best.seconds);
        std::printf(
            "  %-11s %3dx%-3d %4d -> %4d k%d s%d %-17s %8.1f us %6.1f GFLOP/s %4.0f%%; tuned %8.1f us %4.0f%%"
            " (split %d rows %d k %d tiles %d lines %d)\n",
            l.net, l.hw, l.hw, l.cin, l.cout, l.kernel, l.stride, a->name, first * 1e6, flops / first * 1e-9,
            flops / first * 1e-7 / peak, best.seconds * 1e6, flops / best.seconds * 1e-7 / peak, best.variant.split,
            best.variant.row_block, best.variant.k_block, best.variant.tile_block, best.variant.join_lines);
        std::fflush(stdout);
      }
      if (fastest > 1e29) continue;
      const int net = std::strcmp(l.net, "resnet50") == 0 ? 0 : 1;
      totals[net] += fastest * l.count;
      best_totals[net] += fastest_tuned * l.count;
      floors[net] += flops / peak * 1e-9 * l.count;
    }
    for (int net = 0; net < 2; ++net)
      std::printf("%s convolutions in all: %.2f ms by default, %.2f tuned, %.2f at the direct peak\n",
                  net == 0 ? "resnet50" : "mobilenetv2", totals[net] * 1e3, best_totals[net] * 1e3, floors[net] * 1e3);
  }
}
