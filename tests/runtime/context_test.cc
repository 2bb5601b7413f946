#include "runtime/context.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>
#include <thread>
#include <utility>

#include "compile/compile.h"
#include "runtime/load.h"

#ifdef HONE_SANITIZED  // sanitizers bring an allocator of their own
#define HONE_COUNTS_ALLOCATIONS 0
#else
#define HONE_COUNTS_ALLOCATIONS 1
#endif

namespace {
std::atomic<int64_t> g_allocations{0};
}

#if HONE_COUNTS_ALLOCATIONS
// operator new and everything else comes through these.
extern "C" {
void* __libc_malloc(size_t);
void* __libc_memalign(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* malloc(size_t bytes) {
  ++g_allocations;
  return __libc_malloc(bytes);
}
void* aligned_alloc(size_t align, size_t bytes) {
  ++g_allocations;
  return __libc_memalign(align, bytes);
}
void* realloc(void* old, size_t bytes) {
  ++g_allocations;
  return __libc_realloc(old, bytes);
}
}
#endif

namespace hone {
namespace {

Tensor random_tensor(const TensorType& type, unsigned seed) {
  Tensor t(type.dtype, *type.shape.concrete());
  std::mt19937 random(seed);
  for (int64_t i = 0; i < t.count(); ++i) t.set(i, static_cast<double>(random() % 2001) / 1000 - 1);
  return t;
}

// Convolution, activation, both poolings, a view and a matrix product. `weights` become constants, so that tactics pack
// them.
Graph net(bool weights) {
  Graph g;
  const ValueId x = g.add_input("x", *type_from_text("f32[2,3,12,12]"));
  const auto weight = [&](const char* name, const char* type, unsigned seed) {
    const TensorType t = *type_from_text(type);
    return weights ? g.add_constant(random_tensor(t, seed), name) : g.add_input(name, t);
  };
  const ValueId w = weight("w", "f32[8,3,3,3]", 11), b = weight("b", "f32[8]", 12), m = weight("m", "f32[8,5]", 13);
  const auto add = [&](const char* op, Attrs attrs, std::vector<ValueId> inputs) {
    auto made = make_op(op, attrs);
    EXPECT_TRUE(made.ok()) << made.status().message();
    auto node = g.add_node(*made, std::move(inputs), 1, {op});
    EXPECT_TRUE(node.ok()) << node.status().message();
    return g.node(*node).outputs[0];
  };
  using Ints = std::vector<int64_t>;
  const auto pool = [&](const char* kind, int64_t kernel, int64_t stride, ValueId from) {
    return add("Pool",
               {{"kind", std::string(kind)},
                {"kernel", Ints{kernel, kernel}},
                {"strides", Ints{stride, stride}},
                {"dilations", Ints{1, 1}},
                {"pads", Ints{0, 0, 0, 0}}},
               {from});
  };
  const ValueId conv =
      add("Conv", {{"strides", Ints{1, 1}}, {"dilations", Ints{1, 1}}, {"pads", Ints{1, 1, 1, 1}}}, {x, w, b});
  const ValueId relu = add("Pointwise", {{"program", std::string("in0:f32; relu:f32(0)")}}, {conv});
  const ValueId averaged = pool("average", 6, 1, pool("max", 2, 2, relu));
  const int64_t flat[] = {2, 8};
  const ValueId reshaped = add("Reshape", {}, {averaged, g.add_constant(Tensor::vector(flat))});
  g.add_output(add("MatMul", {}, {reshaped, m}), "y");
  g.add_output(relu, "features");
  return g;
}

std::shared_ptr<const LoadedEngine> compile(const Graph& graph, const std::string& target) {
  auto data = compile_graph(graph, {.target = target, .threads = 2, .tune = false, .verify_passes = true});
  EXPECT_TRUE(data.ok()) << data.status().message();
  if (!data.ok()) return nullptr;
  auto engine = LoadedEngine::make(std::move(*data));
  EXPECT_TRUE(engine.ok()) << engine.status().message();
  return engine.ok() ? *engine : nullptr;
}

Tensors inputs_of(const Graph& graph) {
  Tensors inputs;
  for (ValueId v : graph.inputs()) inputs.push_back(random_tensor(graph.type(v), index(v)));
  return inputs;
}

void bind_all(ExecutionContext& context, const Graph& graph, const Tensors& inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Status status = context.bind_input(graph.value(graph.inputs()[i]).name, inputs[i]);
    ASSERT_TRUE(status.ok()) << status.message();
  }
}

void expect_near(const Tensor& got, const Tensor& want) {
  ASSERT_EQ(got.dims(), want.dims());
  for (int64_t i = 0; i < got.count(); ++i) ASSERT_NEAR(got.at(i), want.at(i), 1e-5 + 1e-5 * std::abs(want.at(i))) << i;
}

TEST(Runtime, TargetsGiveTheInterpretersNumbers) {
  for (const bool weights : {false, true}) {
    const Graph graph = net(weights);
    const Tensors inputs = inputs_of(graph);
    const auto want = interpret(graph, inputs);
    ASSERT_TRUE(want.ok()) << want.status().message();
    for (const char* target : {"reference", "cpu"}) {
      const auto engine = compile(graph, target);
      ASSERT_NE(engine, nullptr);
      ExecutionContext context(engine);
      bind_all(context, graph, inputs);
      ASSERT_TRUE(context.run().ok());
      const Tensors got = context.outputs();
      ASSERT_EQ(got.size(), want->size());
      for (size_t i = 0; i < got.size(); ++i) expect_near(got[i], (*want)[i]);
      expect_near(*context.output("y"), (*want)[0]);
    }
  }
}

TEST(Runtime, ObserversSeeEachStepsOutputs) {
  const Graph graph = net(true);
  const Tensors inputs = inputs_of(graph);
  std::map<std::string, Tensors> want;
  const auto keep = [&](NodeId id, std::span<const Tensor> outputs) {
    want[graph.node(id).sources[0]].push_back(outputs[0]);
  };
  ASSERT_TRUE(interpret(graph, inputs, keep).ok());
  ExecutionContext context(compile(graph, "reference"));
  bind_all(context, graph, inputs);
  std::map<std::string, Tensors> got;
  context.observer = [&](size_t step) -> Status {
    HONE_TRY(const auto outputs, context.fetch_step(step));
    const Tensor& now = *outputs[0];
    Tensor copy(now.type(), now.dims());
    std::memcpy(copy.mutable_raw(), now.raw(), now.bytes());
    got[context.engine().program().steps[step].sources[0]].push_back(copy);
    return {};
  };
  ASSERT_TRUE(context.run().ok());
  EXPECT_EQ(got, want);
}

TEST(Runtime, TextCompilesToTheSameEngine) {
  const Graph graph = net(true);
  const auto parsed = graph_from_text(to_text(graph));
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  const Tensors inputs = inputs_of(graph);
  Tensors results[2];
  const Graph* graphs[] = {&graph, &*parsed};
  for (int i = 0; i < 2; ++i) {
    ExecutionContext context(compile(*graphs[i], "cpu"));
    bind_all(context, *graphs[i], inputs);
    ASSERT_TRUE(context.run().ok());
    results[i] = context.outputs();
  }
  EXPECT_EQ(results[0], results[1]);
}

TEST(Runtime, ASavedEngineGivesTheSameBits) {
  const Graph graph = net(true);
  const auto data = compile_graph(graph, {.threads = 2, .tune = false});
  ASSERT_TRUE(data.ok());
  const std::string path = (std::filesystem::temp_directory_path() / fmt::format("hone_runtime.{}", getpid())).string();
  ASSERT_TRUE(save_engine({{*data}}, path).ok());
  auto loaded = load_engine(path);
  std::filesystem::remove(path);
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  auto engine = LoadedEngine::make(std::move(*loaded));
  ASSERT_TRUE(engine.ok()) << engine.status().message();
  ExecutionContext fresh(compile(graph, "cpu")), saved(*engine);
  for (ExecutionContext* c : {&fresh, &saved}) {
    bind_all(*c, graph, inputs_of(graph));
    ASSERT_TRUE(c->run().ok());
  }
  EXPECT_EQ(fresh.outputs(), saved.outputs());
}

TEST(Runtime, EightThreadsShareAnEngine) {
  const Graph graph = net(true);
  const auto engine = compile(graph, "cpu");
  const Tensors inputs = inputs_of(graph);
  ExecutionContext first(engine);
  bind_all(first, graph, inputs);
  ASSERT_TRUE(first.run().ok());
  const Tensors want = first.outputs();
  std::atomic<int> different{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&] {
      ExecutionContext context(engine);
      bind_all(context, graph, inputs);
      for (int i = 0; i < 20; ++i) different += !context.run().ok() || !(context.outputs() == want);
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(different, 0);
}

TEST(Runtime, ARebindIsSeenByTheNextRun) {
  const Graph graph = net(true);
  ExecutionContext context(compile(graph, "cpu"));
  const TensorType type = graph.type(graph.inputs()[0]);
  for (unsigned seed : {1u, 2u, 1u}) {
    const Tensor x = random_tensor(type, seed);
    ASSERT_TRUE(context.bind_input("x", x).ok());
    ASSERT_TRUE(context.run().ok());
    expect_near(*context.output("y"), (*interpret(graph, std::vector{x}))[0]);
  }
}

TEST(Runtime, RunningDoesNotAllocate) {
  if (!HONE_COUNTS_ALLOCATIONS) GTEST_SKIP();
  const Graph graph = net(true);
  const auto engine = compile(graph, "cpu");
  for (const Step& step : engine->program().steps) EXPECT_NE(step.tactic, "reference") << step.label;
  ExecutionContext context(engine);
  bind_all(context, graph, inputs_of(graph));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(context.run().ok());
  const int64_t before = g_allocations;
  bool good = true;
  for (int i = 0; i < 10; ++i) good &= context.run().ok();
  EXPECT_EQ(g_allocations - before, 0);
  EXPECT_TRUE(good);
}

TEST(Runtime, MistakesAreOneClearLine) {
  const Graph graph = net(true);
  ExecutionContext context(compile(graph, "cpu"));
  const auto expect = [](const Status& status, std::vector<std::string> words) {
    EXPECT_EQ(status.code(), Code::invalid);
    EXPECT_EQ(status.message().find('\n'), std::string::npos) << status.message();
    for (const auto& word : words) EXPECT_NE(status.message().find(word), std::string::npos) << status.message();
  };
  expect(context.run(), {"'x'", "not bound"});
  expect(context.bind_input("nope", Tensor(DType::f32, {1})), {"'nope'", "'x'"});
  expect(context.bind_input("x", Tensor(DType::f16, {2, 3, 12, 12})), {"'x'", "f32", "f16"});
  expect(context.bind_input("x", Tensor(DType::f32, {2, 3, 12})), {"'x'", "[2,3,12,12]", "[2,3,12]"});
  expect(context.bind_input("x", Tensor()), {"'x'"});
  expect(context.output("nope").status(), {"'nope'"});
  const auto data = compile_graph(graph, {.target = "toaster"});
  ASSERT_FALSE(data.ok());
  EXPECT_EQ(data.status().code(), Code::invalid);
}

TEST(Runtime, AnUnknownTacticAsksForARebuild) {
  auto data = compile_graph(net(true), {.threads = 1, .tune = false});
  ASSERT_TRUE(data.ok());
  data->program.steps[0].tactic = "of another version";
  const auto engine = LoadedEngine::make(std::move(*data));
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.status().code(), Code::device);
}

// The six largest of however many there are: of fixed shape, but in memory that the planner does not know.
TEST(Runtime, AViewOfADynamicValue) {
  const auto graph = graph_from_text(R"hone(graph "g" {
    input %1 "x" : f32[?]
    const %2 : i64[1] = [6]
    %3, %4 = TopK(%1, %2) {axis=0, largest=true}
    const %5 : i64[2] = [2, 3]
    %6 = Reshape(%3, %5) {allow_zero=false}
    output %6 "y"
  })hone");
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  for (const char* target : {"reference", "cpu"}) {
    const auto engine = compile(*graph, target);
    ASSERT_NE(engine, nullptr);
    ExecutionContext context(engine);
    for (int64_t count : {8, 9}) {
      const Tensor x = random_tensor(*type_from_text(fmt::format("f32[{}]", count)), 5);
      ASSERT_TRUE(context.bind_input("x", x).ok());
      ASSERT_TRUE(context.run().ok());
      EXPECT_EQ(context.outputs(), *interpret(*graph, std::vector{x}));
    }
  }
}

// Kernels rely on the types around them.
TEST(Runtime, AStepThatContradictsItsOpIsRefused) {
  const auto data = compile_graph(net(true), {.threads = 1, .tune = false});
  ASSERT_TRUE(data.ok());
  const auto refuses = [&](auto&& change) {
    EngineData changed = *data;
    change(changed.program);
    const auto engine = LoadedEngine::make(std::move(changed));
    ASSERT_FALSE(engine.ok());
    EXPECT_EQ(engine.status().code(), Code::invalid) << engine.status().message();
  };
  refuses([](Program& p) { p.steps[0].inputs.clear(), p.steps[0].input_types.clear(); });
  refuses([](Program& p) { p.slots[static_cast<size_t>(p.steps[0].outputs[0])].type = *type_from_text("f32[1]"); });
  refuses([](Program& p) { p.steps[0].input_types[0] = *type_from_text("f32[2,3,1200,1200]"); });
  refuses([](Program& p) { p.steps[0].outputs.resize(5, p.steps[0].outputs[0]); });
}

// Only what a tactic has packed may be absent although the op has it.
TEST(Runtime, AStepThatLacksAnInputIsRefused) {
  for (const bool weights : {false, true}) {
    const auto data = compile_graph(net(weights), {.target = "cpu", .threads = 1, .tune = false});
    ASSERT_TRUE(data.ok());
    for (size_t s = 0; s < data->program.steps.size(); ++s)
      for (size_t i = 0; i < data->program.steps[s].inputs.size(); ++i) {
        EngineData changed = *data;
        if (std::exchange(changed.program.steps[s].inputs[i], -1) == -1) continue;
        const auto engine = LoadedEngine::make(std::move(changed));
        ASSERT_FALSE(engine.ok()) << data->program.steps[s].label << " without input " << i;
        EXPECT_EQ(engine.status().code(), Code::invalid);
        EXPECT_NE(engine.status().message().find(fmt::format("lacks input {}", i)), std::string::npos)
            << engine.status().message();
      }
  }
}

TEST(Runtime, ProgressMayCancel) {
  const auto data = compile_graph(
      net(true), {.tune = false, .progress = [](size_t done, size_t, std::string_view) { return done < 1; }});
  ASSERT_FALSE(data.ok());
  EXPECT_EQ(data.status().code(), Code::cancelled);
}

}  // namespace
}  // namespace hone
