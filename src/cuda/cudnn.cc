#include "cuda/cudnn.h"

#include <algorithm>
#include <set>

#include "base/once.h"
#include "cuda/cudnn_backend.h"

namespace hone::cuda {
namespace {

using namespace cudnn;

constexpr int kAdd = 0, kRelu = 100;                   // of cudnnPointwiseMode_t
constexpr int kCrossCorrelation = 1;                   // of cudnnConvolutionMode_t
constexpr int kModeA = 3, kModeB = 1;                  // of cudnnBackendHeurMode_t
constexpr int kReal32 = 0, kReal16 = 2, kReal16b = 9;  // of cudnnDataType_t
enum Numerics { kTensorCore = 0, kDownConvert, kReducedSums, kFft, kVaries, kWinograd, kWinograd4, kWinograd6 };
enum Behavior { kCompiles = 0, kReordersFilter = 1, kReordersBias = 2 };
constexpr int kMostNotes = 32, kMostKnobs = 64, kMostConfigs = 64;

constexpr int64_t kOperandAlign = 16;  // of memory that a caller binds
constexpr int kMostCompiled = 2;

// Numbers of the graph's tensors; those between operations come after.
enum Id : int64_t { kX = 1, kW, kY, kBias, kResidual, kInner };

int library_type(DType type) { return type == DType::f16 ? kReal16 : type == DType::bf16 ? kReal16b : kReal32; }

// [n][c][h][w] with the channels last in memory.
Result<Descriptor> tensor(Descriptors& all, int64_t id, int type, std::array<int64_t, 4> dims, bool inner = false) {
  const auto [n, c, h, w] = dims;
  return all.make(kTensor, {{kTensorType, kDataType, type},
                            {kTensorDims, kInt64, std::vector<int64_t>{n, c, h, w}},
                            {kTensorStrides, kInt64, std::vector<int64_t>{h * w * c, 1, w * c, c}},
                            {kTensorId, kInt64, id},
                            {kTensorAlign, kInt64, kOperandAlign},
                            {kTensorVirtual, kBoolean, inner}});
}

// The convolution and what follows it, in the order that the library's fastest kernels want: the residual comes first.
Result<Descriptor> operation_graph(Descriptors& all, const LibraryConvolution& c, Handle* handle) {
  const int type = library_type(c.type);
  const std::array<int64_t, 4> y_dims{c.n, c.cout, c.oh, c.ow};
  int64_t left = c.has_residual + c.has_bias + c.relu, inner = kInner;
  const auto result = [&]() -> Result<Descriptor> {
    const bool last = left-- == 0;
    return tensor(all, last ? static_cast<int64_t>(kY) : inner++, last ? type : kReal32, y_dims, !last);
  };
  HONE_TRY(const Descriptor x, tensor(all, kX, type, {c.n, c.groups * c.cin, c.h, c.w}));
  HONE_TRY(const Descriptor w, tensor(all, kW, type, {c.cout, c.cin, c.kh, c.kw}));
  const auto pair = [](const std::array<int64_t, 2>& values) {
    return std::vector<int64_t>(values.begin(), values.end());
  };
  HONE_TRY(const Descriptor convolution,
           all.make(kConvolution, {{kComputeType, kDataType, kReal32},
                                   {kModeOfConvolution, kConvolutionMode, kCrossCorrelation},
                                   {kSpatialDims, kInt64, int64_t{2}},
                                   {kPrePads, kInt64, pair(c.pads)},
                                   {kPostPads, kInt64, pair(c.end_pads)},
                                   {kStrides, kInt64, pair(c.strides)},
                                   {kDilations, kInt64, pair(c.dilations)}}));
  HONE_TRY(Descriptor value, result());
  std::vector<Descriptor> operations;
  HONE_TRY(const Descriptor forward, all.make(kForward, {{kForwardConvolution, kDescriptor, convolution},
                                                         {kForwardX, kDescriptor, x},
                                                         {kForwardW, kDescriptor, w},
                                                         {kForwardY, kDescriptor, value},
                                                         {kForwardAlpha, kFloat, 1.f},
                                                         {kForwardBeta, kFloat, 0.f}}));
  operations.push_back(forward);
  // `other`: null for a function of one operand.
  const auto then = [&](int mode, Descriptor other) -> Status {
    HONE_TRY(const Descriptor pointwise, all.make(kPointwise, {{kPointwiseModeIs, kPointwiseMode, mode},
                                                               {kPointwisePrecision, kDataType, kReal32}}));
    HONE_TRY(const Descriptor next, result());
    std::vector<Descriptors::Set> attributes{{kOperationPointwise, kDescriptor, pointwise},
                                             {kOperationX, kDescriptor, value},
                                             {kOperationY, kDescriptor, next}};
    if (other != nullptr) attributes.push_back({kOperationB, kDescriptor, other});
    HONE_TRY(const Descriptor operation, all.make(kOperation, attributes));
    operations.push_back(operation);
    value = next;
    return {};
  };
  if (c.has_residual) {
    HONE_TRY(const Descriptor residual, tensor(all, kResidual, type, y_dims));
    HONE_CHECK(then(kAdd, residual));
  }
  if (c.has_bias) {
    HONE_TRY(const Descriptor bias, tensor(all, kBias, type, {1, c.cout, 1, 1}));
    HONE_CHECK(then(kAdd, bias));
  }
  if (c.relu) HONE_CHECK(then(kRelu, nullptr));
  return all.make(
      kGraph, {{kGraphHandle, kHandleType, static_cast<void*>(handle)}, {kGraphOperations, kDescriptor, operations}});
}

// Of an engine: whether its numbers are what is wanted, whether it has to be compiled, and whether it is of the fast
// kind for the types.
struct Nature {
  bool usable = true, compiled = false, fast = false;
};

Result<Nature> nature_of(const Descriptors& all, Descriptor engine, const LibraryConvolution& c) {
  HONE_TRY(const auto numerics, all.get(engine, kEngineNumerics, kNumericalNote, std::vector<int>(kMostNotes)));
  HONE_TRY(const auto behavior, all.get(engine, kEngineBehavior, kBehaviorNote, std::vector<int>(kMostNotes)));
  const bool exact = c.type == DType::f32 && !c.tf32;
  Nature nature{.fast = exact};
  for (const int note : numerics) {
    nature.fast = nature.fast || note == kTensorCore;
    if ((note >= kDownConvert && note <= kWinograd6 + 1) || (note == kTensorCore && exact)) nature.usable = false;
  }
  for (const int note : behavior) {
    if (note == kReordersFilter || note == kReordersBias) nature.usable = false;
    if (note == kCompiles) nature.compiled = true;
  }
  return nature;
}

// Collects plans that the library accepts.
class Search {
 public:
  Search(const LibraryConvolution& c, Descriptors& all, Descriptor graph, Handle* handle)
      : convolution_(c), all_(all), graph_(graph), handle_(handle) {}

