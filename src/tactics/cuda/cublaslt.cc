// Matrix products, and convolutions that are such, by NVIDIA's library. The engine holds the algorithm that was chosen.
#include "cuda/cublaslt.h"

#include <algorithm>

#include "tactics/cuda/conv.h"
#include "tactics/cuda/matmul.h"
#include "tactics/cuda/source.h"

namespace hone {
namespace {

using Product = cuda::LibraryProduct;

// A problem as the library is asked for it, and which of its inputs are added to the product, or -1.
struct Call {
  Product product;
  int bias = -1, residual = -1;
};

std::string matmul_refusal(const Problem& problem) {
  if (std::string reason = cuda::matmul_refusal(problem); !reason.empty()) return reason;
  const auto l = cuda::matmul_view(problem).layout;
  for (const Dims& own : {l.batch_a, l.batch_b})
    if (const int64_t count = element_count(own); count != 1 && count != l.gemm.batch) return "an operand is broadcast";
  return {};
}

Product matmul_product(const Problem& problem) {
  const auto [anchor, op, l] = cuda::matmul_view(problem);
  return {.m = l.gemm.m,
          .n = l.gemm.n,
          .k = l.gemm.k,
          .batch = l.gemm.batch,
          .trans_a = op.trans_a,
          .trans_b = op.trans_b,
          .a_batched = element_count(l.batch_a) == l.gemm.batch,
          .b_batched = element_count(l.batch_b) == l.gemm.batch};
}

std::string conv_refusal(const Problem& problem) {
  if (std::string reason = cuda::conv_refusal(problem, false); !reason.empty()) return reason;
  if (cuda::conv_anchor(problem).prologue) return "its input is computed in place";
  if (!cuda::conv_geometry(problem).pointwise()) return "it is no product of pixels and weights";
  return {};
}

// Weights are [outputs][inputs].
Product conv_product(const Problem& problem) {
  const cuda::Gemm gemm = cuda::conv_geometry(problem).gemm();
  return {.m = gemm.m, .n = gemm.n, .k = gemm.k, .trans_b = true};
}

// Why the library cannot compute what is done to the product, or empty.
std::string refuse_epilogue(const Problem& problem) {
  const auto epilogue = cuda::simple_epilogue(problem);
  if (!epilogue) return "an epilogue that cuBLASLt lacks";
  const DType result = problem.outputs[0].dtype;
  for (const int input : {epilogue->bias, epilogue->residual})
    if (input >= 0 && problem.inputs[static_cast<size_t>(input)].dtype != result)
      return "what is added is of another type than the result";
  // Its function is not exact to the last digit of f32.
  if (epilogue->activation == Fn::gelu_tanh && result == DType::f32) return "gelu in f32";
  return {};
}

template <bool tf32>
std::string refuse_types(const Problem& problem, const Machine& machine) {
  const DType type = problem.inputs[0].dtype, result = problem.outputs[0].dtype;
  if (!cuda::is_real_element(type)) return fmt::format("{} elements", name(type));
  if (tf32 && type != DType::f32) return fmt::format("{} elements", name(type));
  if (tf32 && !machine.tf32) return cuda::refuse_tf32(type, machine);
  if (result != type && result != DType::f32) return fmt::format("{} results", name(result));
  return {};
}

std::string refuse_machine(const Machine& machine) {
  if (machine.cuda_device < 0) return "the GPU is not here to be asked for algorithms";
  return cuda::cublaslt_version().status().message();
}

// What depends on the op, as functions of a problem that they take.
struct Kind {
  std::string (*refusal)(const Problem&);
  Product (*product)(const Problem&);
};
constexpr Kind kMatmul{matmul_refusal, matmul_product}, kConv{conv_refusal, conv_product};

template <const Kind& kind, bool tf32>
std::string supports(const Problem& problem, const Machine& machine) {
  if (std::string reason = kind.refusal(problem); !reason.empty()) return reason;
  if (std::string reason = refuse_types<tf32>(problem, machine); !reason.empty()) return reason;
  if (std::string reason = refuse_epilogue(problem); !reason.empty()) return reason;
  return refuse_machine(machine);
}

template <const Kind& kind, bool tf32>
Call call_of(const Problem& problem) {
  const cuda::SimpleEpilogue epilogue = *cuda::simple_epilogue(problem);
  Call call{kind.product(problem), epilogue.bias, epilogue.residual};
  Product& product = call.product;
  product.type = problem.inputs[0].dtype;
  product.result = problem.outputs[0].dtype;
  product.tf32 = tf32;
  product.has_bias = epilogue.bias >= 0;
  product.activation = epilogue.activation == Fn::relu        ? Product::Activation::relu
                       : epilogue.activation == Fn::gelu_tanh ? Product::Activation::gelu_tanh
                                                              : Product::Activation::none;
  return call;
}

// What the engine holds of an algorithm: the version of the library that knows it, its workspace, and its words.
constexpr int64_t kHeldWords = 4 + static_cast<int64_t>(std::tuple_size_v<decltype(cuda::LibraryAlgorithm::words)>);

Tensor to_tensor(const cuda::LibraryAlgorithm& algorithm, const cuda::LibraryVersion& version) {
  std::vector<int64_t> held{version.major, version.minor, version.patch, algorithm.workspace_bytes};
  held.insert(held.end(), algorithm.words.begin(), algorithm.words.end());
  return Tensor::vector(held);
}

Result<cuda::LibraryAlgorithm> algorithm_from(const Tensor& held) {
  if (held.type() != DType::i64 || held.count() != kHeldWords) return invalid("a product without its algorithm");
  const std::span words(held.data<int64_t>(), static_cast<size_t>(kHeldWords));
  HONE_TRY(const cuda::LibraryVersion here, cuda::cublaslt_version());
  const cuda::LibraryVersion built{here.name, static_cast<int>(words[0]), static_cast<int>(words[1]),
                                   static_cast<int>(words[2])};
  if (!(built == here))
    return Status(Code::device,
                  fmt::format("the engine uses {}, here is {}: build it again", built.text(), here.text()));
  cuda::LibraryAlgorithm algorithm{.workspace_bytes = words[3]};
  if (algorithm.workspace_bytes < 0 || algorithm.workspace_bytes > cuda::kMostLibraryWorkspace)
    return invalid("a product with a workspace of {} bytes", algorithm.workspace_bytes);
  std::copy(words.begin() + 4, words.end(), algorithm.words.begin());
  return algorithm;
}

class LibraryKernel final : public Kernel {
 public:
  LibraryKernel(Call call, const cuda::LibraryAlgorithm& algorithm, bool packs_b, int ordinal)
      : call_(call), algorithm_(algorithm), packs_b_(packs_b), ordinal_(ordinal) {}

