// Convolutions and products of bytes against sums in plain loops.
#pragma once

#include "kernel_testing.h"
#include "kernels/cpu/int8/int8.h"

namespace hone::cpu {

// Small sums, and the largest that there are.
inline std::vector<int8_t> bytes(int64_t n, unsigned seed, bool extreme) {
  std::mt19937 gen(seed);
  std::uniform_int_distribution<int> dist(-128, 127);
  std::vector<int8_t> v(static_cast<size_t>(n));
  for (auto& x : v) x = static_cast<int8_t>(extreme ? (dist(gen) > 120 ? 127 : -128) : dist(gen));
  return v;
}

// The values of x are taken for u8 where that is asked for.
inline std::vector<int32_t> reference(const ConvProblem& p, const std::vector<int8_t>& x, const std::vector<int8_t>& w,
                                      bool unsigned_in) {
  const auto value = [&](int64_t i) {
    const int8_t v = x[static_cast<size_t>(i)];
    return unsigned_in ? int{static_cast<uint8_t>(v)} : int{v};
  };
  const int64_t cin = p.cin / p.groups, cout = p.cout / p.groups;
  std::vector<int32_t> y;
  for_each_index({p.n, p.out_h(), p.out_w(), p.cout}, [&](const std::vector<int64_t>& at) {
    int32_t sum = 0;
    for_each_index({p.kh, p.kw, cin}, [&](const std::vector<int64_t>& k) {
      const int64_t iy = at[1] * p.stride_h - p.pad_top + k[0] * p.dilation_h;
      const int64_t ix = at[2] * p.stride_w - p.pad_left + k[1] * p.dilation_w;
      if (iy < 0 || iy >= p.h || ix < 0 || ix >= p.w) return;
      const int64_t from = ((at[0] * p.h + iy) * p.w + ix) * p.cin + at[3] / cout * cin + k[2];
      sum += value(from) * w[static_cast<size_t>(((at[3] * cin + k[2]) * p.kh + k[0]) * p.kw + k[1])];
    });
    y.push_back(sum);
  });
  return y;
}

inline std::vector<Int8Set> sets_where(bool (*holds)(Int8Set)) {
  std::vector<Int8Set> all;
  for (int i = 0; i <= static_cast<int>(Int8Set::amx); ++i)
    if (has_int8_set(static_cast<Int8Set>(i)) && holds(static_cast<Int8Set>(i))) all.push_back(static_cast<Int8Set>(i));
  return all;
}

struct Data {
  std::vector<int8_t> x, w;
  std::vector<int32_t> sums;
  Int8Weights weights;