  // What the library's heuristics recommend, best first, until there are `most`.
  Status add_guesses(int mode, size_t most) {
    const auto heuristic =
        all_.make(kHeuristic, {{kHeuristicGraph, kDescriptor, graph_}, {kHeuristicModeIs, kHeuristicMode, mode}});
    if (heuristic.status().code() == Code::unsupported) return {};
    HONE_CHECK(heuristic);
    HONE_TRY(const auto configs, all_.get_descriptors(*heuristic, kHeuristicResults, kEngineConfig, kMostConfigs));
    for (const Descriptor config : configs) {
      if (plans_.size() >= most) break;
      HONE_TRY(const auto engines, all_.get_descriptors(config, kConfigEngine, kEngine, 1));
      if (!engines.empty()) HONE_CHECK(add(config, engines[0], true));
    }
    return {};
  }

  // Engines that were not met yet, with the settings that they have by themselves.
  Status add_engines(size_t most) {
    HONE_TRY(const auto count, all_.get(graph_, kGraphEngines, kInt64, std::vector<int64_t>(1)));
    for (int64_t index = 0; !count.empty() && index < count[0] && plans_.size() < most; ++index) {
      if (engines_.contains(index)) continue;
      const auto engine = all_.make(kEngine, {{kEngineGraph, kDescriptor, graph_}, {kEngineIndex, kInt64, index}});
      if (!engine.ok()) continue;
      const auto config = all_.make(kEngineConfig, {{kConfigEngine, kDescriptor, *engine}});
      if (config.ok()) HONE_CHECK(add(*config, *engine, false));
    }
    return {};
  }

