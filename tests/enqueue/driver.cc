#include "enqueue/driver.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <set>
#include <span>
#include <string_view>
#include <utility>

#include "cuda/driver.h"

namespace hone::cuda {

struct CUgra {
  hone::testing::Captured content;
};
struct CUstr {
  int number;
  CUgra* captured = nullptr;
  std::set<int> last = {};  // captured launches that the next one follows
};
struct CUevt {
  int number;
  CUgra* captured = nullptr;  // where it was recorded
  std::set<int> last = {};    // as of the stream then
  int work = 0;               // done by then
};
struct CUgraExec {
  int launches;
};

}  // namespace hone::cuda

namespace hone::testing {

std::vector<std::string>& calls() {
  static std::vector<std::string> all;
  return all;
}

Captured& captured() {
  static Captured last;
  return last;
}

std::function<void(void**)>& on_launch() {
  static std::function<void(void**)> hook;
  return hook;
}

namespace {

constexpr int kUnjoined = 904;
constexpr int kProgrammaticSerialization = 6;
constexpr int kDeviceMemory = 2;
int streams = 0, events = 0;
int work = 0;    // kernels launched and copies made
int loaded = 0;  // any address stands for what has no content

template <class... Args>
int note(fmt::format_string<Args...> text, Args&&... args) {
  calls().push_back(fmt::format(text, std::forward<Args>(args)...));
  return 0;
}

int number(const cuda::CUstr* stream) { return stream == nullptr ? 0 : stream->number; }

std::set<cuda::CUstr*>& all_streams() {
  static std::set<cuda::CUstr*> all;
  return all;
}

void capture_launch(const cuda::CUlaunchConfig& config) {
  Captured& graph = config.stream->captured->content;
  const int launch = graph.launches++;
  for (int before : config.stream->last) graph.edges.emplace(before, launch);
  config.stream->last = {launch};
  for (const cuda::CUlaunchAttribute& a : std::span(config.attributes, config.attribute_count))
    if (a.id == kProgrammaticSerialization) graph.overlapping.insert(launch);
}

// Whether what all streams have captured is behind one of them.
bool joined(const cuda::CUstr& stream) {
  std::set<int> ends;
  for (int i = 0; i < stream.captured->content.launches; ++i) ends.insert(i);
  for (const auto& edge : stream.captured->content.edges) ends.erase(edge.first);
  return std::ranges::includes(stream.last, ends);
}

std::set<cuda::CUdeviceptr>& allocated() {
  static std::set<cuda::CUdeviceptr> all;
  return all;
}

// What the environment's HONE_RECORDING_DRIVER ("cuInit=100,cuMemAlloc_v2=2") says that a call returns, else 0.
int outcome(std::string_view call) {
  const char* const given = std::getenv("HONE_RECORDING_DRIVER");
  std::string_view rest = given != nullptr ? given : "";
  while (!rest.empty()) {
    const std::string_view one = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), one.size() + 1));
    if (one.starts_with(call) && one.size() > call.size() && one[call.size()] == '=')
      return std::atoi(one.data() + call.size() + 1);
  }
  return 0;
}

// Of "fault=N": the first kernel that the program launches faults, as long as it was begun anew fewer than N times.
int& fault() {
  static int status = 0;
  return status;
}

void launched() {
  constexpr int kIllegalAddress = 700;
  const char* const restarts = std::getenv("HONE_RESTARTS");
  if ((restarts != nullptr ? std::atoi(restarts) : 0) < outcome("fault")) fault() = kIllegalAddress;
}

template <class T>
T* anything() {
  return reinterpret_cast<T*>(&loaded);
}

int copy(void* to, const void* from, size_t bytes, cuda::CUstr* stream) {
  std::memcpy(to, from, bytes);
  ++work;
  return note("copy s{}", number(stream));
}

}  // namespace
}  // namespace hone::testing

