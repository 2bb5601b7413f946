// The time of layers in i8 beside the same in fp32 (the fastest algorithm and variant of each), interleaved.
// Arguments: [threads] [instruction set, as a number] [rounds].
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "kernels/cpu/conv/conv.h"
#include "kernels/cpu/int8/int8.h"

namespace {

using namespace hone::cpu;

struct Layer {
  const char* name;
  int64_t hw, cin, cout, kernel, stride, groups;
};

// BERT's products are 1x1 convolutions of 128 or 1 pixels.
constexpr Layer kLayers[] = {{"resnet50 stem", 224, 3, 64, 7, 2, 1},
                             {"resnet50 3x3", 56, 64, 64, 3, 1, 1},
                             {"resnet50 3x3", 28, 128, 128, 3, 1, 1},
                             {"resnet50 3x3", 14, 256, 256, 3, 1, 1},
                             {"resnet50 3x3", 7, 512, 512, 3, 1, 1},
                             {"resnet50 3x3 / 2", 28, 256, 256, 3, 2, 1},
                             {"resnet50 1x1", 56, 64, 256, 1, 1, 1},
                             {"resnet50 1x1", 56, 256, 64, 1, 1, 1},
                             {"resnet50 1x1", 14, 256, 1024, 1, 1, 1},
                             {"resnet50 1x1", 14, 1024, 256, 1, 1, 1},
                             {"resnet50 1x1", 7, 512, 2048, 1, 1, 1},
                             {"resnet50 1x1", 7, 2048, 512, 1, 1, 1},
                             {"mobilenetv2 1x1", 112, 32, 16, 1, 1, 1},
                             {"mobilenetv2 1x1", 112, 16, 96, 1, 1, 1},
                             {"mobilenetv2 1x1", 56, 96, 24, 1, 1, 1},
                             {"mobilenetv2 1x1", 56, 24, 144, 1, 1, 1},
                             {"mobilenetv2 1x1", 28, 192, 32, 1, 1, 1},
                             {"mobilenetv2 1x1", 28, 32, 192, 1, 1, 1},
                             {"mobilenetv2 depthwise", 112, 96, 96, 3, 2, 96},
                             {"mobilenetv2 depthwise", 28, 192, 192, 3, 1, 192},
                             {"mobilenetv2 depthwise", 7, 960, 960, 3, 1, 960},
                             {"bert", 128, 768, 768, 0, 1, 1},
                             {"bert", 128, 768, 3072, 0, 1, 1},
                             {"bert", 128, 3072, 768, 0, 1, 1},
                             {"bert, one row", 1, 768, 3072, 0, 1, 1}};

ConvProblem problem_of(const Layer& l) {
  ConvProblem p{.h = l.kernel == 0 ? 1 : l.hw, .w = l.hw, .cin = l.cin, .cout = l.cout, .groups = l.groups};
  p.kh = p.kw = std::max<int64_t>(l.kernel, 1);
  p.stride_h = p.stride_w = l.stride;
  p.pad_top = p.pad_left = p.pad_bottom = p.pad_right = l.kernel / 2;
  return p;
}

struct alignas(64) Line {
  char bytes[64] = {};
};
using Memory = std::vector<Line>;
Memory memory(size_t bytes) { return Memory(bytes / 64 + 2); }
template <class T>
T* at(Memory& m) {
  return reinterpret_cast<T*>(m.data());
}

using Call = std::function<void()>;

double seconds(const Call& call) {
  const auto start = std::chrono::steady_clock::now();
  call();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct Timed {
  std::string name;
  Call call;
  std::vector<double> times = {};

  double median() {
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
  }
};

Timed& fastest(std::vector<Timed>& all) {
  return *std::min_element(all.begin(), all.end(), [](Timed& a, Timed& b) { return a.median() < b.median(); });
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 2;
  const auto set = argc > 2 ? static_cast<Int8Set>(std::atoi(argv[2])) : best_int8_set(best_tier());
  const int rounds = argc > 3 ? std::atoi(argv[3]) : 15;
  if (!has_int8_set(set)) return std::printf("this CPU lacks %s\n", int8_set_name(set)), 1;
  ThreadPool pool(threads);
  std::printf("%d threads, i8 by %s, fp32 by %s\n", threads, int8_set_name(set), tier_name(best_tier()));
  for (const Layer& layer : kLayers) {
    const ConvProblem p = problem_of(layer);
    const auto pixels = p.out_h() * p.out_w();
    const auto in_count = static_cast<size_t>(p.h * p.w * p.cin), out_count = static_cast<size_t>(pixels * p.cout);
    const auto weight_count = static_cast<size_t>(p.cout * p.cin / p.groups * p.kh * p.kw);
    Memory in = memory(4 * in_count), out = memory(4 * out_count), weights = memory(4 * weight_count);
    for (size_t i = 0; i < in_count; ++i) at<int8_t>(in)[i] = static_cast<int8_t>(i * 37);
    for (size_t i = 0; i < weight_count; ++i) at<int8_t>(weights)[i] = static_cast<int8_t>(i * 53);
    Memory float_in = memory(4 * in_count), float_out = memory(4 * out_count), channels = memory(4 * p.cout);
    std::fill_n(at<float>(channels), p.cout, 1e-4f);
    std::vector<Memory> kept;
    kept.reserve(256);
    const auto keep = [&](size_t bytes) { return kept.emplace_back(memory(bytes)).data(); };
    const int64_t taps = p.kh * p.kw;
    const Int8Weights given{at<int8_t>(weights), p.cin / p.groups * taps, taps, 1};

    Int8Args args{.in = at<int8_t>(in), .out = out.data(), .epilogue = {}, .pool = &pool};
    args.epilogue.scale = args.epilogue.real.bias = at<float>(channels);
    args.epilogue.low = 0;
    args.epilogue.quantized = true;
    std::vector<Timed> small, wide;
    if (p.groups > 1) {
      const Int8Context context{.set = set, .threads = threads};
      void* const packed = keep(int8_depthwise_packed_bytes(p));
      void* const ready = keep(int8_depthwise_ready_bytes(p, context));
      int8_depthwise_pack(p, given, packed);
      int8_depthwise_ready(p, context, packed, ready);
      args.packed = ready;
      args.workspace = keep(int8_depthwise_workspace_bytes(p, context));
      small.push_back({"depthwise", [p, args, context] { int8_depthwise(p, context, args); }});
    } else {
      void* packed = keep(int8_packed_bytes(p, set));
      int8_pack(p, {.set = set}, given, packed);
      args.packed = packed;
      for (int split = 0; split <= 2; ++split) {
        for (int rows : {0, 24, 96}) {
          const Int8Context context{.set = set, .threads = threads, .split = split, .row_block = rows};
          args.workspace = keep(int8_workspace_bytes(p, context));
          small.push_back({"split " + std::to_string(split) + ", rows " + std::to_string(rows),
                           [p, args, context] { int8_conv(p, context, args); }});
        }
      }
      if (int8_winograd_refusal(p, {.set = set}, &given) == nullptr) {
        packed = keep(int8_winograd_packed_bytes(p, set));
        int8_winograd_pack(p, {.set = set}, given, packed);
        args.packed = packed;
        for (int split = 1; split <= 2; ++split)
          for (int tiles : {12, 24, 48, 96}) {
            const Int8Context context{.set = set, .threads = threads, .split = split, .row_block = tiles};
            args.workspace = keep(int8_winograd_workspace_bytes(p, context));
            small.push_back({"Winograd, split " + std::to_string(split) + ", tiles " + std::to_string(tiles),
                             [p, args, context] { int8_winograd(p, context, args); }});
          }
      }
    }
    ConvArgs float_args{.in = at<float>(float_in), .out = at<float>(float_out), .epilogue = {}, .pool = &pool};
    float_args.epilogue.bias = at<float>(channels);
    float_args.epilogue.act = Activation::relu;
    Memory float_weights = memory(4 * weight_count);
    for (const ConvAlgorithm* algorithm : conv_algorithms()) {
      if (algorithm->supports(p) != nullptr || std::string(algorithm->name).find("reference") != std::string::npos)
        continue;
      if (best_tier() < algorithm->least_tier || !algorithm->takes_f32) continue;
      ConvContext context{.tier = best_tier(), .threads = threads};
      void* packed = keep(algorithm->packed_bytes(p, context.tier));
      algorithm->pack(p, context.tier, at<float>(float_weights), packed);
      float_args.packed = packed;
      std::array<ConvVariant, 32> variants;
      const size_t count = algorithm->candidates(p, context, variants);
      for (size_t i = 0; i < count; ++i) {
        context.variant = variants[i];
        float_args.workspace = keep(algorithm->workspace_bytes(p, context));
        wide.push_back({algorithm->name, [=] { algorithm->run(p, context, float_args); }});
      }
    }
    for (int round = 0; round < rounds; ++round) {
      for (auto* list : {&small, &wide})
        for (Timed& timed : *list) timed.times.push_back(seconds(timed.call));
    }
    // The winners again, in turn.
    Timed quick = fastest(small), usual = fastest(wide);
    quick.times.clear();
    usual.times.clear();
    for (int round = 0; round < 4 * rounds; ++round) {
      quick.times.push_back(seconds(quick.call));
      usual.times.push_back(seconds(usual.call));
    }
    const double work = 2e-9 * static_cast<double>(pixels * p.cout * p.cin / p.groups * taps);
    std::printf("%-22s %4ldx%-4ld %4ld->%-4ld  i8 %8.1f us (%6.1f GOP/s, %s)  fp32 %8.1f us (%s)  ratio %.2f\n",
                layer.name, static_cast<long>(p.h), static_cast<long>(p.w), static_cast<long>(p.cin),
                static_cast<long>(p.cout), quick.median() * 1e6, work / quick.median(), quick.name.c_str(),
                usual.median() * 1e6, usual.name.c_str(), usual.median() / quick.median());
  }
  return 0;
}
