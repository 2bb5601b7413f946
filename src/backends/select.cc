#include "backends/select.h"

#include <fmt/format.h>

#include <algorithm>
#include <climits>
#include <cstdlib>

#include "backends/agreement.h"
#include "backends/gpu_timing.h"
#include "backends/sandbox.h"
#include "base/counted.h"
#include "base/cpu_info.h"
#include "cuda/cublaslt.h"
#include "cuda/cudnn.h"
#include "ir/graph.h"
#include "tune/evict.h"
#include "tune/timer.h"

namespace hone {
namespace {

constexpr std::string_view kVersion = "0.1";

std::string device_name(const Machine& machine) {
  if (!machine.cuda_arch.empty()) {
    const auto gpu = cuda::device(machine.cuda_device);
    return fmt::format("hone {} cuda {}{}{}", kVersion, machine.cuda_arch,
                       gpu.ok() ? fmt::format(" '{}'", gpu->name) : "", machine.tf32 ? " tf32" : "");
  }
  return fmt::format("hone {} cpu '{}' tier {} threads {}{}", kVersion, cpu::cpu_info().model,
                     std::min(machine.max_tier, static_cast<int>(cpu::best_tier())), machine.threads,
                     machine.bf16 ? " bf16" : "");
}

// Variants of tactics that call libraries are theirs: other versions have others.
std::string library_names(const Machine& machine) {
  std::string names;
  if (machine.cuda_device < 0) return names;
  for (const auto& version : {cuda::cublaslt_version(), cuda::cudnn_version()})
    if (version.ok()) names += " " + version->text();
  return names;
}

std::string attr_text(const Attr& attr) {
  return std::visit(
      [](const auto& v) -> std::string {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, std::shared_ptr<const Graph>>) return to_text(*v, {.max_inline = 0});
        else if constexpr (requires { v.begin(); } && !std::is_same_v<T, std::string>)
          return fmt::format("[{}]", fmt::join(v, ","));
        else return fmt::format("{}", v);
      },
      attr);
}

std::string variant_name(const Tactic& tactic, int variant) { return fmt::format("{}/{}", tactic.name, variant); }

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Of what a variant packs for a problem with its constants, by their addresses.
std::string prepared_key(const Problem& problem, const Tactic& tactic, int variant) {
  std::string key = fmt::format("{} {}", variant_name(tactic, variant), describe(problem));
  for (const Tensor& c : problem.constants) key += fmt::format(" {}", c.raw());
  return key;
}

// A tactic whose first variant takes so many times as long as the best has no other that wins. How work is cut matters
// less where there is much of it.
constexpr double kHopeless = 1.6, kHopelessLong = 1.1;
// What takes so many times as long as the best in its first run has lost. Where runs are long they vary less, but for
// those of a tactic's first variant, whose code and weights are cold.
constexpr double kLost = 1.5, kLostLong = 1.1;
constexpr double kLongUs = 2000;
// What takes up to so many times as long as the best may have been unlucky.
constexpr double kNear = 1.15, kNearLong = 1.05;

// The candidates that lost to what took `won_us`, each with why: `field` holds the variants that were timed, of which
// only the leaders were timed again.
std::vector<std::pair<std::string, std::string>> losers_of(const auto& candidates, const Tactic* winner,
                                                           const auto& field, double won_us) {
  std::vector<std::pair<std::string, std::string>> losers;
  for (const auto& candidate : candidates) {
    const Tactic* tactic = candidate.tactic;
    if (tactic == winner) continue;
    double us = 1e18;
    std::string reason = "not timed: the time budget ran out";
    for (const auto& timed : field) {
      if (timed.tactic != tactic) continue;
      us = std::min(us, timed.us);
      if constexpr (requires { timed.failure; })
        if (!timed.failure.ok()) reason = "failed: " + timed.failure.message();
    }
    const char* const said = us < won_us ? "near the best, not timed again" : "slower";
    losers.emplace_back(tactic->name, us < 1e18 ? fmt::format("{}: {:.1f} us", said, us) : reason);
  }
  return losers;
}

}  // namespace

std::string describe(const Problem& problem) {
  std::string text(problem.op.name());
  for (const auto& [key, value] : problem.op.attrs()) text += fmt::format(" {}={}", key, attr_text(value));
  for (size_t i = 0; i < problem.inputs.size(); ++i)
    text += fmt::format("|{}{}", problem.inputs[i].defined() ? to_text(problem.inputs[i]) : "_",
                        problem.is_constant(i) ? "c" : "");
  for (const TensorType& t : problem.outputs) text += "->" + to_text(t);
  return text;
}

