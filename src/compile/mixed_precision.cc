#include "compile/mixed_precision.h"

#include <algorithm>
#include <cmath>

#include "backends/network_timing.h"
#include "backends/regions.h"
#include "compile/accuracy_budget.h"
#include "engine/floor.h"
#include "engine/inspect.h"

namespace hone {
namespace {

// Of the peak of arithmetic, more than fp32 kernels have reached over a network: 0.24 in ResNet-50 at batch 32.
constexpr double kReachedInFp32 = 0.5;

constexpr size_t kSamplesForOrder = 16;  // at most: they sort the layers, the budget is judged on all
constexpr double kLeastError = 1e-10;    // 200 dB

// An engine that may be the result.
struct Candidate {
  EngineData engine;
  double distance = 0;  // of the budget's metric
  double us = 0;
};

bool is_reduced(std::string_view precision) {
  return precision == "fp16" || precision == "bf16" || precision == "tf32";
}

std::string percent(double share) { return fmt::format("{:.3g}%", 100 * share); }

class Chooser {
 public:
  Chooser(const CompileOptions& options, const PrecisionWays& ways) : options_(options), ways_(ways) {}

  Result<Compiled> run() {
    if (options_.budget) {
      if (!ways_.runs) return invalid("an accuracy budget is measured by running the network: its GPU is not here");
      HONE_TRY(const EngineData fp32, ways_.fp32());
      HONE_TRY(yardstick_, Yardstick::make(fp32, *options_.budget));
    } else if (!ways_.timed) {
      HONE_TRY(EngineData engine, ways_.compile(options_));
      for (LayerPrecision& layer : engine.program.build.layers)
        if (layer.reason.empty()) layer.reason = "int8 wherever it can be: nothing was timed";
      return Compiled{std::move(engine), std::move(options_)};
    }
    HONE_CHECK(make_floats());
    HONE_CHECK(make_full());
    HONE_CHECK(make_integers());
    HONE_TRY(Candidate* const best, fastest());
    report(*best);
    return Compiled{std::move(best->engine), std::move(options_)};
  }

 private:
  // Without int8.
  Status make_floats() {
    CompileOptions without = options_;
    without.thresholds.clear();
    HONE_TRY(floats_.engine, ways_.compile(without));
    HONE_TRY(const bool kept, keeps_budget(floats_));
    if (kept) return {};
    const std::string distance =
        fmt::format("{} is {} from fp32 on the data kept back, the budget is {}", name(yardstick_->metric()),
                    percent(floats_.distance), percent(options_.budget->most));
    if (options_.half == DType::none && !options_.tf32 && !options_.bf16)
      return invalid("the accuracy budget cannot be met: even where nothing is reduced, {}", distance);
    notes_.push_back(fmt::format("no fp16, bf16 or tf32 is used: with them, and without int8, {}", distance));
    options_.half = DType::none;
    options_.tf32 = options_.bf16 = false;
    return make_floats();
  }

  bool reduces() const { return ways_.reduces && (options_.half != DType::none || options_.tf32); }

  // In fp32 alone, where that may be faster.
  Status make_full() {
    if (!ways_.timed || !reduces()) return {};
    HONE_TRY(floats_.us, ways_.time_us(floats_.engine));
    double operations = 0;
    const Program& program = floats_.engine.program;
    for (const Step& step : program.steps)
      if (is_reduced(precision_of(step))) operations += operations_of(program, step);
    if (ways_.fp32_operations_per_s > 0)
      least_full_us_ = operations / (kReachedInFp32 * ways_.fp32_operations_per_s) * 1e6;
    hopeless_ = least_full_us_ >= floats_.us;
    if (hopeless_) return {};
    CompileOptions without = options_;
    without.thresholds.clear();
    without.half = DType::none;
    without.tf32 = false;
    Candidate candidate;
    HONE_TRY(candidate.engine, ways_.compile(without));
    HONE_TRY(const bool kept, keeps_budget(candidate));
    if (kept) full_ = std::move(candidate);
    return {};
  }

