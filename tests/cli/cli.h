// The `hone` program as a user runs it, in a folder of its own with a small model.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "folder_test.h"
#include "import/model_builder.h"

namespace hone {

namespace fs = std::filesystem;
using testing::ModelBuilder;

struct Outcome {
  int status = -1;
  std::string out, err;
};

inline std::string read_text(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class Cli : public testing::FolderTest {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(FolderTest::SetUp());
    ModelBuilder m;
    m.input("x", {2, 3});
    m.weight("w", {3, 4});
    m.node("MatMul", {"x", "w"}, {"h"});
    m.node("Relu", {"h"}, {"y"});
    m.output("y");
    save(m, "net.onnx");
    cache_home_ = folder_.string();
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  void save(const ModelBuilder& m, const char* name) const { std::ofstream(path(name), std::ios::binary) << m.bytes(); }

  pid_t start(std::vector<std::string> args) const {
    args.insert(args.begin(), HONE_BINARY);
    std::vector<char*> argv;
    for (auto& a : args) argv.push_back(a.data());
    argv.push_back(nullptr);
    const std::string out = path("out.txt"), err = path("err.txt");
    const pid_t child = fork();
    if (child != 0) return child;
    setenv("XDG_CACHE_HOME", cache_home_.c_str(), 1);
    const rlimit limit{most_bytes_, most_bytes_};
    setrlimit(RLIMIT_FSIZE, &limit);
    dup2(::open(out.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600), STDOUT_FILENO);
    dup2(::open(err.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600), STDERR_FILENO);
    execv(HONE_BINARY, argv.data());
    _exit(127);
  }
  Outcome wait(pid_t child) const {
    int status = 0;
    waitpid(child, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_text(path("out.txt")),
            read_text(path("err.txt"))};
  }
  Outcome hone(const std::vector<std::string>& args) const { return wait(start(args)); }

  // Fails with `status` and one line that has all the words.
  void expect_error(const std::vector<std::string>& args, int status, const std::vector<std::string>& words) const {
    const Outcome got = hone(args);
    EXPECT_EQ(got.status, status) << got.err;
    EXPECT_TRUE(got.err.starts_with("hone: error: ")) << got.err;
    const std::string rest = got.err.substr(std::min(got.err.size(), got.err.find('\n') + 1));
    EXPECT_TRUE(rest.empty() || rest.starts_with("Try: ")) << got.err;
    expect_words(got.err, words);
  }

  static void expect_words(const std::string& text, const std::vector<std::string>& words) {
    for (const auto& word : words) EXPECT_NE(text.find(word), std::string::npos) << "no '" << word << "' in " << text;
  }
  static nlohmann::json json(const Outcome& got) {
    EXPECT_EQ(got.status, 0) << got.err;
    return nlohmann::json::parse(got.out, nullptr, false);
  }

  std::string cache_home_;
  rlim_t most_bytes_ = RLIM_INFINITY;  // that a file of the program may grow to: a full disk for those who write more
};

}  // namespace hone