Selector::Selector(SelectOptions options)
    : options_(std::move(options)),
      device_(options_.reference_only ? "reference" : device_name(options_.machine)),
      pool_(options_.machine.threads),
      start_(std::chrono::steady_clock::now()) {}

Selector& Selector::of_one_thread() {
  if (of_one_thread_ == nullptr) {
    SelectOptions options = options_;
    options.machine.threads = 1;
    of_one_thread_ = std::make_unique<Selector>(std::move(options));
    of_one_thread_->start_ = start_;
  }
  return *of_one_thread_;
}

bool Selector::out_of_time() const { return seconds_since(start_) > options_.time_budget_s; }

std::string Selector::spent() const {
  if (measured_s_ == 0) return {};
  return fmt::format("tuning took {:.2f} s: {:.2f} s of waiting for NVRTC, {:.2f} s of timing kernels", measured_s_,
                     waited_s_, measured_s_ - waited_s_);
}

namespace {

// A variant that ran, kept to run again.
struct Timed {
  const Tactic* tactic;
  int variant;
  double us;
  Tensors weights;
  std::unique_ptr<const Kernel> kernel;
};

bool faster(const Timed& a, const Timed& b) { return a.us < b.us; }

}  // namespace

// A candidate whose first variant ran.
struct Selector::Begun {
  const Candidate& candidate;
  Prepared prepared;
  double us;
};

Result<Selector::Winner> Selector::measure(const Problem& problem, std::span<const Candidate> candidates) {
  Sandbox box = make_sandbox(problem);
  std::vector<Timed> field;
  double best = 1e18;
  Winner winner;
  Tensors weights;  // of the kernel that is timed
  const auto before = [&] {
    if (options_.cold_weights)
      for (const Tensor& w : weights) evict(w.raw(), w.bytes());
    hand_over(problem, box, pool_);
  };
  const auto time = [&](const Tactic& tactic, int variant, const Prepared& prepared, double lost) -> Result<double> {
    HONE_TRY(auto kernel, tactic.make(problem, prepared.packed, variant, options_.machine));
    weights = prepared.packed;
    box.add_workspace(kernel->workspace_bytes());
    Status status;
    const auto call = [&] {
      if (status.ok()) status = kernel->run({box.in, box.out, box.workspace.get(), pool_});
    };
    const double us = time_us(before, call, lost * best, best > kLongUs ? 1 : best > 200 ? 3 : 7);
    if (!status.ok()) return status.within(tactic.name);
    ++timed_;
    best = std::min(best, us);
    field.push_back({&tactic, variant, us, weights, std::move(kernel)});
    return us;
  };
  std::vector<Begun> begun;
  for (const Candidate& c : candidates) {
    if (options_.cancelled && options_.cancelled()) return Status(Code::cancelled, "cancelled");
    if (out_of_time() && !field.empty()) break;
    const int first = c.variants.front();
    HONE_TRY(Prepared prepared, c.tactic->prepare(problem, c.tactic->packs_by_variant ? first : 0, options_.machine));
    HONE_TRY(const double us, time(*c.tactic, first, prepared, kLost));
    begun.push_back({c, std::move(prepared), us});
  }
  for (auto& [candidate, prepared, us] : begun) {
    if (us > (best > kLongUs ? kHopelessLong : kHopeless) * best) continue;
    for (int v : std::span(candidate.variants).subspan(1)) {
      if (options_.cancelled && options_.cancelled()) return Status(Code::cancelled, "cancelled");
      if (out_of_time()) break;
      if (candidate.tactic->packs_by_variant) {
        HONE_TRY(prepared, candidate.tactic->prepare(problem, v, options_.machine));
      }
      HONE_CHECK(time(*candidate.tactic, v, prepared, best > kLongUs ? kLostLong : kLost).status());
    }
  }
  // The leaders once more, so that one lucky sample does not decide.
  std::sort(field.begin(), field.end(), faster);
  for (size_t i = 0; i < field.size() && i < 3 && !out_of_time(); ++i) {
    if (field[i].us > (best > kLongUs ? kNearLong : kNear) * best) break;
    box.add_workspace(field[i].kernel->workspace_bytes());
    weights = field[i].weights;
    const auto call = [&] { (void)field[i].kernel->run({box.in, box.out, box.workspace.get(), pool_}).ok(); };
    field[i].us = time_us(before, call, 1e18, best > kLongUs ? 2 : best > 200 ? 5 : 15);
  }
  const auto leader = std::min_element(field.begin(), field.begin() + std::min<size_t>(field.size(), 3), faster);
  winner.choice = {std::string(leader->tactic->name), leader->variant, leader->us};
  winner.losers = losers_of(candidates, leader->tactic, field, leader->us);
  return winner;
}

