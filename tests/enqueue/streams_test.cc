// Engines whose steps run in several streams, by what the driver is asked for: it is one that computes nothing.
#include <gtest/gtest.h>

#include <cstdlib>

#include "api/tiny_model.h"
#include "backends/streams.h"
#include "engine/engine_file.h"
#include "enqueue/driver.h"
#include "runtime/context.h"

namespace hone {
namespace {

using testing::calls;
using Calls = std::vector<std::string>;

// y = (x a) (x b): two products that may run at once, and one of both.
class EngineStreams : public ::testing::Test {
 protected:
  // By another process: NVRTC would call the driver.
  void SetUp() override {
    using namespace hone_test;
    const std::string content =
        model({node("MatMul", {"x", "a"}, "left"), node("MatMul", {"x", "b"}, "right"),
               node("MatMul", {"left", "right"}, "y")},
              {value_info("x", kFloat, {4, 4}), value_info("a", kFloat, {4, 4}), value_info("b", kFloat, {4, 4})},
              {value_info("y", kFloat, {4, 4})});
    const std::string path = folder_ / "tiny.hone",
                      options = " build --no-tune --quiet --timing-cache none --target cuda --cuda-arch sm_90 -o ";
    const int status = std::system((HONE_BINARY + options + path + " " + folder_.write("tiny.onnx", content)).c_str());
    constexpr int kDeviceMissing = 4;
    if (WEXITSTATUS(status) == kDeviceMissing) GTEST_SKIP() << "NVRTC is missing";
    ASSERT_EQ(status, 0);
    auto file = EngineFile::open(path);
    ASSERT_TRUE(file.ok()) << file.status().message();
    auto data = file->program(0);
    ASSERT_TRUE(data.ok()) << data.status().message();
    data_ = std::move(*data);
    ASSERT_EQ(data_.program.steps.size(), 3u);
  }
  void TearDown() override {
    context_.reset();
    for (void* memory : memory_) testing::release(memory);
    testing::destroy(stream_);
  }

  void make() {
    const auto engine = LoadedEngine::make(data_);
    ASSERT_TRUE(engine.ok()) << engine.status().message();
    context_ = std::make_unique<ExecutionContext>(*engine);
    const auto matrix = [](void* memory) { return Tensor(DType::f32, {4, 4}, static_cast<std::byte*>(memory), {}); };
    const char* inputs[] = {"x", "a", "b"};
    for (size_t i = 0; i < 3; ++i) ASSERT_TRUE(context_->bind_input(inputs[i], matrix(memory_[i])).ok());
    ASSERT_TRUE(context_->bind_device_output("y", matrix(memory_[3])).ok());
    calls().clear();
  }
  void enqueue() {
    const Status status = context_->enqueue(static_cast<cuda::CUstr*>(stream_));
    ASSERT_TRUE(status.ok()) << status.message();
  }
  static Calls taken() { return std::exchange(calls(), {}); }

  hone_test::TempFolder folder_;
  EngineData data_;
  std::unique_ptr<ExecutionContext> context_;
  void* memory_[4] = {testing::allocate(64), testing::allocate(64), testing::allocate(64), testing::allocate(64)};
  void* stream_ = testing::create_stream();
};

using Edges = std::set<std::pair<int, int>>;

TEST_F(EngineStreams, OneStreamIsAChain) {
  make();
  enqueue();
  enqueue();
  EXPECT_EQ(testing::captured().edges, (Edges{{0, 1}, {1, 2}}));
  EXPECT_EQ(testing::captured().overlapping, (std::set{0, 1, 2}));
}

TEST_F(EngineStreams, StepsForkAndJoin) {
  ASSERT_EQ(assign_streams(data_.program, 4), 2);
  make();
  enqueue();  // step by step
  const Calls eager = taken();
  std::map<std::string, std::string> names;  // of streams and events, in the order of their use behind the first wait
  const auto begin = std::ranges::find_if(eager, [](const std::string& c) { return c.starts_with("wait "); });
  Calls renamed;
  for (auto call = begin; call != eager.end(); ++call) {
    std::string line;
    for (size_t at = 0; at <= call->size();) {
      const size_t end = std::min(call->find(' ', at), call->size());
      std::string word = call->substr(at, end - at);
      if (word.size() > 1 && std::isdigit(word[1]) != 0) {
        const auto count = std::ranges::count_if(names, [&](const auto& n) { return n.first[0] == word[0]; });
        word = names.emplace(word, word[0] + std::to_string(count)).first->second;
      }
      line += (line.empty() ? "" : " ") + word;
      at = end + 1;
    }
    if (line != "load") renamed.push_back(line);
  }
  EXPECT_EQ(renamed, (Calls{"wait s0 e0", "record e1 s0", "wait s1 e1", "launch s0", "launch s1", "record e2 s1",
                            "wait s0 e2", "launch s0", "record e3 s1", "wait s0 e3", "record e0 s0"}));

  enqueue();  // as a graph
  const Edges branches{{0, 2}, {1, 2}};
  EXPECT_EQ(testing::captured().edges, branches);
  EXPECT_EQ(testing::captured().overlapping, std::set{0});  // others wait for more than the launch ahead
  enqueue();
  EXPECT_EQ(taken().size(), 5u + 3);  // recorded once

  testing::begin_capture(stream_);  // into the caller's graph
  testing::captured() = {};
  enqueue();
  testing::end_capture(stream_);
  EXPECT_EQ(testing::captured().edges, branches);
}

// What an observer launches comes behind its step and before the next, in every run; outputs are left where they are.
TEST_F(EngineStreams, AnObserverLaunchesBehindItsStep) {
  make();
  ASSERT_TRUE(context_->bind_device_output("y", {}).ok());
  context_->leave_outputs({true});
  std::vector<bool> whole;
  context_->observer = [&](size_t) {
    whole.push_back(context_->left_output(0) != nullptr);
    return context_->gpu_stream()->copy_on_device(memory_[3], memory_[0], 64);
  };
  for (int run = 0; run < 3; ++run) {
    calls().clear();
    whole.clear();
    ASSERT_TRUE(context_->run().ok());
    EXPECT_EQ(whole, (std::vector{false, false, true}));
    Calls order;
    for (const std::string& call : taken())
      if (call.starts_with("launch ") || call.starts_with("copy ")) order.push_back(call.substr(0, call.find(' ')));
    EXPECT_EQ(order, (Calls{"launch", "copy", "launch", "copy", "launch", "copy"}));
  }
  ASSERT_NE(context_->left_output(0), nullptr);

  context_->observer = [&](size_t) { return invalid("enough"); };
  EXPECT_EQ(context_->run().message(), "enough");
  context_->observer = [&](size_t step) -> Status {
    HONE_TRY(const auto outputs, context_->fetch_step(step));
    EXPECT_FALSE(context_->lies_on_device(outputs[0]->raw()));
    return {};
  };
  EXPECT_TRUE(context_->run().ok());
}

TEST_F(EngineStreams, TheFileHoldsThem) {
  ASSERT_EQ(assign_streams(data_.program, 2), 2);
  const std::string path = folder_ / "streams.hone";
  ASSERT_TRUE(save_engine({{data_}, nullptr}, path).ok());
  const auto file = EngineFile::open(path);
  ASSERT_TRUE(file.ok()) << file.status().message();
  const auto read = file->program(0);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->program.streams(), 2);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(read->program.steps[i].stream, data_.program.steps[i].stream);
    EXPECT_EQ(read->program.steps[i].waits, data_.program.steps[i].waits);
  }
}

}  // namespace
}  // namespace hone
