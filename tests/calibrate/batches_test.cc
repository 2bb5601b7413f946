#include "calibrate/batches.h"

#include <stb_image_write.h>
#include <zip.h>

#include <cmath>
#include <fstream>

#include "base/npy.h"
#include "calibrate/noise.h"
#include "calibrate/pieces.h"
#include "folder_test.h"
#include "import/model_builder.h"

namespace hone::calibrate {
namespace {

namespace fs = std::filesystem;

Tensor counting(Dims dims) {
  Tensor t(DType::f32, std::move(dims));
  for (int64_t i = 0; i < t.count(); ++i) t.set(i, static_cast<double>(i));
  return t;
}

std::vector<Input> inputs(std::initializer_list<std::pair<const char*, const char*>> list) {
  std::vector<Input> all;
  for (const auto& [name, type] : list) all.push_back({name, *type_from_text(type)});
  return all;
}

class Data : public testing::FolderTest {
 protected:
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  void npy(const std::string& name, const Tensor& value) const { ASSERT_TRUE(write_npy(path(name), value).ok()); }
  void text(const std::string& name, std::string_view content) const {
    std::ofstream(path(name), std::ios::binary) << content;
  }

  void npz(const std::string& name, const std::map<std::string, Tensor>& arrays) const {
    int error = 0;
    zip_t* zip = zip_open(path(name).c_str(), ZIP_CREATE | ZIP_TRUNCATE, &error);
    ASSERT_NE(zip, nullptr);
    for (const auto& [key, value] : arrays) {
      const std::string file = path(key + ".array");
      ASSERT_TRUE(write_npy(file, value).ok());
      zip_file_add(zip, (key + ".npy").c_str(), zip_source_file(zip, file.c_str(), 0, 0), 0);
    }
    ASSERT_EQ(zip_close(zip), 0);
  }

