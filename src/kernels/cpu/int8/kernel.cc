#include "kernels/cpu/int8/kernel.h"

#include "kernels/cpu/amx/permission.h"

namespace hone::cpu {

namespace scalar {
extern const Int8Kernel kInt8Pairs, kUint8Pairs;
extern const Int8FinishFn kInt8Finish;
extern const Int8DepthwiseKernel kInt8DepthwisePairs, kUint8DepthwisePairs;
}  // namespace scalar
namespace avx2 {
extern const Int8Kernel kInt8Pairs, kUint8Pairs;
extern const Int8FinishFn kInt8Finish;
extern const Int8DepthwiseKernel kInt8DepthwisePairs, kUint8DepthwisePairs;
}  // namespace avx2
namespace avx512 {
extern const Int8Kernel kInt8Pairs, kUint8Pairs, kInt8Quads, kUint8Quads;
extern const Int8FinishFn kInt8Finish;
extern const Int8DepthwiseKernel kInt8DepthwisePairs, kUint8DepthwisePairs, kInt8DepthwiseQuads, kUint8DepthwiseQuads;
extern const Int8LinesKernel kInt8Lines, kUint8Lines;
}  // namespace avx512
namespace amx {
extern const Int8Kernel kInt8Tiles, kUint8Tiles;
}

namespace {

struct Row {
  const char* name;
  const Int8Kernel *of_i8, *of_u8;
  const Int8DepthwiseKernel *depthwise_i8, *depthwise_u8;
  const char* feature;  // that it needs beside its tier, or null
};

// In the order of Int8Set.
constexpr Row kSets[] = {
    {"scalar", &scalar::kInt8Pairs, &scalar::kUint8Pairs, &scalar::kInt8DepthwisePairs, &scalar::kUint8DepthwisePairs,
     nullptr},
    {"AVX2", &avx2::kInt8Pairs, &avx2::kUint8Pairs, &avx2::kInt8DepthwisePairs, &avx2::kUint8DepthwisePairs, nullptr},
    {"AVX-512", &avx512::kInt8Pairs, &avx512::kUint8Pairs, &avx512::kInt8DepthwisePairs, &avx512::kUint8DepthwisePairs,
     nullptr},
    {"AVX-512 VNNI", &avx512::kInt8Quads, &avx512::kUint8Quads, &avx512::kInt8DepthwiseQuads,
     &avx512::kUint8DepthwiseQuads, "avx512_vnni"},
    {"AMX", &amx::kInt8Tiles, &amx::kUint8Tiles, &avx512::kInt8DepthwiseQuads, &avx512::kUint8DepthwiseQuads,
     "amx_int8"}};

const Row& row(Int8Set set) { return kSets[static_cast<size_t>(set)]; }

}  // namespace

const char* int8_set_name(Int8Set set) { return row(set).name; }

bool has_int8_set(Int8Set set) {
  if (tier_of(set) > best_tier()) return false;
  if (row(set).feature != nullptr && !cpu_info().has(row(set).feature)) return false;
  return set != Int8Set::amx || amx_permitted();
}

Int8Set best_int8_set(Tier tier) {
  for (int i = static_cast<int>(Int8Set::amx); i > 0; --i) {
    const auto set = static_cast<Int8Set>(i);
    if (tier_of(set) <= tier && has_int8_set(set)) return set;
  }
  return Int8Set::scalar;
}

const Int8Kernel& int8_kernel(Int8Set set, bool unsigned_in) { return unsigned_in ? *row(set).of_u8 : *row(set).of_i8; }

Int8FinishFn int8_finish(Tier tier) {
  return tier == Tier::avx512 ? avx512::kInt8Finish : tier == Tier::avx2 ? avx2::kInt8Finish : scalar::kInt8Finish;
}

const Int8DepthwiseKernel& int8_depthwise_kernel(Int8Set set, bool unsigned_in) {
  return unsigned_in ? *row(set).depthwise_u8 : *row(set).depthwise_i8;
}

const Int8LinesKernel* int8_lines_kernel(Int8Set set, bool unsigned_in) {
  if (set < Int8Set::vnni) return nullptr;
  return unsigned_in ? &avx512::kUint8Lines : &avx512::kInt8Lines;
}

}  // namespace hone::cpu
