// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "base/cpu_info.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <thread>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace hone::cpu {
namespace {

std::string trimmed(const std::string& s) {
  const auto first = s.find_first_not_of(" \t\n");
  if (first == std::string::npos) return "";
  return s.substr(first, s.find_last_not_of(" \t\n") - first + 1);
}

std::string first_line(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

std::string model_name() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);)
    if (line.rfind("model name", 0) == 0) return trimmed(line.substr(line.find(':') + 1));
  return "unknown";
}

int64_t parse_size(const std::string& s) {
  if (s.empty()) return 0;
  const int64_t value = std::strtoll(s.c_str(), nullptr, 10);
  if (s.find('K') != std::string::npos) return value << 10;
  if (s.find('M') != std::string::npos) return value << 20;
  return value;
}

void read_caches(CpuInfo& info) {
  for (int i = 0; i < 8; ++i) {
    const std::string dir = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(i) + "/";
    const std::string level = first_line(dir + "level"), type = first_line(dir + "type");
    const int64_t size = parse_size(first_line(dir + "size"));
    if (size <= 0 || type == "Instruction") continue;
    if (level == "1") info.l1d = size;
    if (level == "2") info.l2 = size;
    if (level == "3") info.l3 = size;
  }
}

#if defined(__x86_64__)
struct Leaf {
  unsigned a = 0, b = 0, c = 0, d = 0;
};

Leaf leaf(unsigned id, unsigned sub) {
  Leaf r;
  if (!__get_cpuid_count(id, sub, &r.a, &r.b, &r.c, &r.d)) return {};
  return r;
}

uint64_t enabled_state() {
  unsigned lo = 0, hi = 0;
  __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
  return (uint64_t{hi} << 32) | lo;
}

// A feature counts only when the operating system also saves its registers.
void read_features(CpuInfo& info) {
  const Leaf l1 = leaf(1, 0), l7 = leaf(7, 0), l71 = leaf(7, 1);
  const auto bit = [](unsigned word, int n) { return (word >> n & 1u) != 0; };
  const uint64_t xcr0 = bit(l1.c, 27) ? enabled_state() : 0;
  const bool ymm = (xcr0 & 0x6) == 0x6;
  const bool zmm = (xcr0 & 0xe6) == 0xe6;
  const bool tiles = (xcr0 & 0x60000) == 0x60000;
  const auto add = [&](bool present, const char* name) {
    if (present) info.features.emplace_back(name);
  };
  add(ymm && bit(l1.c, 28), "avx");
  add(ymm && bit(l7.b, 5), "avx2");
  add(ymm && bit(l1.c, 12), "fma");
  add(ymm && bit(l1.c, 29), "f16c");
  add(ymm && bit(l71.a, 4), "avx_vnni");
  add(zmm && bit(l7.b, 16), "avx512f");
  add(zmm && bit(l7.b, 17), "avx512dq");
  add(zmm && bit(l7.b, 30), "avx512bw");
  add(zmm && bit(l7.b, 31), "avx512vl");
  add(zmm && bit(l7.c, 11), "avx512_vnni");
  add(zmm && bit(l71.a, 5), "avx512_bf16");
  add(zmm && bit(l7.d, 23), "avx512_fp16");
  add(tiles && bit(l7.d, 24), "amx_tile");
  add(tiles && bit(l7.d, 25), "amx_int8");
  add(tiles && bit(l7.d, 22), "amx_bf16");
}
#else
void read_features(CpuInfo&) {}
#endif

Tier tier_of(const CpuInfo& i) {
  const bool avx2 = i.has("avx2") && i.has("fma") && i.has("f16c");
  const bool avx512 =
      avx2 && i.has("avx512f") && i.has("avx512bw") && i.has("avx512vl") && i.has("avx512dq");
  return avx512 ? Tier::avx512 : avx2 ? Tier::avx2 : Tier::scalar;
}

int affinity_count() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

// CPUs granted by one cgroup directory; infinity when it sets no quota.
double quota_v2(const std::string& dir) {
  std::istringstream in(first_line(dir + "/cpu.max"));
  std::string quota;
  double period = 0;
  if (!(in >> quota >> period) || quota == "max" || period <= 0) return INFINITY;
  return std::strtod(quota.c_str(), nullptr) / period;
}

double quota_v1(const std::string& dir) {
  const std::string quota = first_line(dir + "/cpu.cfs_quota_us");
  const double value = std::strtod(quota.c_str(), nullptr);
  const double period = std::strtod(first_line(dir + "/cpu.cfs_period_us").c_str(), nullptr);
  return value > 0 && period > 0 ? value / period : INFINITY;
}

// A quota may sit on any ancestor, so the smallest on the way to the root counts.
double smallest_quota(const std::string& root, std::string path, double (*quota)(const std::string&)) {
  double best = quota(root);
  while (path.size() > 1) {
    best = std::min(best, quota(root + path));
    path.resize(path.find_last_of('/'));
  }
  return best;
}

double cgroup_quota() {
  double best = std::min(quota_v2("/sys/fs/cgroup"), quota_v1("/sys/fs/cgroup/cpu"));
  std::ifstream in("/proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    const auto a = line.find(':');
    const auto b = line.find(':', a + 1);
    if (a == std::string::npos || b == std::string::npos) continue;
    const std::string controllers = std::string(1, ',').append(line, a + 1, b - a);
    const std::string path = line.substr(b + 1);
    if (controllers == ",:")
      best = std::min(best, smallest_quota("/sys/fs/cgroup", path, quota_v2));
    else if (controllers.find(",cpu,") != std::string::npos || controllers.find(",cpu:") != std::string::npos)
      best = std::min(best, smallest_quota("/sys/fs/cgroup/cpu", path, quota_v1));
  }
  return best;
}

CpuInfo probe() {
  CpuInfo info;
  info.model = model_name();
  read_caches(info);
  read_features(info);
  info.best_tier = tier_of(info);
  info.usable_cpus = usable_cpu_count();
  return info;
}

}  // namespace

bool CpuInfo::has(const char* feature) const {
  return std::find(features.begin(), features.end(), feature) != features.end();
}

const CpuInfo& cpu_info() {
  static const CpuInfo info = probe();
  return info;
}

Tier best_tier() { return cpu_info().best_tier; }

const char* tier_name(Tier tier) {
  switch (tier) {
    case Tier::scalar: return "scalar";
    case Tier::avx2: return "avx2";
    case Tier::avx512: return "avx512";
  }
  return "?";
}

int usable_cpu_count() {
  const int cpus = affinity_count();
  const double quota = cgroup_quota();
  if (!(quota < cpus)) return cpus;
  return std::max(1, static_cast<int>(std::ceil(quota)));
}

}  // namespace hone::cpu
