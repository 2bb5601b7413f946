// Kernels that fault or find no memory while they are tuned: each build is a process of its own, as a fault ends what
// one can do with the GPU. Skipped without a GPU.
#include <gtest/gtest.h>

#include <cstdlib>

#include "compile/compile.h"
#include "folder_test.h"
#include "library_step.h"
#include "tactics/cuda/kernel.h"

namespace hone {
namespace {

constexpr const char* kKernel = "cuda.test_kernel";

std::string supports(const Problem& problem) { return problem.op.name() == "MatMul" ? "" : kAnotherOp; }

// Writes to address 0.
Result<cuda::Source> faulty_source(const Problem&) {
  return cuda::Source{R"cuda(
extern "C" __global__ void kernel(float* y, const float*, const float*) {
  *(volatile int*)((unsigned long long)y & 1) = 1;
})cuda"};
}
cuda::Launch faulty_launch(const Problem&) { return {{1}, {1}}; }

Result<cuda::Source> greedy_source(const Problem&) {
  return cuda::Source{R"cuda(
extern "C" __global__ void kernel(float*, const float*, const float*, float*) {})cuda"};
}
cuda::Launch greedy_launch(const Problem&) { return {.grid = {1}, .block = {1}, .workspace_bytes = int64_t{1} << 48}; }

Result<cuda::Source> never(const Problem&) { return internal("compiled, though it may not be taken"); }

class GpuBadLuck : public testing::FolderTest {
 protected:
  void SetUp() override {
    if (const auto devices = cuda::devices(); !devices.ok()) GTEST_SKIP() << devices.status().message();
    FolderTest::SetUp();
    GTEST_FLAG_SET(death_test_style, "threadsafe");  // the binary is started anew
    path_ = folder_ / "cache.json";
  }
  Result<EngineData> build(const Tactic& tactic, CompileOptions options = {}) const {
    add_tactic(tactic);
    auto graph = graph_from_text(testing::kLibraryProduct);
    HONE_CHECK(graph);
    options.target = "cuda";
    return compile_graph(*graph, options);
  }
  // Why the engine's step has not taken the kernel.
  static std::string refusal(const EngineData& engine) {
    for (const auto& [tactic, reason] : engine.program.steps.front().refused)
      if (tactic == kKernel) return reason;
    return "taken";
  }
  std::string path_;
};

constexpr Tactic kFaulty = cuda::row<supports, faulty_source, faulty_launch>(kKernel);
constexpr Tactic kGreedy = cuda::row<supports, greedy_source, greedy_launch>(kKernel);
constexpr Tactic kGreedyUncompiled = cuda::row<supports, never, greedy_launch>(kKernel);

[[noreturn]] void end(bool right, const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::_Exit(right ? 0 : 1);
}

TEST_F(GpuBadLuck, AKernelThatFaultsIsNamedAndTheNextBuildGoesOnWithoutIt) {
  // The folder of this process, not of those that it starts.
  setenv("HONE_TEST_CACHE", path_.c_str(), 0);
  const std::string path = std::getenv("HONE_TEST_CACHE");
  EXPECT_EXIT(
      {
        const auto failed = build(kFaulty, {.timing_cache = path, .restart = [](const Status& fault) {
                                              end(fault.message().find(kKernel) != std::string::npos, fault.message());
                                            }});
        end(false, failed.status().message());
      },
      ::testing::ExitedWithCode(0), "MatMul.*the kernel of cuda.test_kernel, variant 0, has faulted for f32.33,20.");
  EXPECT_EXIT(
      {
        const auto engine = build(kFaulty, {.timing_cache = path});
        end(engine.ok(), engine.ok() ? refusal(*engine) : engine.status().message());
      },
      ::testing::ExitedWithCode(0), "its kernel faulted when it was timed");
  EXPECT_EXIT(
      {
        const auto failed = build(kFaulty);
        end(failed.status().code() == Code::device, failed.status().message());
      },
      ::testing::ExitedWithCode(0), "build again with a timing cache, which leaves this kernel out");
  unsetenv("HONE_TEST_CACHE");
}

TEST_F(GpuBadLuck, AKernelThatFindsNoMemoryIsLeftOut) {
  EXPECT_EXIT(
      {
        const auto engine = build(kGreedy);
        end(engine.ok(), engine.ok() ? refusal(*engine) : engine.status().message());
      },
      ::testing::ExitedWithCode(0), "failed: .*the GPU is out of memory: 268435456.0 MiB are wanted");
}

TEST_F(GpuBadLuck, AKernelThatMayNotHaveItsWorkspaceIsNotCompiled) {
  EXPECT_EXIT(
      {
        const auto engine = build(kGreedyUncompiled, {.max_workspace = 1 << 20});
        end(engine.ok(), engine.ok() ? refusal(*engine) : engine.status().message());
      },
      ::testing::ExitedWithCode(0), "needs 281474976710656 bytes of workspace, 1048576 are allowed");
}

}  // namespace
}  // namespace hone
