// Functions to the last digits of float.
__device__ inline float sigmoid(float a) { return 1 / (1 + expf(-a)); }
__device__ inline float exponential(float a) { return expf(a); }
__device__ inline float gelu_erf(float a) { return 0.5f * a * (1 + erff(a * 0.7071067811865476f)); }
__device__ inline float gelu_tanh(float a) {
  return 0.5f * a * (1 + tanhf(0.7978845608f * (a + 0.044715f * a * a * a)));
}
