#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "status.h"
#include "tensor.h"

HONE_NAMESPACE_BEGIN

class Context;

// An input or output of an engine.
struct TensorInfo {
  std::string name;
  DType dtype = DType::none;
  Dims dims;           // -1: known only when the engine runs
  bool ranked = true;  // false: the rank is open too, and `dims` is empty
};

// Planned memory of one context, and the weights that all contexts share, in bytes.
struct MemorySummary {
  int64_t arena = 0;          // what a context allocates
  int64_t lower_bound = 0;    // no plan can be smaller than this
  int64_t without_reuse = 0;  // if no two tensors shared memory
  int64_t weights = 0;
  int64_t workspace = 0;  // the largest workspace of a step, part of the arena
};

// An optimised network. Immutable: copies share it, and any number of threads may use it at once. It lives as long as
// the last copy or context. A default-constructed or moved-from engine is empty; its calls return errors or empty
// values.
class HONE_API Engine {
 public:
  struct Impl;

  Engine() = default;
  explicit Engine(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

  // Reads an engine file. Its weights stay mapped, so the file must not be changed in place while an engine uses it
  // (saving over it is fine: that writes a new file and renames). Errors: invalid (missing, damaged or not an engine),
  // device (it was built for another machine).
  static Result<Engine> load(const std::string& path);
  // Writes a file beside `path`, then renames: never half an engine.
  Status save(const std::string& path) const;

  std::vector<TensorInfo> inputs() const;
  std::vector<TensorInfo> outputs() const;
  std::string target() const;  // "cpu", ...
  std::string device() const;  // what it was tuned on
  MemorySummary memory() const;
  // What `hone inspect --json` prints: layers, tactics, fusions, memory plan.
  std::string inspect_json() const;

  // The state of one caller, with as many CPU threads as the engine was built for. Memory is allocated here and not in
  // run(). When that fails, every call of the context returns why.
  Context create_context() const;

 private:
  std::shared_ptr<const Impl> impl_;
};

// Runs an engine. One per thread: a context is not thread safe itself, but contexts of one engine run at the same time
// without waiting for each other. Movable; a moved-from context returns errors.
class HONE_API Context {
 public:
  struct Impl;

  explicit Context(std::unique_ptr<Impl> impl);
  Context(Context&&) noexcept;
  Context& operator=(Context&&) noexcept;
  ~Context();

  // Binds memory to the input or output `name` (to the input, if both are called so), until it is bound anew.
  // An input is read in place by each run(): the memory must stay valid and unchanged while run() works, and may be
  // refilled between runs (strings are copied here instead). Its dtype and dims must be those of Engine::inputs().
  // An output is copied to the bound memory at the end of run(), packed from the start of it. It must have the output's
  // dtype and hold at least as many elements; the dims that came out are those of output(). TensorView() unbinds an
  // output. Outputs of strings cannot be bound.
  // For an engine whose steps all run on a GPU, the memory may be that GPU's: inputs are read and outputs written there
  // without a copy through the host, and output() is a view of it. The address must be aligned to 16 bytes.
  // Errors: invalid (no such name, or dtype, dims, alignment or null data do not fit), unsupported (memory of a GPU for
  // an engine that runs on the CPU in part).
  Status bind(std::string_view name, const TensorView& view);

  // Computes all outputs. Errors: invalid (an input is not bound, or a size that depends on data does not fit), or what
  // a step reports. After an error the outputs are undefined until the next run that succeeds.
  Status run();
  // Launches the work of one run on a CUDA stream of the caller (a CUstream or cudaStream_t of the engine's GPU; null:
  // the default stream) and returns without waiting for it. All steps must be on the GPU, and all inputs and outputs
  // bound to its memory, which must stay valid until the run has ended. Runs of a context follow each other, on
  // whatever streams they are; run() and the end of the context wait for them. What a kernel finds wrong with its input
  // (an index outside of the data) is returned by the first call of enqueue(), run() or synchronize() that knows of it,
  // which then does nothing else. output() gives where a result will be. The profiler is not called. The GPU becomes
  // the calling thread's current one. A stream that is being captured gets the launches into its graph, once the
  // context has run before. Such a graph keeps the memory that was bound; the context must outlive it, and the caller
  // orders its launches among themselves and with other runs of the context. An engine that runs on the CPU has no
  // streams: with null this is run(), which waits, and all else is refused. Errors: those of run(), unsupported (a
  // step, an input or an output is on the host: the message names all), device (the stream is none of the GPU's).
  Status enqueue(void* stream = nullptr);
  // Waits for what was enqueued, and returns what it found wrong.
  Status synchronize();

  // A view of the last run's output in the context's memory; valid until the next bind(), run() or the end of the
  // context. Outputs that are an input under another name lie in the memory bound to that input. Errors: invalid (no
  // such name, not run yet), unsupported (a sequence, or more than Dims::kMaxRank dims).
  Result<TensorView> output(std::string_view name) const;

  // Called after each step of run() with the step's number, that of its layer in inspect_json(), and its time in
  // microseconds. Must not throw. An empty function turns it off.
  Status set_profiler(std::function<void(size_t step, double us)> profiler);

 private:
  std::unique_ptr<Impl> impl_;
};

HONE_NAMESPACE_END
