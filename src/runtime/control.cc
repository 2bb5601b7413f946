#include "runtime/control.h"

#include <algorithm>
#include <cstring>

#include "base/counted.h"
#include "ops/control.h"
#include "ops/stack.h"

namespace hone {
namespace {

// The slots of a control step and what may be done with them.
class Frame {
 public:
  explicit Frame(const ControlArgs& args) : step(args.program.steps[args.index]), args_(args) {}

  const Step& step;

  const Tensor& value(int slot) const {
    static const Tensor kAbsent;
    return slot < 0 ? kAbsent : args_.slots[static_cast<size_t>(slot)];
  }
  Tensor& target(int slot) { return args_.slots[static_cast<size_t>(slot)]; }
  const TensorType& type(int slot) const { return args_.program.slots[static_cast<size_t>(slot)].type; }

  int owner(int slot) const {
    while (slot >= 0 && slot_of(slot).kind == Slot::Kind::alias) slot = slot_of(slot).alias_of;
    return slot;
  }
  bool planned(int slot) const { return slot_of(owner(slot)).kind == Slot::Kind::arena; }

  // The value of a slot, as it stays when the memory of the slot is written again.
  Tensor kept(int slot) const {
    const Tensor& now = value(slot);
    if (!now.defined() || size_of(now.type()) == 0) return now;
    const Slot::Kind kind = slot_of(owner(slot)).kind;
    if (kind == Slot::Kind::dynamic || kind == Slot::Kind::constant) return now;
    Tensor copy(now.type(), now.dims());
    if (now.bytes() > 0) std::memcpy(copy.mutable_raw(), now.raw(), now.bytes());
    return copy;
  }

  Status assign(int to, const Tensor& from) {
    Tensor& now = target(to);
    if (!planned(to)) return now = from, Status();
    if (from.type() != now.type() || from.dims() != now.dims())
      return invalid("a body gave {}{} where {}{} was planned", name(from.type()), to_string(from.dims()),
                     name(now.type()), to_string(now.dims()));
    if (from.raw() != now.raw() && from.bytes() > 0) std::memcpy(now.mutable_raw(), from.raw(), from.bytes());
    return {};
  }
  Status assign(int to, int from) {
    if (to == from) return {};
    return planned(to) ? assign(to, value(from)) : assign(to, kept(from));
  }

  // Runs a body whose first step is `begin` steps behind the control step.
  Status run(const Body& body, int begin) {
    const size_t first = args_.index + 1 + static_cast<size_t>(begin), last = first + static_cast<size_t>(body.steps);
    for (size_t i = first; i < last; ++i)
      for (int s : args_.program.steps[i].outputs)
        if (slot_of(s).kind == Slot::Kind::dynamic) target(s) = Tensor();
    return args_.run(first, last);
  }

  // States become what the body made of them, which may be what another of them was.
  Status carry(const Body& body, size_t first, size_t states) {
    Tensors early;
    for (size_t k = 0; k < states; ++k) {
      const int source = owner(body.outputs[first + k]);
      const auto end = step.outputs.begin() + static_cast<std::ptrdiff_t>(states);
      const auto state = std::find(step.outputs.begin(), end, source);
      if (state == end || state - step.outputs.begin() == static_cast<std::ptrdiff_t>(k)) continue;
      early.resize(states);
      early[k] = kept(body.outputs[first + k]);
    }
    for (size_t k = 0; k < states; ++k) {
      const int to = step.outputs[k], from = body.outputs[first + k];
      HONE_CHECK(k < early.size() && early[k].defined() ? assign(to, early[k]) : assign(to, from));
    }
    return {};
  }

 private:
  const Slot& slot_of(int slot) const { return args_.program.slots[static_cast<size_t>(slot)]; }
  const ControlArgs& args_;
};

// Copies `part` to position `index` along an axis of `whole`, or from there.
Status copy_slice(Tensor& whole, int64_t axis, int64_t index, Tensor& part, bool to_whole) {
  const Dims& dims = whole.dims();
  if (axis < 0) axis += whole.rank();
  const bool fits = axis >= 0 && axis < whole.rank() && part.rank() + 1 == whole.rank() &&
                    whole.type() == part.type() && std::equal(dims.begin(), dims.begin() + axis, part.dims().begin()) &&
                    std::equal(dims.begin() + axis + 1, dims.end(), part.dims().begin() + axis);
  if (!fits || index < 0 || index >= dims[static_cast<size_t>(axis)])
    return invalid("{} is no part {} along axis {} of {}", to_string(part.dims()), index, axis, to_string(dims));
  const auto at = static_cast<size_t>(axis);
  const int64_t outer = element_count(std::span(dims).first(at));
  const size_t run = static_cast<size_t>(element_count(std::span(dims).subspan(at + 1))) * size_of(whole.type());
  if (run == 0) return {};
  auto* w = whole.mutable_data<std::byte>() + static_cast<size_t>(index) * run;
  auto* p = part.mutable_data<std::byte>();
  for (int64_t i = 0; i < outer; ++i, w += run * static_cast<size_t>(dims[at]), p += run) {
    if (to_whole) std::memcpy(w, p, run);
    else std::memcpy(p, w, run);
  }
  return {};
}

// The elements that iterations leave behind, written where they belong or kept until they can be stacked.
class Elements {
 public:
  Elements(Frame& frame, const Body& body, size_t states, size_t first)
      : frame_(frame), body_(body), states_(states), first_(first) {}

