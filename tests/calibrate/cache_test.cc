#include "calibrate/cache.h"

#include <fstream>

#include "folder_test.h"

namespace hone::calibrate {
namespace {

class Cache : public testing::FolderTest {
 protected:
  std::string write(const char* name, std::string_view text) const {
    const std::string path = (folder_ / name).string();
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }
  void refuses(std::string_view text, const std::vector<std::string>& words) const {
    const auto table = read_cache(write("broken", text));
    ASSERT_FALSE(table.ok()) << text;
    EXPECT_EQ(table.status().code(), Code::invalid);
    EXPECT_EQ(table.status().message().find('\n'), std::string::npos);
    for (const auto& word : words)
      EXPECT_NE(table.status().message().find(word), std::string::npos) << table.status().message();
    EXPECT_NE(table.status().message().find("broken"), std::string::npos);
  }
};

RangeTable table() { return {"entropy", {{"x", -2.5, 128}, {"a: b [Constant]", -1, 0.1f}, {"Ünï \"c\"", 0, 3e-5f}}}; }

TEST_F(Cache, TensorRtsOwnTextIsReadAndWritten) {
  // 0x3f810204 is 128 / 127 in fp32.
  const std::string text =
      "TRT-8601-EntropyCalibration2\nx: 3f810204\n(Unnamed Layer* 48) [Constant]_output: 3c010204\n";
  const auto read = read_cache(write("trt.cache", text));
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->calibrator, "entropy");
  ASSERT_EQ(read->ranges.size(), 2u);
  EXPECT_EQ(read->ranges[0].name, "x");
  EXPECT_NEAR(read->ranges[0].threshold(), 128, 1e-5);
  EXPECT_EQ(read->ranges[1].name, "(Unnamed Layer* 48) [Constant]_output");
  EXPECT_EQ(write_tensorrt(*read), text);
}

TEST_F(Cache, BothFormatsKeepWhatTheyCan) {
  for (const CacheFormat& format : cache_formats()) {
    const std::string first = (folder_ / "first").string(), second = (folder_ / "second").string();
    ASSERT_TRUE(write_cache(table(), first, format).ok());
    const auto read = read_cache(first);
    ASSERT_TRUE(read.ok()) << read.status().message();
    ASSERT_EQ(read->ranges.size(), table().ranges.size());
    for (size_t i = 0; i < read->ranges.size(); ++i) {
      const TensorRange want = table().ranges[i];
      EXPECT_EQ(read->ranges[i].name, want.name);
      EXPECT_NEAR(read->ranges[i].threshold(), want.threshold(), want.threshold() * 1e-7);
    }
    EXPECT_EQ(read->calibrator, "entropy");
    ASSERT_TRUE(write_cache(*read, second, format).ok());
    EXPECT_EQ(format.write(*read), format.write(table()));
  }
  EXPECT_EQ(read_onnxruntime(write_onnxruntime(table()))->ranges, table().ranges);
  EXPECT_EQ(cache_format_for("a.json").name, "onnxruntime");
  EXPECT_EQ(cache_format_for("a.cache").name, "tensorrt");
}

TEST_F(Cache, MagnitudesOfChannelsAreKeptWhereTheFormatHasRoom) {
  RangeTable channels = table();
  channels.ranges[1].channels = {0.1, 0, 0.05};
  EXPECT_EQ(read_onnxruntime(write_onnxruntime(channels))->ranges, channels.ranges);
  EXPECT_EQ(write_tensorrt(channels), write_tensorrt(table()));
  RangeTable largest = table();
  largest.ranges[0].largest = 12.5;
  EXPECT_EQ(read_onnxruntime(write_onnxruntime(largest))->ranges, largest.ranges);
  refuses(R"({"CLS": "TensorsData", "data": {"x": [-1, 2]}, "largest": {"x": [3]}})", {"'x'", "largest"});
  refuses(R"({"CLS": "TensorsData", "data": {"x": [-1, 2]}, "channels": {"x": [1, -1]}})", {"'x'", "channels"});
  refuses(R"({"CLS": "TensorsData", "data": {"x": [-1, 2]}, "channels": {"x": 3}})", {"'x'", "channels"});
}

TEST_F(Cache, OnnxRuntimesOlderFormsAreRead) {
  for (const char* text : {R"({"x": [-1.5, 2]})",
                           R"({"x": {"CLS": "TensorData", "lowest": -1.5,
                 "highest": {"CLS": "numpy.array", "data": [2], "dtype": "float32"}}})"}) {
    const auto read = read_cache(write("old.json", text));
    ASSERT_TRUE(read.ok()) << read.status().message();
    EXPECT_EQ(read->ranges, (std::vector<TensorRange>{{"x", -1.5, 2}}));
  }
}

