#include "compile/gains.h"

#include <algorithm>
#include <cmath>

#include "backends/network_timing.h"
#include "backends/regions.h"

namespace hone {
namespace {

// In turns, for the machine may have grown slower in between: the lesser times of both.
struct StepTimes {
  std::vector<double> reduced, full;
};
Result<StepTimes> time_in_turns(const EngineData& reduced, const EngineData& full) {
  StepTimes times;
  for (int turn = 0; turn < 2; ++turn)
    for (const bool first : {true, false}) {
      HONE_TRY(std::vector<double> us, time_steps_us(first ? reduced : full));
      std::vector<double>& least = first ? times.reduced : times.full;
      if (turn == 0) least = std::move(us);
      else std::ranges::transform(least, us, least.begin(), [](double a, double b) { return std::min(a, b); });
    }
  return times;
}

// A step's that does next to nothing.
double least_us(std::span<const double> us) {
  double least = HUGE_VAL;
  for (const double t : us)
    if (t > 0) least = std::min(least, t);
  return least;
}

std::string why_slower(const Region& region, std::string_view name) {
  const double lost = region.reduced_us - region.full_us;
  return lost > 0 ? fmt::format("it is {:.1f} us slower in {}", lost, name)
                  : fmt::format(
                        "its neighbours are slower in {0}, and casts between cost more than the {1:.1f} us that "
                        "it wins",
                        name, -lost);
}

}  // namespace

Result<Gains> measure_gains(const EngineData& reduced, const EngineData& full, std::span<const DType> types,
                            std::string_view name, const Peaks& peaks) {
  HONE_TRY(const StepTimes us, time_in_turns(reduced, full));
  const double overhead_us = std::min(least_us(us.reduced), least_us(us.full));
  const auto bytes = static_cast<double>(size_of(types.front()) + size_of(DType::f32));
  const auto cast_us = [&](double elements) {
    return peaks.known() ? overhead_us + 1e6 * elements * bytes / peaks.bytes_per_s(elements * bytes) : HUGE_VAL;
  };
  Gains gains;
  for (const Region& region : regions_of({reduced.program, us.reduced}, {full.program, us.full}, types, cast_us)) {
    gains.network_us += region.reduced_us;
    for (const std::string& source : region.sources) {
      gains.won_us[source] = region.full_us - region.reduced_us;
      if (!region.reduced) gains.slower.emplace(source, why_slower(region, name));
    }
    if (!region.reduced) gains.left_us += region.reduced_us - region.full_us;
  }
  return gains;
}

}  // namespace hone
