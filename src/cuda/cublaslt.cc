#include "cuda/cublaslt.h"

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>

namespace hone::cuda {
namespace {

struct Context;
struct Operation;
struct Layout;
struct Preference;

struct Found {
  uint64_t algorithm[8];
  size_t workspace_bytes;
  int status;
  float waves;
  int reserved[4];
};
static_assert(sizeof(Found) == 96);

constexpr int kUnsupportedValue = 7, kUnsupported = 15;  // of cublasStatus_t
constexpr int kReal32 = 0, kReal16 = 2, kReal16b = 14;   // of cudaDataType
constexpr int kCompute32 = 68, kComputeTf32 = 77;        // of cublasComputeType_t
enum OperationAttribute { kTransposeA = 3, kTransposeB = 4, kEpilogue = 7, kBiasPointer = 8 };
enum LayoutAttribute { kBatchCount = 5, kBatchStride = 6 };
enum PreferenceAttribute { kMaxWorkspace = 1, kReductions = 3, kAlignA = 5, kAlignB = 6, kAlignC = 7, kAlignD = 8 };
enum AlgorithmAttribute { kId = 0, kTile = 1, kSplit = 2, kStages = 6, kCluster = 8 };
constexpr uint32_t kEpilogueBias = 4;
constexpr uint32_t kReduceInF32 = 2;  // of cublasLtReductionScheme_t: in the workspace, in the type of the sums

constexpr int kMostAlgorithms = 16;
constexpr uint64_t kMostWorkspace = kMostLibraryWorkspace;
constexpr uint32_t kOperandAlign = 16;  // of memory that a caller binds

#define HONE_CUBLASLT(X)                                                                                          \
  X(cublasLtGetProperty, int, (int property, int* value))                                                         \
  X(cublasLtGetStatusString, const char*, (int status))                                                           \
  X(cublasLtCreate, int, (Context * *context))                                                                    \
  X(cublasLtMatmulDescCreate, int, (Operation * *operation, int compute, int scale))                              \
  X(cublasLtMatmulDescDestroy, int, (Operation * operation))                                                      \
  X(cublasLtMatmulDescSetAttribute, int, (Operation * operation, int attribute, const void* value, size_t bytes)) \
  X(cublasLtMatrixLayoutCreate, int, (Layout * *layout, int type, uint64_t rows, uint64_t columns, int64_t ld))   \
  X(cublasLtMatrixLayoutDestroy, int, (Layout * layout))                                                          \
  X(cublasLtMatrixLayoutSetAttribute, int, (Layout * layout, int attribute, const void* value, size_t bytes))     \
  X(cublasLtMatmulPreferenceCreate, int, (Preference * *preference))                                              \
  X(cublasLtMatmulPreferenceDestroy, int, (Preference * preference))                                              \
  X(cublasLtMatmulPreferenceSetAttribute, int,                                                                    \
    (Preference * preference, int attribute, const void* value, size_t bytes))                                    \
  X(cublasLtMatmulAlgoGetHeuristic, int,                                                                          \
    (Context * context, Operation * operation, Layout * a, Layout * b, Layout * c, Layout * d,                    \
     Preference * preference, int most, Found* found, int* count))                                                \
  X(cublasLtMatmulAlgoConfigGetAttribute, int,                                                                    \
    (const uint64_t* algorithm, int attribute, void* value, size_t bytes, size_t* written))                       \
  X(cublasLtMatmul, int,                                                                                          \
    (Context * context, Operation * operation, const void* alpha, const void* a, Layout* layout_a, const void* b, \
     Layout* layout_b, const void* beta, const void* c, Layout* layout_c, void* d, Layout* layout_d,              \
     const uint64_t* algorithm, void* workspace, size_t workspace_bytes, CUstr* stream))

struct Library {
#define X(name, result, parameters) result(*name) parameters = nullptr;
  HONE_CUBLASLT(X)
#undef X
  LibraryVersion version{.name = "cuBLASLt"};