  Status add(size_t k, int64_t axis, int64_t position) {
    const int part = body_.outputs[first_ + k], whole = frame_.step.outputs[states_ + k];
    if (frame_.planned(whole)) return copy_slice(frame_.target(whole), axis, position, frame_.target(part), true);
    parts_.resize(frame_.step.outputs.size() - states_);
    parts_[k].push_back(frame_.kept(part));
    return {};
  }

  // `iterations` ran; reversed elements lie from the end.
  Status finish(size_t k, int64_t axis, bool reverse, int64_t iterations) {
    const int whole = frame_.step.outputs[states_ + k];
    if (frame_.planned(whole)) {
      const Dims& dims = frame_.value(whole).dims();
      if (axis < 0) axis += static_cast<int64_t>(dims.size());
      if (axis < 0 || axis >= static_cast<int64_t>(dims.size()) || dims[static_cast<size_t>(axis)] != iterations)
        return invalid("{} where {} were planned", counted(iterations, "iteration"), to_string(dims));
      return {};
    }
    if (k >= parts_.size() || parts_[k].empty())
      return frame_.assign(whole, empty_stack(frame_.type(body_.outputs[first_ + k]), axis));
    if (reverse) std::reverse(parts_[k].begin(), parts_[k].end());
    HONE_TRY(const Tensor stacked, stack(parts_[k], axis));
    return frame_.assign(whole, stacked);
  }