  // Buffers are aligned to less than the library wants.
  int64_t workspace_bytes() const override {
    return algorithm_.workspace_bytes == 0 ? 0 : algorithm_.workspace_bytes + cuda::kLibraryAlign;
  }

  Status run(const KernelArgs& args) const override {
    const auto input = [&](int i) { return i < 0 ? nullptr : args.inputs[static_cast<size_t>(i)]->raw(); };
    const cuda::LibraryOperands operands{.a = input(0),
                                         .b = packs_b_ ? args.packed[1]->raw() : input(1),
                                         .bias = input(call_.bias),
                                         .residual = input(call_.residual),
                                         .y = args.outputs[0]->mutable_raw(),
                                         .workspace = cuda::aligned_for_library(args.workspace)};
    if (operands.b == nullptr || (call_.bias >= 0 && operands.bias == nullptr) ||
        (call_.residual >= 0 && operands.residual == nullptr))
      return invalid("a product without one of its operands");
    return cuda::cublaslt_launch(call_.product, algorithm_, operands, ordinal_, *args.stream);
  }

 private:
  Call call_;
  cuda::LibraryAlgorithm algorithm_;
  bool packs_b_;  // else it is the problem's input 1
  int ordinal_;
};

// The best guess alone where TF32, which is faster, is allowed.
template <const Kind& kind, bool tf32>
int variants(const Problem& problem, const Machine& machine) {
  const Product product = call_of<kind, tf32>(problem).product;
  const auto algorithms = cuda::cublaslt_algorithms(product, machine.cuda_device);
  const auto count = algorithms.ok() ? static_cast<int>(algorithms->size()) : 0;
  return machine.tf32 && !tf32 && product.type == DType::f32 ? std::min(count, 1) : count;
}

// Constants are rounded to TF32 here: the GPU would cut them off.
template <const Kind& kind, bool tf32>
Result<Prepared> prepare(const Problem& problem, int variant, const Machine& machine) {
  HONE_TRY(const auto algorithms, cuda::cublaslt_algorithms(call_of<kind, tf32>(problem).product, machine.cuda_device));
  if (algorithms.empty()) return unsupported("cuBLASLt knows no algorithm for it");
  if (variant < 0 || static_cast<size_t>(variant) >= algorithms.size())
    return invalid("variant {} of {}", variant, algorithms.size());
  const cuda::LibraryAlgorithm& algorithm = algorithms[static_cast<size_t>(variant)];
  HONE_TRY(const cuda::LibraryVersion version, cuda::cublaslt_version());
  Prepared prepared{.packed = {to_tensor(algorithm, version)}, .drops = {}, .library = version.text()};
  HONE_TRY(prepared.algorithm, cuda::describe(algorithm));
  if (tf32 && problem.is_constant(1)) {
    prepared.packed.push_back(cuda::rounded_to_tf32(problem.constants[1]));
    prepared.drops = {false, true};
  }
  return prepared;
}

template <const Kind& kind, bool tf32>
Result<std::unique_ptr<const Kernel>> make(const Problem& problem, std::span<const Tensor> packed, int,
                                           const Machine& machine) {
  if (packed.empty()) return invalid("a product without its algorithm");
  HONE_TRY(const cuda::LibraryAlgorithm algorithm, algorithm_from(packed[0]));
  const bool packs_b = packed.size() > 1;
  if (packs_b &&
      (packed[1].type() != problem.inputs[1].dtype || packed[1].count() != element_count(dims_of(problem.inputs[1]))))
    return invalid("packed weights of another size");
  return std::unique_ptr<const Kernel>(
      new LibraryKernel(call_of<kind, tf32>(problem), algorithm, packs_b, machine.cuda_device));
}

// As NVIDIA's documentation of reproducibility has it.
constexpr std::string_view kVaries = "cuBLASLt promises the same bits only while no other stream is active";

template <const Kind& kind, bool tf32>
constexpr Tactic row(std::string_view name) {
  return {.name = name,
          .supports = supports<kind, tf32>,
          .variants = variants<kind, tf32>,
          .prepare = prepare<kind, tf32>,
          .make = make<kind, tf32>,
          .backend = Backend::cuda,
          .tier = kBesideAll,
          .varies = kVaries};
}

}  // namespace

std::span<const Tactic> cuda_cublaslt_tactics() {
  static constexpr Tactic kRows[] = {
      row<kMatmul, true>("cuda.matmul_cublaslt_tf32"), row<kMatmul, false>("cuda.matmul_cublaslt"),
      row<kConv, true>("cuda.conv_cublaslt_tf32"), row<kConv, false>("cuda.conv_cublaslt")};
  return kRows;
}

}  // namespace hone
