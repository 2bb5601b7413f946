#include <gtest/gtest.h>

#include <random>

#include "fuzz/seeds.h"
#include "fuzz/targets.h"

namespace hone::fuzz {
namespace {

constexpr size_t kMutants = 800;  // of each target

// Cut short, or with up to four bytes changed.
std::string mutant(std::string bytes, std::mt19937& random) {
  if (random() % 8 == 0) bytes.resize(random() % bytes.size());
  else
    for (size_t i = 0, count = 1 + random() % 4; i < count; ++i)
      bytes[random() % bytes.size()] = static_cast<char>(random());
  return bytes;
}

struct Target {
  std::string_view name;
  std::string (*run)(std::string_view bytes);
};

constexpr Target kTargets[] = {{"onnx", import_onnx},
                               {"text", parse_text},
                               {"engine", load_engine_file},
                               {"manifest", load_manifest},
                               {"ranges", read_calibration_cache},
                               {"tactics", read_tactic_cache},
                               {"npy", read_array},
                               {"npz", read_archive},
                               {"image", read_picture}};

class Fuzz : public ::testing::TestWithParam<Target> {};

// What libFuzzer looks for at length, in short and with any compiler. --gtest_random_seed=N gives other mutants.
TEST_P(Fuzz, SeedsAndTheirMutantsKeepThePromises) {
  const Target& target = GetParam();
  const auto all = seeds(target.name, HONE_CONFORMANCE);
  ASSERT_FALSE(all.empty());
  std::mt19937 random(static_cast<unsigned>(::testing::UnitTest::GetInstance()->random_seed()));
  for (size_t i = 0; i < kMutants; ++i) {
    const std::string& seed = all[i * all.size() / kMutants];
    EXPECT_EQ(target.run(seed), "") << "seed " << i * all.size() / kMutants;
    EXPECT_EQ(target.run(mutant(seed, random)), "") << "mutant " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, Fuzz, ::testing::ValuesIn(kTargets),
                         [](const auto& target) { return std::string(target.param.name); });

}  // namespace
}  // namespace hone::fuzz
