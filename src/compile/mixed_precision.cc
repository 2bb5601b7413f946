#include "compile/mixed_precision.h"

#include <algorithm>
#include <cmath>

#include "backends/integers.h"
#include "backends/network_timing.h"
#include "base/counted.h"
#include "compile/accuracy_budget.h"
#include "compile/gains.h"
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

// Engines with layers in int8 or fp8, and what is known of these.
struct Quantized {
  DType type;
  std::optional<Candidate> all;    // with as many layers as may be
  std::optional<Candidate> mixed;  // without those that it slows down
  std::vector<LayerPrecision> layers = {};
  std::vector<std::string> open = {};  // layers that can be in it, each once
  std::set<std::string> floats = {};   // those that the budget forbids
  std::map<std::string, double> sqnr_db = {};
  Gains gains = {};
  std::map<std::string, std::string> reasons = {};  // of layers that could be in it and are not

  std::string_view name() const { return precision_name(type); }
  bool has(const Candidate* candidate) const { return (all && candidate == &*all) || (mixed && candidate == &*mixed); }
};

std::string percent(double share) { return fmt::format("{:.3g}%", 100 * share); }

class Chooser {
 public:
  Chooser(const CompileOptions& options, const PrecisionWays& ways)
      : options_(options), ways_(ways), timed_(ways.timed) {
    if (!options.thresholds.empty())
      for (const DType type : options.bytes) quantized_.push_back({.type = type});
  }

  Result<Compiled> run() {
    if (options_.budget) {
      if (!ways_.runs) return invalid("an accuracy budget is measured by running the network: its GPU is not here");
      HONE_TRY(const EngineData fp32, ways_.fp32());
      HONE_TRY(yardstick_, Yardstick::make(fp32, *options_.budget));
    } else if (!ways_.timed) {
      CompileOptions one = options_;
      if (!quantized_.empty()) one.bytes = {quantized_.back().type};
      HONE_TRY(EngineData engine, ways_.compile(one));
      for (LayerPrecision& layer : engine.program.build.layers)
        if (layer.reason.empty())
          layer.reason = fmt::format("{} wherever it can be: nothing was timed", quantized_.back().name());
      return Compiled{std::move(engine), std::move(options_)};
    }
    HONE_CHECK(make_floats());
    HONE_CHECK(make_full());
    for (Quantized& q : quantized_) HONE_CHECK(make_quantized(q));
    HONE_TRY(Candidate* const best, fastest());
    report(*best);
    return Compiled{std::move(best->engine), std::move(options_)};
  }

