#include "tools/trace.h"

#include "engine/inspect.h"

namespace hone::tools {
namespace {

using Json = nlohmann::json;

constexpr int kProcess = 1;
enum Track : int { kRuns = 1, kCpu = 2, kGpu = 3 };

Json named(const char* what, int track, const std::string& name) {
  return {{"name", what}, {"ph", "M"}, {"pid", kProcess}, {"tid", track}, {"args", {{"name", name}}}};
}

Json complete(const std::string& name, const std::string& category, int track, double start_us, double duration_us) {
  return {{"name", name},       {"cat", category}, {"ph", "X"},   {"ts", start_us},
          {"dur", duration_us}, {"pid", kProcess}, {"tid", track}};
}

}  // namespace

Json chrome_trace(const std::string& title, const LoadedEngine& engine, const std::vector<ProfiledRun>& runs) {
  const Program& program = engine.program();
  Json events = {named("process_name", kRuns, title), named("thread_name", kRuns, "runs"),
                 named("thread_name", kCpu, "CPU steps")};
  if (engine.device_weights()) events.push_back(named("thread_name", kGpu, "GPU steps"));
  for (size_t i = 0; i < runs.size(); ++i) {
    events.push_back(complete(fmt::format("run {}", i), "run", kRuns, runs[i].start_us, runs[i].duration_us));
    for (const StepRun& run : runs[i].steps) {
      const Step& step = program.steps[run.step];
      Json event =
          complete(layer_name(step), step.op, engine.on_gpu()[run.step] ? kGpu : kCpu, run.start_us, run.duration_us);
      event["args"] = {{"step", run.step},
                       {"tactic", step.tactic},
                       {"variant", step.variant},
                       {"precision", precision_of(step)},
                       {"fused", step.sources}};
      events.push_back(std::move(event));
    }
  }
  return {{"traceEvents", events},
          {"displayTimeUnit", "ms"},
          {"otherData", {{"target", program.target}, {"device", program.device}}}};
}

}  // namespace hone::tools
