#include "engine/engine_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/manifest.h"
#include "engine/small_engine.h"
#include "folder_test.h"
#include "ops/pointwise.h"

namespace hone {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// relu(x + w), w a vector of 1000 as the engine's, and v that is the portable graph's alone.
std::shared_ptr<const Portable> small_portable(const Tensor& w) {
  Portable p;
  p.graph.name = "net \xff";
  const ValueId x = p.graph.add_input("x", type("f32[2,1000]"));
  const auto sum = p.graph.add_node(Pointwise{single(Fn::add, DType::f32, DType::f32)}, {x, p.graph.add_constant(w)});
  Tensor v(DType::f32, {1000});
  for (int64_t i = 0; i < v.count(); ++i) v.set(i, 1.0 / static_cast<double>(i + 1));
  const auto product = p.graph.add_node(Pointwise{single(Fn::mul, DType::f32, DType::f32)},
                                        {p.graph.node(*sum).outputs[0], p.graph.add_constant(v, "v")});
  p.graph.add_output(p.graph.node(*product).outputs[0], "y");
  p.recipe = {.target = "cuda:1",
              .threads = 3,
              .max_tier = 1,
              .winograd = false,
              .tf32 = true,
              .half = DType::f16,
              .int8 = true,
              .ranges = {{"x", {1.5, {0.1, 1.0 / 3}, 1e30}}, {"y", {2}}},
              .strict = true,
              .floats = {"conv \"1\""},
              .accuracy = "top1 is 0",
              .max_workspace = 1234};
  return std::make_shared<const Portable>(std::move(p));
}

Tensor large_w() {
  Tensor w(DType::f32, {1000});
  for (int64_t i = 0; i < w.count(); ++i) w.set(i, static_cast<double>(i));
  return w;
}

// The small engine with weights that make pages.
EngineData large_engine() {
  EngineData e = small_engine();
  e.program.slots[0].type = e.program.slots[2].type = e.program.inputs[0].type = type("f32[2,1000]");
  e.program.slots[1].type = type("f32[1000]");
  e.program.slots[3].type = e.program.outputs[0].type = type("f32[2000]");
  e.program.steps[0].input_types = {type("f32[2,1000]"), type("f32[1000]")};
  e.program.memory = {.arena_bytes = 8192, .weights_bytes = 4000};
  e.constants[1] = large_w();
  return e;
}

Result<EngineData> load_first(const std::string& path) {
  HONE_TRY(const EngineFile file, EngineFile::open(path));
  return file.program(0);
}

std::string read_bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class EngineTest : public testing::FolderTest {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(FolderTest::SetUp());
    path_ = (folder_ / "e.hone").string();
    ASSERT_TRUE(save(small_engine()).ok());
    bytes_ = read_bytes(path_);
  }
  Status save(EngineData engine) { return save_engine({{std::move(engine)}}, path_); }
  std::string written(const std::string& bytes) {
    const std::string path = (folder_ / "changed.hone").string();
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
    return path;
  }
  Result<EngineData> load(const std::string& bytes) { return load_first(written(bytes)); }
  static void expect_same(EngineData got) {
    EngineData want = small_engine();
    for (Slot& slot : got.program.slots) slot.tensor = -1;
    EXPECT_EQ(to_json(got.program), to_json(want.program));
    EXPECT_EQ(got.constants, want.constants);
  }

  std::string path_, bytes_;
};

TEST_F(EngineTest, RoundTrips) {
  const auto engine = load_first(path_);
  ASSERT_TRUE(engine.ok()) << engine.status().message();
  expect_same(*engine);
  EXPECT_EQ(engine->program.steps[0].attrs, small_engine().program.steps[0].attrs);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(engine->constants[1].raw()) % 64, 0u);
  EXPECT_TRUE(looks_like_engine(bytes_));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1);
}

TEST_F(EngineTest, TruncationIsAnError) {
  for (size_t length = 0; length < bytes_.size(); length += length < 256 ? 1 : 29) {
    const auto engine = load(bytes_.substr(0, length));
    ASSERT_FALSE(engine.ok()) << length << " of " << bytes_.size() << " bytes";
    ASSERT_EQ(engine.status().code(), Code::invalid);
    ASSERT_EQ(engine.status().message().find('\n'), std::string::npos);
  }
}

