#include "cuda/device.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

namespace hone::cuda {
namespace {

// Values of CUdevice_attribute.
enum Attribute { kMultiprocessors = 16, kL2Bytes = 38, kMajor = 75, kMinor = 76 };

constexpr int kMaxDynamicShared = 8;              // of CUfunction_attribute
constexpr unsigned kPlainSharedBytes = 48 << 10;  // more must be asked for
constexpr unsigned kNonBlockingStream = 1;
constexpr unsigned kNoTiming = 2;               // of cuEventCreate
constexpr unsigned kPortable = 1, kMapped = 2;  // of cuMemHostAlloc
constexpr int kRelaxedCapture = 2;
constexpr int kMemoryType = 2, kDeviceMemory = 2;                     // of CUpointer_attribute and CUmemorytype
constexpr int kClusterDimension = 4, kProgrammaticSerialization = 6;  // of CUlaunchAttributeID

// For calls after the first one that succeeded: a driver that was there does not go away.
const Driver& api() { return **driver(); }

#define HONE_CUDA(call, ...) HONE_CHECK(api().check(api().call(__VA_ARGS__), #call))

CUdeviceptr address(const void* pointer) { return reinterpret_cast<CUdeviceptr>(pointer); }

Result<Device> describe(int ordinal) {
  CUdevice handle = 0;
  HONE_CUDA(cuDeviceGet, &handle, ordinal);
  Device device{.ordinal = ordinal};
  char name[256] = {};
  HONE_CUDA(cuDeviceGetName, name, sizeof name, handle);
  device.name = name;
  int l2 = 0;
  HONE_CUDA(cuDeviceGetAttribute, &device.major, kMajor, handle);
  HONE_CUDA(cuDeviceGetAttribute, &device.minor, kMinor, handle);
  HONE_CUDA(cuDeviceGetAttribute, &device.multiprocessors, kMultiprocessors, handle);
  HONE_CUDA(cuDeviceGetAttribute, &l2, kL2Bytes, handle);
  device.l2_bytes = l2;
  size_t bytes = 0;
  HONE_CUDA(cuDeviceTotalMem_v2, &bytes, handle);
  device.memory_bytes = static_cast<int64_t>(bytes);
  return device;
}

}  // namespace

std::optional<int> ordinal_of(std::string_view target) {
  constexpr std::string_view kPrefix = "cuda";
  if (!target.starts_with(kPrefix)) return std::nullopt;
  target.remove_prefix(kPrefix.size());
  if (target.empty()) return 0;
  int ordinal = -1;
  const char* end = target.data() + target.size();
  if (target.front() != ':' || std::from_chars(target.data() + 1, end, ordinal).ptr != end || ordinal < 0)
    return std::nullopt;
  return ordinal;
}

bool Device::runs(std::string_view arch) const {
  const std::string own = this->arch();
  if (arch == "sm_90") return own == arch;
  return arch.size() == own.size() &&
         arch.substr(0, own.size() - 1) == std::string_view(own).substr(0, own.size() - 1) && arch.back() <= own.back();
}

Result<std::vector<Device>> devices() {
  HONE_TRY(const Driver* loaded, driver());
  int count = 0;
  HONE_CHECK(loaded->check(loaded->cuDeviceGetCount(&count), "cuDeviceGetCount"));
  std::vector<Device> all;
  for (int i = 0; i < count; ++i) {
    HONE_TRY(Device device, describe(i));
    all.push_back(std::move(device));
  }
  return all;
}

Result<Device> device(int ordinal) {
  HONE_TRY(auto all, devices());
  if (ordinal < 0 || static_cast<size_t>(ordinal) >= all.size())
    return Status(Code::device, fmt::format("there is no GPU {}: the driver shows {}", ordinal, all.size()));
  return all[static_cast<size_t>(ordinal)];
}

Status make_current(int ordinal) {
  static std::mutex mutex;
  static std::map<int, CUctx*> contexts;
  const std::lock_guard lock(mutex);
  CUctx*& context = contexts[ordinal];
  if (context == nullptr) {
    HONE_CHECK(device(ordinal));
    CUdevice handle = 0;
    HONE_CUDA(cuDeviceGet, &handle, ordinal);
    CUctx* retained = nullptr;
    HONE_CUDA(cuDevicePrimaryCtxRetain, &retained, handle);
    context = retained;
  }
  HONE_CUDA(cuCtxSetCurrent, context);
  return {};
}

bool kernel_has_faulted() { return driver().ok() && is_kernel_fault(api().cuCtxSynchronize()); }

Result<std::shared_ptr<std::byte>> allocate(int64_t bytes) {
  static std::atomic<int64_t> held = 0;
  CUdeviceptr pointer = 0;
  const int status = api().cuMemAlloc_v2(&pointer, static_cast<size_t>(std::max<int64_t>(bytes, 1)));
  if (size_t free = 0, total = 0; status == kOutOfMemory && api().cuMemGetInfo_v2(&free, &total) == 0)
    return Status(Code::device,
                  fmt::format("the GPU is out of memory: {:.1f} MiB are wanted, and of its {} MiB {} are free and {} "
                              "taken by this process: use a smaller batch, or free the GPU's memory (nvidia-smi shows "
                              "which processes hold it)",
                              static_cast<double>(bytes) / (1 << 20), total >> 20, free >> 20, held >> 20));
  HONE_CHECK(api().check(status, "cuMemAlloc"));
  held += bytes;
  return std::shared_ptr<std::byte>(reinterpret_cast<std::byte*>(pointer), [bytes](std::byte* p) {
    api().cuMemFree_v2(address(p));
    held -= bytes;
  });
}

Result<std::shared_ptr<std::byte>> allocate_on_host(int64_t bytes) {
  void* pointer = nullptr;
  const auto size = static_cast<size_t>(std::max<int64_t>(bytes, 1));
  HONE_CUDA(cuMemHostAlloc, &pointer, size, kPortable | kMapped);
  std::memset(pointer, 0, size);
  return std::shared_ptr<std::byte>(static_cast<std::byte*>(pointer), [](std::byte* p) { api().cuMemFreeHost(p); });
}

bool on_device(const void* pointer) {
  unsigned type = 0;
  int attribute = kMemoryType;
  void* value = &type;
  // Of memory that the driver did not allocate it gives zeros; asked for one attribute alone it calls that an error,
  // which compute-sanitizer reports.
  return pointer != nullptr && driver().ok() &&
         api().cuPointerGetAttributes(1, &attribute, &value, address(pointer)) == 0 && type == kDeviceMemory;
}

Result<std::unique_ptr<Stream>> Stream::create() {
  CUstr* handle = nullptr;
  HONE_CUDA(cuStreamCreate, &handle, kNonBlockingStream);
  return std::unique_ptr<Stream>(new Stream(handle, true));
}

Stream::~Stream() {
  if (owned_) api().cuStreamDestroy_v2(handle_);
}

Status Stream::copy_to_device(void* to, const void* from, size_t bytes) {
  if (bytes > 0) HONE_CUDA(cuMemcpyHtoDAsync_v2, address(to), from, bytes, handle_);
  return {};
}

Status Stream::copy_to_host(void* to, const void* from, size_t bytes) {
  if (bytes > 0) HONE_CUDA(cuMemcpyDtoHAsync_v2, to, address(from), bytes, handle_);
  return {};
}

Status Stream::copy_on_device(void* to, const void* from, size_t bytes) {
  if (bytes > 0) HONE_CUDA(cuMemcpyDtoDAsync_v2, address(to), address(from), bytes, handle_);
  return {};
}

Status Stream::fill(void* memory, unsigned char byte, size_t bytes) {
  if (bytes > 0) HONE_CUDA(cuMemsetD8Async, address(memory), byte, bytes, handle_);
  return {};
}

Status Stream::synchronize() {
  HONE_CUDA(cuStreamSynchronize, handle_);
  return {};
}

Status Stream::wait(const Event& event) {
  HONE_CUDA(cuStreamWaitEvent, handle_, event.handle(), 0u);
  waits_ = true;
  return {};
}

Result<bool> Stream::capturing() const {
  int status = 0;
  HONE_CUDA(cuStreamIsCapturing, handle_, &status);
  return status != 0;
}

namespace {

// The attributes that a launch needs, where the driver can read them.
class Attributes {
 public:
  explicit Attributes(const Stream::Shape& shape) {
    if (shape.cluster > 1) add(kClusterDimension, std::array{shape.cluster, 1u, 1u});
    if (shape.overlaps) add(kProgrammaticSerialization, std::array{1u});
  }

