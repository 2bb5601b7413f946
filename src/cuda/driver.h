#pragma once

#include <cstddef>
#include <cstdint>

#include "base/status.h"

// The part of the CUDA driver API that Hone calls, found in the driver's library when the program runs: neither the
// toolkit nor its headers are needed to build. Names, types and values are those of NVIDIA's CUDA Driver API reference.
namespace hone::cuda {

using CUdevice = int;
using CUdeviceptr = unsigned long long;
struct CUctx;
struct CUmod;
struct CUfunc;
struct CUstr;
struct CUevt;
struct CUgra;
struct CUgraExec;

struct CUlaunchAttribute {
  int id;
  alignas(8) char value[64];
};

struct CUlaunchConfig {
  unsigned grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes;
  CUstr* stream;
  CUlaunchAttribute* attributes;
  unsigned attribute_count;
};

// Name in the library, then the parameters; each returns a status, 0 for success.
#define HONE_CUDA_DRIVER(X)                                                                                         \
  X(cuInit, (unsigned flags))                                                                                       \
  X(cuDriverGetVersion, (int* version))                                                                             \
  X(cuGetErrorName, (int error, const char** text))                                                                 \
  X(cuGetErrorString, (int error, const char** text))                                                               \
  X(cuDeviceGetCount, (int* count))                                                                                 \
  X(cuDeviceGet, (CUdevice * device, int ordinal))                                                                  \
  X(cuDeviceGetName, (char* name, int length, CUdevice device))                                                     \
  X(cuDeviceGetAttribute, (int* value, int attribute, CUdevice device))                                             \
  X(cuDeviceTotalMem_v2, (size_t * bytes, CUdevice device))                                                         \
  X(cuDevicePrimaryCtxRetain, (CUctx * *context, CUdevice device))                                                  \
  X(cuCtxSetCurrent, (CUctx * context))                                                                             \
  X(cuCtxGetDevice, (CUdevice * device))                                                                            \
  X(cuCtxSynchronize, ())                                                                                           \
  X(cuMemGetInfo_v2, (size_t * free, size_t * total))                                                               \
  X(cuMemAlloc_v2, (CUdeviceptr * pointer, size_t bytes))                                                           \
  X(cuMemFree_v2, (CUdeviceptr pointer))                                                                            \
  X(cuMemHostAlloc, (void** pointer, size_t bytes, unsigned flags))                                                 \
  X(cuMemFreeHost, (void* pointer))                                                                                 \
  X(cuMemcpyHtoDAsync_v2, (CUdeviceptr to, const void* from, size_t bytes, CUstr* stream))                          \
  X(cuMemcpyDtoHAsync_v2, (void* to, CUdeviceptr from, size_t bytes, CUstr* stream))                                \
  X(cuMemcpyDtoDAsync_v2, (CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstr * stream))                         \
  X(cuMemsetD8Async, (CUdeviceptr to, unsigned char value, size_t bytes, CUstr* stream))                            \
  X(cuPointerGetAttributes, (unsigned count, int* attributes, void** values, CUdeviceptr pointer))                  \
  X(cuModuleLoadData, (CUmod * *module, const void* image))                                                         \
  X(cuModuleUnload, (CUmod * module))                                                                               \
  X(cuModuleGetFunction, (CUfunc * *function, CUmod * module, const char* name))                                    \
  X(cuFuncSetAttribute, (CUfunc * function, int attribute, int value))                                              \
  X(cuStreamCreate, (CUstr * *stream, unsigned flags))                                                              \
  X(cuStreamDestroy_v2, (CUstr * stream))                                                                           \
  X(cuStreamSynchronize, (CUstr * stream))                                                                          \
  X(cuStreamWaitEvent, (CUstr * stream, CUevt * event, unsigned flags))                                             \
  X(cuStreamIsCapturing, (CUstr * stream, int* status))                                                             \
  X(cuStreamBeginCapture_v2, (CUstr * stream, int mode))                                                            \
  X(cuStreamEndCapture, (CUstr * stream, CUgra * *graph))                                                           \
  X(cuGraphInstantiateWithFlags, (CUgraExec * *executable, CUgra * graph, unsigned long long flags))                \
  X(cuGraphLaunch, (CUgraExec * executable, CUstr * stream))                                                        \
  X(cuGraphDestroy, (CUgra * graph))                                                                                \
  X(cuGraphExecDestroy, (CUgraExec * executable))                                                                   \
  X(cuEventCreate, (CUevt * *event, unsigned flags))                                                                \
  X(cuEventDestroy_v2, (CUevt * event))                                                                             \
  X(cuEventRecord, (CUevt * event, CUstr * stream))                                                                 \
  X(cuEventSynchronize, (CUevt * event))                                                                            \
  X(cuEventElapsedTime, (float* milliseconds, CUevt* from, CUevt* to))                                              \
  X(cuOccupancyMaxActiveBlocksPerMultiprocessor, (int* blocks, CUfunc* function, int threads, size_t shared_bytes)) \
  X(cuOccupancyMaxActiveClusters, (int* clusters, CUfunc* function, const CUlaunchConfig* config))                  \
  X(cuTensorMapEncodeTiled,                                                                                         \
    (void* map, int type, uint32_t rank, void* address, const uint64_t* dims, const uint64_t* strides,              \
     const uint32_t* box, const uint32_t* element_strides, int interleave, int swizzle, int promotion, int fill))   \
  X(cuTensorMapEncodeIm2col,                                                                                        \
    (void* map, int type, uint32_t rank, void* address, const uint64_t* dims, const uint64_t* strides,              \
     const int* lower, const int* upper, uint32_t channels, uint32_t pixels, const uint32_t* element_strides,       \
     int interleave, int swizzle, int promotion, int fill))                                                         \
  X(cuLaunchKernelEx, (const CUlaunchConfig* config, CUfunc* function, void** parameters, void** extra))

struct Driver {
#define X(name, parameters) int(*name) parameters = nullptr;
  HONE_CUDA_DRIVER(X)
#undef X

  // The error of a call, with the driver's words for it and what to do about it.
  Status check(int status, const char* call) const;
};

inline constexpr int kOutOfMemory = 2;  // of CUresult

// Whether it says that a kernel has faulted: nothing more can be done with the GPU in this process then.
bool is_kernel_fault(int status);

// Loaded and initialised once; the error says why there is none.
Result<const Driver*> driver();

}  // namespace hone::cuda
