// Convolutions by NVIDIA's library. The engine holds the plan that was chosen.
#include "cuda/cudnn.h"

#include <algorithm>

#include "tactics/cuda/conv.h"
#include "tactics/cuda/source.h"

namespace hone {
namespace {

using Convolution = cuda::LibraryConvolution;

template <bool tf32>
std::string refuse_types(const Problem& problem, const Machine& machine) {
  const DType type = problem.inputs[0].dtype, result = problem.outputs[0].dtype;
  if (!cuda::is_real_element(type) || (tf32 && type != DType::f32)) return fmt::format("{} elements", name(type));
  if (tf32 && !machine.tf32) return cuda::refuse_tf32(type, machine);
  if (result != type) return fmt::format("{} results", name(result));
  return {};
}

// Why the library cannot compute what is done to the product, or empty.
std::string refuse_epilogue(const Problem& problem) {
  const auto epilogue = cuda::simple_epilogue(problem);
  if (!epilogue || (epilogue->activation != Fn::input && epilogue->activation != Fn::relu))
    return "an epilogue that cuDNN has no fast kernel for";
  for (const int input : {epilogue->bias, epilogue->residual})
    if (input >= 0 && problem.inputs[static_cast<size_t>(input)].dtype != problem.outputs[0].dtype)
      return "what is added is of another type than the result";
  return {};
}

template <bool tf32>
std::string supports(const Problem& problem, const Machine& machine) {
  if (std::string dense = cuda::conv_refusal(problem, false); !dense.empty()) {
    if (dense == kAnotherOp || !cuda::conv_refusal(problem, true).empty()) return dense;
  }
  if (cuda::conv_anchor(problem).prologue) return "its input is computed in place";
  if (std::string reason = refuse_types<tf32>(problem, machine); !reason.empty()) return reason;
  if (std::string reason = refuse_epilogue(problem); !reason.empty()) return reason;
  if (machine.cuda_device < 0) return "the GPU is not here to be asked for plans";
  return cuda::cudnn_version().status().message();
}

// Padding behind the last element that leads to `out` results: that before the first, where it does.
int64_t end_pad(int64_t in, int64_t out, int64_t filter, int64_t stride, int64_t dilation, int64_t pad) {
  const int64_t reach = (filter - 1) * dilation + 1;
  if ((in + 2 * pad - reach) / stride + 1 == out) return pad;
  return std::max<int64_t>((out - 1) * stride + reach - in - pad, 0);
}

// The problem as the library is asked for it, and which of its inputs are added, or -1.
struct Call {
  Convolution convolution;
  int bias = -1, residual = -1;
};

template <bool tf32>
Call call_of(const Problem& problem) {
  const cuda::ConvGeometry g = cuda::conv_geometry(problem);
  const cuda::SimpleEpilogue epilogue = *cuda::simple_epilogue(problem);
  return {.convolution = {.type = g.type,
                          .tf32 = tf32,
                          .n = g.n,
                          .h = g.h,
                          .w = g.w,
                          .cin = g.cin / g.groups,
                          .oh = g.oh,
                          .ow = g.ow,
                          .cout = g.cout,
                          .kh = g.kh,
                          .kw = g.kw,
                          .groups = g.groups,
                          .strides = {g.stride_h, g.stride_w},
                          .dilations = {g.dilation_h, g.dilation_w},
                          .pads = {g.pad_top, g.pad_left},
                          .end_pads = {end_pad(g.h, g.oh, g.kh, g.stride_h, g.dilation_h, g.pad_top),
                                       end_pad(g.w, g.ow, g.kw, g.stride_w, g.dilation_w, g.pad_left)},
                          .has_bias = epilogue.bias >= 0,
                          .has_residual = epilogue.residual >= 0,
                          .relu = epilogue.activation == Fn::relu},
          .bias = epilogue.bias,
          .residual = epilogue.residual};
}

// What the engine holds of a plan: the version of the library that knows it, its workspace, its engine and its knobs.
constexpr int64_t kHeldWords = 5;

Tensor to_tensor(const cuda::ConvolutionPlan& plan, const cuda::LibraryVersion& version) {
  std::vector<int64_t> held{version.major, version.minor, version.patch, plan.workspace_bytes, plan.engine};
  for (const auto& knob : plan.knobs) held.insert(held.end(), knob.begin(), knob.end());
  return Tensor::vector(held);
}

Result<cuda::ConvolutionPlan> plan_from(const Tensor& held) {
  if (held.type() != DType::i64 || held.count() < kHeldWords || (held.count() - kHeldWords) % 2 != 0)
    return invalid("a convolution without its plan");
  const std::span words(held.data<int64_t>(), static_cast<size_t>(held.count()));
  HONE_TRY(const cuda::LibraryVersion here, cuda::cudnn_version());
  const cuda::LibraryVersion built{here.name, static_cast<int>(words[0]), static_cast<int>(words[1]),
                                   static_cast<int>(words[2])};
  if (!(built == here))
    return Status(Code::device,
                  fmt::format("the engine uses {}, here is {}: build it again", built.text(), here.text()));
  cuda::ConvolutionPlan plan{.engine = words[4], .workspace_bytes = words[3]};
  if (plan.workspace_bytes < 0 || plan.workspace_bytes > cuda::kMostConvolutionWorkspace)
    return invalid("a convolution with a workspace of {} bytes", plan.workspace_bytes);
  for (size_t i = kHeldWords; i < words.size(); i += 2) plan.knobs.push_back({words[i], words[i + 1]});
  return plan;
}

class LibraryKernel final : public Kernel {
 public:
  LibraryKernel(const Call& call, int64_t workspace_bytes, std::shared_ptr<const cuda::CudnnKernel> kernel)
      : call_(call), workspace_bytes_(workspace_bytes), kernel_(std::move(kernel)) {}