std::vector<Selector::Variant> Selector::compile(const Problem& problem, std::span<const Candidate> candidates) {
  std::vector<Variant> field;
  const auto add = [&](const Tactic& tactic, int variant, bool witness) {
    field.push_back({&tactic, variant, queue_.add(tactic, problem, variant, options_.machine), witness});
  };
  // First, as it is needed first.
  const Tactic* const witness = witness_of(problem, options_.machine);
  if (witness != nullptr && !faults_of(problem).contains(variant_name(*witness, 0))) add(*witness, 0, true);
  for (const Candidate& c : candidates)
    for (int v : c.variants) add(*c.tactic, v, false);
  return field;
}

// What makes up a variant's kernel, once its code is compiled.
struct Selector::Ready {
  Prepared prepared;
  std::unique_ptr<const Kernel> kernel;
};

Result<Selector::Ready> Selector::make(const Problem& problem, Variant& variant) {
  const auto start = std::chrono::steady_clock::now();
  variant.prepared.wait();
  waited_s_ += seconds_since(start);
  HONE_TRY(Prepared prepared, variant.prepared.get());
  HONE_TRY(auto kernel, variant.tactic->make(problem, prepared.packed, variant.variant, options_.machine));
  return Ready{std::move(prepared), std::move(kernel)};
}

// The plainest kernel, and what it computes.
struct Selector::Witness {
  Variant variant;
  Ready ready;
  Tensor expected;
};

// Takes the witness out of the field. None where it cannot be had: nothing is compared then.
Result<std::optional<Selector::Witness>> Selector::take_witness(const Problem& problem, std::vector<Variant>& field,
                                                                GpuSandbox& box) {
  std::optional<Witness> witness;
  if (field.empty() || !field.front().witness) return witness;
  Variant variant = std::move(field.front());
  field.erase(field.begin());
  auto ready = make(problem, variant);
  if (!ready.ok()) return witness;
  const auto expected = box.sample(*ready->kernel, ready->prepared, pool_);
  if (expected.ok()) witness = Witness{std::move(variant), std::move(*ready), *expected};
  else if (cuda::kernel_has_faulted()) return fault(problem, variant, expected.status());
  return witness;
}

// Variants differ in their code, which is compiled on all cores; they are timed one after the other.
Result<Selector::Winner> Selector::measure_on_gpu(const Problem& problem, std::span<const Candidate> candidates,
                                                  std::vector<Variant> field) {
  HONE_TRY(const auto box, GpuSandbox::create(problem, options_.machine.cuda_device, problem.constants));
  HONE_TRY(const auto witness, take_witness(problem, field, *box));
  double best = 1e18;
  const auto time = [&](Variant& entry) -> Result<double> {
    HONE_TRY(const Ready ready, make(problem, entry));
    if (out_of_time() && &entry != &field.front()) return entry.us;
    ++timed_;
    if (witness) {
      HONE_TRY(const Tensor got, box->sample(*ready.kernel, ready.prepared, pool_));
      HONE_CHECK(agree(problem, options_.machine, witness->expected, got));
    }
    return box->time_us(*ready.kernel, ready.prepared, pool_, best);
  };
  // What cannot be compiled, finds no memory, fails or is wrong is left out: another may do.
  for (Variant& entry : field) {
    const auto us = time(entry);
    if (options_.cancelled && options_.cancelled()) return Status(Code::cancelled, "cancelled");
    if (us.ok()) best = std::min(best, entry.us = *us);
    else if (cuda::kernel_has_faulted()) return fault(problem, entry, us.status());
    else entry.failure = us.status().within(entry.tactic->name);
  }
  const auto leader =
      std::min_element(field.begin(), field.end(), [](const Variant& a, const Variant& b) { return a.us < b.us; });
  Winner winner{{std::string(leader->tactic->name), leader->variant, leader->us}, {}};
  if (!leader->failure.ok()) {
    if (!witness) return leader->failure;
    HONE_TRY(const double us, box->time_us(*witness->ready.kernel, witness->ready.prepared, pool_));
    winner.choice = {std::string(witness->variant.tactic->name), witness->variant.variant, us};
  }
  winner.losers = losers_of(candidates, find_tactic(winner.choice.tactic), field, winner.choice.time_us);
  return winner;
}

Result<int64_t> Selector::workspace_bytes(const Tactic& tactic, const Problem& problem, int variant) const {
  if (tactic.workspace_bytes != nullptr) return tactic.workspace_bytes(problem, variant, options_.machine);
  HONE_TRY(const Prepared prepared, tactic.prepare(problem, variant, options_.machine));
  HONE_TRY(const auto kernel, tactic.make(problem, prepared.packed, variant, options_.machine));
  return kernel->workspace_bytes();
}

