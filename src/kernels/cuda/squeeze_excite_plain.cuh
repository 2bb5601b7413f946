// Squeeze and excite by a block of threads for each image, as plainly as can be: what squeeze_excite.cuh computes is
// held against it. Around it, the source defines what it does there.
extern "C" __global__ void kernel(T* y, const T* x, const T* first, const T* second, const float* columns) {
  __shared__ float channels[CHANNELS], hidden[HIDDEN];  // channels: their means, then what scales them
  begin();
  const i64 image = (i64)blockIdx.x * PIXELS * CHANNELS;
  float of_result[COLUMNS];
  for (int c = threadIdx.x; c < CHANNELS; c += THREADS) {
    float sum = 0;
    for (int pixel = 0; pixel < PIXELS; ++pixel) sum += (float)x[image + (i64)pixel * CHANNELS + c];
    channels[c] = (float)(T)(sum / PIXELS);
  }
  __syncthreads();
  for (int h = threadIdx.x; h < HIDDEN; h += THREADS) {
    float sum = 0;
    for (int c = 0; c < CHANNELS; ++c) sum += channels[c] * (float)first[h * CHANNELS + c];
    for (int k = 0; k < COLUMNS; ++k) of_result[k] = columns[k * HIDDEN + h];
    hidden[h] = (float)(T)first_of(sum, of_result);
  }
  __syncthreads();
  for (int c = threadIdx.x; c < CHANNELS; c += THREADS) {
    float sum = 0;
    for (int h = 0; h < HIDDEN; ++h) sum += hidden[h] * (float)second[c * HIDDEN_ROW + h];
    for (int k = 0; k < COLUMNS; ++k) of_result[k] = columns[COLUMNS * HIDDEN + k * CHANNELS + c];
    channels[c] = (float)(T)second_of(sum, of_result);
  }
  __syncthreads();
  for (i64 i = threadIdx.x; i < (i64)PIXELS * CHANNELS; i += THREADS)
    y[image + i] = (T)scaled((float)x[image + i], channels[i % CHANNELS]);
}
