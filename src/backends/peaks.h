#pragma once

#include <future>

#include "base/peaks.h"
#include "tactics/tactic.h"
#include "tune/cache.h"

namespace hone {

// What the machine's CPU reaches with its threads and instruction tier: fp32 multiply-adds in registers, the largest
// tiles of the int8 and bf16 kernels on operands in the second cache, and the faster of reading and copying working
// sets from 32 KiB to several times the last cache. From the cache, else measured in a quarter of a second and put
// there.
Peaks cpu_peaks(const Machine& machine, TacticCache& cache);

// The same of the machine's GPU, which must be here: fp32 multiply-adds on its cores, not tensor cores, and copies.
Result<Peaks> gpu_peaks(const Machine& machine, TacticCache& cache);
// Compiles what it runs beside what the caller does, unless the cache has its numbers: NVRTC's first program takes a
// while. Waits when it is destroyed.
std::future<void> expect_gpu_peaks(const Machine& machine, const TacticCache& cache);
// The device code that it runs; needs no GPU.
Result<Tensor> gpu_peaks_code(const std::string& arch);

}  // namespace hone
