// Reductions over the threads of a block of 256.
__device__ inline float combine_sum(float a, float b) { return a + b; }
__device__ inline float combine_prod(float a, float b) { return a * b; }
__device__ inline float combine_max(float a, float b) { return most(a, b); }
__device__ inline float combine_min(float a, float b) { return least(a, b); }

// Every lane of the warp gets the result.
template <float (*combine)(float, float)>
__device__ inline float reduce_warp(float value) {
  for (int offset = 16; offset > 0; offset /= 2) value = combine(value, __shfl_xor_sync(0xffffffffu, value, offset));
  return value;
}

// Every thread gets the result. `start` is neutral.
template <float (*combine)(float, float)>
__device__ inline float reduce_block(float value, float start) {
  __shared__ float partial[8];
  value = reduce_warp<combine>(value);
  __syncthreads();
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
  __syncthreads();
  value = start;
  for (int i = 0; i < 8; ++i) value = combine(value, partial[i]);
  return value;
}