  CUlaunchConfig config(const Stream::Shape& shape, CUstr* stream) {
    const auto &grid = shape.grid, &block = shape.block;
    return {grid.x, grid.y, grid.z, block.x, block.y, block.z, shape.shared_bytes, stream, attributes_, count_};
  }

 private:
  void add(int id, std::span<const unsigned> value) {
    attributes_[count_].id = id;
    std::memcpy(attributes_[count_++].value, value.data(), value.size_bytes());
  }

  CUlaunchAttribute attributes_[2] = {};
  unsigned count_ = 0;
};

}  // namespace

Status Stream::launch(CUfunc* function, const Shape& shape, std::span<void*> parameters) {
  Shape own = shape;
  own.overlaps &= !std::exchange(waits_, false);  // a kernel waits only for the launch ahead of it by itself
  Attributes attributes(own);
  const CUlaunchConfig config = attributes.config(own, handle_);
  HONE_CUDA(cuLaunchKernelEx, &config, function, parameters.data(), nullptr);
  return {};
}

Status Graph::begin(Stream& stream) {
  HONE_CUDA(cuStreamBeginCapture_v2, stream.handle(), kRelaxedCapture);
  return {};
}

Result<std::unique_ptr<Graph>> Graph::end(Stream& stream) {
  CUgra* graph = nullptr;
  HONE_CUDA(cuStreamEndCapture, stream.handle(), &graph);
  CUgraExec* executable = nullptr;
  const Status status =
      api().check(api().cuGraphInstantiateWithFlags(&executable, graph, 0), "cuGraphInstantiateWithFlags");
  api().cuGraphDestroy(graph);
  HONE_CHECK(status);
  return std::unique_ptr<Graph>(new Graph(executable));
}

Graph::~Graph() { api().cuGraphExecDestroy(handle_); }

Status Graph::launch(Stream& stream) {
  HONE_CUDA(cuGraphLaunch, handle_, stream.handle());
  return {};
}

Result<std::unique_ptr<Event>> Event::create(bool timed) {
  CUevt* handle = nullptr;
  HONE_CUDA(cuEventCreate, &handle, timed ? 0 : kNoTiming);
  return std::unique_ptr<Event>(new Event(handle));
}

Event::~Event() { api().cuEventDestroy_v2(handle_); }

Status Event::record(Stream& stream) {
  HONE_CUDA(cuEventRecord, handle_, stream.handle());
  return {};
}

Status Event::synchronize() {
  HONE_CUDA(cuEventSynchronize, handle_);
  return {};
}

Result<double> Event::since(const Event& start) const {
  float milliseconds = 0;
  HONE_CUDA(cuEventElapsedTime, &milliseconds, start.handle_, handle_);
  return milliseconds * 1e3;
}

Result<std::shared_ptr<const Module>> Module::load(const Tensor& cubin) {
  CUmod* handle = nullptr;
  HONE_CUDA(cuModuleLoadData, &handle, cubin.raw());
  return std::shared_ptr<const Module>(new Module(handle));
}

Module::~Module() { api().cuModuleUnload(handle_); }

Result<CUfunc*> Module::function(const char* name, unsigned shared_bytes) const {
  CUfunc* found = nullptr;
  HONE_CUDA(cuModuleGetFunction, &found, handle_, name);
  if (shared_bytes > kPlainSharedBytes)
    HONE_CUDA(cuFuncSetAttribute, found, kMaxDynamicShared, static_cast<int>(shared_bytes));
  return found;
}

Result<unsigned> Module::blocks_at_once(CUfunc* function, const Stream::Shape& shape) {
  int count = 0;
  if (shape.cluster > 1) {
    Attributes attributes(shape);
    const CUlaunchConfig config = attributes.config(shape, nullptr);
    HONE_CUDA(cuOccupancyMaxActiveClusters, &count, function, &config);
    return static_cast<unsigned>(std::max(count, 1)) * shape.cluster;
  }
  CUdevice current = 0;
  int multiprocessors = 0;
  HONE_CUDA(cuCtxGetDevice, &current);
  HONE_CUDA(cuDeviceGetAttribute, &multiprocessors, kMultiprocessors, current);
  HONE_CUDA(cuOccupancyMaxActiveBlocksPerMultiprocessor, &count, function, static_cast<int>(shape.block.x),
            shape.shared_bytes);
  return static_cast<unsigned>(std::max(count, 1) * multiprocessors);
}

}  // namespace hone::cuda
