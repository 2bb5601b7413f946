// What a build reads of a cache and of data.
#include "calibrate/build_data.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace hone::calibrate {
namespace {

TEST(BuildData, IsReadAsFarAsTheBuildNeedsIt) {
  const std::string file = (std::filesystem::temp_directory_path() / fmt::format("hone_sources.{}", getpid())).string();
  const std::string missing = file + ".missing";
  std::ofstream(file) << "a cache";
  struct Row {
    std::string asks;  // b: int8 or fp8; h: fp16; +: a budget
    std::string cache;
    bool has_data;
    std::string want;  // c: the cache has the ranges; r: the data has them; d: data is read
  };
  for (const auto& [asks, cache, has_data, want] : std::vector<Row>{{"", "", true, ""},
                                                                    {"", file, true, ""},
                                                                    {"+", "", true, "d"},
                                                                    {"h", "", false, ""},
                                                                    {"h", "", true, "rd"},
                                                                    {"h", file, true, "c"},
                                                                    {"h+", file, true, "cd"},
                                                                    {"b", "", true, "rd"},
                                                                    {"b", file, true, "cd"},
                                                                    {"b", file, false, "c"},
                                                                    {"b", missing, true, "rd"},
                                                                    {"b", missing, false, "c"},
                                                                    {"bh", missing, true, "rd"}}) {
    const auto has = [&asks = asks](char what) { return asks.find(what) != std::string::npos; };
    const Sources sources = sources_of(has('b'), has('h'), has('+'), cache, has_data);
    EXPECT_EQ(fmt::format("{}{}{}", sources.cache ? "c" : "", sources.ranges ? "r" : "", sources.data ? "d" : ""), want)
        << asks << " " << cache << " " << has_data;
  }
  std::filesystem::remove(file);
}

}  // namespace
}  // namespace hone::calibrate
