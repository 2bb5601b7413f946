#include <fmt/format.h>

#include <cstring>

#include "ops/movement.h"
#include "passes/layout/layout.h"
#include "tools/subject.h"

namespace hone::tools {
namespace {

bool is_channels_last(const std::string& name) { return name.ends_with(layout::kChannelsLast); }

std::string framework_name(const std::string& name) {
  return is_channels_last(name) ? name.substr(0, name.size() - layout::kChannelsLast.size()) : name;
}

// As the framework has it, in memory of its own.
Result<Tensor> framework_value(const std::string& name, const Tensor& value) {
  if (!value.defined()) return value;
  if (is_channels_last(name)) {
    HONE_TRY(Tensors moved, (Transpose{layout::to_first(value.rank())}.evaluate({.inputs = {&value, 1}})));
    return moved[0];
  }
  if (size_of(value.type()) == 0) return value;
  Tensor copy(value.type(), value.dims());
  if (value.bytes() > 0) std::memcpy(copy.mutable_raw(), value.raw(), value.bytes());
  return copy;
}

class EngineSubject : public Subject {
 public:
  explicit EngineSubject(std::shared_ptr<const LoadedEngine> engine) : engine_(std::move(engine)) {
    const auto& steps = program().steps;
    for (size_t i = 0; i < steps.size(); i += 1 + static_cast<size_t>(steps[i].inner_steps())) top_.insert(i);
  }

  std::optional<std::set<std::string>> names() const override {
    std::set<std::string> names;
    for (size_t i : top_)
      for (int s : program().steps[i].outputs)
        if (s >= 0 && !slot_name(s).empty()) names.insert(framework_name(slot_name(s)));
    for (const Binding& b : program().outputs) names.insert(b.name);
    return names;
  }

  Status run(const NamedTensors& inputs, const std::set<std::string>& wanted, const Sink& sink) const override {
    ExecutionContext context(engine_);
    for (const auto& [name, value] : inputs) HONE_CHECK(context.bind_input(name, value));
    std::set<std::string> seen;
    const auto show = [&](const std::string& name, const Tensor& value, std::string layer) -> Status {
      const std::string known = framework_name(name);
      if (!wanted.contains(known) || !seen.insert(known).second) return {};
      auto shown = framework_value(name, value);
      if (!shown.ok()) return shown.status().within(known);
      sink({known, std::move(*shown), std::move(layer)});
      return {};
    };
    context.observer = [&](size_t index) -> Status {
      if (!top_.contains(index)) return {};
      HONE_TRY(const auto outputs, context.fetch_step(index));
      const Step& step = program().steps[index];
      for (size_t k = 0; k < outputs.size(); ++k)
        if (step.outputs[k] >= 0)
          HONE_CHECK(show(slot_name(step.outputs[k]), *outputs[k],
                          fmt::format("{} ({})", fmt::join(step.sources, " + "), step.tactic)));
      return {};
    };
    HONE_CHECK(context.run());
    for (const Binding& b : program().outputs) {
      HONE_TRY(const Tensor value, context.output(b.name));
      HONE_CHECK(show(b.name, value, {}));
    }
    return {};
  }

 private:
  const Program& program() const { return engine_->program(); }
  const std::string& slot_name(int s) const { return program().slots[static_cast<size_t>(s)].name; }

  std::shared_ptr<const LoadedEngine> engine_;
  std::set<size_t> top_;  // steps outside of bodies
};

}  // namespace

std::unique_ptr<Subject> engine_subject(std::shared_ptr<const LoadedEngine> engine) {
  return std::make_unique<EngineSubject>(std::move(engine));
}

}  // namespace hone::tools