  // All batches, or the first error.
  Result<std::vector<Batch>> read(const std::string& data, const std::vector<Input>& in,
                                  std::optional<Preprocess> how = {}) const {
    HONE_TRY(const auto batches, open_data(data, path("model.onnx"), in, how));
    std::vector<Batch> all;
    for (;;) {
      HONE_TRY(auto batch, batches->next());
      if (!batch) return all;
      all.push_back(std::move(*batch));
    }
  }
  void refuses(const std::string& data, const std::vector<Input>& in, const std::vector<std::string>& words,
               std::optional<Preprocess> how = {}) const {
    const auto batches = read(data, in, how);
    ASSERT_FALSE(batches.ok());
    EXPECT_EQ(batches.status().message().find('\n'), std::string::npos);
    for (const auto& word : words)
      EXPECT_NE(batches.status().message().find(word), std::string::npos) << batches.status().message();
  }
};

TEST_F(Data, ArraysInTheOrderOfTheirNames) {
  npy("b.npy", counting({2, 3}));
  npy("a.npy", counting({1, 3}));
  text("readme.txt", "not data");
  const auto in = inputs({{"x", "f32[N,3]"}});
  const auto batches = read(folder_.string(), in);
  ASSERT_TRUE(batches.ok()) << batches.status().message();
  ASSERT_EQ(batches->size(), 2u);
  EXPECT_EQ((*batches)[0].source, path("a.npy"));
  EXPECT_EQ((*batches)[1].inputs[0], counting({2, 3}));
  EXPECT_EQ(read(path("b.npy"), in)->size(), 1u);
}

TEST_F(Data, ArchivesHoldOneArrayForEachInput) {
  npz("one.npz", {{"y", counting({2})}, {"x", counting({1, 3})}, {"label", counting({7})}});
  const auto batches = read(path("one.npz"), inputs({{"x", "f32[N,3]"}, {"y", "f32[2]"}}));
  ASSERT_TRUE(batches.ok()) << batches.status().message();
  ASSERT_EQ((*batches)[0].inputs.size(), 2u);
  EXPECT_EQ((*batches)[0].inputs[0], counting({1, 3}));
  EXPECT_EQ((*batches)[0].inputs[1], counting({2}));
  refuses(path("one.npz"), inputs({{"z", "f32[N,3]"}}), {"one.npz", "'z'"});
}

TEST_F(Data, OnnxTestData) {
  testing::ModelBuilder m;
  m.input("x", {2, 3});
  m.node("Relu", {"x"}, {"y"});
  m.output("y");
  text("model.onnx", m.bytes());
  for (const char* set : {"test_data_set_0", "test_data_set_1"}) {
    fs::create_directory(folder_ / set);
    testing::ModelBuilder value;
    text(std::string(set) + "/input_0.pb", value.weight("t", {2, 3}).SerializeAsString());
  }
  const auto in = inputs({{"x", "f32[2,3]"}});
  const auto batches = read(folder_.string(), in);
  ASSERT_TRUE(batches.ok()) << batches.status().message();
  EXPECT_EQ(batches->size(), 2u);
  EXPECT_EQ((*batches)[1].inputs[0].at(0), -3);
  EXPECT_EQ(read(path("test_data_set_0"), in)->size(), 1u);
  text("test_data_set_1/input_0.pb", "\xff\xff\xff");
  refuses(folder_.string(), in, {"test_data_set_1/input_0.pb"});
}

TEST_F(Data, WhatIsNoDataIsRefused) {
  const auto in = inputs({{"x", "f32[N,3]"}});
  refuses(path("missing"), in, {"missing", "no such"});
  refuses(folder_.string(), in, {"no calibration data"});
  text("a.npy", "\x93NUMPY cut");
  refuses(folder_.string(), in, {"a.npy"});
  refuses(path("a.npy"), inputs({{"x", "f32[1]"}, {"y", "f32[1]"}}), {"2 inputs", ".npz"});
  text("b.npz", "PK\x03\x04 cut");
  refuses(folder_.string(), in, {"both", ".npy", ".npz"});
  refuses(path("b.npz"), in, {"b.npz", "not an .npz"});
  text("c.txt", "");
  refuses(path("c.txt"), in, {"c.txt", "not calibration data"});
}

TEST_F(Data, ArchivesThatAreDamaged) {
  npz("good.npz", {{"x", counting({1, 300})}});
  std::ifstream in(path("good.npz"), std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string changed = bytes;
    changed[at] = static_cast<char>(changed[at] ^ 0x55);
    text("bad.npz", changed);
    const auto read_back = read(path("bad.npz"), inputs({{"x", "f32[N,300]"}}));  // an error or an array, never a crash
    if (!read_back.ok()) {
      EXPECT_NE(read_back.status().message().find("bad.npz"), std::string::npos);
    }
    text("bad.npz", bytes.substr(0, at));
    EXPECT_FALSE(read(path("bad.npz"), inputs({{"x", "f32[N,300]"}})).ok());
  }
}

TEST_F(Data, ArchivesThatClaimMoreThanTheyCanHold) {
  npz("good.npz", {{"x", counting({1, 300})}});
  std::ifstream in(path("good.npz"), std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), {}};
  const size_t entry = bytes.find("PK\x01\x02"), sizes = entry + 20;  // in the directory: packed, then unpacked
  ASSERT_LT(sizes + 8, bytes.size());
  bytes.replace(sizes, 8, "\xf0\xff\xff\x7f\xf0\xff\xff\x7f", 8);
  text("bad.npz", bytes);
  refuses(path("bad.npz"), inputs({{"x", "f32[N,300]"}}), {"bad.npz", "damaged"});
}

// 4 wide, 2 high: red grows to the right, green is 10 in the lower row, blue is 7.
class Images : public Data {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(FolderTest::SetUp());
    std::vector<uint8_t> pixels;
    for (int y = 0; y < 2; ++y)
      for (int x = 0; x < 4; ++x)
        pixels.insert(pixels.end(), {static_cast<uint8_t>(50 * x), static_cast<uint8_t>(10 * y), 7});
    ASSERT_NE(stbi_write_png(path("photo.png").c_str(), 4, 2, 3, pixels.data(), 12), 0);
  }
};

