// `hone profile`.
#include "cli/cli.h"

namespace hone {
namespace {

using Json = nlohmann::json;

class CliProfile : public Cli {};

TEST_F(CliProfile, TimesEveryStepOfEveryRun) {
  ASSERT_EQ(hone({"build", path("net.onnx"), "--target", "cpu", "-o", path("net.hone"), "--quiet"}).status, 0);
  const Json result = json(hone({"profile", path("net.hone"), "-o", path("trace.json"), "--runs", "3", "--json", "-"}));
  ASSERT_EQ(result["layers"].size(), 1);
  const Json& layer = result["layers"][0];
  EXPECT_EQ(layer["fused"], Json({"n_h", "n_y"}));
  EXPECT_GT(layer["time_us"], 0);
  EXPECT_EQ(layer["share"], 1);

  int runs = 0, steps = 0;
  double end_of_run = 0;
  const Json trace = Json::parse(read_text(path("trace.json")));
  for (const Json& event : trace["traceEvents"]) {
    if (event["ph"] != "X") continue;
    const double start = event["ts"], end = start + event["dur"].get<double>();
    if (event["cat"] == "run") {
      ++runs;
      EXPECT_GE(start, end_of_run);
      end_of_run = end;
    } else {
      ++steps;
      EXPECT_LE(end, end_of_run);
      EXPECT_EQ(event["args"]["tactic"], layer["tactic"]);
    }
  }
  EXPECT_EQ(runs, 3);
  EXPECT_EQ(steps, 3);
}

TEST_F(CliProfile, PrintsATableForAModelToo) {
  const Outcome got = hone({"profile", path("net.onnx"), "--target", "reference"});
  EXPECT_EQ(got.status, 0) << got.err;
  expect_words(got.out, {"n_h", "n_y", "reference", "us a run"});
}

TEST_F(CliProfile, BadUsage) {
  expect_error({"profile", path("net.onnx"), "--runs", "0"}, 2, {"--runs"});
  expect_error({"profile", path("net.onnx"), "--quiet", "-o", path("no/trace.json")}, 2, {"no/trace.json"});
  expect_error({"profile", path("missing.hone")}, 2, {"missing.hone"});
}

}  // namespace
}  // namespace hone
