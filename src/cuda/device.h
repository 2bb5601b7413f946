#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/tensor.h"
#include "cuda/driver.h"

namespace hone::cuda {

// A GPU and its primary context.
struct Device {
  int ordinal = 0;
  std::string name;
  int major = 0, minor = 0;  // compute capability
  int multiprocessors = 0;
  int64_t memory_bytes = 0, l2_bytes = 0;

  // The architecture that kernels are compiled for: "sm_90".
  std::string arch() const { return fmt::format("sm_{}{}", major, minor); }
  // Whether code compiled for `arch` runs: the same major number, and no higher minor one. Code for sm_90 may be
  // sm_90a's, which runs nowhere else.
  bool runs(std::string_view arch) const;
};

// 0 for "cuda", N for "cuda:N", nothing for other targets.
std::optional<int> ordinal_of(std::string_view target);

// All GPUs that the driver shows, in its order; an error when there is no driver.
Result<std::vector<Device>> devices();
Result<Device> device(int ordinal);

// Makes the device's context the calling thread's.
Status make_current(int ordinal);

// Waits for all that runs on the device that is current: whether a kernel has faulted since this process began. Nothing
// can be done with the device any more then, but in another process.
bool kernel_has_faulted();

// Device memory, zeroed by nobody; freed with the last owner. The device must be current. The error says how much is
// free, and how much this process has.
Result<std::shared_ptr<std::byte>> allocate(int64_t bytes);
// Zeroed memory of the host that kernels write as well, at the same address: for what they rarely say.
Result<std::shared_ptr<std::byte>> allocate_on_host(int64_t bytes);

// Whether memory that somebody else allocated lies on a GPU.
bool on_device(const void* pointer);

class Event;

// Kernels run in the order of their launch. Not thread safe; the device must be current.
class Stream {
 public:
  static Result<std::unique_ptr<Stream>> create();
  // One of the caller, who keeps it; null: CUDA's default stream.
  static Stream of(CUstr* handle) { return Stream(handle, false); }
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  Status copy_to_device(void* to, const void* from, size_t bytes);
  Status copy_on_device(void* to, const void* from, size_t bytes);
  Status fill(void* memory, unsigned char byte, size_t bytes);
  // The data is there after synchronize().
  Status copy_to_host(void* to, const void* from, size_t bytes);
  Status synchronize();
  // What is launched from now on waits for the event, where that was recorded. The next launch does not overlap.
  Status wait(const Event& event);
  // Whether launches are recorded in a graph and not run.
  Result<bool> capturing() const;

  struct Dim3 {
    unsigned x = 1, y = 1, z = 1;
  };
  struct Shape {
    Dim3 grid, block;
    unsigned shared_bytes = 0;
    unsigned cluster = 1;   // neighbouring blocks along x that share their memory
    bool overlaps = false;  // may start before the launch ahead of it has ended: the kernel waits for that itself
  };
  Status launch(CUfunc* function, const Shape& shape, std::span<void*> parameters);

  CUstr* handle() const { return handle_; }

 private:
  Stream(CUstr* handle, bool owned) : handle_(handle), owned_(owned) {}
  CUstr* handle_;
  bool owned_;
  bool waits_ = false;  // for an event, before the next launch
};

// What was launched on a stream between begin and end, to be launched again as a whole.
class Graph {
 public:
  static Status begin(Stream& stream);
  static Result<std::unique_ptr<Graph>> end(Stream& stream);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  Status launch(Stream& stream);

 private:
  explicit Graph(CUgraExec* handle) : handle_(handle) {}
  CUgraExec* handle_;
};

// A point in a stream's work.
class Event {
 public:
  // `timed`: since() may be asked.
  static Result<std::unique_ptr<Event>> create(bool timed = true);
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  Status record(Stream& stream);
  // Waits for it on the host.
  Status synchronize();
  CUevt* handle() const { return handle_; }
  // Microseconds from `start` to this one; both must have been reached.
  Result<double> since(const Event& start) const;

 private:
  explicit Event(CUevt* handle) : handle_(handle) {}
  CUevt* handle_;
};

// Compiled device code, loaded into the context that is current.
class Module {
 public:
  static Result<std::shared_ptr<const Module>> load(const Tensor& cubin);
  ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  // `shared_bytes`: the most dynamic shared memory that it will be launched with.
  Result<CUfunc*> function(const char* name, unsigned shared_bytes) const;

  // How many blocks of a launch run at once on the device that is current: whole clusters.
  static Result<unsigned> blocks_at_once(CUfunc* function, const Stream::Shape& shape);

 private:
  explicit Module(CUmod* handle) : handle_(handle) {}
  CUmod* handle_;
};

}  // namespace hone::cuda