  // With as much int8 as the budget allows.
  Status make_integers() {
    if (options_.thresholds.empty()) return {};
    Candidate all;
    HONE_TRY(all.engine, ways_.compile(options_));
    layers_ = all.engine.program.build.layers;
    for (const LayerPrecision& layer : layers_)
      if (layer.reason.empty() && std::ranges::find(open_, layer.name) == open_.end()) open_.push_back(layer.name);
    if (open_.empty()) return {};
    if (!yardstick_) {
      integers_ = std::move(all);
      return {};
    }
    const PrecisionMeasures measures{.keeps_budget = [&](const InInt8& in_int8) -> Result<bool> {
                                       Candidate candidate = all;
                                       if (std::ranges::find(in_int8, false) != in_int8.end()) {
                                         HONE_TRY(candidate.engine, compile_with(in_int8));
                                       }
                                       HONE_TRY(const bool kept, keeps_budget(candidate));
                                       if (kept) integers_ = std::move(candidate);
                                       return kept;
                                     },
                                     .sensitivity = [&](size_t layer) { return sensitivity(layer); }};
    HONE_TRY(const auto chosen, most_in_int8(open_.size(), measures));
    for (size_t i = 0; i < open_.size(); ++i) {
      if (chosen && (*chosen)[i]) continue;
      reasons_[open_[i]] = "the accuracy budget needs it in floats";
      options_.floats.insert(open_[i]);
    }
    if (!chosen) notes_.push_back("int8 is not used: the accuracy budget leaves no layer in it");
    return {};
  }

  Result<EngineData> compile_with(const InInt8& in_int8, bool tune = true) const {
    CompileOptions some = options_;
    if (!tune) {  // nor corrected: it is to be quick
      some.tune = false;
      some.samples.clear();
    }
    for (size_t i = 0; i < open_.size(); ++i)
      if (!in_int8[i]) some.floats.insert(open_[i]);
    return ways_.compile(some);
  }

  Result<bool> keeps_budget(Candidate& candidate) const {
    if (!yardstick_) return true;
    HONE_TRY(const Distance distance, yardstick_->distance(candidate.engine));
    candidate.distance = yardstick_->of_metric(distance);
    return candidate.distance <= options_.budget->most;
  }

  Result<double> sensitivity(size_t layer) {
    InInt8 alone(open_.size(), false);
    alone[layer] = true;
    HONE_TRY(const EngineData engine, compile_with(alone, false));
    HONE_TRY(const Distance distance, yardstick_->distance(engine, kSamplesForOrder));
    sqnr_db_[open_[layer]] = -20 * std::log10(std::max(distance.error, kLeastError));
    return distance.error;
  }

  // The fastest of the candidates, or what there is where nothing is timed.
  Result<Candidate*> fastest() {
    if (!ways_.timed) return integers_ ? &*integers_ : &floats_;
    if (integers_) {
      HONE_CHECK(compare_regions());
      HONE_CHECK(make_mixed());
    }
    if (!integers_ && !full_) return explained(&floats_);
    std::vector<Candidate*> all{&floats_};
    for (auto* candidate : {&full_, &integers_, &mixed_})
      if (*candidate) all.push_back(&**candidate);
    for (Candidate* candidate : all) {
      HONE_TRY(candidate->us, ways_.time_us(candidate->engine));
    }
    return explained(*std::ranges::min_element(all, {}, &Candidate::us));
  }

  Candidate* explained(Candidate* best) {
    if (integers_) explain_integers(best);
    if (full_ || hopeless_) explain_reduced(best);
    return best;
  }

  // What int8 wins, layer by layer and in the regions that can only be chosen as a whole.
  Status compare_regions() {
    HONE_TRY(const auto integers_us, time_steps_us(integers_->engine));
    HONE_TRY(const auto floats_us, time_steps_us(floats_.engine));
    const auto compared = [&](bool joined) {
      return regions_of(timed_steps(integers_->engine.program, integers_us, joined),
                        timed_steps(floats_.engine.program, floats_us, joined));
    };
    for (const Region& region : compared(false))
      for (const std::string& source : region.sources) won_us_[source] = region.floats_us - region.integers_us;
    for (const Region& region : compared(true)) {
      if (region.integers_us <= region.floats_us) continue;
      for (const std::string& source : region.sources)
        if (in_integers(source)) slower_.emplace(source, region.integers_us - region.floats_us);
    }
    return {};
  }

  bool in_integers(const std::string& layer) const {
    return std::ranges::find(open_, layer) != open_.end() && !reasons_.contains(layer);
  }

  // Int8 but for the regions that it slows down.
  Status make_mixed() {
    InInt8 layers;
    for (const std::string& layer : open_) layers.push_back(in_integers(layer) && !slower_.contains(layer));
    if (slower_.empty() || std::ranges::find(layers, true) == layers.end()) return {};
    Candidate candidate;
    HONE_TRY(candidate.engine, compile_with(layers));
    HONE_TRY(const bool kept, keeps_budget(candidate));
    if (kept) mixed_ = std::move(candidate);
    return {};
  }

  static std::string ms(double us) { return fmt::format("{:.3f} ms", us / 1e3); }

