// A network of the ops that a GPU computes in any precision, small enough for the reference.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "ir/graph.h"

namespace hone::testing {

inline Tensor random_tensor(Dims dims, unsigned seed, float scale = 1) {
  Tensor t(DType::f32, std::move(dims));
  std::mt19937 random(seed);
  for (int64_t i = 0; i < t.count(); ++i)
    t.mutable_data<float>()[i] = scale * (static_cast<float>(random() % 2001) / 1000.0f - 1.0f);
  return t;
}

inline double signal_to_noise_db(const Tensor& got, const Tensor& want) {
  double signal = 0, noise = 0;
  for (int64_t i = 0; i < want.count(); ++i) {
    signal += want.at(i) * want.at(i);
    noise += (got.at(i) - want.at(i)) * (got.at(i) - want.at(i));
  }
  return 10 * std::log10(signal / noise);
}

inline ValueId add(Graph& g, const char* op, const Attrs& attrs, std::vector<ValueId> inputs) {
  auto made = make_op(op, attrs);
  EXPECT_TRUE(made.ok()) << op;
  const auto node = g.add_node(*made, std::move(inputs), 1, {op});
  EXPECT_TRUE(node.ok()) << op << ": " << node.status().message();
  return g.node(*node).outputs[0];
}

// Channels-last images of 8 KiB each, whose first layers hand on as much, and a softmax over the batch.
inline Graph batch_of_images(int64_t batch) {
  Graph g;
  ValueId v = g.add_input("x", {DType::f32, Shape::of(Dims{batch, 16, 16, 8})});
  for (const int64_t stride : {1, 2}) {
    const ValueId w = g.add_constant(random_tensor({8, 8, 3, 3}, 3, 0.2f), "w");
    v = add(g, "Conv",
            {{"strides", std::vector<int64_t>{stride, stride}},
             {"dilations", std::vector<int64_t>{1, 1}},
             {"pads", std::vector<int64_t>(4, 1)},
             {"channels_last", true}},
            {v, w});
    v = add(g, "Pointwise", {{"program", std::string("in0:f32; relu:f32(0)")}}, {v});
  }
  g.add_output(add(g, "Softmax", {{"axis", int64_t{0}}}, {v}), "y");
  return g;
}

// An image in channels-first order, two convolutions with a residual sum, pooling, a classifier and its softmax.
inline Graph small_network(float weight_scale = 0.3f) {
  Graph g;
  const ValueId x = g.add_input("x", {DType::f32, Shape::of(Dims{2, 3, 12, 12})});
  const auto conv = [&](ValueId from, int64_t cin, int64_t cout, int64_t size, unsigned seed) {
    return add(g, "Conv",
               {{"strides", std::vector<int64_t>{1, 1}},
                {"dilations", std::vector<int64_t>{1, 1}},
                {"pads", std::vector<int64_t>(4, size / 2)},
                {"channels_last", true}},
               {from, g.add_constant(random_tensor({cout, cin, size, size}, seed, weight_scale), "w"),
                g.add_constant(random_tensor({cout}, seed + 1), "b")});
  };
  const ValueId image = add(g, "Transpose", {{"perm", std::vector<int64_t>{0, 2, 3, 1}}}, {x});
  const ValueId stem = conv(image, 3, 16, 3, 1);
  const ValueId relu = add(g, "Pointwise", {{"program", std::string("in0:f32; relu:f32(0)")}}, {stem});
  const ValueId second = conv(relu, 16, 16, 3, 3);
  const ValueId sum =
      add(g, "Pointwise", {{"program", std::string("in0:f32; in1:f32; add:f32(0,1); silu:f32(2)")}}, {second, relu});
  const ValueId mean = add(g, "Reduce", {{"kind", std::string("mean")}},
                           {sum, g.add_constant(Tensor::vector(std::vector<int64_t>{1, 2}), "axes")});
  const ValueId flat =
      add(g, "Reshape", {}, {mean, g.add_constant(Tensor::vector(std::vector<int64_t>{2, 16}), "shape")});
  const ValueId logits = add(g, "MatMul", {}, {flat, g.add_constant(random_tensor({16, 8}, 5), "classifier")});
  g.add_output(add(g, "Softmax", {{"axis", int64_t{-1}}}, {logits}), "y");
  return g;
}

// A matrix product whose result, "product", is squared, "square", and read by a layer of as small weights: of a scale
// of 1 nothing is large, of 100 the squares are some 10^6.
inline Graph squaring_network(float scale) {
  Graph g;
  const ValueId x = g.add_input("x", {DType::f32, Shape::of(Dims{4, 16})});
  const ValueId product = add(g, "MatMul", {}, {x, g.add_constant(random_tensor({16, 32}, 1, scale), "w")});
  const ValueId square = add(g, "Pointwise", {{"program", std::string("in0:f32; square:f32(0)")}}, {product});
  g.set_name(product, "product");
  g.set_name(square, "square");
  const Tensor small = random_tensor({32, 8}, 2, 0.1f / (scale * scale));
  const ValueId sums = add(g, "MatMul", {}, {square, g.add_constant(small, "v")});
  g.add_output(add(g, "Pointwise", {{"program", std::string("in0:f32; tanh:f32(0)")}}, {sums}), "y");
  return g;
}

}  // namespace hone::testing
