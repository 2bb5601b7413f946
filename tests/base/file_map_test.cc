#include "base/file_map.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "folder_test.h"

namespace hone {
namespace {

namespace fs = std::filesystem;

class FileTest : public testing::FolderTest {
 protected:
  std::string path(const char* name) const { return (folder_ / name).string(); }
  size_t files() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
  static Status write(const std::string& path, std::string_view a, std::string_view b = {}) {
    const std::string_view parts[] = {a, b};
    return write_file(path, parts);
  }

};

TEST_F(FileTest, WritesWhatIsReadBack) {
  ASSERT_TRUE(write(path("a"), "one ", "two").ok());
  const auto file = FileMap::open(path("a"));
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ((*file)->text(), "one two");
  ASSERT_TRUE(write(path("a"), "new").ok());
  EXPECT_EQ((*file)->text(), "one two") << "an open map sees the file it opened";
  EXPECT_EQ((*FileMap::open(path("a")))->text(), "new");
  EXPECT_EQ(files(), 1u) << "a temporary was left behind";
}

TEST_F(FileTest, EmptyFile) {
  ASSERT_TRUE(write(path("empty"), "").ok());
  const auto file = FileMap::open(path("empty"));
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE((*file)->bytes().empty());
}

TEST_F(FileTest, WhatCannotBeWrittenLeavesNothing) {
  EXPECT_EQ(write(path("no/such/folder"), "x").code(), Code::invalid);
  fs::create_directory(folder_ / "taken");
  ASSERT_TRUE(write(path("taken/inside"), "x").ok());
  const Status status = write(path("taken"), "x");
  EXPECT_EQ(status.code(), Code::invalid);
  EXPECT_NE(status.message().find("taken"), std::string::npos);
  EXPECT_EQ(status.message().find('\n'), std::string::npos);
  EXPECT_EQ(files(), 1u) << "a temporary was left behind";
}

TEST_F(FileTest, FullDeviceIsReported) {
  if (!fs::exists("/dev/full")) GTEST_SKIP();
  EXPECT_FALSE(write("/dev/full/x", "x").ok());
}

TEST_F(FileTest, APipeIsWrittenToAndStays) {
  ASSERT_EQ(mkfifo(path("fifo").c_str(), 0600), 0);
  const int reader = open(path("fifo").c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reader, 0);
  EXPECT_TRUE(write(path("fifo"), "one ", "two").ok());
  char text[8] = {};
  EXPECT_EQ(read(reader, text, sizeof text), 7);
  EXPECT_STREQ(text, "one two");
  close(reader);
  EXPECT_TRUE(fs::is_fifo(path("fifo")));
  EXPECT_EQ(files(), 1u);
}

TEST_F(FileTest, OnlyRegularFilesAreMapped) {
  EXPECT_EQ(FileMap::open(path("missing")).status().code(), Code::invalid);
  EXPECT_EQ(FileMap::open(folder_.string()).status().code(), Code::invalid);
  ASSERT_EQ(mkfifo(path("fifo").c_str(), 0600), 0);
  EXPECT_EQ(FileMap::open(path("fifo")).status().code(), Code::invalid);  // and does not wait for a writer
}

}  // namespace
}  // namespace hone