  void explain_integers(const Candidate* best) {
    const bool unused = best == &floats_ || (full_ && best == &*full_);
    notes_.push_back(fmt::format("int8 is {}: the network takes {} with it and {} without{}",
                                 unused ? "not used" : "used", ms(integers_->us), ms(floats_.us),
                                 mixed_ ? fmt::format(", {} with it where it alone is faster", ms(mixed_->us)) : ""));
    for (const std::string& layer : open_) {
      const auto slower = slower_.find(layer);
      if (unused) reasons_.emplace(layer, "the whole network is faster without int8");
      else if (mixed_ && best == &*mixed_ && slower != slower_.end())
        reasons_.emplace(layer, fmt::format("its region is {:.1f} us slower in int8", slower->second));
    }
  }

  // A row for each layer that could be reduced, but for those that int8 has one for.
  void explain_reduced(const Candidate* best) {
    const std::string_view name = options_.half == DType::f16 ? "fp16" : options_.half == DType::bf16 ? "bf16" : "tf32";
    const bool unused = full_ && best == &*full_;
    const std::string why =
        full_ ? fmt::format("the network takes {} with it and {} in fp32", ms(floats_.us), ms(full_->us))
              : fmt::format("the network takes {} with it, and its arithmetic {} in fp32 at half of the GPU's peak",
                            ms(floats_.us), ms(least_full_us_));
    notes_.push_back(fmt::format("{} is {}: {}", name, unused ? "not used" : "used", why));
    std::map<std::string, double> won;
    if (full_)
      for (const Region& region : regions_of(tuned_steps(floats_.engine.program), tuned_steps(full_->engine.program)))
        for (const std::string& source : region.sources) won[source] = region.floats_us - region.integers_us;
    const Program& program = floats_.engine.program;
    for (const Step& step : program.steps) {
      const std::string layer = layer_name(step);
      if (!is_reduced(precision_of(step)) || operations_of(program, step) == 0 ||
          std::ranges::find(layers_, layer, &LayerPrecision::name) != layers_.end())
        continue;
      const auto own = won.find(layer);
      layers_.push_back({.name = layer,
                         .won_us = own == won.end() ? std::nullopt : std::optional(own->second),
                         .reason = unused  ? "the whole network is faster in fp32"
                                   : full_ ? "faster as a whole"
                                           : "fp32 cannot be faster as a whole"});
    }
  }

  static std::vector<TimedStep> tuned_steps(const Program& program) {
    std::vector<double> us;
    for (const Step& step : program.steps) us.push_back(step.time_us);
    return timed_steps(program, us, false);
  }

  void report(Candidate& best) {
    for (LayerPrecision& layer : layers_) {
      if (const auto known = sqnr_db_.find(layer.name); known != sqnr_db_.end()) layer.sqnr_db = known->second;
      if (const auto known = won_us_.find(layer.name); known != won_us_.end()) layer.won_us = known->second;
      if (const auto known = reasons_.find(layer.name); known != reasons_.end()) layer.reason = known->second;
      else if (layer.reason.empty()) layer.reason = yardstick_ ? "within the accuracy budget" : "faster as a whole";
    }
    if (yardstick_) {
      options_.accuracy =
          fmt::format("accuracy: {} ({}) is {} from fp32 in {} runs on data kept back, the budget is {}",
                      name(yardstick_->metric()), yardstick_->reason(), percent(best.distance), yardstick_->samples(),
                      percent(options_.budget->most));
      notes_.push_back(options_.accuracy);
    }
    best.engine.program.build.layers = std::move(layers_);
    auto& notes = best.engine.program.build.notes;
    notes.insert(notes.begin(), std::make_move_iterator(notes_.begin()), std::make_move_iterator(notes_.end()));
    name_precisions(best.engine.program);
  }

  CompileOptions options_;  // less what the budget has ruled out
  const PrecisionWays& ways_;
  std::optional<Yardstick> yardstick_;  // of the budget
  Candidate floats_;
  std::optional<Candidate> full_, integers_, mixed_;
  double least_full_us_ = 0;  // of arithmetic in fp32; 0: not known
  bool hopeless_ = false;     // to make full_
  std::vector<LayerPrecision> layers_;
  std::vector<std::string> open_;  // layers that can be in int8, each once
  std::map<std::string, double> sqnr_db_, won_us_;
  std::map<std::string, double> slower_;        // by how much, the regions of layers
  std::map<std::string, std::string> reasons_;  // of layers that could be in int8 and are not
  std::vector<std::string> notes_;
};

}  // namespace

void name_precisions(Program& program) {
  std::map<std::string_view, std::string_view> precisions;
  for (const Step& step : program.steps)
    for (const std::string& source : step.sources) precisions.emplace(source, precision_of(step));
  for (LayerPrecision& layer : program.build.layers)
    if (const auto found = precisions.find(layer.name); found != precisions.end()) layer.precision = found->second;
}

Result<Compiled> choose_precisions(const CompileOptions& options, const PrecisionWays& ways) {
  return Chooser(options, ways).run();
}

}  // namespace hone