  std::vector<ConvolutionPlan> plans() const { return plans_.empty() ? compiled_ : plans_; }

 private:
  Status add(Descriptor config, Descriptor engine, bool recommended) {
    HONE_TRY(const Nature nature, nature_of(all_, engine, convolution_));
    HONE_TRY(const auto index, all_.get(engine, kEngineIndex, kInt64, std::vector<int64_t>(1)));
    if (index.empty()) return {};
    engines_.insert(index[0]);
    auto& to = nature.compiled ? compiled_ : plans_;
    if (!nature.usable || !(nature.fast || recommended)) return {};
    if (nature.compiled && (!plans_.empty() || compiled_.size() >= kMostCompiled)) return {};
    ConvolutionPlan plan{.engine = index[0]};
    const auto choices = all_.get_descriptors(config, kConfigKnobs, kKnobChoice, kMostKnobs);
    if (choices.ok())
      for (const Descriptor choice : *choices) {
        HONE_TRY(const auto knob, all_.get(choice, kKnobIs, kKnobType, std::vector<int>(1)));
        HONE_TRY(const auto value, all_.get(choice, kKnobValue, kInt64, std::vector<int64_t>(1)));
        if (!knob.empty() && !value.empty()) plan.knobs.push_back({knob[0], value[0]});
      }
    if (!known_.insert({plan.engine, plan.knobs}).second) return {};
    // What it does not take is left out.
    const auto made =
        all_.make(kPlan, {{kPlanHandle, kHandleType, static_cast<void*>(handle_)}, {kPlanConfig, kDescriptor, config}});
    if (!made.ok()) return {};
    HONE_TRY(const auto workspace, all_.get(*made, kPlanWorkspace, kInt64, std::vector<int64_t>(1)));
    if (workspace.empty() || workspace[0] > kMostConvolutionWorkspace) return {};
    plan.workspace_bytes = workspace[0];
    to.push_back(std::move(plan));
    return {};
  }

  const LibraryConvolution& convolution_;
  Descriptors& all_;
  Descriptor graph_;
  Handle* handle_;
  std::set<int64_t> engines_;
  std::set<std::pair<int64_t, std::vector<std::array<int64_t, 2>>>> known_;
  std::vector<ConvolutionPlan> plans_, compiled_;
};

Result<std::vector<ConvolutionPlan>> ask(const Library& api, const LibraryConvolution& convolution, int ordinal) {
  HONE_TRY(const Handles::Lease lease, handles().take(api, ordinal));
  Descriptors all(api);
  const auto graph = operation_graph(all, convolution, lease.handle);
  if (graph.status().code() == Code::unsupported) return std::vector<ConvolutionPlan>();
  HONE_CHECK(graph);
  Search search(convolution, all, *graph, lease.handle);
  HONE_CHECK(search.add_guesses(kModeA, kMostConvolutionPlans / 2));
  HONE_CHECK(search.add_guesses(kModeB, kMostConvolutionPlans * 3 / 4));
  // In 16 bits some engines that are not recommended round what they do not say: a result was off by ten units.
  if (convolution.type == DType::f32) HONE_CHECK(search.add_engines(kMostConvolutionPlans));
  return search.plans();
}

class PlannedKernel final : public CudnnKernel {
 public:
  PlannedKernel(Descriptors all, Descriptor plan, int ordinal) : all_(std::move(all)), plan_(plan), ordinal_(ordinal) {}

