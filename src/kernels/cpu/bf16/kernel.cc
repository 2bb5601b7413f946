#include "kernels/cpu/bf16/kernel.h"

#include "kernels/cpu/amx/permission.h"

namespace hone::cpu {

namespace avx512_bf16 {
extern const Bf16Kernel kBf16Pairs;
}
namespace amx {
extern const Bf16Kernel kBf16Tiles;
}

namespace {

struct Row {
  const char* name;
  const Bf16Kernel* kernel;
  const char* feature;  // that it needs beside AVX-512 with bf16, or null
};

// In the order of Bf16Set.
constexpr Row kSets[] = {{"AVX-512 BF16", &avx512_bf16::kBf16Pairs, nullptr},
                         {"AMX BF16", &amx::kBf16Tiles, "amx_bf16"}};

const Row& row(Bf16Set set) { return kSets[static_cast<size_t>(set)]; }

}  // namespace

const char* bf16_set_name(Bf16Set set) { return row(set).name; }

bool has_bf16_set(Bf16Set set) {
  if (best_tier() < Tier::avx512 || !cpu_info().has("avx512_bf16")) return false;
  if (row(set).feature != nullptr && !cpu_info().has(row(set).feature)) return false;
  return set != Bf16Set::amx || amx_permitted();
}

std::optional<Bf16Set> best_bf16_set() {
  for (Bf16Set set : {Bf16Set::amx, Bf16Set::avx512})
    if (has_bf16_set(set)) return set;
  return std::nullopt;
}

const Bf16Kernel& bf16_kernel(Bf16Set set) { return *row(set).kernel; }

}  // namespace hone::cpu