Result<Selector::Candidate> Selector::candidate_of(const Tactic& tactic, const Problem& problem,
                                                   const std::set<std::string>& faults) const {
  Candidate candidate{.tactic = &tactic, .reason = tactic.supports(problem, options_.machine)};
  if (candidate.reason.empty() && options_.deterministic && !tactic.varies.empty())
    candidate.reason = fmt::format("not deterministic: {}", tactic.varies);
  if (!candidate.reason.empty()) return candidate;
  const bool limited = options_.max_workspace < INT64_MAX;
  int64_t least = INT64_MAX;
  std::string reason;
  for (int v = 0; v < tactic.variants(problem, options_.machine); ++v) {
    if (faults.contains(variant_name(tactic, v))) {
      reason = "its kernel faulted when it was timed";
      continue;
    }
    if (limited) {
      const auto bytes = workspace_bytes(tactic, problem, v);
      if (bytes.status().code() == Code::unsupported) continue;
      HONE_CHECK(bytes);
      least = std::min(least, *bytes);
      if (*bytes > options_.max_workspace) continue;
    }
    candidate.variants.push_back(v);
  }
  if (!candidate.variants.empty()) return candidate;
  if (least < INT64_MAX)
    reason = fmt::format("needs {} of workspace, {} are allowed", counted(least, "byte"), options_.max_workspace);
  candidate.reason = !reason.empty() ? reason : tactic.prepare(problem, 0, options_.machine).status().message();
  return candidate;
}

Result<std::vector<Selector::Candidate>> Selector::candidates(
    const Problem& problem, bool gpu, std::vector<std::pair<std::string, std::string>>& refused) const {
  std::vector<Candidate> all;
  const auto table = tactic_table();
  const auto& faults = faults_of(problem);
  for (const Tactic& tactic : table) {
    if (&tactic == &table.back() && !all.empty()) break;  // the reference is for what nothing else can do
    // What the GPU can do, by the first rows, is not handed to the CPU: the copies would cost more.
    if (tactic.backend == Backend::cpu && !all.empty() && all.front().tactic->backend == Backend::cuda) break;
    if (options_.reference_only && &tactic != &table.back()) continue;
    if (tactic.backend == Backend::cuda && (!gpu || options_.machine.cuda_arch.empty())) continue;
    HONE_TRY(Candidate candidate, candidate_of(tactic, problem, faults));
    if (candidate.reason.empty()) all.push_back(std::move(candidate));
    else if (candidate.reason != "another op") refused.emplace_back(tactic.name, std::move(candidate.reason));
  }
  int tier = INT_MAX;
  for (const Candidate& c : all)
    if (c.tactic->tier != kBesideAll) tier = std::min(tier, c.tactic->tier);
  for (const Candidate& c : all)
    if (c.tactic->tier > tier) refused.emplace_back(c.tactic->name, "a faster kind of kernel can do it");
  std::erase_if(all, [&](const Candidate& c) { return c.tactic->tier > tier; });
  return all;
}

bool Selector::times(const Problem& problem, std::span<const Candidate> candidates) const {
  const Candidate& first = candidates.front();
  // On a GPU a single one is timed too, for the report: its code is compiled anyway.
  const bool cpu = first.tactic->backend == Backend::cpu;
  const bool only_one = candidates.size() == 1 && (!problem.is_static() || first.tactic == &tactic_table().back() ||
                                                   (cpu && first.variants.size() <= 1));
  const bool here = cpu ? options_.machine.cuda_arch.empty() : options_.machine.cuda_device >= 0;
  return options_.tune && here && !only_one;
}

const std::string& Selector::libraries() const {
  if (!libraries_) libraries_ = library_names(options_.machine);
  return *libraries_;
}

std::string Selector::key_of(const Problem& problem, std::span<const Candidate> candidates) const {
  std::string limits;
  if (options_.cold_weights) limits += " cold";
  if (options_.max_workspace < INT64_MAX) limits += fmt::format(" workspace {}", options_.max_workspace);
  if (options_.deterministic && !options_.machine.cuda_arch.empty())
    limits += " deterministic";  // no CPU tactic varies
  std::string text = describe(problem);
  for (const Candidate& c : candidates) text += fmt::format("\n{} {}", c.tactic->name, c.variants.size());
  return cache_key(device_ + libraries() + limits, text);
}