 private:
  Frame& frame_;
  const Body& body_;
  size_t states_, first_;
  std::vector<Tensors> parts_;
};

Status run_if(const If&, Frame& frame) {
  const auto& bodies = frame.step.bodies;
  HONE_TRY(const bool taken, truth(frame.value(frame.step.inputs[0])));
  const Body& body = bodies[taken ? 0 : 1];
  HONE_CHECK(frame.run(body, taken ? 0 : bodies[0].steps));
  for (size_t k = 0; k < body.outputs.size(); ++k) HONE_CHECK(frame.assign(frame.step.outputs[k], body.outputs[k]));
  return {};
}

Status run_loop(const Loop& op, Frame& frame) {
  const Step& step = frame.step;
  const Body& body = step.bodies[0];
  const auto states = static_cast<size_t>(op.states);
  const size_t elements = step.outputs.size() - states;
  int64_t trips = INT64_MAX;
  if (const Tensor& given = frame.value(step.inputs[0]); given.defined()) {
    if (given.count() != 1) return invalid("trip count has {}", counted(given.count(), "element"));
    trips = given.int_at(0);
  }
  const bool conditional = frame.value(step.inputs[1]).defined();
  bool running = true;
  if (conditional) {
    HONE_TRY(running, truth(frame.value(step.inputs[1])));
  }
  for (size_t k = 0; k < states; ++k) HONE_CHECK(frame.assign(step.outputs[k], step.inputs[2 + k]));
  Elements stacks(frame, body, states, 1 + states);
  int64_t i = 0;
  for (; i < trips && running; ++i) {
    frame.target(body.inputs[0]).set_int(0, i);
    frame.target(body.inputs[1]).set_int(0, 1);
    HONE_CHECK(frame.run(body, 0));
    if (conditional) {
      HONE_TRY(running, truth(frame.value(body.outputs[0])));
    }
    for (size_t k = 0; k < elements; ++k) HONE_CHECK(stacks.add(k, 0, i));
    HONE_CHECK(frame.carry(body, 1, states));
  }
  for (size_t k = 0; k < elements; ++k) HONE_CHECK(stacks.finish(k, 0, false, i));
  return {};
}

Result<int64_t> scan_length(const Scan& op, const Frame& frame) {
  int64_t length = -1;
  for (size_t k = 0; k < op.input_axes.size(); ++k) {
    const Tensor& x = frame.value(frame.step.inputs[static_cast<size_t>(op.states) + k]);
    const int64_t axis = op.input_axes[k] + (op.input_axes[k] < 0 ? x.rank() : 0);
    if (axis < 0 || axis >= x.rank()) return invalid("axis {} of rank {}", op.input_axes[k], x.rank());
    const int64_t own = x.dims()[static_cast<size_t>(axis)];
    if (length >= 0 && own != length) return invalid("scanned inputs have lengths {} and {}", length, own);
    length = own;
  }
  return length;
}

Status take_slice(Frame& frame, int to, int from, int64_t axis, int64_t index) {
  Tensor& whole = frame.target(from);
  if (frame.planned(to)) return copy_slice(whole, axis, index, frame.target(to), false);
  HONE_TRY(const Tensor slice, slice_at(whole, axis < 0 ? axis + whole.rank() : axis, index));
  return frame.assign(to, slice);
}

Status run_scan(const Scan& op, Frame& frame) {
  const Step& step = frame.step;
  const Body& body = step.bodies[0];
  const auto states = static_cast<size_t>(op.states);
  HONE_TRY(const int64_t length, scan_length(op, frame));
  for (size_t k = 0; k < states; ++k) HONE_CHECK(frame.assign(step.outputs[k], step.inputs[k]));
  Elements stacks(frame, body, states, states);
  for (int64_t t = 0; t < length; ++t) {
    for (size_t k = 0; k < op.input_axes.size(); ++k)
      HONE_CHECK(take_slice(frame, body.inputs[states + k], step.inputs[states + k], op.input_axes[k],
                            op.input_reverse[k] ? length - 1 - t : t));
    HONE_CHECK(frame.run(body, 0));
    for (size_t k = 0; k < op.output_axes.size(); ++k)
      HONE_CHECK(stacks.add(k, op.output_axes[k], op.output_reverse[k] ? length - 1 - t : t));
    HONE_CHECK(frame.carry(body, 0, states));
  }
  for (size_t k = 0; k < op.output_axes.size(); ++k)
    HONE_CHECK(stacks.finish(k, op.output_axes[k], op.output_reverse[k] != 0, length));
  return {};
}

bool fits(const Program&, const Step& step, const If&) {
  return step.bodies.size() == 2 && !step.inputs.empty() &&
         std::all_of(step.bodies.begin(), step.bodies.end(),
                     [&](const Body& b) { return b.outputs.size() == step.outputs.size(); });
}

// The states of the body are the step's first outputs.
bool carries_states(const Step& step, const Body& body, size_t first, size_t states) {
  return body.inputs.size() >= first + states && step.outputs.size() >= states &&
         std::equal(step.outputs.begin(), step.outputs.begin() + static_cast<std::ptrdiff_t>(states),
                    body.inputs.begin() + static_cast<std::ptrdiff_t>(first));
}

bool is_planned_scalar(const Program& program, int slot, DType dtype) {
  const Slot& s = program.slots[static_cast<size_t>(slot)];
  return s.kind == Slot::Kind::arena && s.type == TensorType{dtype, Shape()};
}

bool fits(const Program& program, const Step& step, const Loop& op) {
  const auto states = static_cast<size_t>(op.states);
  if (step.bodies.size() != 1 || op.states < 0 || states > step.outputs.size() || step.inputs.size() < 2 + states)
    return false;
  const Body& body = step.bodies[0];
  return body.inputs.size() == 2 + states && body.outputs.size() == step.outputs.size() + 1 &&
         carries_states(step, body, 2, states) && is_planned_scalar(program, body.inputs[0], DType::i64) &&
         is_planned_scalar(program, body.inputs[1], DType::boolean);
}

bool fits(const Program&, const Step& step, const Scan& op) {
  const auto states = static_cast<size_t>(op.states);
  if (step.bodies.size() != 1 || op.batched || op.states < 0 || states > step.outputs.size()) return false;
  const Body& body = step.bodies[0];
  const size_t scanned = op.input_axes.size(), elements = step.outputs.size() - states;
  return scanned > 0 && op.input_reverse.size() == scanned && op.output_axes.size() == elements &&
         op.output_reverse.size() == elements && step.inputs.size() >= states + scanned &&
         body.inputs.size() == states + scanned &&
         std::none_of(step.inputs.begin() + op.states,
                      step.inputs.begin() + op.states + static_cast<std::ptrdiff_t>(scanned),
                      [](int s) { return s < 0; }) &&
         body.outputs.size() == step.outputs.size() && carries_states(step, body, 0, states);
}

}  // namespace

Status check_control(const Program& program, const Step& step, const Op& op) {
  const auto* branch = op.as<If>();
  const auto* loop = op.as<Loop>();
  const auto* scan = op.as<Scan>();
  const bool good = branch != nullptr ? fits(program, step, *branch)
                    : loop != nullptr ? fits(program, step, *loop)
                                      : scan != nullptr && fits(program, step, *scan);
  if (!good) return invalid("step '{}' is malformed", step.label);
  return {};
}

Status run_control(const Op& op, const ControlArgs& args) {
  Frame frame(args);
  if (const auto* branch = op.as<If>()) return run_if(*branch, frame);
  if (const auto* loop = op.as<Loop>()) return run_loop(*loop, frame);
  return run_scan(*op.as<Scan>(), frame);
}

}  // namespace hone
