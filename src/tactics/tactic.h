#pragma once

#include <memory>

#include "base/store.h"
#include "base/thread_pool.h"
#include "ir/op.h"

namespace hone {

// One step to be computed: an op with the types around it. `constants` holds the inputs known at build time.
struct Problem {
  Op op;
  Types inputs, outputs;
  Tensors constants;  // one an input, undefined when not constant; empty when an engine is loaded

  bool is_constant(size_t i) const { return i < constants.size() && constants[i].defined(); }
  // Every shape is fully known and every type has a size.
  bool is_static() const;
};

// The machine that a tactic is judged for.
struct Machine {
  int threads = 1;
  int max_tier = 2;              // see base/cpu_info.h: Tier
  bool winograd = true;          // allowed to trade rounding error for speed, within its bound
  std::string cuda_arch;         // of the GPU ("sm_90"); empty: none is used
  int cuda_device = -1;          // its ordinal; -1: it is not in this machine
  bool tf32 = false;             // products may be computed in TF32
  bool bf16 = false;             // the CPU's products of f32 may round their factors to bf16
  const Store* store = nullptr;  // of compiled code; may be null
};

namespace cuda {
class Stream;
}

// Where a tactic's kernels run, and so where their arguments lie. The GPU's kernels are launched and not waited for.
enum class Backend { cpu, cuda };

struct KernelArgs {
  std::span<const Tensor* const> inputs;  // an absent or packed input is an undefined tensor
  std::span<Tensor* const> outputs;
  std::byte* workspace;  // 64-byte aligned, as large as the kernel asked for
  cpu::ThreadPool& pool;
  // Of the GPU's kernels alone: what Prepared held, in the device's memory, and the stream to launch on.
  std::span<const Tensor* const> packed = {};
  cuda::Stream* stream = nullptr;
  int32_t* fault = nullptr;  // on the device: set by a kernel that reports faults, when its input is at fault
};

// A problem made ready to run. Immutable; any number of threads may run it at once, each with its own workspace.
class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual int64_t workspace_bytes() const { return 0; }
  // What is wrong with the input when a GPU's kernel has set `fault`; empty when it never does.
  virtual std::string_view fault() const { return {}; }
  virtual Status run(const KernelArgs& args) const = 0;
};

// What a tactic makes of a problem at build time.
struct Prepared {
  Tensors packed;           // constants in the kernel's own format, stored in the engine
  std::vector<bool> drops;  // inputs that the kernel no longer reads, by index
  // Of a kernel that calls a library: the one that the engine needs, with its version, and what it is asked to do.
  std::string library = {}, algorithm = {};
};

// One way to compute a family of problems. Tactics of a family are an ordered list that ends in the reference.
struct Tactic {
  std::string_view name;
  // Empty when the tactic can do it, else why not.
  std::string (*supports)(const Problem&, const Machine&);
  // How many variants (tile sizes, splits) a tuner may try; at least 1.
  int (*variants)(const Problem&, const Machine&);
  Result<Prepared> (*prepare)(const Problem&, int variant, const Machine&);
  // From the problem and the packed constants; `problem.constants` is not used.
  Result<std::unique_ptr<const Kernel>> (*make)(const Problem&, std::span<const Tensor> packed, int variant,
                                                const Machine&);
  // The input whose memory output 0 may take over, or -1.
  int (*in_place)(const Problem&) = nullptr;
  // Whether a kernel made with `packed` never reads an input, as Prepared::drops said at build time: the steps of an
  // engine that is loaded are held against it. Null: it reads all; the GPU's, whose code is in the engine: the first.
  bool (*drops)(size_t input, std::span<const Tensor> packed) = nullptr;
  Backend backend = Backend::cpu;
  // Tactics of a higher tier are not timed where one of a lower tier can do the same: they never win against it.
  int tier = 0;
  // Whether variants have constants packed in ways of their own; on a CPU, else, those of the first serve for all.
  bool packs_by_variant = false;
  // Why its results may differ in their last bits from run to run; empty: they never do.
  std::string_view varies = {};
  // What a kernel of the variant asks for, without preparing one. Null: it has to be made to know.
  int64_t (*workspace_bytes)(const Problem&, int variant, const Machine&) = nullptr;
};

// The tier of a tactic that is timed beside those of any tier.
inline constexpr int kBesideAll = -1;

std::span<const Tactic> tactic_table();
// Puts a row before all others. For tests, before anything is selected.
void add_tactic(const Tactic& tactic);
const Tactic* find_tactic(std::string_view name);

}  // namespace hone
