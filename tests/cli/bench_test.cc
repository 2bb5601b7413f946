// Inputs from the command line, and `hone bench`.
#include <signal.h>

#include <chrono>
#include <thread>

#include "base/npy.h"
#include "cli/cli.h"

namespace hone {
namespace {

using Json = nlohmann::json;

class CliBench : public Cli {
 protected:
  // x + a, with a boolean, an integer and an unsigned input beside.
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(Cli::SetUp());
    ModelBuilder m;
    m.input("x", {2, 3});
    m.input("a", {});
    m.input("n", {2}, onnx::TensorProto::INT64);
    m.input("u", {1}, onnx::TensorProto::UINT8);
    m.input("b", {}, onnx::TensorProto::BOOL);
    m.node("Add", {"x", "a"}, {"y"});
    m.node("Identity", {"n"}, {"on"});
    m.node("Identity", {"u"}, {"ou"});
    m.node("Identity", {"b"}, {"ob"});
    for (const char* name : {"y", "on", "ou", "ob"}) m.output(name);
    save(m, "scalars.onnx");
  }
  std::vector<std::string> bench(std::vector<std::string> more) const {
    more.insert(more.begin(), {"bench", path("net.onnx"), "--duration", "1ms", "--warm-up", "0s", "--no-tune"});
    return more;
  }
};

TEST_F(CliBench, NumbersFillInputs) {
  const Outcome got =
      hone({"run", path("scalars.onnx"), "--input", "x=2", "--input", "a=0.5", "--input", "n=9223372036854775807",
            "--input", "u=255", "--input", "b=true", "--output-dir", folder_.string()});
  ASSERT_EQ(got.status, 0) << got.err;
  EXPECT_EQ(*read_npy(path("y.npy")), Tensor::of<float>(DType::f32, {2, 3}, std::vector<float>(6, 2.5f)));
  EXPECT_EQ(*read_npy(path("on.npy")), Tensor::of<int64_t>(DType::i64, {2}, std::vector<int64_t>(2, INT64_MAX)));
  EXPECT_EQ(read_npy(path("ou.npy"))->at(0), 255);
  EXPECT_EQ(read_npy(path("ob.npy"))->at(0), 1);
}

TEST_F(CliBench, NumbersThatDoNotFit) {
  const auto given = [&](const std::string& text) {
    return std::vector<std::string>{"bench", path("scalars.onnx"), "--no-tune", "--input", text};
  };
  expect_error(given("u=256"), 2, {"u=256", "u8"});
  expect_error(given("u=-1"), 2, {"u=-1", "u8"});
  expect_error(given("n=1.5"), 2, {"n=1.5", "integer"});
  expect_error(given("b=2"), 2, {"b=2", "boolean"});
  expect_error(given("z=2"), 2, {"z=2", "'z'"});
  expect_error(given("=2"), 2, {"NAME=NUMBER"});
  expect_error({"run", path("scalars.onnx"), "--input", "u=1"}, 2, {"'x'", "not given"});
  expect_error({"run", path("scalars.onnx"), "--input", "u=1", "--input", "u=2"}, 2, {"twice"});
}

TEST_F(CliBench, StreamsRunAtOnce) {
  const Json row = json(hone(bench({"--streams", "3", "--threads", "1", "--json", "-"})))["rows"][0];
  EXPECT_EQ(row["streams"], 3);
  EXPECT_EQ(row["threads"], 1);
  EXPECT_EQ(row["shapes"], Json::parse(R"({"x": [2, 3]})"));
  EXPECT_GT(row["throughput_per_s"], 0);
  EXPECT_LE(row["latency_ms"]["min"], row["latency_ms"]["median"]);
  EXPECT_FALSE(row.contains("against"));
  expect_error(bench({"--streams", "0"}), 2, {"--streams"});
}

TEST_F(CliBench, AnInterruptEndsAMeasurement) {
  const pid_t child = start({"bench", path("net.onnx"), "--duration", "60s", "--no-tune"});
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  kill(child, SIGINT);
  EXPECT_EQ(wait(child).status, 128 + SIGINT);
}

TEST_F(CliBench, AgainstAFormerRun) {
  ASSERT_EQ(hone(bench({"--threads", "1", "--quiet", "--json", path("before.json")})).status, 0);
  Json before = Json::parse(read_text(path("before.json")));
  before["rows"][0]["latency_ms"]["median"] = 1e6;
  before["rows"][0]["model"] = "elsewhere/net.onnx";
  std::ofstream(path("before.json")) << before;
  const std::vector<std::string> same = {"--against", path("before.json"), "--threads", "1"};
  const Outcome table = hone(bench(same));
  expect_words(table.out, {"speed-up"});
  EXPECT_EQ(table.out.find("no such row"), std::string::npos) << table.out;
  const Json row = json(hone(bench({"--against", path("before.json"), "--threads", "1", "--json", "-"})))["rows"][0];
  EXPECT_EQ(row["against"]["median_ms"], 1e6);
  EXPECT_GT(row["against"]["ratio"], 1);
  expect_words(hone(bench({"--against", path("before.json"), "--threads", "2"})).out, {"no such row"});
}

TEST_F(CliBench, AgainstSomethingElse) {
  std::ofstream(path("list.json")) << "[1, 2]";
  std::ofstream(path("zero.json"))
      << R"({"rows": [{"model": "m", "shapes": {}, "threads": 1, "latency_ms": {"median": 0}}]})";
  expect_error(bench({"--against", path("none.json")}), 2, {"none.json"});
  expect_error(bench({"--against", path("net.onnx")}), 2, {"net.onnx", "bench --json"});
  expect_error(bench({"--against", path("list.json")}), 2, {"list.json", "bench --json"});
  expect_error(bench({"--against", path("zero.json")}), 2, {"zero.json", "median"});
}

}  // namespace
}  // namespace hone
