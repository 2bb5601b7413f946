// Functions for results of 11 or fewer significant bits. Their errors are under 2^-16 of the exact result (gelu_erf:
// 2^-14) and 2^-31; tests/cuda/half_functions_test.cc tries all arguments in f16 and bf16.
#define LOG2_OF_E 1.44269504f
__device__ inline float exponential(float a) { return power_of_2(a * LOG2_OF_E); }
__device__ inline float sigmoid(float a) { return reciprocal(1 + power_of_2(a * -LOG2_OF_E)); }
// a * sigmoid(2 u), where u is what the tanh is of.
__device__ inline float gelu_tanh(float a) {
  const float square = a * a;
  return a * reciprocal(1 + power_of_2(a * fmaf(square, -2 * LOG2_OF_E * 0.7978845608f * 0.044715f,
                                                -2 * LOG2_OF_E * 0.7978845608f)));
}
// max(a, 0) - x P(-x) for x = |a|, where P is the normal distribution. log2 P(-x) is nearly a parabola: the polynomial
// is its minimax approximation for x up to 5, with errors under 7e-5 there. From 6.5 on what is subtracted is under
// 2^-31.
__device__ inline float gelu_erf(float a) {
  const float x = fminf(fabsf(a), 6.5f);
  float log2_p = 2.243890567e-5f;
  log2_p = fmaf(log2_p, x, -6.026609356e-4f);
  log2_p = fmaf(log2_p, x, 7.147183671e-3f);
  log2_p = fmaf(log2_p, x, -5.105779004e-2f);
  log2_p = fmaf(log2_p, x, -0.4614233873f);
  log2_p = fmaf(log2_p, x, -1.150108776f);
  log2_p = fmaf(log2_p, x, -1.000069357f);
  return fmaf(-x, power_of_2(log2_p), most(a, 0.0f));
}
