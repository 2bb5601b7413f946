#include "base/store.h"

#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <thread>
#include <vector>

#include "folder_test.h"

namespace hone {
namespace {

namespace fs = std::filesystem;

class StoreTest : public testing::FolderTest {
 protected:
  Store store() const { return Store((folder_ / "deep" / "store").string()); }
  std::vector<fs::path> files() const {
    std::vector<fs::path> files;
    for (const auto& file : fs::directory_iterator(store().folder())) files.push_back(file.path());
    return files;
  }
};

TEST_F(StoreTest, FindsWhatWasPut) {
  EXPECT_FALSE(store().find("a").has_value());
  EXPECT_FALSE(fs::exists(store().folder()));
  const Store own = store();
  EXPECT_FALSE(own.grew());
  own.put("b", "1");
  EXPECT_TRUE(own.grew());
  const std::string content("\0binary\xff", 8);
  store().put("a", content);
  store().put("b", "");
  EXPECT_EQ(store().find("a"), content);
  EXPECT_EQ(store().find("b"), "");
  EXPECT_FALSE(store().find("c").has_value());
  store().put("a", "another");
  EXPECT_EQ(store().find("a"), "another");
  EXPECT_EQ(store().size().entries, 2);
}

// Each byte of an entry changed, and each length that it may be cut off at.
TEST_F(StoreTest, ABrokenEntryIsNotFound) {
  store().put("key", "content");
  const fs::path file = files().at(0);
  std::string whole(fs::file_size(file), '\0');
  std::ifstream(file, std::ios::binary).read(whole.data(), static_cast<std::streamsize>(whole.size()));
  const auto write = [&](const std::string& text) { std::ofstream(file, std::ios::binary) << text; };
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string changed = whole;
    changed[i] ^= 1;
    write(changed);
    EXPECT_FALSE(store().find("key").has_value()) << "byte " << i;
    write(whole.substr(0, i));
    EXPECT_FALSE(store().find("key").has_value()) << i << " bytes";
  }
  write(whole + '\0');
  EXPECT_FALSE(store().find("key").has_value());
  fs::remove(file);
  fs::create_directory(file);
  EXPECT_FALSE(store().find("key").has_value());
  store().put("key", "content");
  fs::remove(file);
  store().put("key", "content");
  EXPECT_EQ(store().find("key"), "content");
}

TEST_F(StoreTest, AnEntryInThePlaceOfAnotherIsNotFound) {
  store().put("a", "content of a");
  const fs::path a = files().at(0);
  store().put("b", "content of b");
  for (const fs::path& file : files())
    if (file != a) fs::copy_file(a, file, fs::copy_options::overwrite_existing);
  EXPECT_FALSE(store().find("b").has_value());
  EXPECT_EQ(store().find("a"), "content of a");
}

TEST_F(StoreTest, KeepsWhatWasUsedLast) {
  const std::string content(1000, 'x');
  for (const char* key : {"a", "b", "c", "d"}) {
    store().put(key, content);
    for (const fs::path& file : files())  // all that is there grows older
      fs::last_write_time(file, fs::last_write_time(file) - std::chrono::hours(1));
  }
  EXPECT_TRUE(store().find("a").has_value());
  store().trim(2100);
  EXPECT_TRUE(store().find("a").has_value());
  EXPECT_FALSE(store().find("b").has_value());
  EXPECT_FALSE(store().find("c").has_value());
  EXPECT_TRUE(store().find("d").has_value());
  EXPECT_LE(store().size().bytes, 2100);
}

TEST_F(StoreTest, RemovesItsOwnFilesAlone) {
  EXPECT_TRUE(store().clear().ok());
  store().put("a", "1");
  store().put("b", "2");
  EXPECT_TRUE(store().clear().ok());
  EXPECT_FALSE(fs::exists(store().folder()));
  store().put("a", "1");
  const fs::path notes = fs::path(store().folder()) / "notes.txt";
  std::ofstream(notes) << "of somebody else";
  store().trim(0);
  EXPECT_TRUE(store().clear().ok());
  EXPECT_EQ(files(), std::vector{notes});
}

TEST_F(StoreTest, IsSilentWhereNothingCanBeWritten) {
  const Store none("/proc/none/store");
  none.put("a", "1");
  EXPECT_FALSE(none.find("a").has_value());
  none.trim(0);
  EXPECT_EQ(none.size().entries, 0);
  EXPECT_TRUE(none.clear().ok());
}

TEST_F(StoreTest, IsSharedByThreads) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        const std::string key = std::to_string(i), content(1000, static_cast<char>('a' + i % 26));
        store().put(key, content);
        EXPECT_EQ(store().find(key), content);
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(store().size().entries, 50);
  const auto permissions = fs::status(files().at(0)).permissions();
  EXPECT_EQ(permissions & fs::perms::others_write, fs::perms::none) << "the mask of new files was lost";
}

}  // namespace
}  // namespace hone
