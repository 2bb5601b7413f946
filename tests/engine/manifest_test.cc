#include "engine/manifest.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "engine/small_engine.h"

namespace hone {
namespace {

using Json = nlohmann::json;

TEST(Manifest, EveryMissingOrRetypedFieldIsAnError) {
  const Json good = Json::parse(to_json(small_engine().program));
  ASSERT_TRUE(program_from_json(good.dump()).ok());
  for (const auto& [key, value] : good.items()) {
    for (const Json& bad : {Json(), Json("text"), Json(Json::array({1})), Json{{"a", 1}}}) {
      if (bad.is_null() ? value.is_array() : bad.type() == value.type() && !value.is_array()) continue;
      Json changed = good;
      changed[key] = bad;
      EXPECT_FALSE(program_from_json(changed.dump()).ok()) << key << " = " << bad;
    }
    Json without = good;
    without.erase(key);
    EXPECT_FALSE(program_from_json(without.dump()).ok()) << key;
  }
}

TEST(Manifest, WhatPointsOutsideIsAnError) {
  const Json good = Json::parse(to_json(small_engine().program));
  const auto refuses = [&](const char* pointer, const Json& value) {
    Json changed = good;
    changed[Json::json_pointer(pointer)] = value;
    const auto program = program_from_json(changed.dump());
    EXPECT_FALSE(program.ok()) << pointer << " = " << value;
  };
  for (int slot : {-2, 5, 1000000, INT32_MAX, INT32_MIN}) {
    refuses("/steps/0/inputs/0", slot);
    refuses("/steps/0/outputs/0", slot);
    refuses("/steps/0/packed", Json::array({slot}));
    refuses("/inputs/0/slot", slot);
    refuses("/outputs/0/slot", slot);
    refuses("/slots/3/alias_of", slot);
  }
  refuses("/steps/0/outputs/0", 1);              // a step may not write into the mapped weights
  refuses("/steps/0/outputs/0", 0);              // nor into what the caller bound
  refuses("/steps/0/packed", Json::array({2}));  // packed weights are constants
  refuses("/steps/0/inputs/1", 0);               // of another type than the step was made for
  refuses("/steps/0/types", Json::array());
  refuses("/inputs/0/slot", 1);
  refuses("/inputs/0/type", "f32[2,300]");
  refuses("/slots/3/alias_of", 3);
  refuses("/slots/2/kind", "dynamic");  // which slot 3 aliases
  refuses("/slots/3/type", "f32[7]");
  refuses("/slots/3/type", "i64[6]");
  refuses("/slots/2/type", "string[2,3]");
  refuses("/slots/2/type", "f32[2,300]");
  refuses("/slots/2/type", "f32[4611686018427387904,4]");
  refuses("/slots/2/type", "f32[N]");
  refuses("/slots/0/type", "f32[N,3]");  // the step's kernel is made for [2,3]
  for (int64_t offset : {int64_t{-64}, int64_t{1} << 40, INT64_MAX, INT64_MIN}) {
    refuses("/slots/2/offset", offset);
    refuses("/steps/0/workspace_offset", offset);
  }
  for (const char* pointer : {"/threads", "/steps/0/inputs/0", "/memory/arena_bytes", "/build/cache_hits"})
    for (const Json& number : {Json(1.5), Json(1e62), Json(UINT64_MAX)}) refuses(pointer, number);
  refuses("/steps/0/variant", int64_t{1} << 32);
  refuses("/memory/arena_bytes", -1);
  refuses("/memory/arena_bytes", 64);
  refuses("/slots/2/offset", 1);  // kernels rely on the alignment
  refuses("/memory/weights_bytes", 0);
  refuses("/memory/weights_bytes", 64);
  refuses("/slots/0/kind", "other");
}

TEST(Manifest, AStepWaitsForStepsBeforeItInOtherStreams) {
  Program gpu = small_engine().program;
  gpu.cuda_arch = "sm_90";
  gpu.steps.push_back(gpu.steps[0]);
  gpu.steps[1].stream = kMostStreams - 1;
  gpu.steps[1].waits = {0};
  const Json good = Json::parse(to_json(gpu));
  const auto read = program_from_json(good.dump());
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->steps[1].waits, gpu.steps[1].waits);
  const auto refuses = [&](const char* pointer, const Json& value) {
    Json changed = good;
    changed[Json::json_pointer(pointer)] = value;
    EXPECT_FALSE(program_from_json(changed.dump()).ok()) << pointer << " = " << value;
  };
  for (int stream : {-1, kMostStreams, INT32_MAX, 0}) refuses("/steps/1/stream", stream);  // 0: waits for its own
  for (int step : {-1, 1, 2, INT32_MAX}) refuses("/steps/1/waits/0", step);
  refuses("/cuda_arch", "");  // a CPU has none
}

TEST(Manifest, AnErrorHasOneLineWhateverItQuotes) {
  Json odd = Json::parse(to_json(small_engine().program));
  odd["steps"][0]["label"] = "two\nlines";
  odd["steps"][0]["variant"] = -1;
  EXPECT_EQ(program_from_json(odd.dump()).status().message(), "step 'two lines' is malformed");
}

TEST(Manifest, APartLiesInsideItsWhole) {
  Program program = small_engine().program;
  program.slots[3].type = program.outputs[0].type = type("f32[2]");
  program.slots[3].offset = 16;
  const auto good = program_from_json(to_json(program));
  ASSERT_TRUE(good.ok()) << good.status().message();
  EXPECT_EQ(good->slots[3].offset, 16);
  for (int64_t offset : {int64_t{-8}, int64_t{20}, int64_t{2}, INT64_MAX, INT64_MIN}) {
    program.slots[3].offset = offset;
    EXPECT_FALSE(program_from_json(to_json(program)).ok()) << offset;
  }
  program.slots[3].offset = 0;
  program.slots[3].alias_of = 0;  // an input, which is bound in its whole size
  EXPECT_TRUE(program_from_json(to_json(program)).ok());
  program.slots[3].offset = 1 << 20;
  EXPECT_FALSE(program_from_json(to_json(program)).ok());
}

TEST(Manifest, BodiesLieInsideTheirStep) {
  Program program = small_engine().program;
  const Step kernel = program.steps[0];
  Step inner = kernel, outer = kernel;
  inner.bodies = {{.steps = 1, .inputs = {2}, .outputs = {0}}};
  outer.bodies = {{.steps = 1, .outputs = {2}}, {.steps = 2}};
  program.steps = {outer, kernel, inner, kernel, kernel};
  const auto good = program_from_json(to_json(program));
  ASSERT_TRUE(good.ok()) << good.status().message();
  EXPECT_EQ(to_json(*good), to_json(program));
  EXPECT_EQ(good->steps[0].inner_steps(), 3);
  const auto refuses = [&](const char* pointer, const Json& value) {
    Json changed = Json::parse(to_json(program));
    changed[Json::json_pointer(pointer)] = value;
    EXPECT_FALSE(program_from_json(changed.dump()).ok()) << pointer << " = " << value;
  };
  for (int steps : {-1, 4, INT32_MAX, INT32_MIN}) refuses("/steps/0/bodies/1/steps", steps);
  refuses("/steps/2/bodies/0/steps", 2);  // beyond the outer body
  refuses("/steps/4/bodies", Json::array({Json{{"steps", 1}, {"inputs", Json::array()}, {"outputs", Json::array()}}}));
  for (int slot : {-2, -1, 5, INT32_MAX}) {
    refuses("/steps/2/bodies/0/inputs/0", slot);
    refuses("/steps/2/bodies/0/outputs/0", slot);
  }
  refuses("/steps/2/bodies/0/inputs/0", 0);  // what the caller bound is read only
  refuses("/steps/2/bodies/0/inputs/0", 1);  // and so are constants
}

TEST(Manifest, WhatIsReadWasMadeBefore) {
  Program program = small_engine().program;
  program.slots.push_back({.kind = Slot::Kind::dynamic, .type = type("f32[2,3]")});
  Step makes = program.steps[0], reads = program.steps[0];
  makes.outputs = {5};
  reads.inputs = {5, 1};
  const auto accepts = [&](std::vector<Step> steps) {
    program.steps = std::move(steps);
    return program_from_json(to_json(program)).ok();
  };
  EXPECT_TRUE(accepts({makes, reads}));
  EXPECT_FALSE(accepts({reads, makes}));
  Step branches = program.steps[0];
  branches.inputs = {0, 1};
  branches.outputs = {2};
  branches.bodies = {{.steps = 2, .outputs = {2}}};
  EXPECT_TRUE(accepts({branches, makes, reads}));
  branches.bodies = {{.steps = 1, .outputs = {2}}, {.steps = 1, .outputs = {2}}};
  EXPECT_FALSE(accepts({branches, makes, reads}));
  branches.bodies[1].inputs = {5};
  EXPECT_TRUE(accepts({branches, makes, reads}));
  program.inputs.clear();  // then nothing is bound
  EXPECT_FALSE(accepts({makes}));
}

TEST(Manifest, BodiesThatLieTooDeepAreRefused) {
  Program program = small_engine().program;
  const Step kernel = program.steps[0];
  program.steps.clear();
  for (int left = 200; left > 0; --left) {
    program.steps.push_back(kernel);
    program.steps.back().bodies = {{.steps = left}};
  }
  program.steps.push_back(kernel);
  EXPECT_FALSE(program_from_json(to_json(program)).ok());
}

}  // namespace
}  // namespace hone
