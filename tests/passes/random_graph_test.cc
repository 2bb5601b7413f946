#include <cmath>
#include <random>

#include "expect_pass.h"
#include "ops/conv.h"
#include "ops/matmul.h"
#include "ops/movement.h"
#include "ops/norm.h"
#include "ops/pointwise.h"
#include "ops/pool.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "passes/pipeline.h"

namespace hone {
namespace {

// Grows a graph of small rank-4 (and what comes of them) values by random nodes.
class Grower {
 public:
  explicit Grower(unsigned seed) : random_(seed) {
    for (int i = 0; i < 2; ++i)
      values_.push_back(graph_.add_input(fmt::format("x{}", i), {DType::f32, Shape({Dim(2), Dim(3), Dim(4), Dim(4)})}));
  }

  Graph grow(int nodes) {
    for (int tries = 0; nodes > 0 && tries < 200; ++tries) nodes -= step();
    for (int i = 0; i < 3; ++i)
      graph_.add_output(values_[values_.size() - 1 - static_cast<size_t>(i)], fmt::format("y{}", i));
    return std::move(graph_);
  }

  Tensor tensor(Dims dims) {
    Tensor t(DType::f32, std::move(dims));
    std::uniform_real_distribution<double> numbers(-1, 1);
    for (int64_t i = 0; i < t.count(); ++i) t.set(i, numbers(random_));
    return t;
  }

 private:
  size_t below(size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random_); }
  ValueId pick() { return values_[values_.size() - 1 - below(std::min<size_t>(values_.size(), 5))]; }
  Dims dims(ValueId v) const { return *graph_.type(v).shape.concrete(); }

  bool add(Op op, std::vector<ValueId> inputs, size_t outputs = 1) {
    const auto node = graph_.add_node(std::move(op), std::move(inputs), outputs, {fmt::format("n{}", values_.size())});
    if (!node.ok()) return false;
    for (ValueId v : graph_.node(*node).outputs) {
      if (element_count(dims(v)) > 4096) return false;
      values_.push_back(v);
    }
    return true;
  }

  bool unary(ValueId x) {
    static constexpr Fn kFns[] = {Fn::relu, Fn::sigmoid, Fn::tanh, Fn::neg, Fn::square, Fn::silu};
    return add(Pointwise{single(kFns[below(std::size(kFns))], DType::f32, DType::f32)}, {x});
  }
  bool binary(ValueId x) {
    static constexpr Fn kFns[] = {Fn::add, Fn::sub, Fn::mul, Fn::max};
    Dims d = dims(x);
    ValueId y = pick();
    if (below(2) == 0) {
      for (int64_t& n : d)
        if (below(2) == 0) n = 1;
      if (!d.empty() && below(3) == 0) d.erase(d.begin());
      y = graph_.add_constant(tensor(d));
    }
    return add(Pointwise{single(kFns[below(std::size(kFns))], DType::f32, DType::f32)}, {x, y});
  }
  bool conv(ValueId x) {
    const Dims d = dims(x);
    if (d.size() != 4 && d.size() != 3) return false;
    const size_t spatial = d.size() - 2;
    const int64_t k = 1 + 2 * static_cast<int64_t>(below(2)), out = 1 + static_cast<int64_t>(below(4));
    Dims w{out, d[1]};
    w.insert(w.end(), spatial, k);
    Conv op{.strides = std::vector<int64_t>(spatial, 1), .dilations = std::vector<int64_t>(spatial, 1),
            .pads = std::vector<int64_t>(2 * spatial, k / 2)};
    std::vector<ValueId> inputs{x, graph_.add_constant(tensor(w))};
    if (below(2) == 0) inputs.push_back(graph_.add_constant(tensor({out})));
    return add(op, inputs);
  }
  bool pool(ValueId x) {
    const size_t rank = dims(x).size();
    if (rank != 4) return false;
    return add(Pool{.kind = below(2) ? "max" : "average", .kernel = {2, 2}, .strides = {1, 1}, .dilations = {1, 1},
                    .pads = {0, 0, 1, 1}}, {x});
  }
  bool matmul(ValueId x) {
    const Dims d = dims(x);
    if (d.size() < 2) return false;
    std::vector<ValueId> inputs{x, graph_.add_constant(tensor({d.back(), 1 + static_cast<int64_t>(below(4))}))};
    return add(MatMul{}, inputs);
  }
  bool transpose(ValueId x) {
    const size_t rank = dims(x).size();
    std::vector<int64_t> perm(rank);
    for (size_t i = 0; i < rank; ++i) perm[i] = static_cast<int64_t>(i);
    if (rank == 4 && below(2) == 0)
      perm = below(2) ? std::vector<int64_t>{0, 3, 1, 2} : std::vector<int64_t>{0, 2, 3, 1};
    else std::shuffle(perm.begin(), perm.end(), random_);
    return rank > 0 && add(Transpose{perm}, {x});
  }
  bool reduce(ValueId x) {
    const size_t rank = dims(x).size();
    if (rank == 0) return false;
    std::vector<int64_t> axes{static_cast<int64_t>(below(rank))};
    if (rank == 4 && below(2) == 0) axes = {2, 3};
    return add(Reduce{.kind = below(2) ? "mean" : "max", .keep_dims = below(3) != 0},
               {x, graph_.add_constant(Tensor::vector(axes))});
  }
  bool axis_op(ValueId x) {
    const size_t rank = dims(x).size();
    if (rank == 0) return false;
    const auto axis = static_cast<int64_t>(below(rank));
    if (below(2) == 0) return add(Softmax{.axis = axis}, {x});
    if (below(2) == 0) return add(Concat{.axis = axis}, {x, pick()});
    return dims(x)[static_cast<size_t>(axis)] >= 2 && add(Split{.axis = axis}, {x}, 2);
  }
  bool pad(ValueId x) {
    const Dims d = dims(x);
    std::vector<int64_t> pads(2 * d.size(), 0);
    for (int64_t& p : pads) p = static_cast<int64_t>(below(2));
    return !d.empty() && add(Pad{}, {x, graph_.add_constant(Tensor::vector(pads))});
  }
  bool flatten(ValueId x) {
    Dims d = dims(x);
    if (d.size() < 2) return false;
    d[d.size() - 2] *= d.back();
    d.pop_back();
    return add(Reshape{}, {x, graph_.add_constant(Tensor::vector(d))});
  }