namespace hone::cuda {

using namespace hone::testing;

extern "C" {

int cuInit(unsigned) { return outcome("cuInit"); }
int cuDriverGetVersion(int* version) {
  const int given = outcome("cuDriverGetVersion");
  return *version = given == 0 ? 13000 : given, 0;
}
int cuGetErrorName(int, const char** text) { return *text = "NAME", 0; }
int cuGetErrorString(int, const char** text) { return *text = "an error", 0; }
int cuDeviceGetCount(int* count) { return *count = 1, 0; }
int cuDeviceGet(CUdevice* device, int ordinal) { return *device = ordinal, 0; }
int cuDeviceGetName(char* name, int length, CUdevice) {
  return std::snprintf(name, static_cast<size_t>(length), "recording"), 0;
}
int cuDeviceGetAttribute(int* value, int attribute, CUdevice) {
  constexpr int kMajor = 75, kMinor = 76;
  const int major = outcome("major");
  return *value = attribute == kMajor ? (major != 0 ? major : 9) : attribute == kMinor ? 0 : 132, 0;
}
int cuDeviceTotalMem_v2(size_t* bytes, CUdevice) { return *bytes = size_t{1} << 30, 0; }
int cuDevicePrimaryCtxRetain(CUctx** context, CUdevice) {
  return *context = anything<CUctx>(), outcome("cuDevicePrimaryCtxRetain");
}
int cuCtxSetCurrent(CUctx*) { return 0; }
int cuCtxGetDevice(CUdevice* device) { return *device = 0, 0; }
int cuCtxSynchronize() { return fault(); }
int cuMemGetInfo_v2(size_t* free, size_t* total) { return *free = size_t{3} << 20, *total = size_t{1} << 30, 0; }

int cuMemAlloc_v2(CUdeviceptr* pointer, size_t bytes) {
  if (const int failed = outcome("cuMemAlloc_v2"); failed != 0) return failed;
  constexpr int kOutOfMemory = 2;
  *pointer = reinterpret_cast<CUdeviceptr>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
  if (*pointer == 0) return kOutOfMemory;
  return allocated().insert(*pointer), 0;
}
int cuMemFree_v2(CUdeviceptr pointer) {
  allocated().erase(pointer);
  return std::free(reinterpret_cast<void*>(pointer)), 0;
}
int cuMemHostAlloc(void** pointer, size_t bytes, unsigned) {
  if (const int failed = outcome("cuMemHostAlloc"); failed != 0) return failed;
  return *pointer = std::malloc(bytes), 0;
}
int cuMemFreeHost(void* pointer) { return std::free(pointer), 0; }
int cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t bytes, CUstr* stream) {
  return copy(reinterpret_cast<void*>(to), from, bytes, stream);
}
int cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t bytes, CUstr* stream) {
  return copy(to, reinterpret_cast<const void*>(from), bytes, stream);
}
int cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstr* stream) {
  return copy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes, stream);
}
int cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes, CUstr*) {
  return std::memset(reinterpret_cast<void*>(to), value, bytes), 0;
}
int cuPointerGetAttributes(unsigned, int*, void** values, CUdeviceptr pointer) {
  return *static_cast<unsigned*>(values[0]) = allocated().contains(pointer) ? kDeviceMemory : 0, 0;
}

int cuModuleLoadData(CUmod** module, const void*) {
  *module = anything<CUmod>();
  note("load");
  return outcome("cuModuleLoadData");
}
int cuModuleUnload(CUmod*) { return 0; }
int cuModuleGetFunction(CUfunc** function, CUmod*, const char*) { return *function = anything<CUfunc>(), 0; }
int cuFuncSetAttribute(CUfunc*, int, int) { return 0; }

