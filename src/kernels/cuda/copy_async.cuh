// 16 bytes to shared memory, or zeros when there is no `from`. The address must be a mapped one even then: `mapped` is.
__device__ inline void copy_async(void* to, const void* from, const void* mapped) {
  const unsigned address = (unsigned)__cvta_generic_to_shared(to);
  const int bytes = from != nullptr ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from != nullptr ? from : mapped),
               "r"(bytes));
}