TEST_F(EngineTest, AFlippedBitIsAnErrorOrPadding) {
  int errors = 0;
  for (size_t at = 0; at < bytes_.size(); at += at < 256 ? 1 : 13) {
    std::string changed = bytes_;
    changed[at] = static_cast<char>(changed[at] ^ (1 << (at % 8)));
    const auto engine = load(changed);
    if (engine.ok()) expect_same(*engine);
    errors += !engine.ok();
  }
  EXPECT_GT(errors, 250);
}

TEST_F(EngineTest, ThePortableGraphRoundTrips) {
  const auto portable = small_portable(large_w());
  ASSERT_TRUE(save_engine({{large_engine()}, portable}, path_).ok());
  const auto file = EngineFile::open(path_);
  ASSERT_TRUE(file.ok()) << file.status().message();
  ASSERT_TRUE(file->has_portable());
  const auto got = file->portable();
  ASSERT_TRUE(got.ok()) << got.status().message();
  EXPECT_TRUE(equal(got->graph, portable->graph)) << to_text(got->graph);
  EXPECT_EQ(got->recipe, portable->recipe);
  // The same file, whichever part of it was read.
  ASSERT_TRUE(file->save((folder_ / "again.hone").string()).ok());
  EXPECT_EQ(read_bytes((folder_ / "again.hone").string()), read_bytes(path_));
}

TEST_F(EngineTest, WhatIsTheSameIsStoredOnce) {
  const auto size_of_file = [&](const EngineContents& contents) {
    EXPECT_TRUE(save_engine(contents, path_).ok());
    return static_cast<int64_t>(fs::file_size(path_));
  };
  EngineData other = large_engine();
  other.constants[1].mutable_data<float>()[7] = 0;
  const int64_t one = size_of_file({{large_engine()}}), same = size_of_file({{large_engine(), large_engine()}}),
                two = size_of_file({{large_engine(), other}});
  EXPECT_LT(same, one + 4000);
  EXPECT_GT(two, same + 4000);
  const int64_t portable = size_of_file({{large_engine()}, small_portable(large_w())});
  EXPECT_GT(portable, one + 4000);
  EXPECT_LT(portable, one + 8000);
  const auto file = EngineFile::open(path_);
  EXPECT_NEAR(static_cast<double>(file->portable_bytes()), static_cast<double>(portable - one), 4096);
}

TEST_F(EngineTest, WithoutAPortableGraphItSaysSo) {
  const auto file = EngineFile::open(path_);
  ASSERT_TRUE(file.ok());
  EXPECT_FALSE(file->has_portable());
  EXPECT_EQ(file->portable_bytes(), 0);
  const auto portable = file->portable();
  ASSERT_FALSE(portable.ok());
  EXPECT_NE(portable.status().message().find("e.hone: holds no portable graph"), std::string::npos);
}

// What is damaged is found where it is read, and nowhere else.
TEST_F(EngineTest, ProgramsAndThePortableGraphAreCheckedApart) {
  ASSERT_TRUE(save_engine({{large_engine()}, small_portable(large_w())}, path_).ok());
  const std::string bytes = read_bytes(path_);
  const Tensor w = large_w();
  const auto changed_at = [&](std::string_view content) {
    const size_t at = bytes.find(content);
    EXPECT_NE(at, std::string::npos);
    std::string changed = bytes;
    changed[at + content.size() / 2] ^= 4;
    return EngineFile::open(written(changed));
  };
  const Portable portable = *small_portable(w);
  std::vector<std::string_view> of_portable{"graph \"net", "\"winograd\""};
  for (ValueId v : portable.graph.values())
    if (portable.graph.value(v).name == "v")
      of_portable.push_back({portable.graph.value(v).constant.data<char>(), portable.graph.value(v).constant.bytes()});
  ASSERT_EQ(of_portable.size(), 3u);
  for (const std::string_view content : of_portable) {
    const auto file = changed_at(content);
    ASSERT_TRUE(file.ok()) << file.status().message();
    EXPECT_TRUE(file->program(0).ok()) << file->program(0).status().message();
    const auto got = file->portable();
    ASSERT_FALSE(got.ok());
    EXPECT_NE(got.status().message().find("changed.hone: the portable graph: "), std::string::npos);
    EXPECT_EQ(got.status().message().find('\n'), std::string::npos);
  }
  const auto shared = changed_at({w.data<char>(), w.bytes()});
  EXPECT_FALSE(shared->program(0).ok());
  EXPECT_FALSE(shared->portable().ok());
}