TEST_F(Images, AreDecodedInTheLayoutOfTheModel) {
  const auto first = read_image(path("photo.png"), {}, *type_from_text("f32[N,3,2,4]"));
  ASSERT_TRUE(first.ok()) << first.status().message();
  EXPECT_EQ(first->dims(), (Dims{1, 3, 2, 4}));
  EXPECT_EQ(first->at(3), 150);
  EXPECT_EQ(first->at(8 + 4), 10);
  EXPECT_EQ(first->at(16), 7);
  const auto how = preprocess_from_text("bgr,scale=1/5,mean=1:2:3,std=2");
  ASSERT_TRUE(how.ok()) << how.status().message();
  const auto last = read_image(path("photo.png"), *how, *type_from_text("f32[N,2,4,3]"));
  ASSERT_TRUE(last.ok()) << last.status().message();
  EXPECT_FLOAT_EQ(static_cast<float>(last->at(3 * 3)), static_cast<float>((7.0 / 5 - 1) / 2));
  EXPECT_FLOAT_EQ(static_cast<float>(last->at(3 * 3 + 2)), static_cast<float>((150.0 / 5 - 3) / 2));
}

TEST_F(Images, AreResizedOrCut) {
  const auto stretched =
      read_image(path("photo.png"), *preprocess_from_text("resize"), *type_from_text("f32[1,3,4,4]"));
  ASSERT_TRUE(stretched.ok()) << stretched.status().message();
  EXPECT_EQ(stretched->at(2 * 16 + 5), 7);
  const auto middle = read_image(path("photo.png"), *preprocess_from_text("short=2"), *type_from_text("f32[1,3,2,2]"));
  ASSERT_TRUE(middle.ok()) << middle.status().message();
  EXPECT_EQ(middle->at(0), 50);
  EXPECT_EQ(middle->at(1), 100);
}

TEST_F(Images, ThatDoNotFitAreRefused) {
  const auto in = inputs({{"x", "f32[N,3,2,4]"}});
  EXPECT_EQ(read(folder_.string(), in, Preprocess{})->size(), 1u);
  refuses(folder_.string(), in, {"photo.png", "--preprocess"});
  refuses(folder_.string(), inputs({{"x", "f32[N,3,8,8]"}}), {"photo.png", "2x4", "8x8", "resize"}, Preprocess{});
  refuses(folder_.string(), inputs({{"x", "f32[N,3,8,8]"}}), {"photo.png", "shorter side", "8x8"},
          Preprocess{.short_side = 4});
  refuses(folder_.string(), inputs({{"x", "f32[N,3,H,W]"}}), {"photo.png", "--shape"}, Preprocess{});
  refuses(folder_.string(), inputs({{"x", "f32[N,10]"}}), {"photo.png", "f32[N,10]"}, Preprocess{});
  for (std::string_view other : {"no photograph", "GIF89a", "BM", "P6 9 0 255\n"}) {
    text("photo.png", other);
    refuses(folder_.string(), in, {"photo.png", "decoded"}, Preprocess{});
  }
  constexpr std::string_view kChunkOfTwoLines(
      "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x09\0\0\0\x06\x08\x02\0\0\0....\0\0\0\0A\nBC", 41);
  text("photo.png", kChunkOfTwoLines);
  refuses(folder_.string(), in, {"photo.png", "A?BC"}, Preprocess{});
}

TEST_F(Images, OfMorePixelsThanTheyCanHoldAreRefused) {
  const auto in = inputs({{"x", "f32[N,3,2,4]"}});
  text("photo.png", "P6 16000 16000 255\n");
  refuses(folder_.string(), in, {"photo.png", "16000x16000", "too many"}, Preprocess{.resize = true});
  text("photo.png", "P5 300 1 255\n");
  refuses(folder_.string(), in, {"photo.png", "300x1", "too many"}, Preprocess{.resize = true});
  text("photo.png", "P5 1 70000 255\n" + std::string(70000, 'x'));
  for (const Preprocess& how : {Preprocess{.short_side = 5}, Preprocess{.resize = true}})
    refuses(folder_.string(), in, {"photo.png", "1x70000", "too many"}, how);
}

TEST(PreprocessText, WordsAndPresets) {
  const auto how = preprocess_from_text("imagenet");
  ASSERT_TRUE(how.ok()) << how.status().message();
  EXPECT_EQ(how->short_side, 256);
  EXPECT_DOUBLE_EQ(how->scale, 1.0 / 255);
  EXPECT_EQ(how->mean[2], 0.406);
  EXPECT_EQ(*preprocess_from_text("signed,resize"),
            (Preprocess{.resize = true, .scale = 1.0 / 255, .mean = {0.5, 0.5, 0.5}, .std = {0.5, 0.5, 0.5}}));
  for (const char* bad : {"", "blur", "short", "short=0", "short=x", "scale=0", "mean=1:2", "std=0", "resize=3",
                          "imagenet,resize", "scale=1/"})
    EXPECT_FALSE(preprocess_from_text(bad).ok()) << bad;
}

