// A network to calibrate, and data for it from memory.
#pragma once

#include <fstream>
#include <random>

#include "calibrate/calibrate.h"
#include "folder_test.h"
#include "import/model_builder.h"

namespace hone::calibrate {

// Batches from memory.
class Given : public Batches {
 public:
  explicit Given(std::vector<std::vector<Tensor>> data) : data_(std::move(data)) {}
  size_t count() const override { return data_.size(); }
  Result<std::optional<Batch>> next() override {
    if (next_ == data_.size()) return std::optional<Batch>();
    const size_t k = next_++;
    return std::optional(Batch{fmt::format("sample {}", k), data_[k]});
  }

 private:
  std::vector<std::vector<Tensor>> data_;
  size_t next_ = 0;
};

inline Tensor random(Dims dims, uint64_t seed, float scale = 1) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<float> normal(0, scale);
  Tensor t(DType::f32, std::move(dims));
  for (int64_t i = 0; i < t.count(); ++i) t.mutable_data<float>()[i] = normal(engine);
  return t;
}

inline Tensor joined(std::span<const Tensor> parts) {
  Dims dims = parts[0].dims();
  dims[0] = static_cast<int64_t>(parts.size());
  Tensor all(DType::f32, dims);
  for (size_t k = 0; k < parts.size(); ++k)
    std::copy_n(parts[k].data<float>(), parts[k].count(),
                all.mutable_data<float>() + static_cast<int64_t>(k) * parts[k].count());
  return all;
}

class ResidualBlock : public testing::FolderTest {
 protected:
  // A residual block, pooled and classified; N is open.
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(FolderTest::SetUp());
    testing::ModelBuilder m;
    m.input("x", {1, 3, 8, 8});
    m.graph().mutable_input(0)->mutable_type()->mutable_tensor_type()->mutable_shape()->mutable_dim(0)->set_dim_param(
        "N");
    m.weight("w1", {4, 3, 1, 1});
    m.weight("w2", {4, 4, 1, 1});
    m.weight("w3", {4, 5});
    m.node("Conv", {"x", "w1"}, {"c1"});
    m.node("Relu", {"c1"}, {"r1"});
    m.node("Conv", {"r1", "w2"}, {"c2"});
    m.node("Add", {"c2", "r1"}, {"sum"});
    m.node("GlobalAveragePool", {"sum"}, {"pooled"});
    m.node("Flatten", {"pooled"}, {"flat"});
    m.node("MatMul", {"flat", "w3"}, {"y"});
    m.output("y");
    save(m);
    for (uint64_t k = 0; k < 12; ++k) samples_.push_back(random({1, 3, 8, 8}, k, 1 + static_cast<float>(k)));
  }
  void save(const testing::ModelBuilder& m) const { std::ofstream(path_(), std::ios::binary) << m.bytes(); }
  // Another network: a convolution of one channel, of any number of images of any size.
  void save_convolution_of_open_dims() const {
    testing::ModelBuilder m;
    m.input("x", {1, 1, 1, 1});
    for (int axis : {0, 2, 3})
      m.graph()
          .mutable_input(0)
          ->mutable_type()
          ->mutable_tensor_type()
          ->mutable_shape()
          ->mutable_dim(axis)
          ->set_dim_param("d" + std::to_string(axis));
    m.weight("w", {4, 1, 1, 1});
    m.node("Conv", {"x", "w"}, {"y"});
    m.output("y");
    save(m);
  }
  // Images for it.
  static std::vector<std::vector<Tensor>> squares(const std::vector<int64_t>& sides) {
    std::vector<std::vector<Tensor>> data;
    for (int64_t side : sides) data.push_back({random({1, 1, side, side}, static_cast<uint64_t>(side))});
    return data;
  }
  std::string path_() const { return (folder_ / "net.onnx").string(); }

  Result<Report> run(std::vector<std::vector<Tensor>> data, Options options = {}) const {
    options.compile.target = target_;
    if (options.compile.threads == 0) options.compile.threads = 1;
    Given batches(std::move(data));
    return calibrate(path_(), batches, options);
  }
  std::vector<std::vector<Tensor>> batches_of(size_t size) const {
    std::vector<std::vector<Tensor>> data;
    for (size_t k = 0; k < samples_.size(); k += size) data.push_back({joined(std::span(samples_).subspan(k, size))});
    return data;
  }
  static const TensorReport& tensor(const Report& report, std::string_view name) {
    return *std::ranges::find(report.tensors, name, &TensorReport::name);
  }
  // One line that has all the words.
  void refuses(const Result<Report>& got, const std::vector<std::string>& words) const {
    ASSERT_FALSE(got.ok());
    EXPECT_EQ(got.status().message().find('\n'), std::string::npos) << got.status().message();
    for (const auto& word : words)
      EXPECT_NE(got.status().message().find(word), std::string::npos) << got.status().message();
  }

  std::string target_ = "cpu";
  std::vector<Tensor> samples_;
};

}  // namespace hone::calibrate