TEST_F(EngineTest, ProgramsForSeveralArchitectures) {
  EngineContents contents{{small_engine(), small_engine()}};
  contents.programs[0].program.target = contents.programs[1].program.target = "cuda";
  contents.programs[0].program.cuda_arch = "sm_80";
  contents.programs[1].program.cuda_arch = "sm_90";
  ASSERT_TRUE(save_engine(contents, path_).ok());
  const auto file = EngineFile::open(path_);
  ASSERT_TRUE(file.ok()) << file.status().message();
  ASSERT_EQ(file->programs().size(), 2u);
  for (size_t i : {0u, 1u}) {
    EXPECT_EQ(file->programs()[i].cuda_arch, contents.programs[i].program.cuda_arch);
    const auto program = file->program(i);
    ASSERT_TRUE(program.ok()) << program.status().message();
    EXPECT_EQ(program->program.cuda_arch, contents.programs[i].program.cuda_arch);
  }
  EXPECT_FALSE(file->program(2).ok());
}

TEST(Recipe, MalformedOptionsAreErrors) {
  const Recipe recipe = small_portable(large_w())->recipe;
  const auto text = to_json(recipe);
  ASSERT_TRUE(text.ok());
  EXPECT_EQ(*recipe_from_json(*text), recipe);
  const Json good = Json::parse(*text);
  for (const auto& [key, value] : good.items()) {
    Json without = good;
    without.erase(key);
    EXPECT_FALSE(recipe_from_json(without.dump()).ok()) << key;
    Json changed = good;
    changed[key] = Json::array({"odd"});
    EXPECT_EQ(recipe_from_json(changed.dump()).ok(), key == "floats") << key;
  }
  for (const auto& [pointer, value] : {std::pair<const char*, Json>{"/threads", -1},
                                       {"/threads", 1e300},
                                       {"/max_tier", 3},
                                       {"/half", "f32"},
                                       {"/ranges/x/whole", -1},
                                       {"/max_workspace", UINT64_MAX}}) {
    Json changed = good;
    changed[Json::json_pointer(pointer)] = value;
    EXPECT_FALSE(recipe_from_json(changed.dump()).ok()) << pointer << " = " << value;
  }
  Recipe odd;
  odd.ranges["\xff"] = {1};
  EXPECT_FALSE(to_json(odd).ok());
}

TEST_F(EngineTest, AnotherFormatVersionAsksForARebuild) {
  std::string changed = bytes_;
  ++changed[8];
  const auto engine = load(changed);
  ASSERT_FALSE(engine.ok());
  EXPECT_NE(engine.status().message().find("build the engine again"), std::string::npos);
}

TEST_F(EngineTest, StringsBelongToStringConstantsAndAllOfThose) {
  EngineData engine = small_engine();
  engine.constants[4] = Tensor();
  ASSERT_TRUE(save(engine).ok());
  EXPECT_FALSE(load_first(path_).ok());
  engine = small_engine();
  engine.constants[1] = Tensor::strings({3}, {"a", "b", "c"});
  ASSERT_TRUE(save(engine).ok());
  EXPECT_FALSE(load_first(path_).ok());
}

TEST_F(EngineTest, ABooleanIsZeroOrOne) {
  EngineData engine = small_engine();
  engine.program.slots[1].type = type("bool[3]");
  engine.program.memory.weights_bytes = 3;
  engine.program.steps[0].input_types[1] = type("bool[3]");
  for (const uint8_t last : {1, 2}) {
    const uint8_t bytes[] = {0, 1, last};
    engine.constants[1] = Tensor::of<uint8_t>(DType::boolean, {3}, bytes);
    ASSERT_TRUE(save(engine).ok());
    EXPECT_EQ(load_first(path_).ok(), last == 1);
  }
}

TEST_F(EngineTest, AConstantIsATensorOfTheFile) {
  for (int tensor : {-1, 2, INT32_MAX, INT32_MIN}) {
    EngineData engine = small_engine();
    engine.program.slots.push_back({.kind = Slot::Kind::constant, .type = type("f32[0]"), .tensor = tensor});
    engine.constants.emplace_back();
    ASSERT_TRUE(save(engine).ok());
    EXPECT_FALSE(load_first(path_).ok()) << tensor;
  }
}

TEST_F(EngineTest, NamesThatAreNotUtf8DoNotStopTheSave) {
  EngineData engine = small_engine();
  engine.program.slots[0].name = engine.program.steps[0].label = "\xff\xfe";
  EXPECT_TRUE(save(engine).ok());
  EXPECT_TRUE(load_first(path_).ok());
}

}  // namespace
}  // namespace hone
