#include <gtest/gtest.h>
#include <hone/hone_c.h>

#include <cstring>

#include "api/tiny_model.h"

using namespace hone_test;

namespace {

class CApi : public testing::Test {
 protected:
  void SetUp() override {
    hone_build_options options = HONE_BUILD_OPTIONS_INIT;
    options.threads = 1;
    ASSERT_EQ(hone_build(folder.write("tiny.onnx", add_relu()).c_str(), &options, &engine), HONE_OK)
        << hone_last_error();
    ASSERT_EQ(hone_context_create(engine, &context), HONE_OK) << hone_last_error();
  }
  void TearDown() override {
    hone_engine_free(engine);  // before its context, which is allowed
    hone_context_free(context);
  }

  TempFolder folder;
  hone_engine* engine = nullptr;
  hone_context* context = nullptr;
};

hone_tensor floats(const float* data, const int64_t* dims, int32_t rank) {
  return {sizeof(hone_tensor), HONE_F32, rank, dims, const_cast<float*>(data)};
}

TEST_F(CApi, Runs) {
  const float x[] = {-1, 2, -3, 4}, b[] = {1, 1, 1, 1};
  const int64_t x_dims[] = {1, 4}, b_dims[] = {4};
  const hone_tensor x_tensor = floats(x, x_dims, 2), b_tensor = floats(b, b_dims, 1);
  ASSERT_EQ(hone_context_bind(context, "x", &x_tensor), HONE_OK) << hone_last_error();
  ASSERT_EQ(hone_context_bind(context, "b", &b_tensor), HONE_OK) << hone_last_error();
  ASSERT_EQ(hone_context_enqueue(context, nullptr), HONE_OK) << hone_last_error();
  hone_tensor y = HONE_TENSOR_INIT;
  ASSERT_EQ(hone_context_output(context, "y", &y), HONE_OK) << hone_last_error();
  ASSERT_EQ(y.rank, 2);
  EXPECT_EQ(y.dims[1], 4);
  EXPECT_EQ(static_cast<const float*>(y.data)[3], 5);
}

TEST_F(CApi, Describes) {
  EXPECT_EQ(hone_engine_input_count(engine), 2u);
  hone_tensor_info info = HONE_TENSOR_INFO_INIT;
  ASSERT_EQ(hone_engine_output(engine, 0, &info), HONE_OK);
  EXPECT_STREQ(info.name, "y");
  EXPECT_EQ(hone_engine_output(engine, 1, &info), HONE_INVALID);
  hone_memory memory = HONE_MEMORY_INIT;
  ASSERT_EQ(hone_engine_memory(engine, &memory), HONE_OK);
  EXPECT_EQ(memory.size, sizeof(memory));
  const char* json = nullptr;
  ASSERT_EQ(hone_engine_inspect_json(engine, &json), HONE_OK);
  EXPECT_NE(std::strstr(json, "\"layers\""), nullptr);
}

TEST_F(CApi, SavesAndLoads) {
  const std::string path = folder / "tiny.hone";
  ASSERT_EQ(hone_engine_save(engine, path.c_str()), HONE_OK) << hone_last_error();
  hone_engine* loaded = nullptr;
  ASSERT_EQ(hone_engine_load(path.c_str(), &loaded), HONE_OK) << hone_last_error();
  EXPECT_EQ(hone_engine_input_count(loaded), 2u);
  hone_engine_free(loaded);
  EXPECT_EQ(hone_engine_load((path + "x").c_str(), &loaded), HONE_INVALID);
  EXPECT_EQ(loaded, nullptr);
  EXPECT_NE(std::strlen(hone_last_error()), 0u);
}

TEST_F(CApi, BuildsAgainFromAnEngine) {
  const std::string path = folder / "tiny.hone";
  ASSERT_EQ(hone_engine_save(engine, path.c_str()), HONE_OK) << hone_last_error();
  hone_build_options options = HONE_BUILD_OPTIONS_INIT;
  options.no_portable = 1;
  hone_engine* again = nullptr;
  ASSERT_EQ(hone_build(path.c_str(), &options, &again), HONE_OK) << hone_last_error();
  EXPECT_EQ(hone_engine_input_count(again), 2u);
  ASSERT_EQ(hone_engine_save(again, path.c_str()), HONE_OK) << hone_last_error();
  hone_engine_free(again);
  EXPECT_EQ(hone_build(path.c_str(), nullptr, &again), HONE_INVALID);
  EXPECT_NE(std::strstr(hone_last_error(), "no portable graph"), nullptr) << hone_last_error();
}

TEST_F(CApi, RefusesNullPointers) {
  hone_engine* built = nullptr;
  EXPECT_EQ(hone_build(nullptr, nullptr, &built), HONE_INVALID);
  EXPECT_EQ(hone_engine_load("x", nullptr), HONE_INVALID);
  EXPECT_EQ(hone_context_bind(context, "x", nullptr), HONE_INVALID);
  EXPECT_EQ(hone_context_run(nullptr), HONE_INVALID);
  EXPECT_EQ(hone_engine_input_count(nullptr), 0u);
}

TEST_F(CApi, ReadsStructsOfOtherVersions) {
  hone_tensor tensor = {};
  EXPECT_EQ(hone_context_bind(context, "x", &tensor), HONE_INVALID);  // size is not set
  struct {
    hone_build_options options = HONE_BUILD_OPTIONS_INIT;
    int64_t later = 0;
  } newer;
  newer.options.size = sizeof(newer);
  newer.options.threads = 1;
  const std::string path = folder / "tiny.onnx";
  hone_engine* built = nullptr;
  EXPECT_EQ(hone_build(path.c_str(), &newer.options, &built), HONE_OK) << hone_last_error();
  hone_engine_free(built);
  newer.later = 1;  // set, and not known here
  EXPECT_EQ(hone_build(path.c_str(), &newer.options, &built), HONE_UNSUPPORTED);
}

TEST_F(CApi, Cancels) {
  hone_build_options options = HONE_BUILD_OPTIONS_INIT;
  int calls = 0;
  options.user = &calls;
  options.progress = [](size_t, size_t, const char*, void* user) {
    ++*static_cast<int*>(user);
    return 0;
  };
  hone_engine* built = nullptr;
  EXPECT_EQ(hone_build((folder / "tiny.onnx").c_str(), &options, &built), HONE_CANCELLED);
  EXPECT_EQ(calls, 1);
}

}  // namespace
