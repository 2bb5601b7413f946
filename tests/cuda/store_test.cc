// What builds keep for later ones: code that NVRTC compiled, and ranges on random data.
#include "base/store.h"

#include <gtest/gtest.h>

#include <chrono>

#include "backends/random_ranges.h"
#include "cuda/nvrtc.h"
#include "folder_test.h"
#include "small_network.h"

namespace hone {
namespace {

namespace fs = std::filesystem;

class KeptForLater : public testing::FolderTest {
 protected:
  Store store() const { return Store(folder_.string()); }
};

TEST_F(KeptForLater, CodeOfEachSourceAndArchitecture) {
  if (const auto nvrtc = cuda::nvrtc_version(); !nvrtc.ok()) GTEST_SKIP() << nvrtc.status().message();
  const auto source = [](int n) { return fmt::format("extern \"C\" __global__ void f(int* x) {{ *x = {}; }}", n); };
  const Store kept = store();
  EXPECT_TRUE(cuda::compile(source(1), "sm_80", &kept).ok());
  EXPECT_TRUE(cuda::compile(source(2), "sm_80", &kept).ok());
  EXPECT_TRUE(cuda::compile(source(1), "sm_90", &kept).ok());
  EXPECT_EQ(kept.size().entries, 3);
  EXPECT_FALSE(cuda::compile("not a program", "sm_80", &kept).ok());
  EXPECT_EQ(kept.size().entries, 3);
}

TEST_F(KeptForLater, RangesOfTheSameNetwork) {
  const auto ranges = [](const Graph& graph, const Store* store) {
    std::vector<ValueId> values;
    for (NodeId id : graph.order()) values.push_back(graph.node(id).outputs[0]);
    const auto found = ranges_on_random_data(graph, values, {.cuda_arch = "sm_90", .store = store});
    EXPECT_TRUE(found.ok()) << found.status().message();
    return found.ok() ? *found : Bounds();
  };
  const Graph graph = testing::squaring_network(3), other = testing::squaring_network(4);
  const Bounds expected = ranges(graph, nullptr);
  EXPECT_FALSE(expected.empty());
  const Store first = store();
  EXPECT_EQ(ranges(graph, &first), expected);
  EXPECT_EQ(first.size().entries, 1);

  const auto entry = fs::directory_iterator(folder_)->path();
  const auto before = fs::last_write_time(entry) - std::chrono::hours(1);
  fs::last_write_time(entry, before);
  const Store second = store();
  EXPECT_EQ(ranges(graph, &second), expected);
  EXPECT_FALSE(second.grew());
  EXPECT_GT(fs::last_write_time(entry), before) << "the entry was not read";

  EXPECT_NE(ranges(other, &second), expected) << "they are those of other weights";
  EXPECT_EQ(second.size().entries, 2);
}

}  // namespace
}  // namespace hone
