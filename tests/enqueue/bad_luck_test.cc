// What goes wrong with a GPU, by a driver that says so (driver.h): one clear line, and exit status 4 where it ends the
// job.
#include <gtest/gtest.h>

#include <algorithm>

#include "api/tiny_model.h"
#include "base/npy.h"
#include "enqueue/other_process.h"

using namespace hone_test;

namespace {

class BadLuck : public testing::Test {
 protected:
  void SetUp() override {
    model = folder.write("tiny.onnx", add_relu());
    ASSERT_EQ(hone({}, "build --target cuda --no-tune --timing-cache none -o " + engine + " " + model).status, 0);
  }

  static Outcome hone(const std::string& luck, const std::string& arguments) { return run_hone(luck, arguments); }
  static void expect_error(const Outcome& outcome, const std::vector<std::string>& words) {
    EXPECT_EQ(outcome.status, 4) << outcome.text;
    EXPECT_EQ(outcome.text.find("hone: error: "), 0u) << outcome.text;
    EXPECT_EQ(std::count(outcome.text.begin(), outcome.text.end(), '\n'), 1) << outcome.text;
    for (const std::string& word : words) EXPECT_NE(outcome.text.find(word), std::string::npos) << outcome.text;
  }

  TempFolder folder;
  std::string model, engine = folder / "tiny.hone";
  const std::string build = "build --quiet --target cuda --timing-cache " + folder / "cache.json" + " -o " +
                            folder / "new.hone" + " ",
                    run = "bench --quiet --duration 0.01 ";
};

TEST_F(BadLuck, NoUsableGpu) {
  expect_error(hone("cuInit=100", build + model), {"cuInit", "the driver shows no such GPU"});
  expect_error(hone("cuInit=803", build + model), {"restart the machine"});
  expect_error(hone("cuDriverGetVersion=11040", build + model),
               {"the NVIDIA driver is too old: it is for CUDA 11.4, and 12.0 is needed"});
  expect_error(hone("major=7", build + model), {"recording", "sm_70", "8.0"});
  expect_error(hone("cuInit=100", run + engine), {"cuInit"});
}

TEST_F(BadLuck, NoMemory) {
  for (const std::string& job : {build + model, run + engine}) {
    expect_error(hone("cuDevicePrimaryCtxRetain=2", job), {"free the GPU's memory"});
    expect_error(hone("cuMemAlloc_v2=2", job),
                 {"the GPU is out of memory: ", "of its 1024 MiB 3 are free", "free the GPU's memory"});
  }
}

TEST_F(BadLuck, AGpuIsLost) {
  for (const std::string& job : {build + model, run + engine}) {
    expect_error(hone("cuStreamSynchronize=999", job), {"the GPU may be lost"});
    expect_error(hone("cuStreamSynchronize=214", job), {"the GPU's memory has failed"});
  }
}

TEST_F(BadLuck, CodeThatTheDriverCannotLoad) {
  expect_error(hone("cuModuleLoadData=218", run + engine), {"install a newer driver"});
}

TEST_F(BadLuck, AKernelThatFaultsWhenAnEngineRuns) {
  expect_error(hone("fault=1", run + engine), {"a kernel has faulted"});
}

// Each fault ends a process, and the next one knows of it.
TEST_F(BadLuck, AKernelThatFaultsInABuildIsLeftOut) {
  const Outcome built = hone("fault=1", build + model);
  EXPECT_EQ(built.status, 0) << built.text;
  EXPECT_EQ(built.text.find("hone: warning: "), 0u) << built.text;
  for (const char* word : {"the kernel of cuda.", "has faulted for ", "the build begins again without it"})
    EXPECT_NE(built.text.find(word), std::string::npos) << built.text;
  EXPECT_NE(hone({}, "inspect --verbose " + folder / "new.hone").text.find("its kernel faulted when it was timed"),
            std::string::npos);
  EXPECT_NE(hone({}, "cache --timing-cache " + folder / "cache.json").text.find("1 kernel left out"),
            std::string::npos);
}

TEST_F(BadLuck, TooManyFaultsEndABuild) {
  expect_error(hone("fault=9 HONE_RESTARTS=8", build + model),
               {"the kernel of cuda.", "build again: the timing cache leaves this kernel out"});
  expect_error(hone("fault=9 HONE_RESTARTS=8",
                    "build --quiet --target cuda --timing-cache none -o " + folder / "new.hone" + " " + model),
               {"build again with a timing cache"});
}

TEST_F(BadLuck, WhileRangesAreFound) {
  const std::string data = folder / "x.npy", job = "calibrate --quiet --target cuda --data " + data + " -o " +
                                                   folder / "r.cache" + " " + folder.write("product.onnx", product());
  ASSERT_TRUE(hone::write_npy(data, hone::Tensor(hone::DType::f32, {5, 16})).ok());
  EXPECT_EQ(hone({}, job).status, 0);
  std::filesystem::remove(folder / "r.cache");
  expect_error(hone("cuMemAlloc_v2=2", job), {"the GPU is out of memory"});
  expect_error(hone("cuStreamSynchronize=999", job), {"the GPU may be lost"});
  expect_error(hone("fault=1", job), {"a kernel has faulted"});
  EXPECT_FALSE(std::filesystem::exists(folder / "r.cache"));
}

}  // namespace