 private:
  // Without int8 and fp8.
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
    notes_.push_back(fmt::format("no fp16, bf16 or tf32 is used: with them, and without int8 and fp8, {}", distance));
    options_.half = DType::none;
    options_.tf32 = options_.bf16 = false;
    return make_floats();
  }

  // On random data a network may fail: then what is allowed is taken wherever it can be, as where nothing is timed.
  Result<bool> could_be_timed(const Status& status) {
    if (status.ok()) return true;
    if (status.code() != Code::invalid && status.code() != Code::unsupported) return status;
    notes_.push_back(
        fmt::format("precisions are not chosen by time: the network could not be timed ({})", status.message()));
    return false;
  }

  std::string_view reduced_name() const {
    return options_.half == DType::f16 ? "fp16" : options_.half == DType::bf16 ? "bf16" : "tf32";
  }
  bool reduces() const { return ways_.reduces && (options_.half != DType::none || options_.tf32); }

  // In fp32 alone, where that may be faster.
  Status make_full() {
    if (!timed_ || !reduces()) return {};
    const auto us = ways_.time_us(floats_.engine);
    HONE_TRY(timed_, could_be_timed(us.status()));
    if (!timed_) return {};
    floats_.us = *us;
    double operations = 0;
    const Program& program = floats_.engine.program;
    for (const Step& step : program.steps)
      if (is_reduced(precision_of(step))) operations += operations_of(program, step);
    if (const double rate = ways_.peaks().operations_per_s("fp32"); rate > 0)
      least_full_us_ = operations / (kReachedInFp32 * rate) * 1e6;
    hopeless_ = least_full_us_ >= floats_.us;
    if (hopeless_) return {};
    CompileOptions without = options_;
    without.thresholds.clear();
    without.half = DType::none;
    without.tf32 = false;
    Candidate candidate;
    HONE_TRY(candidate.engine, ways_.compile(without));
    HONE_TRY(const bool kept, keeps_budget(candidate));
    if (!kept) return {};
    full_ = std::move(candidate);
    return leave_slow_layers();
  }

  // Layers that fp16 or bf16 slows down go back to fp32, where the network is faster so.
  Status leave_slow_layers() {
    const auto types = options_.half == DType::none ? std::vector<DType>() : std::vector{options_.half};
    HONE_TRY(reduced_gains_, measure_gains(floats_.engine, full_->engine, types, reduced_name(), ways_.peaks()));
    if (types.empty() || !reduced_gains_.worth_trying()) return {};
    CompileOptions some = options_;
    some.thresholds.clear();
    some.fp32_layers = reduced_gains_.slower_layers();
    Candidate candidate;
    HONE_TRY(candidate.engine, ways_.compile(some));
    HONE_TRY(const bool kept, keeps_budget(candidate));
    if (!kept || !reduces(candidate.engine.program)) return {};
    HONE_TRY(candidate.us, ways_.time_us(candidate.engine));
    const bool faster = candidate.us < floats_.us;
    notes_.push_back(
        fmt::format("{} layer{} in fp32: the network takes {} with those that are faster there, {} without",
                    faster ? "some" : "no", faster ? "s stay" : " stays", ms(candidate.us), ms(floats_.us)));
    if (!faster) return {};
    options_.fp32_layers = std::move(some.fp32_layers);
    floats_ = std::move(candidate);
    return {};
  }

  static bool reduces(const Program& program) {
    return std::ranges::any_of(program.steps, [](const Step& step) { return is_reduced(precision_of(step)); });
  }

  // With as many layers in 8 bits as the budget allows.
  Status make_quantized(Quantized& q) {
    Candidate all;
    HONE_TRY(all.engine, ways_.compile(only(q)));
    q.layers = all.engine.program.build.layers;
    for (const LayerPrecision& layer : q.layers)
      if (layer.reason.empty() && std::ranges::find(q.open, layer.name) == q.open.end()) q.open.push_back(layer.name);
    if (q.open.empty()) return {};
    if (!yardstick_) {
      q.all = std::move(all);
      return {};
    }
    const PrecisionMeasures measures{.keeps_budget = [&](const InInt8& chosen) -> Result<bool> {
                                       Candidate candidate = all;
                                       if (std::ranges::find(chosen, false) != chosen.end()) {
                                         HONE_TRY(candidate.engine, compile_with(q, chosen));
                                       }
                                       HONE_TRY(const bool kept, keeps_budget(candidate));
                                       if (kept) q.all = std::move(candidate);
                                       return kept;
                                     },
                                     .sensitivity = [&](size_t layer) { return sensitivity(q, layer); }};
    HONE_TRY(const auto chosen, most_in_int8(q.open.size(), measures));
    for (size_t i = 0; i < q.open.size(); ++i) {
      if (chosen && (*chosen)[i]) continue;
      q.reasons[q.open[i]] = "the accuracy budget needs it in floats";
      q.floats.insert(q.open[i]);
    }
    if (!chosen) notes_.push_back(fmt::format("{} is not used: the accuracy budget leaves no layer in it", q.name()));
    return {};
  }

  CompileOptions only(const Quantized& q) const {
    CompileOptions one = options_;
    one.bytes = {q.type};
    return one;
  }

  Result<EngineData> compile_with(const Quantized& q, const InInt8& chosen, bool tune = true) const {
    CompileOptions some = only(q);
    if (!tune) {  // nor corrected: it is to be quick
      some.tune = false;
      some.samples.clear();
    }
    for (size_t i = 0; i < q.open.size(); ++i)
      if (!chosen[i]) some.floats.insert(q.open[i]);
    return ways_.compile(some);
  }

  Result<bool> keeps_budget(Candidate& candidate) const {
    if (!yardstick_) return true;
    HONE_TRY(const Distance distance, yardstick_->distance(candidate.engine));
    candidate.distance = yardstick_->of_metric(distance);
    return candidate.distance <= options_.budget->most;
  }

  Result<double> sensitivity(Quantized& q, size_t layer) {
    InInt8 alone(q.open.size(), false);
    alone[layer] = true;
    HONE_TRY(const EngineData engine, compile_with(q, alone, false));
    HONE_TRY(const Distance distance, yardstick_->distance(engine, kSamplesForOrder));
    q.sqnr_db[q.open[layer]] = -20 * std::log10(std::max(distance.error, kLeastError));
    return distance.error;
  }

  // The fastest of the candidates, or what there is where nothing is timed.
  Result<Candidate*> fastest() {
    std::vector<Candidate*> all{&floats_};
    if (full_) all.push_back(&*full_);
    for (Quantized& q : quantized_) {
      if (!q.all) continue;
      if (timed_) {
        auto gains = measure_gains(q.all->engine, floats_.engine, std::array{q.type}, q.name(), ways_.peaks());
        HONE_TRY(timed_, could_be_timed(gains.status()));
        if (timed_) q.gains = std::move(*gains);
        HONE_CHECK(make_mixed(q));
      }
      for (auto* candidate : {&q.all, &q.mixed})
        if (*candidate) all.push_back(&**candidate);
    }
    if (!timed_) return all.back();
    if (all.size() == 1) return explained(&floats_);
    for (Candidate* candidate : all) {
      HONE_TRY(candidate->us, ways_.time_us(candidate->engine));
    }
    return explained(*std::ranges::min_element(all, {}, &Candidate::us));
  }

  Candidate* explained(Candidate* best) {
    for (Quantized& q : quantized_)
      if (q.all) explain_quantized(q, best);
    if (full_ || hopeless_) explain_reduced(best);
    return best;
  }

  static bool is_quantized(const Quantized& q, const std::string& layer) {
    return std::ranges::find(q.open, layer) != q.open.end() && !q.reasons.contains(layer);
  }

  // 8 bits but for the layers that they slow down.
  Status make_mixed(Quantized& q) {
    if (!q.gains.worth_trying()) return {};
    InInt8 layers;
    for (const std::string& layer : q.open) layers.push_back(is_quantized(q, layer) && !q.gains.slower.contains(layer));
    const auto left = std::ranges::count_if(
        q.open, [&](const std::string& layer) { return is_quantized(q, layer) && q.gains.slower.contains(layer); });
    if (left == 0 || std::ranges::find(layers, true) == layers.end()) return {};
    Candidate candidate;
    HONE_TRY(candidate.engine, compile_with(q, layers));
    HONE_TRY(const bool kept, keeps_budget(candidate));
    if (kept) q.mixed = std::move(candidate);
    return {};
  }

  static std::string ms(double us) { return fmt::format("{:.3f} ms", us / 1e3); }

  void explain_quantized(Quantized& q, const Candidate* best) {
    const bool used = q.has(best);
    notes_.push_back(fmt::format("{} is {}: the network takes {} with it and {} without{}", q.name(),
                                 used ? "used" : "not used", ms(q.all->us), ms(floats_.us),
                                 q.mixed ? fmt::format(", {} with it where it alone is faster", ms(q.mixed->us)) : ""));
    for (const std::string& layer : q.open) {
      const auto slower = q.gains.slower.find(layer);
      if (!used) q.reasons.emplace(layer, fmt::format("the whole network is faster without {}", q.name()));
      else if (q.mixed && best == &*q.mixed && slower != q.gains.slower.end()) q.reasons.emplace(layer, slower->second);
    }
  }

  // A row for each layer that could be reduced, but for those that int8 or fp8 has one for.
  void explain_reduced(const Candidate* best) {
    const bool unused = full_ && best == &*full_;
    const std::string why =
        full_ ? fmt::format("the network takes {} with it and {} in fp32", ms(floats_.us), ms(full_->us))
              : fmt::format("the network takes {} with it, and its arithmetic {} in fp32 at half of the GPU's peak",
                            ms(floats_.us), ms(least_full_us_));
    notes_.push_back(fmt::format("{} is {}: {}", reduced_name(), unused ? "not used" : "used", why));
    const Program& program = floats_.engine.program;
    for (const Step& step : program.steps) {
      const std::string layer = layer_name(step);
      const bool left = options_.fp32_layers.contains(layer);
      if ((!left && (!is_reduced(precision_of(step)) || operations_of(program, step) == 0)) ||
          std::ranges::find(reduced_, layer, &LayerPrecision::name) != reduced_.end() ||
          std::ranges::any_of(quantized_, [&](const Quantized& q) {
            return std::ranges::find(q.layers, layer, &LayerPrecision::name) != q.layers.end();
          }))
        continue;
      const auto own = reduced_gains_.won_us.find(layer);
      reduced_.push_back({.name = layer,
                          .won_us = own == reduced_gains_.won_us.end() ? std::nullopt : std::optional(own->second),
                          .reason = unused  ? "the whole network is faster in fp32"
                                    : left  ? reduced_gains_.slower.at(layer)
                                    : full_ ? "faster as a whole"
                                            : "fp32 cannot be faster as a whole"});
    }
  }

  void report(Candidate& best) {
    std::vector<LayerPrecision> layers;
    if (!quantized_.empty()) {
      const auto own = std::ranges::find_if(quantized_, [&](const Quantized& q) { return q.has(&best); });
      const Quantized& q = own == quantized_.end() ? quantized_.front() : *own;
      layers = q.layers;
      for (LayerPrecision& layer : layers) {
        if (const auto known = q.sqnr_db.find(layer.name); known != q.sqnr_db.end()) layer.sqnr_db = known->second;
        if (const auto known = q.gains.won_us.find(layer.name); known != q.gains.won_us.end())
          layer.won_us = known->second;
        if (const auto known = q.reasons.find(layer.name); known != q.reasons.end()) layer.reason = known->second;
        else if (layer.reason.empty())
          layer.reason = yardstick_ ? "within the accuracy budget"
                         : timed_   ? "faster as a whole"
                                    : fmt::format("{} wherever it can be: nothing was timed", q.name());
      }
      // What a budget leaves is what the engine is built from again.
      if (yardstick_) {
        options_.bytes = {q.type};
        options_.floats.insert(q.floats.begin(), q.floats.end());
      }
    }
    layers.insert(layers.end(), std::make_move_iterator(reduced_.begin()), std::make_move_iterator(reduced_.end()));
    for (LayerPrecision& layer : best.engine.program.build.layers)  // of bf16 on a CPU
      if (std::ranges::find(layers, layer.name, &LayerPrecision::name) == layers.end()) layers.push_back(layer);
    if (yardstick_) {
      options_.accuracy = fmt::format("accuracy: {} ({}) is {} from fp32 in {} on data kept back, the budget is {}",
                                      name(yardstick_->metric()), yardstick_->reason(), percent(best.distance),
                                      counted(yardstick_->samples(), "run"), percent(options_.budget->most));
      notes_.push_back(options_.accuracy);
    }
    best.engine.program.build.layers = std::move(layers);
    auto& notes = best.engine.program.build.notes;
    notes.insert(notes.begin(), std::make_move_iterator(notes_.begin()), std::make_move_iterator(notes_.end()));
    name_precisions(best.engine.program);
  }

  CompileOptions options_;  // less what the budget has ruled out
  const PrecisionWays& ways_;
  bool timed_;
  std::optional<Yardstick> yardstick_;  // of the budget
  Candidate floats_;
  std::optional<Candidate> full_;
  Gains reduced_gains_;       // of fp16, bf16 or TF32 where full_ was made
  double least_full_us_ = 0;  // of arithmetic in fp32; 0: not known
  bool hopeless_ = false;     // to make full_
  std::vector<Quantized> quantized_;
  std::vector<LayerPrecision> reduced_;  // layers that are in none of them, and in fp16, bf16 or TF32
  std::vector<std::string> notes_;
};

}  // namespace

void name_precisions(Program& program) {
  std::map<std::string_view, std::string_view> precisions;
  for (const bool computes : {true, false})  // what only moves or converts a layer's values does not decide
    for (const Step& step : program.steps)
      if ((operations_of(program, step) > 0) == computes)
        for (const std::string& source : step.sources) precisions.emplace(source, precision_of(step));
  for (LayerPrecision& layer : program.build.layers)
    if (const auto found = precisions.find(layer.name); found != precisions.end()) layer.precision = found->second;
}

Result<Compiled> choose_precisions(const CompileOptions& options, const PrecisionWays& ways) {
  return Chooser(options, ways).run();
}

}  // namespace hone
