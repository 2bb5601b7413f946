// `hone inspect`.
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

}  // namespace
}  // namespace hone
