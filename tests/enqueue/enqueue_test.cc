// Runs on a caller's stream, by what the driver is asked for: it is one that computes nothing (driver.h).
#include <gtest/gtest.h>
#include <hone/hone.h>
#include <hone/hone_c.h>

#include <cstdlib>

#include "api/tiny_model.h"
#include "enqueue/driver.h"

using hone::Code;
using hone::TensorView;
using namespace hone_test;
using hone::testing::calls;
using Calls = std::vector<std::string>;

namespace {

// Memory of the GPU, as an application has it.
class Memory {
 public:
  explicit Memory(size_t bytes) : address_(hone::testing::allocate(bytes)) {}
  ~Memory() { hone::testing::release(address_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  TensorView view(hone::DType type, hone::Dims dims) const { return {type, address_, dims}; }

 private:
  void* address_;
};

class Enqueue : public testing::Test {
 protected:
  void SetUp() override {
    static const bool has_nvrtc = !build(add_relu()).target().empty();
    if (!has_nvrtc) GTEST_SKIP() << "NVRTC is missing";
  }
  void TearDown() override {
    hone::testing::on_launch() = {};
    for (void* stream : {first, second}) hone::testing::destroy(stream);
  }

  // By another process: NVRTC would call the driver. An empty engine where it is missing.
  hone::Engine build(const std::string& content, const std::string& target = "cuda --cuda-arch sm_90") {
    const std::string path = folder / "tiny.hone", command = HONE_BINARY " build --no-tune --quiet --timing-cache none";
    const int status = std::system(
        (command + " --target " + target + " -o " + path + " " + folder.write("tiny.onnx", content)).c_str());
    constexpr int kDeviceMissing = 4;
    if (WEXITSTATUS(status) == kDeviceMissing) return {};
    EXPECT_EQ(status, 0);
    auto engine = hone::Engine::load(path);
    EXPECT_TRUE(engine.ok()) << engine.status().message();
    return engine.ok() ? *engine : hone::Engine();
  }
  hone::Context bound(const hone::Engine& engine) {
    hone::Context context = engine.create_context();
    EXPECT_TRUE(context.bind("x", x.view(hone::DType::f32, {1, 4})).ok());
    EXPECT_TRUE(context.bind("b", b.view(hone::DType::f32, {4})).ok());
    EXPECT_TRUE(context.bind("y", y.view(hone::DType::f32, {1, 4})).ok());
    calls().clear();
    return context;
  }
  static Calls taken() { return std::exchange(calls(), {}); }

  TempFolder folder;
  Memory x{16}, b{16}, y{16};
  void *first = hone::testing::create_stream(), *second = hone::testing::create_stream();
};

#define EXPECT_OK(call)                                    \
  do {                                                     \
    const hone::Status status = call;                      \
    EXPECT_TRUE(status.ok()) << #call << status.message(); \
  } while (false)

// The streams and events of a run's calls, by the numbers that the driver gave them.
std::string stream_of(const std::string& call) { return call.substr(call.rfind('s')); }

TEST_F(Enqueue, LaunchesOnTheStreamAndDoesNotWait) {
  const hone::Engine engine = build(add_relu());
  hone::Context context = bound(engine);
  EXPECT_OK(context.enqueue(first));
  const Calls loading = taken();  // also the upload of what the engine holds, waited for on a stream of its own
  ASSERT_GE(loading.size(), 4u);
  const std::string mine = stream_of(loading.back());
  const std::string event = loading.back().substr(7, loading.back().rfind(' ') - 7);
  const auto of_mine = [&](const Calls& all) {
    Calls some;
    for (const std::string& c : all)
      if (c.find(mine) != std::string::npos) some.push_back(c);
    return some;
  };
  EXPECT_EQ(of_mine(loading), (Calls{"wait " + mine + " " + event, "launch " + mine, "record " + event + " " + mine}));

  EXPECT_OK(context.enqueue(first));
  const Calls recorded = taken();  // the graph, once, on the context's own stream
  ASSERT_EQ(recorded.size(), 5u);
  EXPECT_EQ(recorded[2], "captured 1");
  EXPECT_EQ(of_mine(recorded), (Calls{"wait " + mine + " " + event, "graph " + mine, "record " + event + " " + mine}));

  EXPECT_OK(context.enqueue(first));
  EXPECT_EQ(taken(), (Calls{"wait " + mine + " " + event, "graph " + mine, "record " + event + " " + mine}));
  EXPECT_EQ(context.output("y")->data, y.view(hone::DType::f32, {1, 4}).data);

  // Another stream waits for the run on the first, and so does the default one.
  EXPECT_OK(context.enqueue(second));
  const Calls other = taken();
  ASSERT_EQ(other.size(), 3u);
  EXPECT_EQ(other[0], "wait " + stream_of(other[2]) + " " + event);
  EXPECT_NE(stream_of(other[2]), mine);
  EXPECT_OK(context.enqueue());
  EXPECT_EQ(taken(), (Calls{"wait s0 " + event, "graph s0", "record " + event + " s0"}));

  // A run waits, once, and so does synchronize().
  EXPECT_OK(context.run());
  EXPECT_EQ(taken().front(), "synchronize " + event);
  EXPECT_OK(context.run());
  EXPECT_NE(taken().front(), "synchronize " + event);
  EXPECT_OK(context.enqueue(first));
  taken();
  EXPECT_OK(context.synchronize());
  EXPECT_OK(context.synchronize());
  EXPECT_EQ(taken(), Calls{"synchronize " + event});
}

TEST_F(Enqueue, TheEndOfAContextWaits) {
  const hone::Engine engine = build(add_relu());
  {
    hone::Context context = bound(engine);
    EXPECT_OK(context.enqueue(first));
    taken();
  }
  EXPECT_EQ(taken().size(), 1u);
}

TEST_F(Enqueue, MemoryBoundAnewIsRecordedAnew) {
  const hone::Engine engine = build(add_relu());
  hone::Context context = bound(engine);
  for (int i = 0; i < 3; ++i) EXPECT_OK(context.enqueue(first));
  const Memory other(16);
  ASSERT_TRUE(context.bind("y", other.view(hone::DType::f32, {1, 4})).ok());
  taken();
  EXPECT_OK(context.enqueue(first));
  const Calls again = taken();
  EXPECT_EQ(std::count(again.begin(), again.end(), "captured 1"), 1);
}

TEST_F(Enqueue, GoesIntoAGraphThatTheCallerRecords) {
  const hone::Engine engine = build(add_relu());
  hone::Context context = bound(engine);
  hone::testing::begin_capture(first);
  const hone::Status early = context.enqueue(first);
  EXPECT_EQ(early.code(), Code::invalid);
  EXPECT_NE(early.message().find("run once before"), std::string::npos) << early.message();
  hone::testing::end_capture(first);

  EXPECT_OK(context.enqueue(first));
  hone::testing::begin_capture(first);
  taken();
  EXPECT_OK(context.enqueue(first));
  EXPECT_OK(context.enqueue(first));
  EXPECT_EQ(taken(), Calls{});  // nothing that a capture forbids: no waiting for events from outside, no other graph
  hone::testing::end_capture(first);
  EXPECT_EQ(taken(), Calls{"captured 2"});
}

TEST_F(Enqueue, NamesAllThatIsOnTheHost) {
  const hone::Engine engine = build(model({node("Log", {"x"}, "z"), node("Relu", {"b"}, "y")},
                                          {value_info("x", 11, {4}), value_info("b", kFloat, {4})},
                                          {value_info("z", 11, {4}), value_info("y", kFloat, {4})}));
  hone::Context context = engine.create_context();
  EXPECT_EQ(context.enqueue(first).message(), "input 'x' is not bound");
  const double doubles[4] = {};
  const float floats[4] = {};
  ASSERT_TRUE(context.bind("x", TensorView::of(doubles, {4})).ok());
  ASSERT_TRUE(context.bind("b", TensorView::of(floats, {4})).ok());
  taken();
  const hone::Status refused = context.enqueue(first);
  EXPECT_EQ(refused.code(), Code::unsupported);
  for (const char* part :
       {"node 'z_node' (Pointwise) runs on the CPU", "input 'x'", "input 'b'", "output 'z'", "output 'y'"})
    EXPECT_NE(refused.message().find(part), std::string::npos) << refused.message();
  EXPECT_EQ(refused.message().find("node 'y_node'"), std::string::npos) << refused.message();
  EXPECT_EQ(refused.message().find('\n'), std::string::npos);
  EXPECT_EQ(taken(), Calls{});
}

// An index outside of a table is known when the kernel has run, which nobody waits for.
TEST_F(Enqueue, FaultsAreReportedByALaterCall) {
  const hone::Engine engine = build(model({node("Gather", {"table", "i"}, "y")},
                                          {value_info("table", kFloat, {5, 2}), value_info("i", kInt64, {2})},
                                          {value_info("y", kFloat, {2, 2})}));
  const Memory table(40), i(16), rows(16);
  hone::Context context = engine.create_context();
  ASSERT_TRUE(context.bind("table", table.view(hone::DType::f32, {5, 2})).ok());
  ASSERT_TRUE(context.bind("i", i.view(hone::DType::i64, {2})).ok());
  ASSERT_TRUE(context.bind("y", rows.view(hone::DType::f32, {2, 2})).ok());
  int* fault = nullptr;
  hone::testing::on_launch() = [&](void** parameters) { fault = *static_cast<int**>(parameters[3]); };
  EXPECT_OK(context.enqueue(first));
  ASSERT_NE(fault, nullptr);
  EXPECT_OK(context.enqueue(first));
  for (const auto& call :
       {std::function([&] { return context.enqueue(first); }), std::function([&] { return context.run(); }),
        std::function([&] { return context.synchronize(); })}) {
    *fault = 1;
    taken();
    const hone::Status found = call();
    EXPECT_EQ(found.code(), Code::invalid);
    EXPECT_EQ(found.message().find("a run enqueued before: "), 0u) << found.message();
    EXPECT_NE(found.message().find("index"), std::string::npos) << found.message();
    for (const std::string& c : taken()) EXPECT_EQ(c.find("synchronize e"), 0u) << c;  // nothing was launched
    EXPECT_OK(call());
  }
}

TEST_F(Enqueue, OutputsThatAreOneValueAreAllWritten) {
  const hone::Engine engine =
      build(model({node("Relu", {"x"}, "y"), node("Identity", {"y"}, "z")}, {value_info("x", kFloat, {4})},
                  {value_info("y", kFloat, {4}), value_info("z", kFloat, {4})}));
  hone::Context context = engine.create_context();
  for (const auto& [name, memory] : {std::pair("x", &x), std::pair("y", &y), std::pair("z", &b)})
    ASSERT_TRUE(context.bind(name, memory->view(hone::DType::f32, {4})).ok());
  for (int run = 0; run < 3; ++run) {
    taken();
    EXPECT_OK(context.enqueue(first));
    const Calls done = taken();
    EXPECT_EQ(std::count(done.begin(), done.end(), "copy " + stream_of(done.back())), 1);
  }
}

TEST_F(Enqueue, AnInputMayBeReadByNoStep) {
  const hone::Engine engine =
      build(model({node("Relu", {"x"}, "y")}, {value_info("x", kFloat, {4}), value_info("b", kFloat, {5})},
                  {value_info("y", kFloat, {4})}));
  hone::Context context = engine.create_context();
  const float values[5] = {};
  ASSERT_TRUE(context.bind("x", TensorView::of(values, {4})).ok());
  ASSERT_TRUE(context.bind("b", TensorView::of(values, {5})).ok());
  for (int run = 0; run < 3; ++run) EXPECT_OK(context.run());
}

TEST_F(Enqueue, AnEngineOnTheCpuHasNoStreams) {
  const hone::Engine engine = build(add_relu(), "cpu");
  hone::Context context = engine.create_context();
  const float values[4] = {1, 2, 3, 4};
  ASSERT_TRUE(context.bind("x", TensorView::of(values, {1, 4})).ok());
  ASSERT_TRUE(context.bind("b", TensorView::of(values, {4})).ok());
  EXPECT_EQ(context.enqueue(first).code(), Code::unsupported);
  EXPECT_OK(context.enqueue());
  EXPECT_OK(context.synchronize());
  EXPECT_EQ(context.output("y")->as<const float>()[3], 8);
}

TEST_F(Enqueue, IsInC) {
  ASSERT_TRUE(build(add_relu()).save(folder / "tiny.hone").ok());
  hone_engine* engine = nullptr;
  hone_context* context = nullptr;
  ASSERT_EQ(hone_engine_load((folder / "tiny.hone").c_str(), &engine), HONE_OK) << hone_last_error();
  ASSERT_EQ(hone_context_create(engine, &context), HONE_OK);
  const int64_t dims[] = {1, 4};
  for (const auto& [name, memory] : {std::pair("x", &x), std::pair("b", &b), std::pair("y", &y)}) {
    const bool vector = name[0] == 'b';
    hone_tensor tensor = HONE_TENSOR_INIT;
    tensor.dtype = HONE_F32;
    tensor.rank = vector ? 1 : 2;
    tensor.dims = vector ? dims + 1 : dims;
    tensor.data = memory->view(hone::DType::f32, {4}).data;
    ASSERT_EQ(hone_context_bind(context, name, &tensor), HONE_OK) << hone_last_error();
  }
  EXPECT_EQ(hone_context_enqueue(context, first), HONE_OK) << hone_last_error();
  EXPECT_EQ(hone_context_synchronize(context), HONE_OK);
  EXPECT_EQ(hone_context_enqueue(nullptr, first), HONE_INVALID);
  EXPECT_EQ(hone_context_synchronize(nullptr), HONE_INVALID);
  hone_context_free(context);
  hone_engine_free(engine);
}

}  // namespace
