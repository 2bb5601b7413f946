#include "compile/gains.h"

#include <algorithm>
#include <cmath>

#include "backends/network_timing.h"
#include "backends/regions.h"
#include "tactics/tactic.h"

namespace hone {
namespace {

struct StepTimes {
  std::vector<double> reduced, full;
};

// On a GPU, where all steps run there: as they were tuned, many launches behind each other. A step that is waited for
// takes a microsecond and the launch ten.
std::vector<double> tuned_us(const Program& program) {
  std::vector<double> us;
  for (const Step& step : program.steps) {
    const Tactic* const tactic = find_tactic(step.tactic);
    if (tactic == nullptr || tactic->backend != Backend::cuda || step.time_us <= 0) return {};
    us.push_back(step.time_us);
  }
  return us;
}

// In turns, for the machine may have grown slower in between: the lesser times of both.
Result<StepTimes> time_steps(const EngineData& reduced, const EngineData& full) {
  StepTimes times{tuned_us(reduced.program), tuned_us(full.program)};
  if (!times.reduced.empty() && !times.full.empty()) return times;
  for (int turn = 0; turn < 2; ++turn)
    for (const bool first : {true, false}) {
      HONE_TRY(std::vector<double> us, time_steps_us(first ? reduced : full));
      std::vector<double>& least = first ? times.reduced : times.full;
      if (turn == 0) least = std::move(us);
      else std::ranges::transform(least, us, least.begin(), [](double a, double b) { return std::min(a, b); });
    }
  return times;
}

// Of a number of the larger precision.
double full_bytes(const Program& full) {
  const bool halves = std::ranges::any_of(full.slots, [](const Slot& slot) {
    return slot.kind == Slot::Kind::arena && (slot.type.dtype == DType::f16 || slot.type.dtype == DType::bf16);
  });
  return static_cast<double>(size_of(halves ? DType::f16 : DType::f32));
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
  HONE_TRY(const StepTimes us, time_steps(reduced, full));
  const double overhead_us = std::min(least_us(us.reduced), least_us(us.full));
  const double bytes = (types.empty() ? 0 : static_cast<double>(size_of(types.front()))) + full_bytes(full.program);
  const auto cast_us = [&](double elements) {
    return peaks.known() ? overhead_us + 1e6 * elements * bytes / peaks.bytes_per_s(elements * bytes) : HUGE_VAL;
  };
  std::set<std::string_view> layers;  // what the larger precision has no step for is a cast
  for (const Step& step : full.program.steps) layers.insert(step.sources.begin(), step.sources.end());
  Gains gains;
  for (const Region& region : regions_of({reduced.program, us.reduced}, {full.program, us.full}, types, cast_us)) {
    gains.network_us += region.reduced_us;
    for (const std::string& source : region.sources) {
      gains.won_us[source] = region.full_us - region.reduced_us;
      if (!region.reduced && layers.contains(source)) gains.slower.emplace(source, why_slower(region, name));
    }
    if (!region.reduced) gains.left_us += region.reduced_us - region.full_us;
  }
  return gains;
}

}  // namespace hone
