// Statistics of a tensor [outer][channels][inner] in three launches: reduce() has the moments of parts of each channel,
// take() joins them, in the same order in every run, with what earlier runs left and makes room in the histogram, and
// count() counts magnitudes or, where a value is not finite, what is not. They do as Statistics::observe does on a CPU.
//
// Around it the source defines T, THREADS, a power of 2, and LOG_BINS: a histogram has 2^LOG_BINS bins, no fewer than
// THREADS.
#define BINS (1 << LOG_BINS)
struct Moments {
  double sum, squares;
  float low, high;
};
// What is kept of a tensor, at the address of a State: behind it come BINS counts, that of zeros (which are not in bin
// 0 as well), and the sums, lowest and highest values of the channels.
struct State {
  double sum, squares;
  float low, high, largest;
  int exponent;  // a bin is 2^exponent wide
  int finite;    // whether the values of this run are
  int unused;
};
__device__ inline u64* counts_of(State* state) { return (u64*)(state + 1); }
__device__ inline double* sums_of(State* state) { return (double*)(counts_of(state) + BINS + 1); }
__device__ inline float* lows_of(State* state, i64 channels) { return (float*)(sums_of(state) + channels); }

__device__ inline Moments no_moments() {
  Moments none;
  none.sum = none.squares = 0;
  none.low = INF;
  none.high = -INF;
  return none;
}
__device__ inline void join(Moments& to, const Moments& from) {
  to.sum += from.sum;
  to.squares += from.squares;
  to.low = fminf(to.low, from.low);
  to.high = fmaxf(to.high, from.high);
}
// Threads whose numbers are the same modulo `lanes`, a power of 2, share a result: the first of them gets it.
__device__ inline Moments joined(const Moments& own, int lanes) {
  __shared__ Moments all[THREADS];
  const int thread = threadIdx.x;
  all[thread] = own;
  for (int half = THREADS / 2; half >= lanes; half /= 2) {
    __syncthreads();
    if (thread < half) join(all[thread], all[thread + half]);
  }
  return all[thread];
}

// A block has a part of the `values` of `lanes` neighbouring channels: gridDim.y parts in all.
extern "C" __global__ void __launch_bounds__(THREADS)
    reduce(Moments* parts, const T* x, i64 channels, i64 inner, i64 values, int lanes) {
  const i64 channel = (i64)blockIdx.x * lanes + threadIdx.x % lanes;
  const i64 end = values * (blockIdx.y + 1) / gridDim.y;
  Moments own = no_moments();
  if (channel < channels)
    for (i64 i = values * blockIdx.y / gridDim.y + threadIdx.x / lanes; i < end; i += THREADS / lanes) {
      const float v = (float)x[(i / inner * channels + channel) * inner + i % inner];
      own.sum += v;
      own.squares += (double)v * v;
      own.low = fminf(own.low, v);
      own.high = fmaxf(own.high, v);
    }
  own = joined(own, lanes);
  if (threadIdx.x < lanes && channel < channels) parts[blockIdx.y * channels + channel] = own;
}

// By one block. Sums of floats in double are finite just where all of them are.
extern "C" __global__ void __launch_bounds__(THREADS) take(State* state, Moments* parts, int count, i64 channels) {
  __shared__ int finite, shift;
  Moments own = no_moments();
  for (i64 c = threadIdx.x; c < channels; c += THREADS) {
    Moments channel = no_moments();
    for (int part = 0; part < count; ++part) join(channel, parts[part * channels + c]);
    parts[c] = channel;
    join(own, channel);
  }
  own = joined(own, 1);
  if (threadIdx.x == 0) {
    finite = isfinite(own.sum);
    state->finite = finite;
    if (finite) {
      state->sum += own.sum;
      state->squares += own.squares;
      state->low = fminf(state->low, own.low);
      state->high = fmaxf(state->high, own.high);
      state->largest = fmaxf(state->largest, fmaxf(fabsf(own.low), fabsf(own.high)));
      // `largest` falls into the bins when it is less than 2^(exponent + LOG_BINS).
      int exponent = state->exponent;
      if (state->largest > 0) exponent = max(exponent, ilogbf(state->largest) + 1 - LOG_BINS);
      shift = exponent - state->exponent;
      state->exponent = exponent;
    }
  }
  __syncthreads();
  if (!finite) return;
  for (i64 c = threadIdx.x; c < channels; c += THREADS) {
    float &low = lows_of(state, channels)[c], &high = lows_of(state, channels)[channels + c];
    sums_of(state)[c] += parts[c].sum;
    low = fminf(low, parts[c].low);
    high = fmaxf(high, parts[c].high);
  }
  if (shift == 0) return;
  u64* counts = counts_of(state);
  u64 old[BINS / THREADS];
  for (int i = 0; i < BINS / THREADS; ++i) old[i] = counts[i * THREADS + threadIdx.x];
  __syncthreads();
  for (int i = 0; i < BINS / THREADS; ++i) counts[i * THREADS + threadIdx.x] = 0;
  __syncthreads();
  for (int i = 0; i < BINS / THREADS; ++i)
    if (old[i] > 0) atomicAdd(&counts[shift < 32 ? (i * THREADS + threadIdx.x) >> shift : 0], old[i]);
}

// A block counts fewer than 2^32 values. What is not finite is added to odd[0], NaN, and odd[1], infinities.
extern "C" __global__ void __launch_bounds__(THREADS) count(State* state, u64* odd, const T* x, i64 values) {
  __shared__ unsigned found[BINS + 1];
  const i64 first = (i64)blockIdx.x * THREADS + threadIdx.x, step = (i64)gridDim.x * THREADS;
  if (!state->finite) {
    unsigned nans = 0, infinities = 0;
    for (i64 i = first; i < values; i += step) {
      const float v = (float)x[i];
      nans += isnan(v) != 0;
      infinities += isinf(v) != 0;
    }
    if (nans > 0) atomicAdd(&odd[0], (u64)nans);
    if (infinities > 0) atomicAdd(&odd[1], (u64)infinities);
    return;
  }
  for (int bin = threadIdx.x; bin <= BINS; bin += THREADS) found[bin] = 0;
  __syncthreads();
  const float scale = ldexpf(1.0f, -state->exponent);
  unsigned zeros = 0;
  for (i64 i = first; i < values; i += step) {
    const float v = (float)x[i];
    if (v == 0) ++zeros;  // there are many, and they would wait for each other
    else atomicAdd(&found[(int)(fabsf(v) * scale)], 1u);
  }
  if (zeros > 0) atomicAdd(&found[BINS], zeros);
  __syncthreads();
  for (int bin = threadIdx.x; bin <= BINS; bin += THREADS)
    if (found[bin] > 0) atomicAdd(&counts_of(state)[bin], (u64)found[bin]);
}
