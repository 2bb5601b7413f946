#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "base/peaks.h"
#include "ir/op.h"

namespace hone {

// A place that a step reads or writes.
struct Slot {
  enum class Kind { input, constant, arena, alias, dynamic };
  Kind kind = Kind::dynamic;
  TensorType type;
  std::string name;
  int64_t offset = 0;  // in bytes from the start of: the arena, or the slot that an alias is part of
  int alias_of = -1;   // alias: the slot whose elements it shows under another shape, or a part of them
  int tensor = -1;     // constant: its number in the engine file; -1: not saved yet
};

// A graph inside a control step. What it reads from outside it reads from the same slots.
struct Body {
  int steps = 0;                     // how many, those of inner bodies too
  std::vector<int> inputs, outputs;  // slots
};

// One kernel launch, or a control step, whose bodies' steps follow it. Slot -1 stands for an absent input.
struct Step {
  std::string tactic;
  int variant = 0;
  std::string op;
  Attrs attrs;
  std::vector<int> inputs, outputs;
  std::vector<int> packed;                            // constants in the tactic's own format
  Types input_types;                                  // of the problem, those of dropped inputs too
  int64_t workspace_offset = 0, workspace_bytes = 0;  // in the arena
  std::vector<std::string> sources;                   // framework nodes
  std::string label;
  double time_us = 0;                                        // as tuned; 0 when it was not timed
  std::vector<std::pair<std::string, std::string>> refused;  // tactic, reason
  std::vector<Body> bodies;                                  // of a control step, one behind the other
  std::string varies;              // why its results may differ from run to run; empty: they never do
  std::string library, algorithm;  // that the kernel calls, with its version, and what it is asked to do
  int stream = 0;                  // those of one stream run one after the other
  int threads = 0;                 // 0: those of the program. 1: on a CPU it runs beside neighbours of other streams
  std::vector<int> waits;          // for steps before it, of other streams

  // How many steps the bodies have.
  int inner_steps() const {
    int count = 0;
    for (const Body& body : bodies) count += body.steps;
    return count;
  }
};

inline constexpr int kMostStreams = 4;

struct Binding {
  std::string name;
  int slot = -1;
  TensorType type;
};

struct MemorySummary {
  int64_t arena_bytes = 0, lower_bound_bytes = 0, without_reuse_bytes = 0, weights_bytes = 0, workspace_bytes = 0;
};

// A layer that int8 or fp8 was considered for, or where fp32 was timed beside them fp16, bf16 or TF32.
struct LayerPrecision {
  std::string name;               // the framework's node
  std::string precision;          // that it is computed in: int8, fp8, fp32, ...
  double range = 0;               // threshold of what it reads; 0: not known
  std::optional<double> sqnr_db;  // of the worst output with this layer alone in 8 bits, where that was measured
  std::optional<double> won_us;   // by the smaller precision, in the steps that compute it, where that was measured
  std::string reason;
};

struct BuildSummary {
  double seconds = 0;
  int64_t tactics_timed = 0, cache_hits = 0;
  Peaks cpu, gpu;                      // of the machine; not known when nothing was timed
  std::vector<std::string> notes;      // what was decided about precisions as a whole, a line each
  std::vector<LayerPrecision> layers;  // in the order of the network
};

// Everything an engine runs, as data.
struct Program {
  std::string name, target, device;
  int threads = 1;        // that the kernels share their work among
  int max_tier = 2;       // highest instruction tier allowed: see base/cpu_info.h
  std::string cuda_arch;  // that the GPU's kernels are compiled for; empty: all runs on the CPU
  std::vector<Slot> slots;
  std::vector<Step> steps;
  std::vector<Binding> inputs, outputs;
  MemorySummary memory;
  BuildSummary build;

  // Where the elements of a slot lie: so many bytes into one that is no alias.
  struct Place {
    int owner;
    int64_t offset;
  };
  Place place_of(int slot) const {
    Place place{slot, 0};
    for (const Slot* s = &slots[static_cast<size_t>(slot)]; s->kind == Slot::Kind::alias;
         s = &slots[static_cast<size_t>(place.owner)]) {
      place.owner = s->alias_of;
      place.offset += s->offset;
    }
    return place;
  }

  // Among how many steps that run at once the machine is shared.
  int beside(const Step& step) const { return step.threads == 0 ? 1 : threads; }

  // That its steps run in; more than one where all run on the GPU, or where threads of the CPU share out a batch.
  int streams() const {
    int count = 1;
    for (const Step& step : steps) count = std::max(count, step.stream + 1);
    return count;
  }
};

}  // namespace hone
