// What a user means and cannot have is said, and nothing of his is lost.
#include "cli/cli.h"

namespace hone {
namespace {

class Refused : public Cli {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(Cli::SetUp());
    ASSERT_EQ(hone({"build", path("net.onnx"), "-o", path("net.hone"), "--no-tune", "--target", "cpu"}).status, 0);
  }
  void write(const char* name, const std::string& text) const { std::ofstream(path(name), std::ios::binary) << text; }
};

TEST_F(Refused, TheModelIsNotOverwritten) {
  const std::string model = read_text(path("net.onnx"));
  expect_error({"build", path("net.onnx"), "-o", path("net.onnx")}, 2, {"net.onnx", "is the model itself"});
  expect_error({"quantize", path("net.onnx"), "--weights", "int4", "-o", path("net.onnx")}, 2, {"the model itself"});
  expect_error({"calibrate", path("net.onnx"), "--data", folder_.string(), "-o", path("net.onnx")}, 2, {"itself"});
  EXPECT_EQ(read_text(path("net.onnx")), model);
  expect_error({"build", path("net.onnx"), "-o", ""}, 2, {"--output: the name is empty"});
}

TEST_F(Refused, AFileThatIsNoCacheIsNotRemoved) {
  write("mine.json", "{\"a\": 1}");
  expect_error({"cache", "--timing-cache", path("mine.json"), "--clear"}, 2, {"mine.json", "not a tactic cache"});
  EXPECT_EQ(read_text(path("mine.json")), "{\"a\": 1}");
}

TEST_F(Refused, AnEngineTakesNoOptionsOfBuilds) {
  const std::string engine = path("net.hone");
  for (const char* command : {"run", "bench", "profile", "inspect"}) {
    expect_error({command, engine, "--precision", "bf16", "--no-winograd"}, 2,
                 {"net.hone: is an engine, and --precision, --no-winograd are for building one"});
    expect_error({command, engine, "--target", "reference"}, 2, {"an engine for target 'cpu', not 'reference'"});
    expect_error({command, engine, "--shape", "x:4x3"}, 2, {"input 'x' of the engine is f32[2,3]", "[4,3]"});
    expect_error({command, engine, "--shape", "z:4x3"}, 2, {"there is no input 'z'"});
  }
  EXPECT_EQ(hone({"run", engine, "--target", "cpu", "--shape", "x:2x3"}).status, 0);
  EXPECT_EQ(hone({"compare", engine, path("net.onnx"), "--target", "cpu", "--no-winograd"}).status, 0);
  expect_error({"bench", engine, "--batch", "3"}, 2, {"net.hone", "--batch 3", "'x' is f32[2,3]"});
  for (const char* command : {"calibrate", "quantize"})
    expect_error({command, engine, "-o", path("out")}, 2, {"net.hone: is an engine: give the model"});
}

TEST_F(Refused, OptionsWithoutUseAreWarnedOf) {
  const auto warned = [&](std::vector<std::string> options, const char* text) {
    options.insert(options.begin(), {"build", path("net.onnx"), "-o", path("o.hone"), "--no-tune", "--target", "cpu"});
    const Outcome got = hone(options);
    EXPECT_EQ(got.status, 0) << got.err;
    EXPECT_TRUE(got.err.starts_with(std::string("hone: warning: ") + text)) << got.err;
  };
  warned({"--precision", "fp16"}, "fp16 is not used: target 'cpu' computes in fp32, bf16 and int8");
  warned({"--precision", "tf32"}, "tf32 is not used");
  warned({"--calibrate", folder_.string()}, "--calibrate is not used");
  warned({"--calibration-cache", path("none")}, "--calibration-cache is not used");
  warned({"--strict"}, "--strict is not used");
  warned({"--block", "64"}, "--block is not used");
  warned({"--accuracy-metric", "top1"}, "--accuracy-metric is not used");
}

TEST_F(Refused, InputsThatTheModelHasNot) {
  ASSERT_EQ(hone({"run", path("net.hone"), "--output-dir", folder_.string()}).status, 0);
  expect_error({"run", path("net.hone"), "--input", "z=" + path("y.npy")}, 2, {"no input 'z'; the inputs are 'x'"});
  expect_error({"run", path("net.hone"), "--input", "x="}, 2, {"expected NAME=FILE.npy or NAME=NUMBER"});
  expect_error({"run", path("net.hone"), "--input", "x=" + path("y.npy")}, 2, {"net.hone: input 'x' is f32[2,3]"});
}

TEST_F(Refused, FilesAndFoldersThatAreNotThere) {
  const std::string model = path("net.onnx"), engine = path("net.hone"), none = path("none"), into = path("none/out");
  const std::string data = folder_.string(), new_file = path("new");
  const std::vector<std::vector<std::string>> commands{
      {"build", none, "-o", new_file},
      {"build", model, "-o", into},
      {"build", "--from-engine", none, "-o", new_file},
      {"build", model, "-o", new_file, "--precision", "int8", "--calibrate", none},
      {"build", model, "-o", new_file, "--precision", "int8", "--calibration-cache", none},
      {"run", none},
      {"run", engine, "--input", "x=" + none},
      {"run", engine, "--json", into},
      {"bench", none},
      {"bench", engine, "--against", none},
      {"verify", none},
      {"verify", none + '/', "--json", "-"},
      {"verify", none, "--skip", none},
      {"compare", none, engine},
      {"compare", engine, none},
      {"inspect", none},
      {"inspect", engine, "--html", into},
      {"inspect", engine, "--json", into},
      {"profile", none},
      {"profile", engine, "-o", into},
      {"calibrate", none, "--data", data, "-o", new_file},
      {"calibrate", model, "--data", none, "-o", new_file},
      {"calibrate", model, "--check", none},
      {"quantize", none, "-o", new_file, "--weights", "int8"},
      {"quantize", model, "-o", into, "--weights", "int8"},
      {"quantize", model, "-o", new_file, "--calibrate", none},
      {"cache", "--timing-cache", none},
      {"doctor", "--json", into},
  };
  for (const auto& command : commands) expect_error(command, 2, {none});
  EXPECT_FALSE(fs::exists(none));
  EXPECT_FALSE(fs::exists(new_file));
  EXPECT_EQ(hone({"cache", "--clear", "--timing-cache", none}).status, 0);  // as is asked
}

TEST_F(Refused, VerifyingWhatIsNoTest) {
  expect_error({"verify", path("net.onnx")}, 2, {"net.onnx: is not a folder"});
  fs::create_directories(path("case"));
  expect_error({"verify", path("case")}, 2, {"case: holds neither model.onnx nor an engine"});
  fs::copy(path("net.onnx"), path("case/model.onnx"));
  expect_error({"verify", path("case")}, 2, {"case: holds no test_data_set_0"});
  write("skips", "case for a reason\n");
  const Outcome skipped = hone({"verify", path("case"), "--skip", path("skips")});
  EXPECT_EQ(skipped.status, 0) << skipped.err;
  expect_words(skipped.out, {"0 passed, 0 failed, 1 skipped"});
}

TEST_F(Refused, MoreMemoryThanThereIs) {
  ModelBuilder m;
  m.input("x", {1 << 17, 1 << 19});
  m.node("Relu", {"x"}, {"y"});
  m.output("y");
  save(m, "huge.onnx");
  expect_error({"run", path("huge.onnx"), "--no-tune", "--target", "cpu"}, 4,
               {"huge.onnx: out of memory: ", " MB are wanted at once"});
}

TEST_F(Refused, UsageIsThatOfTheCommand) {
  expect_error({"--nothing"}, 2, {"there is no option '--nothing'", "Try: hone --help"});
  expect_error({"build"}, 2, {"--output is required", "Try: hone build --help"});
  expect_error({"run", path("net.onnx"), "--target", "tpu"}, 2, {"there is no target 'tpu'"});
}

// More than a buffer of it, so that the first part fails and the end does not.
TEST_F(Refused, OutputOfWhichAPartIsLost) {
  const std::string command = std::string(HONE_BINARY) + " inspect --json - '" + path("net.hone") +
                              "' > /dev/full 2> '" + path("err.txt") + "'";
  const int status = std::system(command.c_str());
  EXPECT_EQ(WEXITSTATUS(status), 2);
  EXPECT_NE(read_text(path("err.txt")).find("standard output: cannot be written"), std::string::npos);
}

}  // namespace
}  // namespace hone
