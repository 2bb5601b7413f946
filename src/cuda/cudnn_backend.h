#pragma once

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>
#include <variant>
#include <vector>

#include "cuda/device.h"
#include "cuda/library.h"

// The part of cuDNN's backend interface that Hone calls: descriptors, which are made of attributes. Names and values
// are those of NVIDIA's reference.
namespace hone::cuda::cudnn {

struct Handle;             // cudnnHandle_t points to it
using Descriptor = void*;  // cudnnBackendDescriptor_t

// Values of cudnnBackendDescriptorType_t.
enum Kind {
  kPointwise = 0,
  kConvolution = 1,
  kEngine = 2,
  kEngineConfig = 3,
  kHeuristic = 4,
  kPlan = 5,
  kKnobChoice = 7,
  kForward = 10,
  kOperation = 13,
  kGraph = 15,
  kPack = 16,
  kTensor = 17
};

// Values of cudnnBackendAttributeType_t.
enum Type {
  kHandleType = 0,
  kDataType = 1,
  kBoolean = 2,
  kInt64 = 3,
  kFloat = 4,
  kPointer = 6,
  kConvolutionMode = 7,
  kHeuristicMode = 8,
  kKnobType = 9,
  kNumericalNote = 11,
  kPointwiseMode = 14,
  kDescriptor = 15,
  kBehaviorNote = 19
};

// Values of cudnnBackendAttributeName_t.
enum Attribute {
  kPointwiseModeIs = 0,
  kPointwisePrecision = 1,
  kComputeType = 100,
  kModeOfConvolution = 101,
  kDilations = 102,
  kStrides = 103,
  kPostPads = 104,
  kPrePads = 105,
  kSpatialDims = 106,
  kHeuristicModeIs = 200,
  kHeuristicGraph = 201,
  kHeuristicResults = 202,
  kConfigEngine = 300,
  kConfigKnobs = 302,
  kPlanHandle = 400,
  kPlanConfig = 401,
  kPlanWorkspace = 402,
  kKnobIs = 600,
  kKnobValue = 601,
  kForwardAlpha = 700,
  kForwardBeta = 701,
  kForwardConvolution = 702,
  kForwardW = 703,
  kForwardX = 704,
  kForwardY = 705,
  kOperationPointwise = 750,
  kOperationX = 751,
  kOperationB = 752,
  kOperationY = 753,
  kGraphHandle = 800,
  kGraphOperations = 801,
  kGraphEngines = 802,
  kTensorAlign = 900,
  kTensorType = 901,
  kTensorDims = 902,
  kTensorStrides = 903,
  kTensorId = 906,
  kTensorVirtual = 907,
  kPackIds = 1000,
  kPackPointers = 1001,
  kPackWorkspace = 1003,
  kEngineGraph = 1300,
  kEngineIndex = 1301,
  kEngineNumerics = 1303,
  kEngineBehavior = 1305
};

#define HONE_CUDNN(X)                                                                             \
  X(cudnnGetVersion, size_t, ())                                                                  \
  X(cudnnGetCudartVersion, size_t, ())                                                            \
  X(cudnnGetErrorString, const char*, (int status))                                               \
  X(cudnnGetLastErrorString, void, (char* text, size_t bytes))                                    \
  X(cudnnCreate, int, (Handle * *handle))                                                         \
  X(cudnnSetStream, int, (Handle * handle, CUstr * stream))                                       \
  X(cudnnBackendCreateDescriptor, int, (int kind, Descriptor* descriptor))                        \
  X(cudnnBackendDestroyDescriptor, int, (Descriptor descriptor))                                  \
  X(cudnnBackendFinalize, int, (Descriptor descriptor))                                           \
  X(cudnnBackendSetAttribute, int,                                                                \
    (Descriptor descriptor, int attribute, int type, int64_t count, const void* values))          \
  X(cudnnBackendGetAttribute, int,                                                                \
    (Descriptor descriptor, int attribute, int type, int64_t most, int64_t* count, void* values)) \
  X(cudnnBackendExecute, int, (Handle * handle, Descriptor plan, Descriptor pack))

struct Library {
#define X(name, result, parameters) result(*name) parameters = nullptr;
  HONE_CUDNN(X)
#undef X
  LibraryVersion version{.name = "cuDNN"};

  // Code::unsupported: the library cannot do it, which is no fault.
  Status check(int status, const char* call) const;
};

// Opened once; the error says why there is none.
Result<const Library*> library();

#define HONE_DNN(api, call, ...) HONE_CHECK((api).check((api).call(__VA_ARGS__), #call))

// The library's state for a GPU; one belongs to one thread at a time. They are kept when they are given back.
class Handles {
 public:
  struct Lease {
    Handles* from;
    int ordinal;
    Handle* handle;

    Lease(Handles* f, int o, Handle* h) : from(f), ordinal(o), handle(h) {}
    Lease(Lease&& other) noexcept : from(other.from), ordinal(other.ordinal), handle(std::exchange(other.handle, {})) {}
    ~Lease() {
      if (handle != nullptr) from->put(ordinal, handle);
    }
  };

  // Makes the GPU current.
  Result<Lease> take(const Library& api, int ordinal);

 private:
  void put(int ordinal, Handle* handle) {
    const std::lock_guard lock(mutex_);
    free_[ordinal].push_back(handle);
  }

  std::mutex mutex_;
  std::map<int, std::vector<Handle*>> free_;
};

Handles& handles();

// Descriptors, in the order in which they are made: later ones are made of earlier ones.
class Descriptors {
 public:
  explicit Descriptors(const Library& api) : api_(&api) {}
  Descriptors(Descriptors&& other) noexcept : api_(other.api_), made_(std::exchange(other.made_, {})) {}
  ~Descriptors() {
    while (!made_.empty()) {
      api_->cudnnBackendDestroyDescriptor(made_.back());
      made_.pop_back();
    }
  }

  // Not finalised: for the library to write.
  Result<Descriptor> add(Kind kind);

  // A value of an attribute; values are of the size that their type says.
  struct Set {
    Attribute attribute;
    Type type;
    std::variant<int, float, bool, int64_t, void*, std::vector<int64_t>, std::vector<void*>> value;
  };

  Result<Descriptor> make(Kind kind, const std::vector<Set>& attributes);

  // Up to as many values as `values` has.
  template <class T>
  Result<std::vector<T>> get(Descriptor from, Attribute attribute, Type type, std::vector<T> values) const {
    int64_t count = 0;
    HONE_DNN(*api_, cudnnBackendGetAttribute, from, attribute, type, static_cast<int64_t>(values.size()), &count,
             values.data());
    values.resize(static_cast<size_t>(std::clamp<int64_t>(count, 0, static_cast<int64_t>(values.size()))));
    return values;
  }

  // Up to `most` descriptors that `from` holds.
  Result<std::vector<Descriptor>> get_descriptors(Descriptor from, Attribute attribute, Kind kind, int most);

  const Library& api() const { return *api_; }

 private:
  const Library* api_;
  std::vector<Descriptor> made_;
};

}  // namespace hone::cuda::cudnn
