// Two engines of one network, held against each other by the time that they take.
#include <gtest/gtest.h>

#include "backends/network_timing.h"

namespace hone {
namespace {

EngineData named(const char* name) {
  EngineData engine;
  engine.program.name = name;
  return engine;
}

TEST(Comparison, TakesTheLesserOfTwoTimes) {
  std::vector<std::string> asked;
  // The machine is busy in the first turn.
  const auto compared = compare(named("changed"), named("engine"), "its changes", [&](const EngineData& engine) {
    asked.push_back(engine.program.name);
    return Result<double>((asked.size() <= 2 ? 9000.0 : 1000.0) + (engine.program.name == "changed" ? 0 : 500));
  });
  EXPECT_TRUE(compared.faster);
  EXPECT_TRUE(compared.failure.ok());
  EXPECT_EQ(compared.note, "the network takes 1.000 ms with its changes, 1.500 ms without: they are");
  EXPECT_EQ(asked, (std::vector<std::string>{"engine", "changed", "engine", "changed"}));
  const auto equal = compare(named("changed"), named("engine"), "its changes",
                             [](const EngineData&) { return Result<double>(2000.0); });
  EXPECT_FALSE(equal.faster);
  EXPECT_EQ(equal.note, "the network takes 2.000 ms with its changes, 2.000 ms without: they are not");
}

TEST(Comparison, SaysWhyANetworkCouldNotBeTimed) {
  for (const bool with : {false, true}) {
    const auto compared =
        compare(named("changed"), named("engine"), "its changes", [&](const EngineData& engine) -> Result<double> {
          if ((engine.program.name == "changed") == with) return invalid("an index is out of range");
          return 1.0;
        });
    EXPECT_FALSE(compared.faster);
    EXPECT_EQ(compared.failure.message(), "an index is out of range");
    EXPECT_EQ(compared.note, fmt::format("the network could not be timed {} its changes: an index is out of range",
                                         with ? "with" : "without"));
  }
}

}  // namespace
}  // namespace hone
