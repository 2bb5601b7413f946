#include "tune/cache.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "folder_test.h"

namespace hone {
namespace {

namespace fs = std::filesystem;

class CacheTest : public testing::FolderTest {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(FolderTest::SetUp());
    path_ = (folder_ / "deep" / "tactics.json").string();
  }
  std::string path_;
};

TEST_F(CacheTest, SavesLoadsAndMerges) {
  EXPECT_EQ(TacticCache::load(path_)->size(), 0u) << "a missing file is an empty cache";
  TacticCache a, b;
  a.put("k1", {"conv.direct", 3, 12.5});
  a.put("both", {"old", 0, 1});
  ASSERT_TRUE(a.save(path_).ok());
  b.put("k2", {"matmul.packed", 0, 1e-3});
  b.put("both", {"new", 1, 2});
  ASSERT_TRUE(b.save(path_).ok());
  const auto all = TacticCache::load(path_);
  ASSERT_TRUE(all.ok()) << all.status().message();
  EXPECT_EQ(all->size(), 3u);
  EXPECT_EQ(all->find("k1"), (CachedChoice{"conv.direct", 3, 12.5}));
  EXPECT_EQ(all->find("k2"), (CachedChoice{"matmul.packed", 0, 1e-3}));
  EXPECT_EQ(all->find("both"), (CachedChoice{"new", 1, 2})) << "what is saved wins over what was there";
  EXPECT_FALSE(all->find("k3").has_value());
}

TEST_F(CacheTest, RemembersWhatNetworksTookInEarlierBuilds) {
  TacticCache first, other;
  first.put_network("a", 3);
  first.put_network("a", 2);
  first.put_network("a", 4);
  EXPECT_TRUE(first.changed());
  EXPECT_FALSE(first.network_us("a").has_value()) << "it is timed in turns with others";
  ASSERT_TRUE(first.save(path_).ok());
  other.put_network("b", 5);
  ASSERT_TRUE(other.save(path_).ok());
  auto later = TacticCache::load(path_);
  ASSERT_TRUE(later.ok()) << later.status().message();
  EXPECT_EQ(later->network_us("a"), 2);
  EXPECT_EQ(later->network_us("b"), 5);
  later->put_network("c", 1);
  ASSERT_TRUE(later->save(path_).ok());
  EXPECT_EQ(TacticCache::load(path_)->network_us("a"), 2);
}

TEST_F(CacheTest, RemembersWhatDevicesReach) {
  TacticCache a, b;
  EXPECT_FALSE(a.changed());
  a.put_peaks("this", {{{"fp32", 1e11}, {"int8", 4e11}}, {{1 << 18, 5e10}, {1 << 28, 1e10}}});
  EXPECT_TRUE(a.changed());
  b.put_peaks("that", {{{"fp32", 2e11}}, {}});
  ASSERT_TRUE(a.save(path_).ok());
  ASSERT_TRUE(b.save(path_).ok());
  const auto all = TacticCache::load(path_);
  ASSERT_TRUE(all.ok()) << all.status().message();
  EXPECT_FALSE(all->changed());
  EXPECT_EQ(all->peaks("this"), (Peaks{{{"fp32", 1e11}, {"int8", 4e11}}, {{1 << 18, 5e10}, {1 << 28, 1e10}}}));
  EXPECT_EQ(all->peaks("that"), (Peaks{{{"fp32", 2e11}}, {}}));
  EXPECT_FALSE(all->peaks("other").has_value());
}

TEST_F(CacheTest, DamagedFileIsOneErrorLine) {
  fs::create_directories(folder_ / "deep");
  for (const char* text : {"", "{", "[]", "null", "{\"version\":5}", "{\"version\":5,\"rows\":{\"k\":{}}}",
                           "{\"version\":5,\"rows\":{},\"peaks\":{\"d\":{}}}",
                           "{\"version\":5,\"rows\":{\"k\":{\"tactic\":\"t\",\"variant\":1e99,\"time_us\":0}}}",
                           "{\"version\":5,\"rows\":{\"k\":{\"tactic\":1,\"variant\":0,\"time_us\":0}}}", "\xff\xfe"}) {
    std::ofstream(path_) << text;
    const auto cache = TacticCache::load(path_);
    ASSERT_FALSE(cache.ok()) << text;
    EXPECT_EQ(cache.status().code(), Code::invalid);
    EXPECT_TRUE(cache.status().message().starts_with(path_));
    EXPECT_EQ(cache.status().message().find('\n'), std::string::npos) << cache.status().message();
  }
  TacticCache fresh;
  fresh.put("k", {"t", 0, 1});
  ASSERT_TRUE(fresh.save(path_).ok()) << "saving replaces a damaged file";
  EXPECT_EQ(TacticCache::load(path_)->size(), 1u);
}

TEST_F(CacheTest, APathThatCannotBeLookedUpIsAnError) {
  const auto cache = TacticCache::load((folder_ / std::string(300, 'n')).string());
  ASSERT_FALSE(cache.ok());
  EXPECT_NE(cache.status().message().find("cannot be opened"), std::string::npos) << cache.status().message();
}

TEST_F(CacheTest, AnotherVersionIsIgnored) {
  fs::create_directories(folder_ / "deep");
  std::ofstream(path_) << R"({"version":99,"rows":{"k":"new format"}})";
  const auto cache = TacticCache::load(path_);
  ASSERT_TRUE(cache.ok());
  EXPECT_EQ(cache->size(), 0u);
}

TEST_F(CacheTest, ConcurrentSavesLeaveAWholeFile) {
  std::vector<std::thread> savers;
  for (int t = 0; t < 4; ++t)
    savers.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        TacticCache cache;
        cache.put(std::to_string(t * 100 + i), {"tactic", i, 1});
        EXPECT_TRUE(cache.save(path_).ok());
        EXPECT_TRUE(TacticCache::load(path_).ok());
      }
    });
  for (auto& s : savers) s.join();
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_ / "deep"), fs::directory_iterator()), 1)
      << "a temporary was left";
}

TEST(CacheKey, DependsOnDeviceAndProblem) {
  EXPECT_EQ(cache_key("a", "b"), cache_key("a", "b"));
  EXPECT_NE(cache_key("a", "b"), cache_key("a", "c"));
  EXPECT_NE(cache_key("a", "b"), cache_key("ab", ""));
  EXPECT_EQ(cache_key("", "").size(), 32u);
}

}  // namespace
}  // namespace hone