  Status launch(const ConvolutionOperands& o, Stream& stream) const override {
    std::vector<int64_t> ids;
    std::vector<void*> pointers;
    const auto add = [&](Id id, const void* pointer) {
      if (pointer == nullptr) return;
      ids.push_back(id);
      pointers.push_back(const_cast<void*>(pointer));  // the library writes y alone
    };
    add(kX, o.x);
    add(kW, o.w);
    add(kY, o.y);
    add(kBias, o.bias);
    add(kResidual, o.residual);
    const Library& api = all_.api();
    Descriptors own(api);
    HONE_TRY(const Descriptor pack, own.make(kPack, {{kPackIds, kInt64, ids},
                                                     {kPackPointers, kPointer, pointers},
                                                     {kPackWorkspace, kPointer, o.workspace}}));
    HONE_TRY(const Handles::Lease lease, handles().take(api, ordinal_));
    HONE_DNN(api, cudnnSetStream, lease.handle, stream.handle());
    HONE_DNN(api, cudnnBackendExecute, lease.handle, plan_, pack);
    return {};
  }

 private:
  Descriptors all_;
  Descriptor plan_;
  int ordinal_;
};

}  // namespace

Result<LibraryVersion> cudnn_version() {
  HONE_TRY(const Library* const api, library());
  return api->version;
}

std::string describe(const ConvolutionPlan& plan) {
  std::string text = fmt::format("engine {}", plan.engine);
  for (const auto& [knob, value] : plan.knobs)
    text += fmt::format("{}{}={}", &knob == &plan.knobs.front()[0] ? ", knobs " : " ", knob, value);
  return text;
}

Result<std::vector<ConvolutionPlan>> cudnn_plans(const LibraryConvolution& convolution, int ordinal) {
  HONE_TRY(const Library* const api, library());
  static Once<std::pair<int, LibraryConvolution>, Result<std::vector<ConvolutionPlan>>> known;
  return known.get({ordinal, convolution}, [&] { return ask(*api, convolution, ordinal); });
}

Result<std::shared_ptr<const CudnnKernel>> CudnnKernel::make(const LibraryConvolution& convolution,
                                                             const ConvolutionPlan& plan, int ordinal) {
  HONE_TRY(const Library* const api, library());
  HONE_TRY(const Handles::Lease lease, handles().take(*api, ordinal));
  Descriptors all(*api);
  HONE_TRY(const Descriptor graph, operation_graph(all, convolution, lease.handle));
  HONE_TRY(const Descriptor engine,
           all.make(kEngine, {{kEngineGraph, kDescriptor, graph}, {kEngineIndex, kInt64, plan.engine}}));
  std::vector<Descriptor> choices;
  for (const auto& [knob, value] : plan.knobs) {
    HONE_TRY(const Descriptor choice,
             all.make(kKnobChoice, {{kKnobIs, kKnobType, static_cast<int>(knob)}, {kKnobValue, kInt64, value}}));
    choices.push_back(choice);
  }
  std::vector<Descriptors::Set> attributes{{kConfigEngine, kDescriptor, engine}};
  if (!choices.empty()) attributes.push_back({kConfigKnobs, kDescriptor, choices});
  HONE_TRY(const Descriptor config, all.make(kEngineConfig, attributes));
  HONE_TRY(const Descriptor made, all.make(kPlan, {{kPlanHandle, kHandleType, static_cast<void*>(lease.handle)},
                                                   {kPlanConfig, kDescriptor, config}}));
  HONE_TRY(const auto workspace, all.get(made, kPlanWorkspace, kInt64, std::vector<int64_t>(1)));
  if (workspace.empty() || workspace[0] > plan.workspace_bytes)
    return invalid("a plan of cuDNN that needs more than {} bytes of workspace", plan.workspace_bytes);
  return std::shared_ptr<const CudnnKernel>(new PlannedKernel(std::move(all), made, ordinal));
}

}  // namespace hone::cuda
