// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// What the processor and the container allow: instruction tiers, caches, usable CPUs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace hone::cpu {

// Instruction levels that kernels are compiled for, worst first. `scalar` is plain baseline code.
enum class Tier { scalar = 0, avx2 = 1, avx512 = 2 };

struct CpuInfo {
  std::string model;
  std::vector<std::string> features;  // "avx2", "fma", "avx512f", "avx512_vnni", "amx_int8", ...
  Tier best_tier = Tier::scalar;
  int64_t l1d = 32 << 10;  // bytes, per core
  int64_t l2 = 512 << 10;  // bytes, per core
  int64_t l3 = 0;          // bytes, shared; 0 when there is none
  int usable_cpus = 1;     // affinity and cgroup quota taken into account

  bool has(const char* feature) const;
};

// Probed once, on first use.
const CpuInfo& cpu_info();

Tier best_tier();
const char* tier_name(Tier tier);

// CPUs this process may use now: min(affinity mask, ceil(cgroup v1 or v2 quota)), at least 1.
int usable_cpu_count();

}  // namespace hone::cpu