  // Buffers are aligned to less than the library wants.
  int64_t workspace_bytes() const override {
    return workspace_bytes_ == 0 ? 0 : workspace_bytes_ + cuda::kLibraryAlign;
  }

  Status run(const KernelArgs& args) const override {
    const auto input = [&](int i) { return i < 0 ? nullptr : args.inputs[static_cast<size_t>(i)]->raw(); };
    const cuda::ConvolutionOperands operands{.x = input(0),
                                             .w = args.packed[1]->raw(),
                                             .bias = input(call_.bias),
                                             .residual = input(call_.residual),
                                             .y = args.outputs[0]->mutable_raw(),
                                             .workspace = cuda::aligned_for_library(args.workspace)};
    if ((call_.bias >= 0 && operands.bias == nullptr) || (call_.residual >= 0 && operands.residual == nullptr))
      return invalid("a convolution without one of its operands");
    return kernel_->launch(operands, *args.stream);
  }

 private:
  Call call_;
  int64_t workspace_bytes_;
  std::shared_ptr<const cuda::CudnnKernel> kernel_;
};

// The library is asked where a variant is prepared, which is done on all cores, and not where its result is known.
int variants(const Problem&, const Machine&) { return cuda::kMostConvolutionPlans; }

template <bool tf32>
Result<Prepared> prepare(const Problem& problem, int variant, const Machine& machine) {
  HONE_TRY(const auto plans, cuda::cudnn_plans(call_of<tf32>(problem).convolution, machine.cuda_device));
  if (variant < 0 || static_cast<size_t>(variant) >= plans.size())
    return unsupported("cuDNN has {} plans for it that keep its numbers", plans.size());
  const cuda::ConvolutionPlan& plan = plans[static_cast<size_t>(variant)];
  HONE_TRY(const cuda::LibraryVersion version, cuda::cudnn_version());
  const Tensor& weights = problem.constants[1];
  const auto order = cuda::outputs_first(weights);
  return Prepared{.packed = {to_tensor(plan, version),
                             tf32 ? cuda::permuted_for_tensor_cores(weights, order) : cuda::permuted(weights, order)},
                  .drops = {false, true},
                  .library = version.text(),
                  .algorithm = cuda::describe(plan)};
}

template <bool tf32>
Result<std::unique_ptr<const Kernel>> make(const Problem& problem, std::span<const Tensor> packed, int,
                                           const Machine& machine) {
  if (packed.size() != 2) return invalid("a convolution without its plan or its weights");
  HONE_TRY(const cuda::ConvolutionPlan plan, plan_from(packed[0]));
  if (packed[1].type() != problem.inputs[1].dtype || packed[1].count() != element_count(dims_of(problem.inputs[1])))
    return invalid("packed weights of another size");
  const Call call = call_of<tf32>(problem);
  HONE_TRY(auto kernel, cuda::CudnnKernel::make(call.convolution, plan, machine.cuda_device));
  return std::unique_ptr<const Kernel>(new LibraryKernel(call, plan.workspace_bytes, std::move(kernel)));
}

template <bool tf32>
constexpr Tactic row(std::string_view name) {
  return {.name = name,
          .supports = supports<tf32>,
          .variants = variants,
          .prepare = prepare<tf32>,
          .make = make<tf32>,
          .backend = Backend::cuda,
          .tier = kBesideAll};
}

}  // namespace

std::span<const Tactic> cuda_cudnn_tactics() {
  static constexpr Tactic kRows[] = {row<true>("cuda.conv_cudnn_tf32"), row<false>("cuda.conv_cudnn")};
  return kRows;
}

}  // namespace hone
