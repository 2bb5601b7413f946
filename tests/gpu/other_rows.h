#pragma once

#include "gpu/row_case.h"

// Small problems for the kernels of all but products.
namespace hone {

inline Case of_program(const std::string& program, std::vector<Input> inputs) {
  return {"Pointwise", {{"program", program}}, std::move(inputs), 1, 4};
}

inline Attrs along(int64_t axis) { return {{"axis", axis}}; }

inline Attrs pool_of(const char* kind, int64_t kernel, int64_t stride, int64_t pad) {
  return {{"kind", std::string(kind)}, {"kernel", Ints{kernel, kernel}}, {"strides", Ints{stride, stride}},
          {"dilations", Ints{1, 1}},   {"pads", Ints(4, pad)},           {"channels_last", true}};
}

inline Case layer_norm(Dims x, int64_t extent) {
  return {"LayerNorm", along(-1), {real(std::move(x)), real({extent}), real({extent})}, 1, 4};
}

// A cell of each kind, both directions, lengths, states and peepholes.
inline Case recurrent(const std::string& cell, int64_t in, int64_t hidden, std::vector<std::string> activations,
                      bool constant) {
  const int64_t time = 4, batch = 5, dirs = 2, width = (cell == "lstm" ? 4 : cell == "gru" ? 3 : 1) * hidden;
  for (size_t i = 0, own = activations.size(); i < own; ++i) activations.push_back(activations[i]);
  Case c{"Rnn",
         {{"cell", cell},
          {"direction", std::string("bidirectional")},
          {"hidden", hidden},
          {"activations", activations},
          {"alpha", std::vector<double>(activations.size(), 0.3)},
          {"beta", std::vector<double>(activations.size(), 0.4)},
          {"clip", 2.0}},
         {real({time, batch, in}), real({dirs, width, in}, 0.5), real({dirs, width, hidden}, 0.3),
          real({dirs, 2 * width}), whole(DType::i32, {batch}, 0, time + 1), real({dirs, batch, hidden})},
         cell == "lstm" ? 3u : 2u,
         4};
  if (cell == "lstm") {
    c.inputs.push_back(real({dirs, batch, hidden}));
    c.inputs.push_back(real({dirs, 3 * hidden}));
  }
  for (size_t i = 1; constant && i < 4; ++i) c.inputs[i].constant = true;
  return c;
}

inline Case gathered(const char* op, const Attrs& attrs, Dims x, Dims indices, int64_t below) {
  return {op, attrs, {few(std::move(x)), whole(DType::i64, std::move(indices), -below, below)}};
}

// Five regions of an image of 9 x 13, partly outside of it, in `columns` numbers each, the last four of a box.
inline Input boxes_of(int64_t columns) {
  const double boxes[][4] = {{1.25, 0.5, 10.75, 7}, {-3, -2, 4, 4}, {9, 5, 20, 17}, {8, 6, 2, 1}, {40, 40, 50, 50}};
  Input input = real({5, columns});
  for (int64_t i = 0; i < 5; ++i)
    for (int64_t j = 0; j < columns; ++j)
      input.value.set(i * columns + j, j < columns - 4 ? static_cast<double>(i % 2) : boxes[i][j - (columns - 4)]);
  return input;
}

inline const RowCase kOtherRows[] = {
    {"cuda.pointwise", kRowTypes,
     [](DType t) {
       return of_program(fmt::format("in0:{0}; cast:f32(0); in1:{0}; cast:f32(2); add:f32(1,3); cast:f32(4)", name(t)),
                         {few({3, 37, 80}), few({37, 1})});
     }},
    {"cuda.softmax", kFloats,
     [](DType) {
       return Case{"Softmax", along(1), {real({3, 777, 5})}};
     }},
    {"cuda.softmax", kFloats,
     [](DType) {
       return Case{"Softmax", along(-1), {real({37, 77})}};
     }},
    {"cuda.layer_norm_warp", kFloats,
     [](DType) {
       return layer_norm({37, 776}, 776);
     }},
    {"cuda.layer_norm", kFloats,
     [](DType) {
       return layer_norm({9, 777}, 777);
     }},
    {"cuda.reduce_columns", kFloats,
     [](DType) {
       return Case{"Reduce", {{"kind", std::string("mean")}}, {real({2, 23, 29, 40}), ints({1, 2})}, 1, 4};
     }},
    {"cuda.reduce_columns", kFloats,
     [](DType) {
       return Case{"Reduce", {{"kind", std::string("max")}}, {real({3, 700, 3}), ints({1})}};
     }},
    {"cuda.reduce", kFloats,
     [](DType) {
       return Case{"Reduce", {{"kind", std::string("log_sum_exp")}}, {real({9, 5, 301}), ints({0, 2})}, 1, 4};
     }},
    {"cuda.reduce_integers",
     {DType::i8},
     [](DType) {
       return Case{"Reduce", {{"kind", std::string("sum")}}, {whole(DType::i64, {7, 301, 3}, -4, 5), ints({1})}};
     }},
    {"cuda.group_norm_columns", kFloats,
     [](DType) {
       return Case{"GroupNorm",
                   {{"groups", int64_t{3}}, {"channels_last", true}},
                   {real({2, 15, 17, 48}), real({48}), real({48})},
                   1,
                   4};
     }},
    {"cuda.group_norm", kFloats,
     [](DType) {
       return Case{"GroupNorm",
                   {{"groups", int64_t{3}}, {"channels_last", false}},
                   {real({2, 12, 15, 13}), real({12}), real({12})},
                   1,
                   4};
     }},
    {"cuda.lrn", kFloats,
     [](DType) {
       return Case{"Lrn", {{"size", int64_t{5}}, {"alpha", 0.1}}, {real({2, 9, 13, 5})}, 1, 4};
     }},
    {"cuda.arg_reduce", kRowTypes,
     [](DType) {
       return Case{"ArgReduce", along(1), {few({3, 700, 5})}};
     }},
    {"cuda.top_k", kRowTypes,
     [](DType) {
       return Case{"TopK", along(1), {few({3, 700}), ints({50})}, 2};
     }},
    {"cuda.top_k", kRowTypes,
     [](DType) {
       return Case{"TopK", along(0), {few({9001}), ints({300})}, 1};
     }},
    {"cuda.cumulate", kRowTypes,
     [](DType) {
       return Case{"Cumulate",
                   {{"kind", std::string("sum")}, {"exclusive", true}, {"reverse", true}},
                   {few({3, 300, 2}), ints({1})}};
     }},
    {"cuda.pool", kRowTypes,
     [](DType) {
       return Case{"Pool", pool_of("max", 3, 2, 1), {few({2, 15, 14, 40})}};
     }},
    {"cuda.pool", kFloats,
     [](DType) {
       return Case{"Pool", pool_of("average", 3, 1, 1), {few({1, 9, 11, 6})}, 1, 4};
     }},
    {"cuda.max_unpool", kRowTypes,
     [](DType) {
       return Case{"MaxUnpool",
                   {{"kernel", Ints{2, 3}}, {"strides", Ints{2, 2}}, {"pads", Ints{0, 0, 0, 1}}},
                   {few({2, 3, 4, 5}), whole(DType::i64, {2, 3, 4, 5}, 0, 480)}};
     }},
    {"cuda.col2im", kFloats,
     [](DType) {
       return Case{"Col2Im",
                   {{"strides", Ints{2, 1}}, {"dilations", Ints{1, 2}}, {"pads", Ints{1, 0, 1, 2}}},
                   {few({3, 18, 15}), ints({5, 7}), ints({2, 3})}};
     }},
    {"cuda.transpose", kRowTypes,
     [](DType) {
       return Case{"Transpose", {{"perm", Ints{2, 0, 1}}}, {few({7, 37, 45})}};
     }},
    {"cuda.transpose", kRowTypes,
     [](DType) {
       return Case{"Transpose", {{"perm", Ints{1, 0, 2}}}, {few({7, 37, 48})}};
     }},
    {"cuda.expand", kRowTypes,
     [](DType) {
       return Case{"Expand", {}, {few({3, 1, 37}), ints({3, 11, 37})}};
     }},
    {"cuda.concat", kRowTypes,
     [](DType) {
       return Case{"Concat", along(1), {few({5, 3, 37}), few({5, 4, 37})}};
     }},
    {"cuda.split", kRowTypes,
     [](DType) {
       return Case{"Split", along(1), {few({5, 7, 37}), ints({3, 4})}, 2};
     }},
    {"cuda.gather", kRowTypes,
     [](DType) {
       return Case{"Gather", along(1), {few({5, 7, 37}), ints({-7, 6, 2})}};
     }},
    {"cuda.gather_indices", kRowTypes,
     [](DType) {
       return gathered("Gather", along(1), {5, 7, 37}, {2, 3}, 7);
     }},
    {"cuda.gather_elements", kRowTypes,
     [](DType) {
       return gathered("GatherElements", along(1), {9, 7, 37}, {9, 4, 30}, 7);
     }},
    {"cuda.gather_nd", kRowTypes,
     [](DType) {
       return gathered("GatherND", {{"batch_dims", int64_t{1}}}, {5, 7, 37}, {5, 9, 1}, 7);
     }},
    {"cuda.scatter", kRowTypes,
     [](DType) {
       Case c = gathered("ScatterND", {{"reduction", std::string("add")}}, {9, 37}, {20, 1}, 9);
       c.inputs.push_back(few({20, 37}));
       return c;
     }},
    {"cuda.slice", kRowTypes,
     [](DType) {
       return Case{"Slice", {}, {few({7, 37, 40}), ints({6, 3}), ints({0, 38}), ints({0, 2}), ints({-2, 1})}};
     }},
    {"cuda.pad", kRowTypes,
     [](DType) {
       return Case{"Pad", {{"mode", std::string("reflect")}}, {few({5, 17, 13}), ints({1, 2, 0, 2, 3, 5})}};
     }},
    {"cuda.tile", kRowTypes,
     [](DType) {
       return Case{"Tile", {}, {few({3, 17, 5}), ints({2, 1, 3})}};
     }},
    {"cuda.resize", kFloats,
     [](DType) {
       return Case{"Resize",
                   {{"mode", std::string("cubic")}},
                   {real({1, 3, 15, 17}), absent(), absent(), ints({1, 3, 23, 9})},
                   1,
                   4};
     }},
    {"cuda.grid_sample", kFloats,
     [](DType) {
       return Case{
           "GridSample", {{"mode", std::string("linear")}}, {real({2, 3, 5, 8}), real({2, 7, 16, 2}, 1.9)}, 1, 64};
     }},
    {"cuda.affine_grid", kFloats,
     [](DType) {
       return Case{"AffineGrid", {}, {real({2, 2, 3}), ints({2, 3, 15, 16})}, 1, 4};
     }},
    {"cuda.roi_align", kFloats,
     [](DType) {
       return Case{"RoiAlign",
                   {{"mode", std::string("avg")}, {"height", int64_t{3}}, {"width", int64_t{4}}},
                   {real({2, 3, 9, 13}), boxes_of(4), whole(DType::i64, {5}, 0, 2)},
                   1,
                   64};
     }},
    {"cuda.max_roi_pool", kFloats,
     [](DType) {
       return Case{"MaxRoiPool",
                   {{"height", int64_t{3}}, {"width", int64_t{2}}, {"spatial_scale", 0.7}},
                   {real({2, 3, 9, 13}), boxes_of(5)}};
     }},
    {"cuda.rnn", kFloats,
     [](DType) {
       return recurrent("lstm", 40, 33, {"sigmoid", "tanh", "tanh"}, true);
     }},
    {"cuda.rnn", kFloats,
     [](DType) {
       return recurrent("gru", 4, 12, {"sigmoid", "tanh"}, false);
     }},
    {"cuda.rnn", kFloats, [](DType) { return recurrent("rnn", 3, 70, {"tanh"}, true); }},
    {"cuda.quantize", kRowTypes,
     [](DType) {
       return Case{"Quantize",
                   {{"type", std::string("i8")}, {"axis", int64_t{1}}},
                   {few({3, 4, 75}), scales({0.01, 0.02, 0.5, 0.004})}};
     }},
    {"cuda.dequantize",
     {DType::i8},
     [](DType) {
       return Case{
           "Dequantize",
           {{"type", std::string("f32")}, {"axis", int64_t{1}}},
           {whole(DType::i8, {3, 4, 75}, -99, 99), scales({0.01, 0.02, 0.5, 0.004}), whole(DType::i8, {4}, 0, 9)},
           1,
           4};
     }},
};

}  // namespace hone
