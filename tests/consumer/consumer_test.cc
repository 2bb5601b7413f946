#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "api/tiny_model.h"

namespace {

// Runs a command with its output in a file, which is shown when it fails.
void run(const hone_test::TempFolder& folder, const std::string& command) {
  const std::string log = folder / "log.txt";
  if (std::system((command + " > " + log + " 2>&1").c_str()) == 0) return;
  std::ifstream text(log);
  FAIL() << command << "\n" << std::string(std::istreambuf_iterator<char>(text), {});
}

// Installs Hone, builds a project that finds it there, and runs what it made.
TEST(Consumer, BuildsAgainstAnInstalledHone) {
  const hone_test::TempFolder folder;
  const std::string prefix = folder / "prefix", build = folder / "build", cmake = HONE_CMAKE;
  const std::string model = folder.write("tiny.onnx", hone_test::add_relu()), engine = folder / "tiny.hone";
  ASSERT_NO_FATAL_FAILURE(run(folder, cmake + " --install " HONE_BUILD " --prefix " + prefix));
  ASSERT_NO_FATAL_FAILURE(run(folder, cmake + " -S " HONE_SOURCE "/tests/consumer -B " + build +
                                          " -DCMAKE_PREFIX_PATH=" + prefix +
                                          " -DEXAMPLES=" HONE_SOURCE "/examples " HONE_CONSUMER_FLAGS));
  ASSERT_NO_FATAL_FAILURE(run(folder, cmake + " --build " + build));
  ASSERT_NO_FATAL_FAILURE(run(folder, build + "/build_cc " + model + " " + engine));
  ASSERT_NO_FATAL_FAILURE(run(folder, build + "/run_cc " + engine));
  ASSERT_NO_FATAL_FAILURE(run(folder, build + "/run_c " + engine));
}

// What an application ships with.
TEST(Consumer, RuntimeIsSmall) {
#if !defined(__OPTIMIZE__) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(__clang__)
  GTEST_SKIP() << "not a release of GCC's";
#endif
  const hone_test::TempFolder folder;
  const std::string stripped = folder / "libhone_runtime.so";
  ASSERT_NO_FATAL_FAILURE(run(folder, "strip -o " + stripped + " " HONE_BUILD "/lib/libhone_runtime.so"));
  EXPECT_LT(std::filesystem::file_size(stripped), 6'000'000);
}

}  // namespace
