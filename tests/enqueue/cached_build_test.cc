// Builds with a tactic cache: what an earlier one has compiled and timed is neither compiled nor timed again.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "api/tiny_model.h"
#include "enqueue/other_process.h"

using namespace hone_test;

namespace {

namespace fs = std::filesystem;

class CachedBuild : public testing::Test {
 protected:
  // With NVRTC compiling nothing, when it is `blind`.
  Outcome build(const std::string& options, bool blind = false) const {
    return run_hone({}, "build --target cuda " + options + " -o " + folder / "tiny.hone" + " " + model,
                    blind ? "HONE_BLIND_NVRTC=1" : "");
  }

  TempFolder folder;
  const std::string model = folder.write("tiny.onnx", product()), cache = folder / "cache.json", store = cache + ".d";
};

TEST_F(CachedBuild, CompilesNothing) {
  const auto size = [&] { return std::distance(fs::directory_iterator(store), fs::directory_iterator()); };
  const std::string tuned = "--timing-cache " + cache;
  ASSERT_EQ(build(tuned).status, 0);
  const auto kept = size();
  EXPECT_GT(kept, 0);
  EXPECT_EQ(build(tuned, true).status, 0);
  EXPECT_EQ(build("--no-tune " + tuned, true).status, 0);
  EXPECT_NE(build("--no-tune --timing-cache none", true).status, 0);
  EXPECT_NE(build("--no-tune --timing-cache " + folder / "other.json", true).status, 0);
  EXPECT_EQ(size(), kept);
  fs::remove(cache);  // then all is timed again
  EXPECT_EQ(build(tuned, true).status, 0);

  for (const auto& file : fs::directory_iterator(store)) fs::resize_file(file, fs::file_size(file) - 1);
  EXPECT_NE(build(tuned, true).status, 0);
  EXPECT_EQ(build(tuned).status, 0) << "a broken entry is made again";
  EXPECT_EQ(build(tuned, true).status, 0);

  EXPECT_NE(run_hone({}, "cache " + tuned).text.find("MB of compiled code"), std::string::npos);
  EXPECT_EQ(run_hone({}, "cache --clear " + tuned).status, 0);
  EXPECT_FALSE(fs::exists(store));
  EXPECT_NE(build(tuned, true).status, 0);
}

// The cache says what the network takes: it is believed.
TEST_F(CachedBuild, TimesNoNetwork) {
  const std::string options = "--precision fp16 --timing-cache " + cache;
  const Outcome first = build(options);
  ASSERT_EQ(first.status, 0) << first.text;
  EXPECT_NE(first.text.find("fp16 is "), std::string::npos) << first.text;
  nlohmann::json json;
  std::ifstream(cache) >> json;
  ASSERT_FALSE(json["networks"].empty());
  for (auto& us : json["networks"]) us = 123456;
  std::ofstream(cache) << json;
  const Outcome second = build(options);
  EXPECT_EQ(second.status, 0) << second.text;
  EXPECT_NE(second.text.find("the network takes 123.456 ms with it and 123.456 ms in fp32"), std::string::npos)
      << second.text;
}

}  // namespace
