// `hone inspect`, and what `hone build` does with limits.
#include "cli/cli.h"

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

}  // namespace
}  // namespace hone
