// Runs the `hone` program itself: exit statuses, error lines and what is left on disk.
#include <signal.h>

#include <chrono>
#include <cmath>
#include <map>
#include <thread>

#include "base/npy.h"
#include "cli/cli.h"
#include "tune/cache.h"

namespace hone {
namespace {

TEST_F(Cli, BuildRunAndInspectSucceed) {
  EXPECT_EQ(hone({"--version"}).status, 0);
  EXPECT_EQ(hone({"--help"}).status, 0);
  const Outcome build = hone({"build", path("net.onnx"), "-o", path("net.hone"), "--quiet"});
  ASSERT_EQ(build.status, 0) << build.err;
  EXPECT_EQ(build.out + build.err, "");
  ASSERT_TRUE(write_npy(path("x.npy"), Tensor(DType::f32, {2, 3})).ok());
  const Outcome run = hone({"run", path("net.hone"), "--input", "x=" + path("x.npy"), "--output-dir", path("results")});
  ASSERT_EQ(run.status, 0) << run.err;
  const auto y = read_npy(path("results/y.npy"));
  ASSERT_TRUE(y.ok()) << y.status().message();
  EXPECT_EQ(*y, Tensor(DType::f32, {2, 4}));
  EXPECT_EQ(hone({"inspect", path("net.hone")}).status, 0);
}

TEST_F(Cli, UsageErrors) {
  expect_error({}, 2, {"subcommand"});
  expect_error({"explode"}, 2, {"explode"});
  expect_error({"run", path("net.onnx"), "--unknown"}, 2, {"--unknown"});
  expect_error({"build", path("net.onnx")}, 2, {"--output"});
  expect_error({"run", path("net.onnx"), "--isa", "mmx"}, 2, {"mmx"});
  expect_error({"run", path("net.onnx"), "--threads", "-1"}, 2, {"--threads"});
  expect_error({"run", path("net.onnx"), "--shape", "x=2,3"}, 2, {"x=2,3"});
  expect_error({"run", path("net.onnx"), "--time-budget", "soon"}, 2, {"soon"});
}

TEST_F(Cli, FilesThatAreNoModels) {
  std::ofstream(path("text.onnx")) << "hello";
  std::ofstream(path("empty.onnx"));
  std::ofstream(path("cut.hone")) << "HONEENG\n\x01";
  for (const char* command : {"run", "bench", "inspect"}) {
    expect_error({command, path("missing.onnx")}, 2, {"missing.onnx", "No such file"});
    expect_error({command, path("text.onnx")}, 2, {"text.onnx", "not an ONNX model"});
    expect_error({command, path("empty.onnx")}, 2, {"empty.onnx"});
    expect_error({command, path("cut.hone")}, 2, {"cut.hone"});
    expect_error({command, folder_.string()}, 2, {"regular"});
  }
}

TEST_F(Cli, WrongInputs) {
  ASSERT_TRUE(write_npy(path("x.npy"), Tensor(DType::f32, {2, 3})).ok());
  ASSERT_TRUE(write_npy(path("wide.npy"), Tensor(DType::f32, {2, 3, 4})).ok());
  ASSERT_TRUE(write_npy(path("int.npy"), Tensor(DType::i64, {2, 3})).ok());
  const std::string net = path("net.onnx");
  expect_error({"run", net, "--input", "z=" + path("x.npy")}, 2, {"'z'"});
  expect_error({"run", net, "--input", "x=" + path("wide.npy")}, 2, {"'x'", "[2,3,4]"});
  expect_error({"run", net, "--input", "x=" + path("int.npy")}, 2, {"'x'", "i64"});
  expect_error({"run", net, "--input", "x=" + net}, 2, {"npy"});
  expect_error({"run", net, "--input", "x"}, 2, {"NAME=FILE"});
  expect_error({"run", net, "--shape", "z:2x3"}, 2, {"'z'"});
}

TEST_F(Cli, UnwritableOutput) {
  expect_error({"build", path("net.onnx"), "-o", path("no/such/net.hone")}, 2, {"no/such/net.hone", "No such file"});
  expect_error({"run", path("net.onnx"), "--output-dir", path("net.onnx")}, 2, {"net.onnx"});
  expect_error({"run", path("net.onnx"), "--quiet", "--json", path("no/such.json")}, 2, {"no/such.json"});
}

TEST_F(Cli, UnsupportedOpAndDevice) {
  ModelBuilder m;
  m.input("x", {2});
  m.node("Frobnicate", {"x"}, {"y"});
  m.output("y");
  save(m, "odd.onnx");
  expect_error({"run", path("odd.onnx")}, 3, {"Frobnicate", "n_y"});
  expect_error({"run", path("net.onnx"), "--target", "toaster"}, 2, {"toaster"});
}

TEST_F(Cli, VerifyTellsWhenItFails) {
  fs::create_directories(folder_ / "case/test_data_set_0");
  fs::rename(path("net.onnx"), path("case/model.onnx"));
  const auto write = [&](const char* name, std::initializer_list<int64_t> dims, float value) {
    ModelBuilder m;
    auto& t = m.weight("t", dims);
    for (auto& v : *t.mutable_float_data()) v = value;
    std::ofstream(folder_ / "case/test_data_set_0" / name, std::ios::binary) << t.SerializeAsString();
  };
  write("input_0.pb", {2, 3}, 0);
  write("output_0.pb", {2, 4}, 0);
  const Outcome good = hone({"verify", path("case")});
  EXPECT_EQ(good.status, 0) << good.out << good.err;
  write("output_0.pb", {2, 4}, 2);
  const Outcome off = hone({"verify", path("case"), "--verbose"});
  EXPECT_EQ(off.status, 1);
  expect_words(off.out, {"differs by 2 at most, 1 of its largest magnitude", "1 failed"});
  EXPECT_EQ(hone({"verify", path("case"), "--verbose", "--rtol", "1"}).status, 0);

  // The same of an engine, which is found by its content.
  ASSERT_EQ(hone({"build", path("case/model.onnx"), "-o", path("case/engine"), "--quiet"}).status, 0);
  fs::remove(path("case/model.onnx"));
  std::ofstream(path("case/notes.txt")) << "not an engine";
  EXPECT_EQ(hone({"verify", path("case")}).status, 1);
  write("output_0.pb", {2, 4}, 0);
  const Outcome engine = hone({"verify", path("case")});
  EXPECT_EQ(engine.status, 0) << engine.out << engine.err;
  expect_words(engine.out, {"1 passed"});
  write("input_1.pb", {2, 3}, 0);
  expect_words(hone({"verify", path("case")}).out, {"input_1.pb", "1 failed"});
  fs::copy(path("case/engine"), path("case/second"));
  expect_error({"verify", path("case")}, 2, {path("case") + ": ", "2 engines"});
  fs::remove(path("case/engine"));
  fs::remove(path("case/second"));
  expect_error({"verify", path("case")}, 2, {"neither model.onnx nor an engine"});
}

// What was at a path before is there still, and nothing beside it.
TEST_F(Cli, AFullDiskLeavesTheOldFiles) {
  ModelBuilder m;
  m.input("x", {1, 64});
  m.weight("w", {64, 3000});
  m.node("MatMul", {"x", "w"}, {"y"});
  m.output("y");
  save(m, "wide.onnx");
  fs::create_directories(folder_ / "out");
  const std::string model = path("wide.onnx"), engine = path("out/wide.hone"), cache = path("out/cache.json");
  ASSERT_EQ(hone({"build", model, "-o", engine, "--timing-cache", "none"}).status, 0);
  ASSERT_EQ(hone({"run", engine, "--output-dir", path("out"), "--seed", "1"}).status, 0);
  TacticCache old;
  for (int i = 0; i < 100; ++i) old.put(cache_key("another device", std::to_string(i)), {"reference", 0, 1});
  ASSERT_TRUE(old.save(cache).ok());
  const auto texts = [&] {
    std::map<std::string, std::string> all;
    for (const auto& entry : fs::directory_iterator(folder_ / "out"))
      all[entry.path().filename()] = read_text(entry.path());
    return all;
  };
  const auto before = texts();
  EXPECT_EQ(before.size(), 3u);

  most_bytes_ = 4096;
  expect_error({"build", model, "-o", engine, "--timing-cache", "none"}, 2, {"wide.hone", "cannot be written"});
  expect_error({"run", engine, "--output-dir", path("out"), "--seed", "2"}, 2, {"y.npy", "cannot be written"});
  EXPECT_EQ(texts(), before);
}

// What was timed is lost then, and the work is not.
TEST_F(Cli, ATacticCacheThatCannotBeSavedIsAWarning) {
  const std::string net = path("net.onnx"), engine = path("net.hone");
  const Outcome built = hone({"build", net, "-o", engine, "--timing-cache", "/proc/none/cache.json"});
  EXPECT_EQ(built.status, 0) << built.err;
  EXPECT_TRUE(built.err.starts_with("hone: warning: ")) << built.err;
  expect_words(built.err, {"what was timed is not remembered", "/proc/none/cache.json: cannot be written"});
  EXPECT_EQ(hone({"run", engine}).status, 0);
  EXPECT_EQ(hone({"build", net, "-o", engine, "--timing-cache", "/proc/none/cache.json", "--quiet"}).err, "");

  TacticCache old;  // on a full disk
  for (int i = 0; i < 100; ++i) old.put(cache_key("another device", std::to_string(i)), {"reference", 0, 1});
  ASSERT_TRUE(old.save(path("cache.json")).ok());
  const std::string before = read_text(path("cache.json"));
  most_bytes_ = 4096;
  const Outcome run = hone({"run", net, "--timing-cache", path("cache.json")});
  EXPECT_EQ(run.status, 0) << run.err;
  expect_words(run.err, {"cache.json: cannot be written"});
  EXPECT_EQ(read_text(path("cache.json")), before);
}

TEST_F(Cli, AHomeThatCannotBeWrittenIsNoError) {
  cache_home_ = "/proc/none";
  EXPECT_EQ(hone({"build", path("net.onnx"), "-o", path("net.hone")}).status, 0);
}

TEST_F(Cli, AFullStandardOutputIsAnError) {
  const std::string name(9000, 'x');
  ModelBuilder m;
  m.input(name, {2});
  m.node("Relu", {name.c_str()}, {"y"});
  m.output("y");
  save(m, "long.onnx");
  // Less than what a stream holds back, more, and what the parser of the command line writes.
  for (const std::string& words :
       {"inspect " + path("net.onnx"), "inspect " + path("long.onnx"), std::string("--help")}) {
    const std::string command = std::string(HONE_BINARY) + " " + words + " > /dev/full 2> " + path("err.txt");
    const int status = std::system(command.c_str());
    ASSERT_TRUE(WIFEXITED(status)) << words;
    EXPECT_EQ(WEXITSTATUS(status), 2) << words;
    EXPECT_EQ(read_text(path("err.txt")), "hone: error: standard output: cannot be written: No space left on device\n");
  }
}

TEST_F(Cli, WithoutStandardErrorTheExitStatusIsTheSame) {
  for (const char* where : {" 2> /dev/full", " 2>&-"}) {
    const auto status = [&](const std::string& words) {
      return WEXITSTATUS(std::system((std::string(HONE_BINARY) + " " + words + where).c_str()));
    };
    EXPECT_EQ(status("nonsense"), 2) << where;
    EXPECT_EQ(status("inspect " + path("none.onnx")), 2) << where;
    EXPECT_EQ(status("inspect " + path("net.onnx") + " > /dev/null"), 0) << where;
  }
}

TEST_F(Cli, CalibrateWritesTheSameCacheTwice) {
  fs::create_directory(folder_ / "data");
  Tensor x(DType::f32, {2, 3});
  for (int64_t i = 0; i < x.count(); ++i) x.set(i, static_cast<double>(i) - 2.5);
  ASSERT_TRUE(write_npy(path("data/a.npy"), x).ok());
  const std::string net = path("net.onnx");
  for (const char* name : {"a.cache", "b.cache", "a.json", "b.json"}) {
    const Outcome got =
        hone({"calibrate", net, "--data", path("data"), "-o", path(name), "--json", path("report.json")});
    ASSERT_EQ(got.status, 0) << got.err;
    for (const char* tensor : {"x", "h", "y"}) EXPECT_NE(got.out.find(tensor), std::string::npos) << got.out;
    EXPECT_NE(read_text(path("report.json")).find("\"threshold\""), std::string::npos);
  }
  EXPECT_EQ(read_text(path("a.cache")), read_text(path("b.cache")));
  EXPECT_EQ(read_text(path("a.json")), read_text(path("b.json")));
  EXPECT_TRUE(read_text(path("a.cache")).starts_with("TRT-"));
  EXPECT_EQ(hone({"calibrate", net, "--check", path("a.cache")}).status, 0);
  EXPECT_EQ(hone({"calibrate", net, "--check", path("a.json"), "-o", path("c.cache"), "--quiet"}).status, 0);
  EXPECT_EQ(read_text(path("c.cache")), read_text(path("a.cache")));
  // Where a driver shows no such GPU, or there is none.
  const std::vector<std::string> nowhere{"--target", "cuda:99", "-o", path("d.cache")};
  std::vector<std::string> args{"calibrate", net, "--data", path("data")};
  args.insert(args.end(), nowhere.begin(), nowhere.end());
  expect_error(args, 4, {});
  args[0] = "quantize", args[2] = "--calibrate";
  expect_error(args, 4, {});
  EXPECT_FALSE(fs::exists(path("d.cache")));
}

TEST_F(Cli, CalibrateRefusesBadDataAndCaches) {
  const std::string net = path("net.onnx"), cache = path("net.cache");
  fs::create_directory(folder_ / "data");
  const auto refuses = [&](const std::vector<std::string>& words) {
    expect_error({"calibrate", net, "--data", path("data"), "-o", cache}, 2, words);
    EXPECT_FALSE(fs::exists(cache));
  };
  refuses({"data", "no calibration data"});
  ASSERT_TRUE(write_npy(path("data/x.npy"), Tensor(DType::f32, {2, 4})).ok());
  refuses({"x.npy", "'x'", "f32[2,4]"});
  Tensor bad(DType::f32, {2, 3});
  bad.set(1, NAN);
  ASSERT_TRUE(write_npy(path("data/x.npy"), bad).ok());
  refuses({"x.npy", "'x'", "nan"});
  fs::remove(path("data/x.npy"));
  std::ofstream(path("data/x.png")) << "png";
  refuses({"x.png", "--preprocess"});
  expect_error({"calibrate", net, "--data", path("missing"), "-o", cache}, 2, {"missing"});
  expect_error({"calibrate", net, "-o", cache}, 2, {"--data"});
  expect_error({"calibrate", net, "--data", path("data"), "-o", path("no/such.cache")}, 2, {"no/such.cache"});
  expect_error({"calibrate", net, "--data", path("data"), "-o", cache, "--calibrator", "magic"}, 2, {"magic"});
  std::ofstream(cache) << "TRT-8601-EntropyCalibration2\nx: 3f810204\n";
  expect_error({"calibrate", net, "--check", cache}, 2, {"net.cache", "net.onnx", "2 of the 3", "'h'"});
  std::ofstream(cache) << "TRT-8601-EntropyCalibration2\nother: 3f810204\n";
  expect_error({"calibrate", net, "--check", cache}, 2, {"another model", "'other'", "'x'"});
  std::ofstream(cache) << "broken";
  expect_error({"calibrate", net, "--check", cache}, 2, {"net.cache", "not a calibration cache"});
}

TEST_F(Cli, AnInterruptedBuildLeavesNothing) {
  ModelBuilder m;  // enough to tune for seconds
  for (int i = 0; i < 200; ++i) {
    const std::string k = std::to_string(i);
    m.input("a" + k, {200 + i, 600});
    m.input("b" + k, {600, 300 + i});
    m.node("MatMul", {("a" + k).c_str(), ("b" + k).c_str()}, {("y" + k).c_str()});
    m.output("y" + k);
  }
  save(m, "big.onnx");
  fs::create_directory(folder_ / "engines");
  const std::string cache = path("tactics.json");
  for (int signal : {SIGINT, SIGTERM}) {
    const pid_t child = start({"build", path("big.onnx"), "-o", path("engines/big.hone"), "--timing-cache", cache});
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    const auto sent = std::chrono::steady_clock::now();
    kill(child, signal);
    const Outcome got = wait(child);
    EXPECT_LT(std::chrono::steady_clock::now() - sent, std::chrono::seconds(10));
    EXPECT_EQ(got.status, 128 + signal) << got.err;
    EXPECT_TRUE(fs::is_empty(folder_ / "engines"));
    EXPECT_EQ(hone({"cache", "--timing-cache", cache}).status, 0);
  }
}

TEST_F(Cli, ABenchmarkCanBeInterrupted) {
  const pid_t child = start({"bench", path("net.onnx"), "--duration", "1m"});
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  kill(child, SIGTERM);
  EXPECT_EQ(wait(child).status, 128 + SIGTERM);
}

}  // namespace
}  // namespace hone
