#include "calibrate/held_back.h"

#include <gtest/gtest.h>

namespace hone::calibrate {
namespace {

// Rows of one number each: 0, 1, 2, ...
class Counting : public Batches {
 public:
  Counting(int64_t batches, int64_t rows) : batches_(batches), memory_(DType::f32, {rows, 1}) {}
  Result<std::optional<Batch>> next() override {
    if (batches_-- == 0) return std::optional<Batch>();
    for (int64_t i = 0; i < memory_.count(); ++i) memory_.mutable_data<float>()[i] = static_cast<float>(next_++);
    return std::optional(Batch{"counted", {memory_}});
  }

 private:
  int64_t batches_, next_ = 0;
  Tensor memory_;  // used again for each batch
};

const Input kInput{"x", {DType::f32, Shape({Dim::named("N"), Dim(1)})}};

struct Parted {
  std::vector<double> given, held;
  bool too_few = false;
};

Parted part(int64_t batches, int64_t rows) {
  Counting data(batches, rows);
  HoldingBack parted(data, {kInput});
  Parted result;
  for (;;) {
    const auto run = parted.next();
    EXPECT_TRUE(run.ok());
    if (!run.ok() || !*run) break;
    EXPECT_EQ((*run)->source, "counted");
    result.given.push_back((*run)->inputs[0].at(0));
  }
  for (const Tensors& run : parted.held()) result.held.push_back(run[0].at(0));
  result.too_few = parted.too_few();
  return result;
}

TEST(HoldingBack, EveryFourthSampleIsKeptBack) {
  for (const auto& [batches, rows] : {std::pair(13, 1), {1, 13}}) {
    const Parted got = part(batches, rows);
    EXPECT_EQ(got.given, (std::vector<double>{0, 1, 2, 4, 5, 6, 8, 9, 10, 12}));
    EXPECT_EQ(got.held, (std::vector<double>{3, 7, 11}));
    EXPECT_FALSE(got.too_few);
  }
}

TEST(HoldingBack, OfFewSamplesAllAreInBoth) {
  const Parted got = part(7, 1);
  EXPECT_EQ(got.given, (std::vector<double>{0, 1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(got.held, got.given);
  EXPECT_TRUE(got.too_few);
  EXPECT_TRUE(part(0, 1).held.empty());
}

Tensor row(std::vector<float> values, Dims dims) {
  return Tensor::of<float>(DType::f32, std::move(dims), std::span<const float>(values));
}

TEST(Fitted, RunsAreJoinedToTheEnginesBatch) {
  const std::vector<TensorType> inputs{{DType::f32, Shape::of(Dims{2, 2})}, {DType::f32, Shape::of(Dims{1})}};
  const Tensor shared = row({9}, {1});
  const std::vector<Tensors> runs{{row({1, 2}, {1, 2}), shared},
                                  {row({3, 4}, {1, 2}), shared},
                                  {row({0, 0, 0}, {1, 3}), shared},
                                  {row({5, 6}, {1, 2}), shared}};
  const auto got = fitted(runs, inputs);
  ASSERT_EQ(got.size(), 2u);
  EXPECT_EQ(got[0][0], row({1, 2, 3, 4}, {2, 2}));
  EXPECT_EQ(got[1][0], row({5, 6, 1, 2}, {2, 2}));
  EXPECT_EQ(got[0][1], shared);
}

TEST(Fitted, RunsThatFitStayAsTheyAre) {
  const std::vector<TensorType> inputs{{DType::f32, Shape::of(Dims{1, 2})}};
  const std::vector<Tensors> runs{{row({1, 2}, {1, 2})}, {row({3, 4}, {1, 2})}};
  EXPECT_EQ(fitted(runs, inputs).size(), 2u);
  const std::vector<TensorType> other{{DType::f32, Shape::of(Dims{1, 3})}};
  EXPECT_TRUE(fitted(runs, other).empty());
  EXPECT_TRUE(fitted({}, inputs).empty());
}

}  // namespace
}  // namespace hone::calibrate