  bool step() {
    const ValueId x = pick();
    switch (below(13)) {
      case 0:
      case 1: return unary(x);
      case 2:
      case 3: return binary(x);
      case 4:
      case 5: return conv(x);
      case 6: return pool(x);
      case 7: return matmul(x);
      case 8: return transpose(x);
      case 9: return reduce(x);
      case 10: return axis_op(x);
      case 11: return pad(x);
      default: return flatten(x);
    }
  }

  std::mt19937 random_;
  Graph graph_;
  std::vector<ValueId> values_;
};

void expect_near(const Tensor& a, const Tensor& b, const std::string& where) {
  ASSERT_EQ(a.dims(), b.dims()) << where;
  for (int64_t i = 0; i < a.count(); ++i)
    ASSERT_NEAR(a.at(i), b.at(i), 1e-4 * std::max(1.0, std::fabs(a.at(i)))) << where;
}

TEST(RandomGraphs, OptimisedAgreesWithUnoptimised) {
  for (unsigned seed = 0; seed < 400; ++seed) {
    Grower grower(seed);
    const Graph graph = grower.grow(4 + static_cast<int>(seed % 12));
    const Tensors inputs{grower.tensor({2, 3, 4, 4}), grower.tensor({2, 3, 4, 4})};
    const auto expected = interpret(graph, inputs);
    ASSERT_TRUE(expected.ok()) << expected.status().message() << "\n" << to_text(graph);
    Graph optimised = graph;
    for (const auto stage : {canonicalize, assign_layout, fuse}) {
      const Status status = stage(optimised, {.verify = true});
      ASSERT_TRUE(status.ok()) << "seed " << seed << ": " << status.message() << "\n" << to_text(graph);
      const auto actual = interpret(optimised, inputs);
      ASSERT_TRUE(actual.ok()) << "seed " << seed << ": " << actual.status().message() << "\n" << to_text(optimised);
      for (size_t i = 0; i < expected->size(); ++i) {
        expect_near((*expected)[i], (*actual)[i], fmt::format("seed {} output {}", seed, i));
        if (::testing::Test::HasFatalFailure()) {
          ADD_FAILURE() << to_text(graph) << "became\n" << to_text(optimised);
          return;
        }
      }
    }
  }
}

TEST(RandomGraphs, ASecondRunChangesNothing) {
  for (unsigned seed = 0; seed < 100; ++seed) {
    Graph graph = Grower(seed).grow(12);
    for (const auto stage : {canonicalize, assign_layout, fuse}) ASSERT_TRUE(stage(graph, {}).ok());
    const std::string before = to_text(graph);
    int changes = 0;
    PassOptions options;
    options.log = [&](const PassLog& log) { changes += log.changes; };
    ASSERT_TRUE(assign_layout(graph, options).ok());
    ASSERT_TRUE(fuse(graph, options).ok());
    EXPECT_EQ(changes, 0) << "seed " << seed << "\n" << before << "became\n" << to_text(graph);
  }
}

TEST(Manager, StopsAfterSoManyChanges) {
  for (int limit : {0, 1, 2, 5}) {
    Graph graph = Grower(7).grow(12);
    int changes = 0;
    PassOptions options{.max_changes = limit};
    options.log = [&](const PassLog& log) { changes += log.changes; };
    ASSERT_TRUE(canonicalize(graph, options).ok());
    EXPECT_LE(changes, limit);
  }
}

}  // namespace
}  // namespace hone
