// Boxes of tensors in the shared memory of compute capability 9.0: barriers that wait for them, and how the tensor
// cores find them there.
struct __align__(64) TensorMap {
  u64 words[16];
};

// The first box that is asked for does not wait for its descriptor then.
__device__ inline void prefetch(const TensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

__device__ inline unsigned to_shared(const void* pointer) { return (unsigned)__cvta_generic_to_shared(pointer); }

__device__ inline void barrier_init(unsigned barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals));
}
__device__ inline void barrier_expect(unsigned barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
__device__ inline void barrier_arrive(unsigned barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
__device__ inline void barrier_wait(unsigned barrier, unsigned phase) {
  asm volatile(
      "{\n.reg .pred done;\nagain:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@done bra over;\nbra "
      "again;\nover:\n}" ::"r"(barrier),
      "r"(phase)
      : "memory");
}

__device__ inline void cluster_barrier() {
  asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}

// Rows of 64 or 128 bytes with the swizzle of that size, in groups of 8. `next` counts where they lie in the order of
// k: bytes to what lies beside them.
template <int row_bytes>
__device__ inline u64 operand_of(unsigned address, unsigned next = 16) {
  return (u64)((address & 0x3ffff) >> 4) | (u64)(next >> 4) << 16 | (u64)(8 * row_bytes >> 4) << 32 |
         (u64)(row_bytes == 128 ? 1 : 2) << 62;
}