int cuStreamCreate(CUstr** stream, unsigned) {
  *stream = new CUstr{++streams};
  all_streams().insert(*stream);
  return 0;
}
int cuStreamDestroy_v2(CUstr* stream) {
  all_streams().erase(stream);
  return delete stream, 0;
}
int cuStreamSynchronize(CUstr* stream) {
  note("synchronize s{}", number(stream));
  return fault() != 0 ? fault() : outcome("cuStreamSynchronize");
}
int cuStreamWaitEvent(CUstr* stream, CUevt* event, unsigned) {
  if (event->captured == nullptr) return note("wait s{} e{}", number(stream), event->number);
  stream->captured = event->captured;
  stream->last.insert(event->last.begin(), event->last.end());
  return 0;
}
int cuStreamIsCapturing(CUstr* stream, int* status) {
  return *status = stream != nullptr && stream->captured != nullptr ? 1 : 0, 0;
}
int cuStreamBeginCapture_v2(CUstr* stream, int) {
  return stream->captured = new CUgra, note("capture s{}", stream->number);
}
int cuStreamEndCapture(CUstr* stream, CUgra** graph) {
  const bool whole = joined(*stream);
  *graph = stream->captured;
  for (CUstr* s : all_streams()) {
    if (s->captured != *graph) continue;
    s->captured = nullptr;
    s->last.clear();
  }
  captured() = (*graph)->content;
  note("captured {}", captured().launches);
  return whole ? 0 : kUnjoined;
}
int cuGraphInstantiateWithFlags(CUgraExec** executable, CUgra* graph, unsigned long long) {
  return *executable = new CUgraExec{graph->content.launches}, 0;
}
int cuGraphLaunch(CUgraExec* executable, CUstr* stream) {
  work += executable->launches;
  return note("graph s{}", number(stream));
}
int cuGraphDestroy(CUgra* graph) { return delete graph, 0; }
int cuGraphExecDestroy(CUgraExec* executable) { return delete executable, 0; }
int cuEventCreate(CUevt** event, unsigned) { return *event = new CUevt{++events}, 0; }
int cuEventDestroy_v2(CUevt* event) { return delete event, 0; }
int cuEventRecord(CUevt* event, CUstr* stream) {
  event->captured = stream == nullptr ? nullptr : stream->captured;
  event->work = work;
  if (event->captured == nullptr) return note("record e{} s{}", event->number, number(stream));
  event->last = stream->last;
  return 0;
}
int cuEventSynchronize(CUevt* event) { return note("synchronize e{}", event->number); }
int cuEventElapsedTime(float* milliseconds, CUevt* from, CUevt* to) {
  return *milliseconds = static_cast<float>(std::max(1, to->work - from->work)), 0;
}
int cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, CUfunc*, int, size_t) { return *blocks = 1, 0; }
int cuOccupancyMaxActiveClusters(int* clusters, CUfunc*, const CUlaunchConfig*) { return *clusters = 1, 0; }
int cuTensorMapEncodeTiled(void*, int, uint32_t, void*, const uint64_t*, const uint64_t*, const uint32_t*,
                           const uint32_t*, int, int, int, int) {
  return 0;
}
int cuTensorMapEncodeIm2col(void*, int, uint32_t, void*, const uint64_t*, const uint64_t*, const int*, const int*,
                            uint32_t, uint32_t, const uint32_t*, int, int, int, int) {
  return 0;
}
int cuLaunchKernelEx(const CUlaunchConfig* config, CUfunc*, void** parameters, void**) {
  CUstr* const stream = config->stream;
  if (stream != nullptr && stream->captured != nullptr) return capture_launch(*config), 0;
  launched();
  ++work;
  if (on_launch()) on_launch()(parameters);
  return note("launch s{}", number(stream));
}

}  // extern "C"
}  // namespace hone::cuda

namespace hone::testing {

void* allocate(size_t bytes) {
  cuda::CUdeviceptr memory = 0;
  cuda::cuMemAlloc_v2(&memory, bytes);
  return reinterpret_cast<void*>(memory);
}

void release(void* memory) { cuda::cuMemFree_v2(reinterpret_cast<cuda::CUdeviceptr>(memory)); }

void* create_stream() {
  cuda::CUstr* stream = nullptr;
  cuda::cuStreamCreate(&stream, 0);
  return stream;
}

void destroy(void* stream) { cuda::cuStreamDestroy_v2(static_cast<cuda::CUstr*>(stream)); }

void begin_capture(void* stream) { cuda::cuStreamBeginCapture_v2(static_cast<cuda::CUstr*>(stream), 0); }

void end_capture(void* stream) {
  cuda::CUgra* graph = nullptr;
  cuda::cuStreamEndCapture(static_cast<cuda::CUstr*>(stream), &graph);
  cuda::cuGraphDestroy(graph);
}

}  // namespace hone::testing
