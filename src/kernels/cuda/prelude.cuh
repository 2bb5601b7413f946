// What generated code calls, ahead of every kernel.
typedef long long i64;
typedef unsigned long long u64;
#define INF __int_as_float(0x7f800000)
// Storage types: arithmetic is that of float.
struct f16 {
  unsigned short bits;
  f16() = default;
  __device__ explicit f16(float value) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value)); }
  __device__ operator float() const {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
  }
};
struct bf16 {
  unsigned short bits;
  bf16() = default;
  __device__ explicit bf16(float value) { asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value)); }
  __device__ operator float() const { return __int_as_float((unsigned)bits << 16); }
};
// e4m3 (1, 4 and 3 bits, bias 7, no infinities): to the nearest, even on a tie, and what is too large to 448.
#if __CUDA_ARCH__ >= 890
__device__ inline unsigned short e4m3_pair(float low, float high) {
  unsigned short pair;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(high), "f"(low));
  return pair;
}
#else
__device__ inline unsigned short e4m3_bits(float v) {
  const unsigned sign = __float_as_uint(v) >> 24 & 0x80;
  if (isnan(v)) return sign | 0x7f;
  const float size = fminf(fabsf(v), 448.0f);
  if (size < 0.015625f) return sign | (unsigned)rintf(size * 512);
  const unsigned bits = __float_as_uint(size);
  return sign | (((bits + 0x7ffff + (bits >> 20 & 1)) >> 20) - (127 - 7) * 8);
}
__device__ inline unsigned short e4m3_pair(float low, float high) { return e4m3_bits(high) << 8 | e4m3_bits(low); }
#endif
struct e4m3 {
  unsigned char bits;
  e4m3() = default;
  __device__ explicit e4m3(float value) : bits((unsigned char)e4m3_pair(value, 0)) {}
  __device__ operator float() const {
    // Its exponent and mantissa in their places of a float, whose bias is larger by 120.
    const unsigned size = bits & 0x7f;
    const float value = __uint_as_float((bits & 0x80u) << 24 | size << 20) * 0x1p120f;
    return size == 0x7f ? __int_as_float(0x7fffffff) : value;
  }
};
// Tensor cores add products of such elements with some 14 bits: sums of 128 of them are then added in float.
template <class T>
constexpr bool promotes = false;
template <>
constexpr bool promotes<e4m3> = true;
// A value that is to become e4m3 and not 448 where it is too large.
__device__ inline float unsaturated(float v) { return fabsf(v) > 464 ? __int_as_float(0x7fffffff) : v; }
// Neighbouring elements, read at once.
template <class T, int count, bool words = false>
struct __align__(count * sizeof(T) < 16 ? count * sizeof(T) : 16) RunOf {
  T v[count];
};
// Bytes stay together in words.
template <int count>
struct Bytes {
  unsigned words[count / 4];
  __device__ signed char operator[](int j) const { return (signed char)(words[j / 4] >> j % 4 * 8); }
};
template <int count>
struct __align__(count < 16 ? count : 16) RunOf<signed char, count, true> {
  Bytes<count> v;
};
template <class T>
constexpr bool is_signed_char = false;
template <>
constexpr bool is_signed_char<signed char> = true;
template <class T, int count>
using Run = RunOf<T, count, is_signed_char<T> && count % 4 == 0>;
template <int count, class T>
__device__ inline Run<T, count> load_run(const T* from) { return *(const Run<T, count>*)from; }
// Values as neighbouring elements, written at once.
template <class T, class V, int count>
__device__ inline void store_run(T* to, const V (&values)[count]) {
  if constexpr (sizeof(T) == 1 && count == 16) {
    Run<T, count> run;
#pragma unroll
    for (int j = 0; j < count; ++j) run.v[j] = (T)values[j];
    *(Run<T, count>*)to = run;
  } else {
#pragma unroll
    for (int j = 0; j < count; ++j) to[j] = (T)values[j];
  }
}
template <int count>
__device__ inline void store_run(float* to, const float (&v)[count]) {
  if constexpr (count % 4 == 0) {
#pragma unroll
    for (int j = 0; j < count; j += 4) *(Run<float, 4>*)(to + j) = {{v[j], v[j + 1], v[j + 2], v[j + 3]}};
  } else {
#pragma unroll
    for (int j = 0; j < count; ++j) to[j] = v[j];
  }
}
// As one instruction: NVRTC makes four of an assignment of 16 bytes whose words come from conversions.
__device__ inline void store_words(void* to, const unsigned (&v)[4]) {
  asm volatile("st.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(v[0]), "r"(v[1]), "r"(v[2]), "r"(v[3]) : "memory");
}
__device__ inline void store_words(void* to, const unsigned (&v)[2]) {
  asm volatile("st.v2.b32 [%0], {%1, %2};" ::"l"(to), "r"(v[0]), "r"(v[1]) : "memory");
}
__device__ inline void store_words(void* to, const unsigned (&v)[1]) { *(unsigned*)to = v[0]; }
template <class V, int count>
__device__ inline void store_run(signed char* to, const V (&v)[count]) {
  if constexpr (count % 4 == 0) {
    unsigned words[count / 4];
#pragma unroll
    for (int j = 0; j < count; j += 4)
      words[j / 4] = __byte_perm(__byte_perm((int)v[j], (int)v[j + 1], 0x0040),
                                 __byte_perm((int)v[j + 2], (int)v[j + 3], 0x0040), 0x5410);
    store_words(to, words);
  } else {
#pragma unroll
    for (int j = 0; j < count; ++j) to[j] = (signed char)v[j];
  }
}
__device__ inline unsigned pair_of(f16*, float low, float high) {
  unsigned pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
__device__ inline unsigned pair_of(bf16*, float low, float high) {
  unsigned pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
template <class T, int count>
__device__ inline void store_halves(T* to, const float (&v)[count]) {
  if constexpr (count % 2 == 0) {
    constexpr int kWords = count % 8 == 0 ? 4 : count % 4 == 0 ? 2 : 1;
#pragma unroll
    for (int j = 0; j < count; j += 2 * kWords) {
      unsigned words[kWords];
#pragma unroll
      for (int k = 0; k < kWords; ++k) words[k] = pair_of(to, v[j + 2 * k], v[j + 2 * k + 1]);
      store_words(to + j, words);
    }
  } else {
#pragma unroll
    for (int j = 0; j < count; ++j) to[j] = (T)v[j];
  }
}
template <int count>
__device__ inline void store_run(e4m3* to, const float (&v)[count]) {
  if constexpr (count % 4 == 0) {
    unsigned words[count / 4];
#pragma unroll
    for (int j = 0; j < count; j += 4)
      words[j / 4] = e4m3_pair(v[j], v[j + 1]) | (unsigned)e4m3_pair(v[j + 2], v[j + 3]) << 16;
    store_words(to, words);
  } else {
#pragma unroll
    for (int j = 0; j < count; ++j) to[j] = (e4m3)v[j];
  }
}
template <int count>
__device__ inline void store_run(f16* to, const float (&v)[count]) { store_halves(to, v); }
template <int count>
__device__ inline void store_run(bf16* to, const float (&v)[count]) { store_halves(to, v); }
// What a kernel does before it reads what others wrote: on a GPU that lets kernels overlap, it waits for the one before
// and lets the one behind it start.
__device__ inline void begin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}
// NaN wins, as in numpy.
__device__ inline float least(float a, float b) {
  float v;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(v) : "f"(a), "f"(b));
  return v;
}
__device__ inline float most(float a, float b) {
  float v;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(v) : "f"(a), "f"(b));
  return v;
}
__device__ inline i64 least(i64 a, i64 b) { return a < b ? a : b; }
__device__ inline i64 most(i64 a, i64 b) { return a > b ? a : b; }
__device__ inline float modulo(float a, float b) {
  const float r = fmodf(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
// 2^a and 1/a with errors of 2^-22 and 2^-23 of themselves; numbers under 2^-126 are 0.
__device__ inline float power_of_2(float a) {
  float v;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(v) : "f"(a));
  return v;
}
__device__ inline float reciprocal(float a) {
  float v;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(v) : "f"(a));
  return v;
}
__device__ inline float softplus(float a) { return a > 0 ? a + log1pf(expf(-a)) : log1pf(expf(a)); }
__device__ inline i64 quotient(i64 a, i64 b) { return b == 0 ? 0 : b == -1 ? (i64)(0 - (u64)a) : a / b; }
__device__ inline i64 residue(i64 a, i64 b) { return b == 0 || b == -1 ? 0 : a % b; }
__device__ inline i64 modulo(i64 a, i64 b) {
  const i64 r = residue(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
__device__ inline i64 power(i64 base, i64 exponent) {
  if (exponent < 0) return base == 1 ? 1 : base == -1 ? (exponent % 2 != 0 ? -1 : 1) : 0;
  u64 result = 1, factor = (u64)base;
  for (; exponent > 0; exponent >>= 1, factor *= factor)
    if (exponent & 1) result *= factor;
  return (i64)result;
}
__device__ inline float sign(float a) { return isnan(a) ? a : (a > 0) - (a < 0); }
__device__ inline i64 to_integer(float a) {
  if (isnan(a)) return 0;
  if (a >= 9223372036854775808.0f) return 0x7fffffffffffffffLL;
  return a <= -9223372036854775808.0f ? -0x7fffffffffffffffLL - 1 : (i64)a;
}
__device__ inline i64 to_integer(i64 a) { return a; }
// In the lowest byte: the nearest whole number to a, between whole bounds.
__device__ inline int nearest_byte(float a, float low, float high) {
  if (high == 127) {
    int byte;
    asm("cvt.rni.sat.s8.f32 %0, %1;" : "=r"(byte) : "f"(low == -128 ? a : fmaxf(a, low)));
    return byte;
  }
  return __float_as_int(__fadd_rn(fminf(fmaxf(a, low), high), 12582912.0f));
}
template <class T>
__device__ inline float number_of(T v) { return (float)v; }
// Bytes take their place in the mantissa of a float that is large enough for its last bit to stand for 1.
__device__ inline float number_of(signed char v) { return __int_as_float(0x4b000080 ^ (unsigned char)v) - 8388736.0f; }
// Element j of a run of bytes.
struct Byte {
  unsigned word;
  int place;
  __device__ operator i64() const { return (signed char)(word >> 8 * place); }
};
template <int count>
__device__ inline Byte byte_of(const RunOf<signed char, count, true>& run, int j) {
  return {run.v.words[j / 4], j % 4};
}
template <int count>
__device__ inline Byte byte_of(const RunOf<signed char, count, false>& run, int j) {
  return {(unsigned char)run.v[j], 0};
}
__device__ inline float number_of(Byte b) {
  return __int_as_float(__byte_perm(b.word ^ 0x80808080, 0x4b000000, 0x7440 | b.place)) - 8388736.0f;
}