Result<Pieces> pieces(std::vector<Tensor> values, const std::vector<Input>& in, int64_t rows = 1) {
  return cut({"data.npz", std::move(values)}, in, rows);
}

TEST(Cut, ArraysIntoRuns) {
  const auto open = inputs({{"x", "f32[N,3]"}, {"y", "f32[N]"}});
  const auto one = pieces({counting({5, 3}), counting({5})}, open);
  ASSERT_TRUE(one.ok()) << one.status().message();
  ASSERT_EQ(one->runs.size(), 5u);
  EXPECT_EQ(one->samples, 5);
  EXPECT_EQ(one->runs[2][0].at(0), 6);
  EXPECT_EQ(one->runs[2][1].at(0), 2);
  const auto two = pieces({counting({5, 3}), counting({5})}, open, 2);
  ASSERT_EQ(two->runs.size(), 3u);
  EXPECT_EQ(two->runs[2][0].dims(), (Dims{1, 3}));
  EXPECT_EQ(pieces({counting({5, 3}), counting({5})}, open, 0)->runs.size(), 1u);
  EXPECT_EQ(pieces({counting({6, 3})}, inputs({{"x", "f32[2,3]"}}))->runs.size(), 3u);
  // A state beside the samples: whole, since it has other rows.
  EXPECT_EQ(pieces({counting({5, 3}), counting({2, 5})}, inputs({{"x", "f32[N,3]"}, {"s", "f32[2,N]"}}))->runs.size(),
            1u);
  // One sample without its leading dim.
  EXPECT_EQ(pieces({counting({3})}, inputs({{"x", "f32[N,3]"}}))->runs[0][0].dims(), (Dims{1, 3}));
}

TEST(Cut, WhatDoesNotFitIsRefused) {
  const auto refuses = [](std::vector<Tensor> values, const std::vector<Input>& in,
                          const std::vector<std::string>& words) {
    const auto got = pieces(std::move(values), in);
    ASSERT_FALSE(got.ok());
    for (const auto& word : words)
      EXPECT_NE(got.status().message().find(word), std::string::npos) << got.status().message();
  };
  const auto x = inputs({{"x", "f32[N,3]"}});
  refuses({counting({2, 4})}, x, {"data.npz", "'x'", "f32[2,4]", "f32[N,3]"});
  refuses({Tensor(DType::f64, {2, 3})}, x, {"'x'", "f64[2,3]", "convert"});
  refuses({counting({5, 3})}, inputs({{"x", "f32[2,3]"}}), {"'x'", "5 rows", "2 at a time"});
  refuses({counting({0, 3})}, x, {"'x'", "no rows"});
  refuses({}, x, {"0 of the model's 1"});
  Tensor bad = counting({2, 3});
  bad.set(4, NAN);
  refuses({bad}, x, {"data.npz", "'x'", "nan", "element 4"});
  bad.set(4, INFINITY);
  refuses({bad}, x, {"'x'", "inf"});
}

TEST(NoiseTest, TellsNoiseFromData) {
  NoiseTest noise, gradient, few;
  uint64_t state = 1;
  for (int sample = 0; sample < 20; ++sample) {
    Tensor random(DType::f32, {1, 3, 16, 16}), smooth(DType::f32, {1, 3, 16, 16});
    for (int64_t i = 0; i < random.count(); ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      random.set(i, static_cast<double>(state >> 40) * 0x1p-24);
      smooth.set(i, static_cast<double>(i % 16) + random.at(i));
    }
    noise.observe(random);
    gradient.observe(smooth);
    if (sample == 0) few.observe(counting({2, 3}));
  }
  EXPECT_TRUE(noise.looks_random());
  EXPECT_FALSE(gradient.looks_random());
  EXPECT_FALSE(few.looks_random());
  NoiseTest constant;
  constant.observe(Tensor(DType::f32, {1, 3, 40, 40}));
  EXPECT_FALSE(constant.looks_random());
}

}  // namespace
}  // namespace hone::calibrate
