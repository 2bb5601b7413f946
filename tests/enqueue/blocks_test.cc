// Residual blocks in a build for a GPU on which every kernel takes as long as any other (driver.h): one kernel for a
// block is faster than three.
#include <gtest/gtest.h>

#include "api/tiny_model.h"
#include "enqueue/other_process.h"

using namespace hone_test;

namespace {

// Of f16, some 0.03 to 0.06 and of both signs.
std::string filter(const std::string& name, const std::vector<int64_t>& dims) {
  std::vector<uint16_t> values(static_cast<size_t>(dims[0] * dims[1] * dims[2] * dims[3]));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<uint16_t>((i % 2 == 0 ? 0x2800 : 0xa800) + i * 37 % 1024);
  return weights(name, dims, values, kHalf);
}

std::string block_model() {
  return model({node("Conv", {"x", "w1"}, "c1"), node("Relu", {"c1"}, "r1"),
                node("Conv", {"r1", "w2"}, "c2", {integers("pads", {1, 1, 1, 1})}), node("Relu", {"c2"}, "r2"),
                node("Conv", {"r2", "w3"}, "c3"), node("Add", {"c3", "x"}, "s"), node("Relu", {"s"}, "y")},
               {value_info("x", kHalf, {1, 256, 9, 11})}, {value_info("y", kHalf, {1, 256, 9, 11})},
               {filter("w1", {64, 256, 1, 1}), filter("w2", {64, 64, 3, 3}), filter("w3", {256, 64, 1, 1})});
}

class EnqueuedBlocks : public testing::Test {
 protected:
  // What a build says, and `hone inspect --verbose` of its engine. `luck`: what the driver's calls return.
  std::string build(const std::string& options, const std::string& luck = {}) {
    const Outcome built = run_hone(luck, "build --target cuda --timing-cache none " + options + " -o " +
                                             folder / "block.hone" + " " + folder.write("block.onnx", block_model()));
    EXPECT_EQ(built.status, 0) << built.text;
    return built.text + run_hone({}, "inspect --verbose " + folder / "block.hone").text;
  }
  static void expect(const std::string& text, const std::vector<std::string>& parts) {
    for (const std::string& part : parts) EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }

  TempFolder folder;
};

TEST_F(EnqueuedBlocks, AreTakenWhereTheNetworkIsFaster) {
  const std::string text = build("");
  expect(text, {"the network takes 3.000 ms with 1 of its blocks as one kernel each, 5.000 ms without: they are",
                "cuda.bottleneck_wgmma/0", "not its layers' own kernels: slower: 3000.0 us together"});
  const Outcome run = run_hone({}, "bench --quiet --duration 0.01 " + folder / "block.hone");
  EXPECT_EQ(run.status, 0) << run.text;
}

// Only what runs a whole network asks for memory of the host.
TEST_F(EnqueuedBlocks, OfANetworkThatCannotBeTimedSayWhy) {
  const std::string text = build("", "cuMemHostAlloc=2");
  expect(text, {"the network could not be timed without 1 of its blocks as one kernel each: cuMemHostAlloc: ",
                "not cuda.bottleneck_wgmma: the network could not be timed (cuMemHostAlloc: ",
                "though the block takes 1000.0 us and its layers 3000.0 us"});
  EXPECT_EQ(text.find("is slower with it"), std::string::npos) << text;
}

TEST_F(EnqueuedBlocks, AreNotTimedForAGpuThatIsNotHere) {
  expect(build("--cuda-arch sm_90 --no-tune"), {"not cuda.bottleneck_wgmma: not timed"});
}

}  // namespace
