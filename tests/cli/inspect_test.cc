// `hone inspect`, and what `hone build` does with limits.
#include "cli/cli.h"
#include "tools/memory_drawing.h"
#include "tools/report.h"

namespace hone {
namespace {

using Json = nlohmann::json;

class CliInspect : public Cli {
 protected:
  // A convolution that Winograd tactics want workspace for.
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(Cli::SetUp());
    ModelBuilder m;
    m.input("x", {1, 32, 28, 28});
    m.weight("w", {32, 32, 3, 3});
    auto& conv = m.node("Conv", {"x", "w"}, {"<conv>"});
    auto* pads = conv.add_attribute();
    pads->set_name("pads");
    pads->set_type(onnx::AttributeProto::INTS);
    for (int i = 0; i < 4; ++i) pads->add_ints(1);
    m.node("Relu", {"<conv>"}, {"y"});
    m.output("y");
    save(m, "conv.onnx");
  }
  std::vector<std::string> inspect(std::vector<std::string> more) const {
    more.insert(more.begin(), {"inspect", path("conv.onnx"), "--target", "cpu"});
    return more;
  }
};

TEST_F(CliInspect, FloorsOfTunedLayers) {
  const Json tuned = json(hone(inspect({"--json", "-"})));
  for (const Json& layer : tuned["layers"]) {
    ASSERT_TRUE(layer["floor_us"].is_number()) << layer;
    EXPECT_GT(layer["floor_us"], 0);
  }
  EXPECT_EQ(tuned["streams"], 1);
  const Json untuned = json(hone(inspect({"--no-tune", "--json", "-"})));
  for (const Json& layer : untuned["layers"]) EXPECT_TRUE(layer["floor_us"].is_null()) << layer;
  expect_words(hone(inspect({})).out, {"floor"});
}

TEST_F(CliInspect, LimitedWorkspace) {
  const Json free = json(hone(inspect({"--json", "-"})));
  ASSERT_GT(free["memory"]["workspace_bytes"], 1024);
  const Json limited = json(hone(inspect({"--max-workspace", "1K", "--json", "-"})));
  EXPECT_LE(limited["memory"]["workspace_bytes"], 1024);
  bool refused = false;
  for (const Json& layer : limited["layers"])
    for (const Json& r : layer["refused"])
      refused |= r["reason"].get<std::string>().find("bytes of workspace, 1024 are allowed") != std::string::npos;
  EXPECT_TRUE(refused) << limited["layers"];
  const Json none = json(hone(inspect({"--max-workspace", "0", "--no-tune", "--json", "-"})));
  EXPECT_EQ(none["memory"]["workspace_bytes"], 0);
  for (const char* text : {"lots", "-1", "1Q", "1KK", "9000000000G"})
    expect_error(inspect({"--max-workspace", text}), 2, {text});
}

TEST_F(CliInspect, RangesOfShapesAreRefused) {
  expect_error({"build", path("conv.onnx"), "--shapes", "x:1..8..32x32x28x28", "-o", path("conv.hone")}, 3,
               {"x:1..8..32x32x28x28", "--shape"});
}

TEST_F(CliInspect, APageThatNeedsNothingElse) {
  ASSERT_EQ(hone(inspect({"--quiet", "--html", path("report.html")})).status, 0);
  const std::string page = read_text(path("report.html"));
  EXPECT_TRUE(page.starts_with("<!DOCTYPE html>"));
  expect_words(page, {"n_&lt;conv&gt;", "2 nodes", "refused", "lower bound", "<svg", "<rect", "fp32", "</html>"});
  for (const char* word : {"<conv>", "http:", "https:", "src=", "href="})
    EXPECT_EQ(page.find(word), std::string::npos) << word;
  expect_error(inspect({"--quiet", "--html", path("no/report.html")}), 2, {"no/report.html"});
}

// x -> a -> b (in the memory of a), c -> y: the view keeps its owner alive, the output lives to the end.
TEST(ArenaBlocks, LiveFromTheFirstWriteToTheLastUse) {
  Program p;
  const TensorType type{DType::f32, Shape::of(Dims{4})};
  p.slots = {{.kind = Slot::Kind::input, .type = type, .name = "x"},
             {.kind = Slot::Kind::arena, .type = type, .name = "a"},
             {.kind = Slot::Kind::alias, .type = type, .name = "b", .alias_of = 1},
             {.kind = Slot::Kind::arena, .type = type, .name = "c", .offset = 64}};
  p.steps = {{.inputs = {0}, .outputs = {1}},
             {.inputs = {0}, .outputs = {3}, .workspace_offset = 128, .workspace_bytes = 32},
             {.inputs = {2}, .outputs = {2}},
             {.inputs = {0}, .outputs = {}}};
  p.outputs = {{"y", 3, type}};
  p.memory.arena_bytes = 192;
  const auto blocks = tools::arena_blocks(p);
  ASSERT_EQ(blocks.size(), 3);
  EXPECT_EQ(blocks[0].name, "a");
  EXPECT_EQ(blocks[0].bytes, 16);
  EXPECT_EQ(std::pair(blocks[0].first, blocks[0].last), std::pair(size_t{0}, size_t{2}));
  EXPECT_EQ(blocks[1].offset, 64);
  EXPECT_EQ(std::pair(blocks[1].first, blocks[1].last), std::pair(size_t{1}, size_t{3}));
  EXPECT_TRUE(blocks[2].workspace);
  EXPECT_EQ(blocks[2].bytes, 32);
}

TEST(Report, EscapesAndUnits) {
  EXPECT_EQ(tools::escaped("<a href=\"x\">&'"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
  EXPECT_EQ(tools::readable_bytes(999), "999 B");
  EXPECT_EQ(tools::readable_bytes(1234567), "1.23 MB");
}

}  // namespace
}  // namespace hone