  Data(const ConvProblem& p, bool extreme, bool unsigned_in)
      : x(bytes(p.n * p.h * p.w * p.cin, 1, extreme)),
        w(bytes(p.cout * p.cin / p.groups * p.kh * p.kw, 2, extreme)),
        sums(reference(p, x, w, unsigned_in)),
        weights{w.data(), p.cin / p.groups * p.kh * p.kw, p.kh * p.kw, 1} {}
};

// A way to compute dense convolutions.
struct Algorithm {
  size_t (*packed_bytes)(const ConvProblem&, Int8Set);
  void (*pack)(const ConvProblem&, const Int8Context&, const Int8Weights&, void*);
  size_t (*workspace_bytes)(const ConvProblem&, const Int8Context&);
  void (*run)(const ConvProblem&, const Int8Context&, const Int8Args&);
  bool (*takes)(Int8Set) = has_int8_set;
};

constexpr Algorithm kDense{int8_packed_bytes, int8_pack, int8_workspace_bytes, int8_conv};

inline void check_sums(const Algorithm& algorithm, const ConvProblem& p, const Int8Context& context) {
  for (bool extreme : {false, true}) {
    const Data data(p, extreme, context.unsigned_in);
    SCOPED_TRACE(std::string(int8_set_name(context.set)) + (extreme ? ", extreme" : "") +
                 (context.unsigned_in ? ", u8" : "") + ", threads " + std::to_string(context.threads) + ", split " +
                 std::to_string(context.split) + ", depth " + std::to_string(p.cin * p.kh * p.kw));
    Workspace packed(algorithm.packed_bytes(p, context.set)), workspace(algorithm.workspace_bytes(p, context));
    algorithm.pack(p, context, data.weights, packed.get());
    std::vector<int32_t> y(data.sums.size(), 7);
    ThreadPool pool(context.threads);
    algorithm.run(p, context,
                  {.in = data.x.data(),
                   .packed = packed.get(),
                   .out = y.data(),
                   .epilogue = {},
                   .workspace = workspace.get(),
                   .pool = &pool});
    ASSERT_EQ(y, data.sums);
  }
}

inline void check(const ConvProblem& p, const Algorithm& algorithm = kDense) {
  for (Int8Set set : sets_where(algorithm.takes)) {
    for (bool unsigned_in : {false, true}) {
      check_sums(algorithm, p, {.set = set, .unsigned_in = unsigned_in});
      for (int split : {1, 2})
        check_sums(algorithm, p,
                   {.set = set, .unsigned_in = unsigned_in, .threads = 2, .split = split, .row_block = 5});
    }
  }
}

// What an algorithm makes of the data.
inline std::vector<int8_t> quantized(const Algorithm& algorithm, const ConvProblem& p, const Int8Context& context,
                                     const Data& data, const Int8Epilogue& epilogue) {
  Workspace packed(algorithm.packed_bytes(p, context.set)), workspace(algorithm.workspace_bytes(p, context));
  ThreadPool pool(context.threads);
  std::vector<int8_t> y(data.sums.size());
  algorithm.pack(p, context, data.weights, packed.get());
  algorithm.run(p, context,
                {.in = data.x.data(),
                 .packed = packed.get(),
                 .out = y.data(),
                 .epilogue = epilogue,
                 .workspace = workspace.get(),
                 .pool = &pool});
  return y;
}

// Scale, bias, residual, steps behind it and bounds alone, and the same with a clip that does nothing, which takes the
// way of all others.
inline void check_plain(const Algorithm& algorithm, const ConvProblem& p, float size, bool unsigned_in = false) {
  const Data data(p, false, unsigned_in);
  const auto channels = static_cast<size_t>(p.cout);
  std::vector<float> scale(channels), bias(channels), steps(channels);
  for (size_t c = 0; c < channels; ++c) {
    scale[c] = 3e-4f * static_cast<float>(c % 7 + 1) * size;
    bias[c] = static_cast<float>(c % 11) - 5.5f;
    steps[c] = 0.25f + static_cast<float>(c % 5);
  }
  const auto residual = bytes(static_cast<int64_t>(data.sums.size()), 3, true);
  for (const bool added : {false, true}) {
    for (const bool stepped : {false, true}) {
      if (stepped && !added) continue;
      Int8Epilogue e{.scale = scale.data(), .residual_scale = 0.3f, .quantized = true, .low = -7, .high = 101};
      e.real.bias = bias.data();
      if (added) e.residual = residual.data();
      if (stepped) e.step = steps.data();
      std::vector<int8_t> want(data.sums.size());
      for (size_t i = 0; i < want.size(); ++i) {
        const float sum = static_cast<float>(data.sums[i]) * scale[i % channels];
        float v = sum + bias[i % channels];
        if (added) v += static_cast<float>(residual[i]) * 0.3f;
        if (stepped) v *= steps[i % channels];
        want[i] = static_cast<int8_t>(std::clamp(std::nearbyint(v), -7.f, 101.f));
      }
      for (Int8Set set : sets_where(algorithm.takes)) {
        for (int threads : {1, 2}) {
          SCOPED_TRACE(std::string(int8_set_name(set)) + ", channels " + std::to_string(p.cout));
          const Int8Context context{.set = set, .unsigned_in = unsigned_in, .threads = threads};
          Int8Epilogue other = e;
          other.real.act = Activation::clip;
          other.real.a = -1e30f;
          other.real.b = 1e30f;
          ASSERT_EQ(quantized(algorithm, p, context, data, e), want);
          ASSERT_EQ(quantized(algorithm, p, context, data, other), want);
        }
      }
    }
  }
}

}  // namespace hone::cpu
