#include "base/npy.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace hone {
namespace {

namespace fs = std::filesystem;

class Npy : public ::testing::Test {
 protected:
  void SetUp() override { path_ = (fs::temp_directory_path() / fmt::format("hone_npy.{}", getpid())).string(); }
  void TearDown() override { fs::remove(path_); }

  std::string bytes() const {
    std::ifstream in(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  Result<Tensor> read(const std::string& bytes) const {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes;
    return read_npy(path_);
  }

  std::string path_;
};

TEST_F(Npy, RoundTripsEveryType) {
  for (DType type : {DType::f32, DType::f64, DType::f16, DType::i8, DType::i16, DType::i32, DType::i64, DType::u8,
                     DType::u16, DType::u32, DType::u64, DType::boolean}) {
    for (const Dims& dims : {Dims{}, Dims{3}, Dims{2, 0, 4}, Dims{2, 3}}) {
      Tensor t(type, dims);
      for (int64_t i = 0; i < t.count(); ++i) t.set(i, static_cast<double>(i % 2));
      ASSERT_TRUE(write_npy(path_, t).ok());
      const auto back = read_npy(path_);
      ASSERT_TRUE(back.ok()) << back.status().message();
      EXPECT_EQ(*back, t) << name(type);
      EXPECT_EQ((bytes().size() - t.bytes()) % 64, 0u);
    }
  }
}

TEST_F(Npy, TypesWithoutAnEquivalentBecomeF32) {
  Tensor t(DType::bf16, {2});
  t.set(1, -1.5);
  ASSERT_TRUE(write_npy(path_, t).ok());
  const auto back = read_npy(path_);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->type(), DType::f32);
  EXPECT_EQ(back->to_doubles(), t.to_doubles());
  EXPECT_EQ(write_npy(path_, Tensor::strings({1}, {"a"})).code(), Code::unsupported);
}

TEST_F(Npy, DamagedFilesAreErrors) {
  ASSERT_TRUE(write_npy(path_, Tensor(DType::f32, {4, 5})).ok());
  const std::string good = bytes();
  for (size_t length = 0; length < good.size(); ++length) ASSERT_FALSE(read(good.substr(0, length)).ok()) << length;
  for (size_t at = 0; at < good.size() - 80; ++at)
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = good;
      changed[at] = static_cast<char>(changed[at] ^ (1 << bit));
      const auto tensor = read(changed);
      ASSERT_TRUE(!tensor.ok() || tensor->bytes() <= good.size());
    }
  std::string shape = good;
  shape.replace(shape.find("4, 5"), 4, "-4,5");
  EXPECT_FALSE(read(shape).ok());
  shape.replace(shape.find("-4,5"), 4, "9999");
  EXPECT_FALSE(read(shape).ok());
  std::string fortran = good;
  fortran.replace(fortran.find("False"), 5, "True ");
  EXPECT_EQ(read(fortran).status().code(), Code::unsupported);
}

TEST_F(Npy, WhateverIsNotZeroIsTrue) {
  ASSERT_TRUE(write_npy(path_, Tensor(DType::boolean, {3})).ok());
  std::string changed = bytes();
  changed.replace(changed.size() - 2, 2, "\x01\x80");
  const auto tensor = read(changed);
  ASSERT_TRUE(tensor.ok()) << tensor.status().message();
  const uint8_t want[] = {0, 1, 1};
  EXPECT_EQ(*tensor, Tensor::of<uint8_t>(DType::boolean, {3}, want));
}

}  // namespace
}  // namespace hone