  Status check(int status, const char* call) const {
    if (status == 0) return {};
    const bool refused = status == kUnsupportedValue || status == kUnsupported;
    return {refused ? Code::unsupported : Code::device, fmt::format("{}: {}", call, cublasLtGetStatusString(status))};
  }
};

#define HONE_LT(api, call, ...) HONE_CHECK((api).check((api).call(__VA_ARGS__), #call))

Result<Library> load() {
  HONE_TRY(const DynamicLibrary opened,
           open_library({.name = "cuBLASLt",
                         .variable = "HONE_CUBLASLT",
                         .files = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so",
                                   "/usr/local/cuda/lib64/libcublasLt.so"},
                         .use = "multiplies matrices on the GPU"}));
  Library library;
#define X(symbol, result, parameters)                                                \
  library.symbol = reinterpret_cast<decltype(library.symbol)>(opened.find(#symbol)); \
  if (library.symbol == nullptr)                                                     \
    return Status(Code::device, opened.name() + " has no " #symbol ": install a newer cuBLASLt");
  HONE_CUBLASLT(X)
#undef X
  int* const parts[] = {&library.version.major, &library.version.minor, &library.version.patch};
  for (int property = 0; property < 3; ++property) HONE_LT(library, cublasLtGetProperty, property, parts[property]);
  return library;
}

Result<const Library*> library() {
  static const Result<Library> loaded = load();
  if (!loaded.ok()) return loaded.status();
  return &*loaded;
}

// The library's state for a GPU, made once and kept.
Result<Context*> context_of(const Library& api, int ordinal) {
  static std::mutex mutex;
  static std::map<int, Context*> contexts;
  const std::lock_guard lock(mutex);
  Context*& context = contexts[ordinal];
  if (context == nullptr) {
    HONE_CHECK(make_current(ordinal));
    HONE_LT(api, cublasLtCreate, &context);
  }
  return context;
}

int library_type(DType type) { return type == DType::f16 ? kReal16 : type == DType::bf16 ? kReal16b : kReal32; }

template <class T>
using Owned = std::unique_ptr<T, int (*)(T*)>;

// What is asked of the library, in its own descriptors.
class Request {
 public:
  static Result<Request> make(const Library& api, const LibraryProduct& product, const void* bias) {
    const LibraryMatrices matrices = matrices_of(product);
    Operation* operation = nullptr;
    HONE_LT(api, cublasLtMatmulDescCreate, &operation, product.tf32 ? kComputeTf32 : kCompute32, kReal32);
    Request request(Owned<Operation>(operation, api.cublasLtMatmulDescDestroy));
    const auto set = [&](OperationAttribute attribute, auto value) {
      return api.check(api.cublasLtMatmulDescSetAttribute(operation, attribute, &value, sizeof value),
                       "cublasLtMatmulDescSetAttribute");
    };
    HONE_CHECK(set(kTransposeA, static_cast<int32_t>(matrices.left.transposed)));
    HONE_CHECK(set(kTransposeB, static_cast<int32_t>(matrices.right.transposed)));
    // The library's flags: the activation is one of its own.
    const auto activation = static_cast<uint32_t>(product.activation);
    const uint32_t plain = product.activation == LibraryProduct::Activation::none ? 0u : activation;
    HONE_CHECK(set(kEpilogue, product.has_bias ? plain | kEpilogueBias : activation));
    if (product.has_bias) HONE_CHECK(set(kBiasPointer, bias));
    HONE_TRY(request.left, layout(api, matrices.left));
    HONE_TRY(request.right, layout(api, matrices.right));
    HONE_TRY(request.y, layout(api, matrices.y));
    return request;
  }

  Owned<Operation> operation;
  Owned<Layout> left{nullptr, nullptr}, right{nullptr, nullptr}, y{nullptr, nullptr};

 private:
  explicit Request(Owned<Operation> made) : operation(std::move(made)) {}

  static Result<Owned<Layout>> layout(const Library& api, const LibraryMatrix& matrix) {
    Layout* made = nullptr;
    HONE_LT(api, cublasLtMatrixLayoutCreate, &made, library_type(matrix.type), static_cast<uint64_t>(matrix.rows),
            static_cast<uint64_t>(matrix.columns), matrix.ld);
    Owned<Layout> owned(made, api.cublasLtMatrixLayoutDestroy);
    const auto batch = static_cast<int32_t>(matrix.batch);
    HONE_LT(api, cublasLtMatrixLayoutSetAttribute, made, kBatchCount, &batch, sizeof batch);
    HONE_LT(api, cublasLtMatrixLayoutSetAttribute, made, kBatchStride, &matrix.batch_stride,
            sizeof matrix.batch_stride);
    return owned;
  }
};

Result<Owned<Preference>> preference(const Library& api) {
  Preference* made = nullptr;
  HONE_LT(api, cublasLtMatmulPreferenceCreate, &made);
  Owned<Preference> owned(made, api.cublasLtMatmulPreferenceDestroy);
  HONE_LT(api, cublasLtMatmulPreferenceSetAttribute, made, kMaxWorkspace, &kMostWorkspace, sizeof kMostWorkspace);
  HONE_LT(api, cublasLtMatmulPreferenceSetAttribute, made, kReductions, &kReduceInF32, sizeof kReduceInF32);
  for (const PreferenceAttribute align : {kAlignA, kAlignB, kAlignC, kAlignD})
    HONE_LT(api, cublasLtMatmulPreferenceSetAttribute, made, align, &kOperandAlign, sizeof kOperandAlign);
  return owned;
}

Result<std::vector<LibraryAlgorithm>> ask(const Library& api, const LibraryProduct& product, int ordinal) {
  HONE_TRY(Context* const context, context_of(api, ordinal));
  HONE_CHECK(make_current(ordinal));
  // Nothing is read there: the library looks at the address's alignment.
  HONE_TRY(const Request request, Request::make(api, product, reinterpret_cast<const void*>(uintptr_t{kOperandAlign})));
  HONE_TRY(const auto preferred, preference(api));
  Found found[kMostAlgorithms] = {};
  int count = 0;
  Layout* const y = request.y.get();
  const Status status = api.check(
      api.cublasLtMatmulAlgoGetHeuristic(context, request.operation.get(), request.left.get(), request.right.get(), y,
                                         y, preferred.get(), kMostAlgorithms, found, &count),
      "cublasLtMatmulAlgoGetHeuristic");
  std::vector<LibraryAlgorithm> algorithms;
  if (status.code() == Code::unsupported) return algorithms;
  HONE_CHECK(status);
  for (const Found& f : std::span(found).first(static_cast<size_t>(std::clamp(count, 0, kMostAlgorithms)))) {
    if (f.status != 0 || f.workspace_bytes > kMostWorkspace) continue;
    LibraryAlgorithm& algorithm = algorithms.emplace_back();
    std::copy(std::begin(f.algorithm), std::end(f.algorithm), algorithm.words.begin());
    algorithm.workspace_bytes = static_cast<int64_t>(f.workspace_bytes);
  }
  return algorithms;
}

}  // namespace

Result<LibraryVersion> cublaslt_version() {
  HONE_TRY(const Library* const api, library());
  return api->version;
}

LibraryMatrices matrices_of(const LibraryProduct& p) {
  // A [rows][columns] of ours is a column-major matrix of `columns` rows.
  const auto matrix = [&](DType type, int64_t rows, int64_t columns, bool batched, bool transposed) {
    return LibraryMatrix{.type = type,
                         .rows = columns,
                         .columns = rows,
                         .ld = columns,
                         .batch = p.batch,
                         .batch_stride = batched ? rows * columns : 0,
                         .transposed = transposed};
  };
  return {
      .left = p.trans_b ? matrix(p.type, p.n, p.k, p.b_batched, true) : matrix(p.type, p.k, p.n, p.b_batched, false),
      .right = p.trans_a ? matrix(p.type, p.k, p.m, p.a_batched, true) : matrix(p.type, p.m, p.k, p.a_batched, false),
      .y = matrix(p.result, p.m, p.n, true, false)};
}

Result<std::vector<LibraryAlgorithm>> cublaslt_algorithms(const LibraryProduct& product, int ordinal) {
  HONE_TRY(const Library* const api, library());
  static std::mutex mutex;
  static std::map<std::pair<int, LibraryProduct>, std::vector<LibraryAlgorithm>> known;
  const std::lock_guard lock(mutex);
  const auto [entry, is_new] = known.try_emplace({ordinal, product});
  if (!is_new) return entry->second;
  auto algorithms = ask(*api, product, ordinal);
  if (algorithms.ok()) entry->second = *algorithms;
  else known.erase(entry);
  return algorithms;
}

Result<std::string> describe(const LibraryAlgorithm& algorithm) {
  HONE_TRY(const Library* const api, library());
  const auto value = [&](AlgorithmAttribute attribute, auto initial) -> Result<int64_t> {
    size_t written = 0;
    HONE_LT(*api, cublasLtMatmulAlgoConfigGetAttribute, algorithm.words.data(), attribute, &initial, sizeof initial,
            &written);
    return static_cast<int64_t>(initial);
  };
  HONE_TRY(const int64_t id, value(kId, int32_t{0}));
  HONE_TRY(const int64_t tile, value(kTile, uint32_t{0}));
  HONE_TRY(const int64_t stages, value(kStages, uint32_t{0}));
  HONE_TRY(const int64_t cluster, value(kCluster, uint16_t{0}));
  HONE_TRY(const int64_t split, value(kSplit, int32_t{0}));
  return fmt::format("algorithm {}, tile {}, stages {}, cluster {}, split {}", id, tile, stages, cluster, split);
}

Status cublaslt_launch(const LibraryProduct& product, const LibraryAlgorithm& algorithm,
                       const LibraryOperands& operands, int ordinal, Stream& stream) {
  HONE_TRY(const Library* const api, library());
  HONE_TRY(Context* const context, context_of(*api, ordinal));
  HONE_TRY(const Request request, Request::make(*api, product, operands.bias));
  const float alpha = 1, beta = operands.residual != nullptr ? 1 : 0;
  Layout* const y = request.y.get();
  HONE_LT(*api, cublasLtMatmul, context, request.operation.get(), &alpha, operands.b, request.left.get(), operands.a,
          request.right.get(), &beta, operands.residual != nullptr ? operands.residual : operands.y, y, operands.y, y,
          algorithm.words.data(), operands.workspace, static_cast<size_t>(algorithm.workspace_bytes), stream.handle());
  return {};
}

}  // namespace hone::cuda