TEST_F(Cache, BrokenOnesAreRefused) {
  refuses("", {"not a calibration cache"});
  refuses("hello", {"not a calibration cache"});
  refuses("TRT-8601-EntropyCalibration2\n", {"without any range"});
  refuses("TRT-8601-EntropyCalibration2\nx: 3f810204\ny 3f8\n", {"line 3", "NAME: HEX"});
  refuses("TRT-8601-EntropyCalibration2\nx: 3f81", {"line 2", "'x'", "3f81"});
  refuses("TRT-8601-EntropyCalibration2\nx: 3f8102zz", {"'x'", "3f8102zz"});
  refuses("TRT-8601-EntropyCalibration2\nx: 00000000", {"'x'", "above 0"});
  refuses("TRT-8601-EntropyCalibration2\nx: bf810204", {"'x'", "above 0"});
  for (const char* scale : {"7f800000", "7fc00000", "7f7fffff"})
    refuses(fmt::format("TRT-8601-EntropyCalibration2\nx: {}", scale), {"'x'", "finite"});
  refuses("TRT-8601-EntropyCalibration2\nx: 3f810204\nx: 3f810204", {"two ranges", "'x'"});
  refuses(write_onnxruntime(table()).substr(0, 100), {"JSON"});
  EXPECT_TRUE(onnxruntime_holds("gr\u00f6\u00dfe\n"));
  EXPECT_FALSE(onnxruntime_holds("gr\xf6\xdf"));
  EXPECT_TRUE(tensorrt_holds("gr\xf6\xdf: x"));
  EXPECT_FALSE(tensorrt_holds("two\nlines"));
  RangeTable odd = table();
  odd.ranges[0].name = "gr\xf6\xdf";
  const Status kept = write_cache(odd, "/dev/null", *find_cache_format("onnxruntime"));
  EXPECT_NE(kept.message().find("onnxruntime"), std::string::npos) << kept.message();
  EXPECT_TRUE(write_cache(odd, "/dev/null", *find_cache_format("tensorrt")).ok());
  refuses("{}", {"without any range"});
  refuses(R"({"x": 5})", {"'x'", "lowest"});
  refuses(R"({"x": [2, 1]})", {"'x'", "2 to 1"});
  refuses(R"({"x": [0, 1e39]})", {"'x'", "1e+39"});
  refuses(R"({"x": [0, 1e-60]})", {"'x'", "1e-60"});
  refuses(R"({"x": ["a", {}]})", {"'x'"});
  EXPECT_FALSE(read_cache((folder_ / "missing").string()).ok());
}

TEST_F(Cache, MustHaveTheModelsTensors) {
  const auto message = [](std::vector<std::string> names) { return check_complete(table(), names).message(); };
  EXPECT_EQ(message({"x", "a: b [Constant]"}), "");
  const std::string half = message({"x", "p", "q", "a: b [Constant]"});
  EXPECT_NE(half.find("2 of the 4"), std::string::npos) << half;
  EXPECT_NE(half.find("'p', 'q'"), std::string::npos) << half;
  const std::string other = message({"p", "q", "r", "s"});
  EXPECT_NE(other.find("another model"), std::string::npos) << other;
  EXPECT_NE(other.find("'x'"), std::string::npos) << other;
  EXPECT_NE(other.find("'p', 'q', 'r', ..."), std::string::npos) << other;
}

}  // namespace
}  // namespace hone::calibrate
