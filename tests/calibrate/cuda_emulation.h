// Runs the text of a kernel on the CPU: a thread for each of a block's, one block after the other. Who includes the
// text makes `__shared__` static, which the blocks have one after the other.
#pragma once

#include <atomic>
#include <barrier>
#include <cmath>
#include <thread>
#include <vector>

namespace hone::testing {

struct Dim3 {
  int x = 1, y = 1;
};

inline thread_local Dim3 threadIdx{0, 0};
inline Dim3 blockIdx, gridDim;
inline std::barrier<>* block_barrier = nullptr;

inline void __syncthreads() { block_barrier->arrive_and_wait(); }

template <class T>
T atomicAdd(T* to, T value) {
  return std::atomic_ref(*to).fetch_add(value);
}

// Calls `kernel` as each thread of each block.
template <class Kernel>
void launch(Dim3 grid, int threads, Kernel&& kernel) {
  std::barrier barrier(threads);
  block_barrier = &barrier;
  gridDim = grid;
  std::vector<std::thread> block;
  for (int thread = 0; thread < threads; ++thread)
    block.emplace_back([&, thread] {
      threadIdx.x = thread;
      for (int b = 0; b < grid.x * grid.y; ++b) {
        if (thread == 0) blockIdx = {b % grid.x, b / grid.x};
        barrier.arrive_and_wait();
        kernel();
        barrier.arrive_and_wait();
      }
    });
  for (std::thread& thread : block) thread.join();
}

}  // namespace hone::testing