const std::set<std::string>& Selector::faults_of(const Problem& problem) const {
  static const std::set<std::string> none;
  const bool gpu = options_.cache != nullptr && options_.cache->count_faults() > 0;
  return gpu ? options_.cache->faults(key_of(problem)) : none;
}

Status Selector::fault(const Problem& problem, const Variant& variant, const Status& status) {
  if (options_.cache) options_.cache->put_fault(key_of(problem), variant_name(*variant.tactic, variant.variant));
  return Status(Code::device, fmt::format("the kernel of {}, variant {}, has faulted for {}: {}", variant.tactic->name,
                                          variant.variant, to_text(problem.inputs[0]), status.message()));
}

std::optional<CachedChoice> Selector::cached(const std::string& key, std::span<const Candidate> candidates) const {
  const auto found = options_.cache ? options_.cache->find(key) : std::nullopt;
  const bool usable = found && std::any_of(candidates.begin(), candidates.end(), [&](const Candidate& c) {
                        return c.tactic->name == found->tactic &&
                               std::find(c.variants.begin(), c.variants.end(), found->variant) != c.variants.end();
                      });
  return usable ? found : std::nullopt;
}

Status Selector::expect(const Problem& problem) {
  if (options_.machine.cuda_arch.empty()) return {};
  std::vector<std::pair<std::string, std::string>> refused;
  HONE_TRY(const auto all, candidates(problem, true, refused));
  const Candidate& first = all.front();
  const std::string key = key_of(problem, all);
  if (first.tactic->backend != Backend::cuda || expected_.contains(key)) return {};
  const bool timed = times(problem, all);
  if (const auto found = timed ? cached(key, all) : std::nullopt)
    expect_winner(problem, *find_tactic(found->tactic), found->variant);
  else if (timed) expected_[key] = compile(problem, all);
  else expect_winner(problem, *first.tactic, first.variants.front());
  return {};
}

void Selector::expect_winner(const Problem& problem, const Tactic& tactic, int variant) {
  std::string key = prepared_key(problem, tactic, variant);
  if (prepared_.contains(key) || winners_.contains(key)) return;
  auto prepared = queue_.add(tactic, problem, variant, options_.machine);
  winners_.emplace(std::move(key), std::pair(problem.constants, std::move(prepared)));
}

// Once for nodes that do the same with the same constants, so that they share what was packed.
Result<Prepared> Selector::prepare(const Problem& problem, const Tactic& tactic, int variant) {
  std::string key = prepared_key(problem, tactic, variant);
  const auto found = prepared_.find(key);
  if (found != prepared_.end()) return found->second.second;
  auto expected = winners_.extract(key);
  HONE_TRY(Prepared made,
           expected ? expected.mapped().second.get() : tactic.prepare(problem, variant, options_.machine));
  if (!made.packed.empty()) prepared_.emplace(std::move(key), std::pair(problem.constants, made));
  return made;
}

Result<Choice> Selector::choose(const Problem& problem, bool gpu) {
  Choice choice;
  HONE_TRY(const auto all, candidates(problem, gpu, choice.refused));
  choice.tactic = all.front().tactic;
  choice.variant = all.front().variants.front();
  if (times(problem, all)) {
    const std::string key = key_of(problem, all);
    auto seen = seen_.find(key);
    if (seen == seen_.end()) {
      if (const auto found = cached(key, all)) {
        ++cache_hits_;
        seen = seen_.emplace(key, Winner{*found, {}}).first;
        for (const Candidate& c : all)
          if (c.tactic->name != found->tactic)
            seen->second.losers.emplace_back(c.tactic->name, "slower when it was tuned (from the cache)");
      }
    }
    if (seen == seen_.end()) {
      const auto expected = expected_.extract(key);
      const auto start = std::chrono::steady_clock::now();
      HONE_TRY(Winner winner, choice.tactic->backend == Backend::cpu
                                  ? measure(problem, all)
                                  : measure_on_gpu(problem, all,
                                                   expected && !expected.mapped().empty() ? std::move(expected.mapped())
                                                                                          : compile(problem, all)));
      if (choice.tactic->backend == Backend::cuda) measured_s_ += seconds_since(start);
      if (options_.cache) options_.cache->put(key, winner.choice);
      seen = seen_.emplace(key, std::move(winner)).first;
    }
    choice.tactic = find_tactic(seen->second.choice.tactic);
    choice.variant = seen->second.choice.variant;
    choice.time_us = seen->second.choice.time_us;
    choice.refused.insert(choice.refused.end(), seen->second.losers.begin(), seen->second.losers.end());
  }
  HONE_TRY(choice.prepared, prepare(problem, *choice.tactic, choice.variant));
  return choice;
}

}  // namespace hone
