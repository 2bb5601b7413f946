// The GPU's kernels other than products against the reference, on the GPU that is here. Skipped without one.
#include "ops.h"

namespace hone {
namespace {

TEST_P(GpuOps, SlicesAreRight) {
  expect_all_right({
      {"Slice", {}, {real({3, 7, 16}), ints({1, 0}), ints({7, 8}), ints({1, 2})}},
      {"Slice", {}, {real({3, 7, 24}), ints({8, -1}), ints({16, -9}), ints({2, 1}), ints({1, -2})}},
      {"Slice", {}, {real({5, 16}), ints({3, 14}), ints({100, -100}), ints({0, 1}), ints({1, -3})}},
      {"Slice", {}, {real({5, 16}), ints({3}), ints({11}), ints({1})}},
      {"Slice", {}, {whole(DType::i8, {4, 33}, -128, 128), ints({1}), ints({17}), ints({1})}},
      {"Slice", {}, {whole(DType::i64, {4, 6}, -9, 9), ints({0, 1}), ints({4, 6}), ints({0, 1}), ints({3, 2})}},
      {"Split", {{"axis", int64_t{1}}}, {whole(DType::boolean, {2, 7, 3}, 0, 2), ints({3, 4})}, 2},
      {"Split", {{"axis", int64_t{-1}}}, {whole(DType::i64, {4, 6}, -9, 9)}, 3},
      {"Concat", {{"axis", int64_t{1}}}, {whole(DType::i8, {2, 3}, -9, 9), whole(DType::i8, {2, 5}, -9, 9)}},
      {"Concat", {{"axis", int64_t{0}}}, {whole(DType::i64, {2, 3}, -9, 9), whole(DType::i64, {1, 3}, -9, 9)}},
      {"Expand", {}, {whole(DType::i64, {3, 1}, -9, 9), ints({2, 3, 5})}},
      {"Tile", {}, {real({2, 3, 8}), ints({2, 1, 3})}},
      {"Tile", {}, {real({3, 5}), ints({2, 8})}},
      {"Tile", {}, {whole(DType::boolean, {3, 1}, 0, 2), ints({1, 16})}},
  });
}

TEST_P(GpuOps, MovesOfWholeRunsAreRight) {
  const auto along = [](int64_t axis) { return Attrs{{"axis", axis}}; };
  expect_all_right({
      {"Transpose", {{"perm", Ints{1, 0, 2}}}, {real({3, 5, 16})}},
      {"Transpose", {{"perm", Ints{2, 0, 1}}}, {real({3, 5, 16})}},
      {"Transpose", {{"perm", Ints{0, 2, 1, 3}}}, {whole(DType::i64, {2, 3, 4, 2}, -9, 9)}},
      {"Expand", {}, {real({3, 1, 24}), ints({2, 3, 5, 24})}},
      {"Expand", {}, {real({5, 1}), ints({5, 16})}},
      {"Concat", along(-1), {real({2, 3, 8}), real({2, 3, 24}), real({2, 3, 16})}},
      {"Concat", along(1), {real({2, 3, 8}), real({2, 1, 8})}},
      {"Split", along(1), {real({2, 5, 8}), ints({2, 3})}, 2},
      {"Split", along(-1), {real({3, 32}), ints({8, 24})}, 2},
      {"Gather", along(0), {real({7, 16}), ints({-1, 3, 3, 0})}},
      {"Gather", along(1), {real({2, 7, 3}), ints({-7, 6, 2})}},
      {"Gather", along(0), {real({7, 2, 8}), whole(DType::i32, {2, 3}, -7, 7)}},
      {"Gather", along(-1), {whole(DType::boolean, {3, 7}, 0, 2), whole(DType::i64, {5}, -7, 7)}},
  });
}

TEST_P(GpuOps, PadsAreRight) {
  for (const char* mode : {"constant", "reflect", "edge", "wrap"}) {
    const Attrs attrs{{"mode", std::string(mode)}};
    expect_all_right({
        {"Pad", attrs, {real({2, 5, 16}), ints({0, 2, 0, 1, 3, 0})}},
        {"Pad", attrs, {real({2, 5, 12}), ints({1, 3}), absent(), ints({2})}},
        {"Pad", attrs, {real({4, 6, 7}), ints({-1, 2, 0, 3, -2, 1})}},
        {"Pad", attrs, {real({9, 2, 3}), ints({20, 17}), absent(), ints({0})}},
        {"Pad", attrs, {whole(DType::i64, {3, 4}, -9, 9), ints({0, 1, 2, 3}), {Tensor::vector(Ints{7})}}},
        {"Pad", attrs, {whole(DType::u8, {3, 13}, 0, 255), ints({0, 1, 2, 2})}},
        {"Pad", attrs, {real({2, 3, 4}), ints({0, 1, 1, 0, 1, 3}), real({})}},
    });
  }
}

TEST_P(GpuOps, ResizesAreRight) {
  const auto named = [](const char* mode, const char* coordinates) {
    return Attrs{{"mode", std::string(mode)}, {"coordinates", std::string(coordinates)}};
  };
  for (const char* mode : {"nearest", "linear", "cubic"}) {
    for (const char* coordinates : {"half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"}) {
      expect_all_right(
          {{"Resize", named(mode, coordinates), {real({2, 5, 7, 8}), absent(), absent(), ints({2, 9, 4, 8})}},
           {"Resize", named(mode, coordinates), {real({1, 3, 5, 6}), absent(), scales({1, 1, 2, 1.5})}}});
    }
    Attrs attrs = named(mode, "half_pixel");
    attrs["axes"] = Ints{2, 1};
    attrs["exclude_outside"] = true;
    attrs["antialias"] = std::string(mode) != "nearest";
    expect_all_right({{"Resize", attrs, {real({2, 11, 9, 4}), absent(), absent(), ints({4, 5})}},
                      {"Resize", attrs, {real({2, 3, 4, 3}), absent(), scales({2.5, 3})}}});
  }
  expect_all_right(
      {{"Resize",
        named("nearest", "asymmetric"),
        {whole(DType::u8, {1, 4, 5, 16}, 0, 255), absent(), scales({1, 2, 2, 1})}},
       {"Resize", named("linear", "half_pixel"), {real({3, 4, 5, 6, 2}), absent(), scales({1, 2, 2, 2, 1})}}});
}

TEST_P(GpuOps, NormsOverChannelsAreRight) {
  const auto attrs = [](int64_t groups, bool last) { return Attrs{{"groups", groups}, {"channels_last", last}}; };
  expect_all_right({
      {"GroupNorm", attrs(4, true), {real({2, 5, 7, 32}), real({32}), real({32})}, 1, 4},
      {"GroupNorm", attrs(0, true), {real({2, 5, 7, 45}), real({45}), real({45})}, 1, 4},
      {"GroupNorm", attrs(5, true), {real({1, 3, 4, 40}), real({40})}, 1, 4},
      {"GroupNorm", attrs(2, true), {real({2, 3, 20})}, 1, 4},
      {"GroupNorm", attrs(3, false), {real({2, 12, 5, 3}), real({12}), real({12})}, 1, 4},
      {"GroupNorm", attrs(0, false), {real({2, 5, 700}), real({5}), real({5})}, 1, 4},
      {"GroupNorm", attrs(1, false), {real({3, 8}), real({8}), real({8})}, 1, 4},
      {"Lrn", {{"size", int64_t{5}}, {"alpha", 0.1}, {"beta", 0.75}, {"bias", 1.0}}, {real({2, 9, 3, 5})}},
      {"Lrn", {{"size", int64_t{2}}, {"alpha", 0.2}, {"beta", 0.5}, {"bias", 2.0}}, {real({2, 4, 7})}},
  });
}

TEST_P(GpuOps, ReductionsAreRight) {
  for (const char* kind : {"sum", "mean", "max", "min", "prod", "l1", "sum_square", "l2", "log_sum_exp"}) {
    const Attrs attrs{{"kind", std::string(kind)}};
    const std::string_view name = kind;
    const bool integers = name != "l2" && name != "log_sum_exp";
    expect_all_right({{"Reduce", attrs, {real({3, 4, 5, 6}), ints({0, 2})}, 1, 4},
                      {"Reduce", attrs, {real({3, 4, 33})}, 1, 4},
                      {"Reduce", attrs, {real({2, 300, 3}), ints({-2})}, 1, 4}});
    if (integers)
      expect_all_right({{"Reduce", attrs, {whole(DType::i64, {3, 4, 5}, -4, 5), ints({0, 2})}},
                        {"Reduce", attrs, {whole(DType::i32, {700}, -1, 2)}},
                        {"Reduce", attrs, {whole(DType::boolean, {4, 5}, 0, 2), ints({1})}}});
  }
}

// Values that occur more than once, and NaN.
Input tied(Dims dims) {
  Input input = real(std::move(dims));
  for (int64_t i = 0; i < input.value.count(); ++i)
    input.value.set(i, i % 7 == 5 ? NAN : std::round(4 * input.value.at(i)) / 4);
  return input;
}

TEST_P(GpuOps, OrdersAreRight) {
  for (const bool flag : {false, true}) {
    for (const bool last : {false, true})
      for (const int64_t axis : {0, 1, 2})
        expect_all_right(
            {{"ArgReduce", {{"axis", axis}, {"smallest", flag}, {"select_last", last}}, {tied({4, 3, 70})}},
             {"ArgReduce",
              {{"axis", axis}, {"smallest", flag}, {"select_last", last}, {"keep_dims", false}},
              {whole(DType::i64, {3, 5, 7}, -3, 3)}}});
    const auto k = [](int64_t axis, bool largest) { return Attrs{{"axis", axis}, {"largest", largest}}; };
    expect_all_right({{"TopK", k(-1, flag), {tied({3, 50}), ints({50})}, 2},
                      {"TopK", k(1, flag), {tied({2, 33, 5}), ints({4})}, 2},
                      {"TopK", k(0, flag), {real({9001}), ints({300})}, 2},
                      {"TopK", k(0, flag), {whole(DType::i32, {4096, 2}, -2147483647, 2147483647), ints({7})}, 2},
                      {"TopK", k(0, flag), {whole(DType::u8, {100}, 0, 5), ints({64})}, 1}});
  }
}

TEST_P(GpuOps, CumulationsAreRight) {
  for (const bool exclusive : {false, true})
    for (const bool reverse : {false, true})
      for (const char* kind : {"sum", "prod"}) {
        const Attrs attrs{{"kind", std::string(kind)}, {"exclusive", exclusive}, {"reverse", reverse}};
        expect_all_right({{"Cumulate", attrs, {real({3, 77}), ints({1})}, 1, 16},
                          {"Cumulate", attrs, {real({3, 7, 40}), ints({-2})}, 1, 8},
                          {"Cumulate", attrs, {whole(DType::i64, {130, 2}, -3, 4), ints({0})}},
                          {"Cumulate", attrs, {whole(DType::i32, {2, 9}, -2, 3), ints({1})}}});
      }
}

TEST_P(GpuOps, GathersAndScattersAreRight) {
  const auto along = [](int64_t axis) { return Attrs{{"axis", axis}}; };
  expect_all_right({
      {"GatherElements", along(1), {real({3, 7, 5}), whole(DType::i64, {3, 4, 5}, -7, 7)}},
      {"GatherElements", along(0), {whole(DType::i8, {6, 5}, -9, 9), whole(DType::i32, {9, 3}, -6, 6)}},
      {"GatherND", {}, {real({3, 4, 5}), whole(DType::i64, {6, 2}, -3, 3)}},
      {"GatherND", {}, {real({3, 4, 5}), whole(DType::i32, {2, 2, 3}, 0, 3)}},
      {"GatherND", {{"batch_dims", int64_t{1}}}, {real({3, 4, 5}), whole(DType::i64, {3, 6, 1}, -4, 4)}},
      {"GatherND", {{"batch_dims", int64_t{2}}}, {real({2, 3, 4, 5}), whole(DType::i64, {2, 3, 1}, 0, 4)}},
      {"ScatterElements", along(1), {real({3, 7, 5}), whole(DType::i64, {3, 6, 4}, -7, 7), real({3, 6, 4})}},
      {"ScatterND", {}, {real({5, 4, 6}), whole(DType::i64, {7, 1}, -5, 5), real({7, 4, 6})}},
      {"ScatterND",
       {},
       {whole(DType::i64, {5, 4}, 0, 9), whole(DType::i32, {9, 2}, 0, 4), whole(DType::i64, {9}, 9, 99)}},
  });
  for (const char* reduction : {"add", "mul", "max", "min"}) {
    Attrs elements = along(0);
    elements["reduction"] = std::string(reduction);
    const Attrs rows{{"reduction", std::string(reduction)}};
    expect_all_right({
        {"ScatterElements", elements, {real({4, 5}), whole(DType::i64, {9, 5}, -4, 4), real({9, 5})}, 1, 16},
        {"ScatterND", rows, {real({5, 3}), whole(DType::i64, {8, 1}, 0, 5), real({8, 3})}, 1, 16},
        {"ScatterND",
         rows,
         {whole(DType::i32, {5, 3}, -3, 4), whole(DType::i64, {8, 1}, 0, 5), whole(DType::i32, {8, 3}, -3, 4)}},
    });
  }
}

TEST_P(GpuOps, RecurrentLayersAreRight) {
  struct Layer {
    const char *cell, *direction;
    int64_t time, batch, in, hidden;
    std::vector<std::string> activations;  // of a direction
    bool flag, options;  // linear_before_reset or input_forget; lengths, states and peepholes are given
  };
  const std::vector<std::string> lstm{"sigmoid", "tanh", "tanh"}, gru{"sigmoid", "tanh"};
  const Layer layers[] = {{"lstm", "forward", 5, 3, 7, 33, lstm, false, false},
                          {"lstm", "bidirectional", 4, 5, 40, 16, lstm, false, true},
                          {"lstm", "reverse", 4, 2, 5, 9, {"hardsigmoid", "softsign", "scaledtanh"}, true, true},
                          {"gru", "forward", 5, 2, 35, 40, gru, false, false},
                          {"gru", "bidirectional", 3, 9, 4, 12, gru, true, true},
                          {"gru", "reverse", 3, 2, 4, 5, {"sigmoid", "elu"}, false, true},
                          {"rnn", "bidirectional", 4, 6, 3, 70, {"tanh"}, false, true},
                          {"rnn", "forward", 6, 1, 3, 4, {"leakyrelu"}, false, false}};
  for (const Layer& l : layers) {
    const std::string cell = l.cell;
    const int64_t dirs = std::string(l.direction) == "bidirectional" ? 2 : 1;
    const int64_t width = (cell == "lstm" ? 4 : cell == "gru" ? 3 : 1) * l.hidden;
    std::vector<std::string> activations;
    for (int64_t d = 0; d < dirs; ++d)
      activations.insert(activations.end(), l.activations.begin(), l.activations.end());
    const std::vector<double> alpha(activations.size(), 0.3), beta(activations.size(), 0.4);
    Case c{"Rnn",
           {{"cell", cell},
            {"direction", std::string(l.direction)},
            {"hidden", l.hidden},
            {"activations", activations},
            {"alpha", alpha},
            {"beta", beta},
            {"clip", l.options ? 2.0 : 0.0},
            {"linear_before_reset", l.flag},
            {"input_forget", l.flag && cell == "lstm"}},
           {real({l.time, l.batch, l.in}), real({dirs, width, l.in}, 0.5), real({dirs, width, l.hidden}, 0.3)},
           cell == "lstm" ? 3u : 2u,
           4};
    if (l.options) {
      c.inputs.push_back(real({dirs, 2 * width}));
      c.inputs.push_back(whole(DType::i32, {l.batch}, 0, l.time + 1));
      c.inputs.push_back(real({dirs, l.batch, l.hidden}));
      if (cell == "lstm") {
        c.inputs.push_back(real({dirs, l.batch, l.hidden}));
        c.inputs.push_back(real({dirs, 3 * l.hidden}));
      }
    }
    expect_right(c);
    for (size_t i = 1; i < std::min<size_t>(c.inputs.size(), 4); ++i) c.inputs[i].constant = true;
    expect_right(c);
  }
}

TEST_P(GpuOps, BytesAndIntegersAreRight) {
  const auto program = [](const char* text) { return Attrs{{"program", std::string(text)}}; };
  const Attrs pool{{"kind", std::string("max")}, {"kernel", Ints{3, 3}},     {"strides", Ints{2, 2}},
                   {"dilations", Ints{1, 1}},    {"pads", Ints{1, 1, 1, 1}}, {"channels_last", true}};
  expect_all_right({
      {"Pool", pool, {whole(DType::i8, {1, 9, 8, 32}, -128, 128)}},
      {"Pool", pool, {whole(DType::u8, {2, 5, 6, 3}, 0, 256)}},
      {"Pointwise",
       program("in0:i8; in1:i8; add:i8(0,1)"),
       {whole(DType::i8, {4, 16}, -128, 128), whole(DType::i8, {16}, -9, 9)}},
      {"Pointwise",
       program("in0:i8; in1:i8; div:i8(0,1); mod:i8(0,1); sub:i8(2,3)"),
       {whole(DType::i8, {5, 7}, -128, 128), whole(DType::i8, {7}, -3, 3)}},
      {"Pointwise",
       program("in0:i64; in1:i64; fmod:i64(0,1); pow:i64(2,1); abs:i64(3); sign:i64(2); add:i64(4,5)"),
       {whole(DType::i64, {66}, -50, 50), whole(DType::i64, {66}, -3, 6)}},
      {"Pointwise",
       program("in0:u8; in1:u8; shift_left:u8(0,1); shift_right:u8(0,1); bit_not:u8(3); bit_xor:u8(2,4)"),
       {whole(DType::u8, {48}, 0, 256), whole(DType::u8, {48}, 0, 9)}},
      {"Pointwise",
       program("in0:i32; constant:i32(-2); constant:i32(5); clip:i32(0,1,2); relu:i32(3); square:i32(0); mul:i32(4,5)"),
       {whole(DType::i32, {3, 5}, -9, 9)}},
      {"Pointwise",
       program("in0:bool; in1:bool; logical_xor:bool(0,1); logical_not:bool(2)"),
       {whole(DType::boolean, {32}, 0, 2), whole(DType::boolean, {32}, 0, 2)}},
      {"Pointwise", program("in0:f32; cast:i8(0)"), {whole(DType::f32, {64}, -128, 128)}},
  });
}

TEST_P(GpuOps, QuantisedTensorsAreRight) {
  const auto to = [](DType type, int64_t axis, int64_t block) {
    return Attrs{{"type", std::string(name(type))}, {"axis", axis}, {"block", block}};
  };
  Input scale = scales({0.02}), rows = scales({0.01, 0.02, 0.5, 0.004});
  scale.constant = rows.constant = false;
  const auto zeros = [](DType type) { return whole(type, {4}, 0, 9); };
  for (const DType type : {DType::i8, DType::u8, DType::i16, DType::u16})
    expect_all_right({{"Quantize", to(type, 1, 0), {real({3, 4, 5}), rows, zeros(type)}},
                      {"Quantize", to(type, -1, 0), {real({3, 70}, 9), scale}},
                      {"Dequantize", to(DType::f32, 1, 0), {whole(type, {3, 4, 5}, 0, 100), rows, zeros(type)}},
                      {"Dequantize", to(GetParam(), 0, 0), {whole(type, {33}, 0, 100), scale}}});
  for (const DType precision : {DType::f32, DType::f16, DType::bf16}) {
    Attrs divided = to(DType::i8, 1, 0);
    divided["precision"] = std::string(name(precision));
    expect_right({"Quantize", divided, {real({3, 50}), scale}});
  }
  const auto blocks = [] {
    Input input{Tensor(DType::f32, {3, 2, 5})};
    for (int64_t i = 0; i < input.value.count(); ++i) input.value.set(i, 0.01 + 0.001 * static_cast<double>(i % 7));
    return input;
  };
  expect_all_right(
      {{"Quantize", to(DType::i8, 1, 3), {real({3, 4, 5}), blocks(), whole(DType::i8, {3, 2, 5}, -9, 9)}},
       {"Dequantize", to(DType::f32, 1, 3), {whole(DType::i8, {3, 4, 5}, -99, 99), blocks()}, 1, 4},
       {"Dequantize", to(DType::f32, 0, 0), {whole(DType::i32, {4, 9}, -99999, 99999), rows}, 1, 4},
       {"MatMul", {}, {whole(DType::i32, {3, 17, 5}, -99, 99), whole(DType::i32, {5, 9}, -99, 99)}},
       {"MatMul", {{"trans_b", true}}, {whole(DType::i32, {33, 32}, -99, 99), whole(DType::i32, {16, 32}, -99, 99)}}});
}

TEST_P(GpuOps, AttentionToFewerKeysIsRight) {
  const auto keys = [] { return real({2, 2, 70, 32}); };
  const Attrs causal{{"causal", true}};
  Input mask = whole(DType::boolean, {3, 40}, 0, 3);
  for (int64_t i = 0; i < 40; ++i) mask.value.set_int(i, 0);  // a query that sees nothing
  expect_all_right({
      {"Attention", {}, {real({2, 4, 3, 32}), keys(), keys(), absent(), whole(DType::i64, {2}, 1, 70)}, 1, 8},
      {"Attention", causal, {real({2, 2, 5, 32}), keys(), keys(), absent(), absent(), ints({20})}, 1, 8},
      {"Attention", causal, {real({2, 2, 70, 32}), keys(), keys(), absent(), absent(), ints({-2})}, 1, 8},
      {"Attention", {}, {real({2, 2, 3, 32}), keys(), keys(), mask}, 1, 8},
      {"Attention",
       {},
       {real({2, 2, 3, 32}), keys(), keys(), real({2, 1, 1, 50}), whole(DType::i64, {2}, 30, 70)},
       1,
       8},
  });
}

HONE_GPU_TYPES(GpuOps);

}  // namespace
}  // namespace hone
