#include "tactics/cuda/source.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>

namespace hone::cuda {

const char* const kPrelude = R"cuda(
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
    for (int j = 0; j < count; j += 4) *(float4*)(to + j) = make_float4(v[j], v[j + 1], v[j + 2], v[j + 3]);
  } else {
#pragma unroll
    for (int j = 0; j < count; ++j) to[j] = v[j];
  }
}
template <class V, int count>
__device__ inline void store_run(signed char* to, const V (&v)[count]) {
  if constexpr (count % 4 == 0) {
    __align__(16) unsigned words[count / 4];
#pragma unroll
    for (int j = 0; j < count; j += 4)
      words[j / 4] = __byte_perm(__byte_perm((int)v[j], (int)v[j + 1], 0x0040),
                                 __byte_perm((int)v[j + 2], (int)v[j + 3], 0x0040), 0x5410);
    *(Run<unsigned, count / 4>*)to = *(const Run<unsigned, count / 4>*)words;
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
  if constexpr (count % 8 == 0) {
#pragma unroll
    for (int j = 0; j < count; j += 8)
      *(uint4*)(to + j) = make_uint4(pair_of(to, v[j], v[j + 1]), pair_of(to, v[j + 2], v[j + 3]),
                                     pair_of(to, v[j + 4], v[j + 5]), pair_of(to, v[j + 6], v[j + 7]));
  } else if constexpr (count == 4) {
    *(uint2*)to = make_uint2(pair_of(to, v[0], v[1]), pair_of(to, v[2], v[3]));
  } else {
#pragma unroll
    for (int j = 0; j < count; ++j) to[j] = (T)v[j];
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
#ifdef HALF_RESULTS
// For results of 11 or fewer significant bits; the errors here are under 2e-7 of the larger of the value and its input.
__device__ inline float sigmoid(float a) { return __fdividef(1, 1 + __expf(-a)); }
__device__ inline float exponential(float a) { return __expf(a); }
__device__ inline float hyperbolic_tangent(float a) { return 1 - __fdividef(2, 1 + __expf(2 * a)); }
// erf by Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26.
__device__ inline float gelu_erf(float a) {
  const float x = fabsf(a) * 0.7071067811865476f, t = __fdividef(1, 1 + 0.3275911f * x);
  const float sum = 0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f)));
  return 0.5f * (a + fabsf(a) * (1 - t * sum * __expf(-x * x)));
}
#else
__device__ inline float sigmoid(float a) { return 1 / (1 + expf(-a)); }
__device__ inline float exponential(float a) { return expf(a); }
__device__ inline float hyperbolic_tangent(float a) { return tanhf(a); }
__device__ inline float gelu_erf(float a) { return 0.5f * a * (1 + erff(a * 0.7071067811865476f)); }
#endif
__device__ inline float softplus(float a) { return a > 0 ? a + log1pf(expf(-a)) : log1pf(expf(a)); }
__device__ inline float gelu_tanh(float a) {
  return 0.5f * a * (1 + hyperbolic_tangent(0.7978845608f * (a + 0.044715f * a * a * a)));
}
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
// Conversions have an eighth of the throughput of sums: integers of few bits are found in the mantissa of a float that
// is large enough for its last bit to stand for 1.
// In the lowest byte: the nearest whole number to a, between whole bounds.
__device__ inline int nearest_byte(float a, float low, float high) {
  return __float_as_int(__fadd_rn(fminf(fmaxf(a, low), high), 12582912.0f));
}
template <class T>
__device__ inline float number_of(T v) { return (float)v; }
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
// A sum under 2^22.
struct SmallSum {
  int v;
  __device__ operator i64() const { return v; }
};
__device__ inline float number_of(SmallSum sum) { return __int_as_float(0x4b400000 + sum.v) - 12582912.0f; }
)cuda";

namespace {

struct ElementType {
  DType dtype;
  const char* text;
};

constexpr ElementType kElementTypes[] = {
    {DType::f32, "float"},          {DType::f16, "f16"},          {DType::bf16, "bf16"},   {DType::i8, "signed char"},
    {DType::i16, "short"},          {DType::i32, "int"},          {DType::i64, "i64"},     {DType::u8, "unsigned char"},
    {DType::u16, "unsigned short"}, {DType::u32, "unsigned int"}, {DType::boolean, "bool"}};

// Of f32 operands, in CUDA C++; {0}, {1}, {2} are the operands.
const std::map<Fn, const char*>& real_functions() {
  static const std::map<Fn, const char*> table = {{Fn::add, "{0} + {1}"},
                                                  {Fn::sub, "{0} - {1}"},
                                                  {Fn::mul, "{0} * {1}"},
                                                  {Fn::div, "{0} / {1}"},
                                                  {Fn::pow, "powf({0}, {1})"},
                                                  {Fn::mod, "modulo({0}, {1})"},
                                                  {Fn::fmod, "fmodf({0}, {1})"},
                                                  {Fn::min, "least({0}, {1})"},
                                                  {Fn::max, "most({0}, {1})"},
                                                  {Fn::atan2, "atan2f({0}, {1})"},
                                                  {Fn::prelu, "{0} < 0 ? {1} * {0} : {0}"},
                                                  {Fn::leaky_relu, "{0} < 0 ? {1} * {0} : {0}"},
                                                  {Fn::clip, "least(most({0}, {1}), {2})"},
                                                  {Fn::neg, "-{0}"},
                                                  {Fn::abs, "fabsf({0})"},
                                                  {Fn::sign, "sign({0})"},
                                                  {Fn::reciprocal, "1 / {0}"},
                                                  {Fn::sqrt, "sqrtf({0})"},
                                                  {Fn::rsqrt, "1 / sqrtf({0})"},
                                                  {Fn::square, "{0} * {0}"},
                                                  {Fn::exp, "exponential({0})"},
                                                  {Fn::log, "logf({0})"},
                                                  {Fn::expm1, "expm1f({0})"},
                                                  {Fn::log1p, "log1pf({0})"},
                                                  {Fn::sin, "sinf({0})"},
                                                  {Fn::cos, "cosf({0})"},
                                                  {Fn::tan, "tanf({0})"},
                                                  {Fn::asin, "asinf({0})"},
                                                  {Fn::acos, "acosf({0})"},
                                                  {Fn::atan, "atanf({0})"},
                                                  {Fn::sinh, "sinhf({0})"},
                                                  {Fn::cosh, "coshf({0})"},
                                                  {Fn::tanh, "tanhf({0})"},
                                                  {Fn::asinh, "asinhf({0})"},
                                                  {Fn::acosh, "acoshf({0})"},
                                                  {Fn::atanh, "atanhf({0})"},
                                                  {Fn::erf, "erff({0})"},
                                                  {Fn::floor, "floorf({0})"},
                                                  {Fn::ceil, "ceilf({0})"},
                                                  {Fn::round, "rintf({0})"},
                                                  {Fn::trunc, "truncf({0})"},
                                                  {Fn::relu, "most({0}, 0.0f)"},
                                                  {Fn::sigmoid, "sigmoid({0})"},
                                                  {Fn::softplus, "softplus({0})"},
                                                  {Fn::softsign, "{0} / (1 + fabsf({0}))"},
                                                  {Fn::silu, "{0} * sigmoid({0})"},
                                                  {Fn::hard_swish, "{0} * least(most({0} / 6 + 0.5f, 0.0f), 1.0f)"},
                                                  {Fn::gelu_erf, "gelu_erf({0})"},
                                                  {Fn::gelu_tanh, "gelu_tanh({0})"},
                                                  {Fn::mish, "{0} * tanhf(softplus({0}))"},
                                                  {Fn::elu, "{0} < 0 ? {1} * expm1f({0}) : {0}"},
                                                  {Fn::celu, "most({0}, 0.0f) + least(0.0f, {1} * expm1f({0} / {1}))"},
                                                  {Fn::hard_sigmoid, "most(0.0f, least(1.0f, {1} * {0} + {2}))"}};
  return table;
}

// Of integer or boolean operands, which are held as i64.
const std::map<Fn, const char*>& integer_functions() {
  static const std::map<Fn, const char*> table = {{Fn::add, "(i64)((u64){0} + (u64){1})"},
                                                  {Fn::sub, "(i64)((u64){0} - (u64){1})"},
                                                  {Fn::mul, "(i64)((u64){0} * (u64){1})"},
                                                  {Fn::div, "quotient({0}, {1})"},
                                                  {Fn::mod, "modulo({0}, {1})"},
                                                  {Fn::fmod, "residue({0}, {1})"},
                                                  {Fn::pow, "power({0}, {1})"},
                                                  {Fn::min, "least({0}, {1})"},
                                                  {Fn::max, "most({0}, {1})"},
                                                  {Fn::clip, "least(most({0}, {1}), {2})"},
                                                  {Fn::relu, "most({0}, 0LL)"},
                                                  {Fn::neg, "(i64)(0 - (u64){0})"},
                                                  {Fn::abs, "{0} < 0 ? (i64)(0 - (u64){0}) : {0}"},
                                                  {Fn::sign, "({0} > 0) - ({0} < 0)"},
                                                  {Fn::square, "(i64)((u64){0} * (u64){0})"},
                                                  {Fn::bit_not, "~{0}"},
                                                  {Fn::shift_left, "(u64){1} > 63 ? 0 : (i64)((u64){0} << {1})"},
                                                  {Fn::shift_right, "(u64){1} > 63 ? 0 : (i64)((u64){0} >> {1})"},
                                                  {Fn::bit_and, "{0} & {1}"},
                                                  {Fn::bit_or, "{0} | {1}"},
                                                  {Fn::bit_xor, "{0} ^ {1}"}};
  return table;
}

// Of operands of one kind.
const std::map<Fn, const char*>& common_functions() {
  static const std::map<Fn, const char*> table = {{Fn::equal, "{0} == {1}"},
                                                  {Fn::less, "{0} < {1}"},
                                                  {Fn::less_equal, "{0} <= {1}"},
                                                  {Fn::greater, "{0} > {1}"},
                                                  {Fn::greater_equal, "{0} >= {1}"},
                                                  {Fn::logical_and, "{0} && {1}"},
                                                  {Fn::logical_or, "{0} || {1}"},
                                                  {Fn::logical_xor, "!{0} != !{1}"},
                                                  {Fn::logical_not, "!{0}"},
                                                  {Fn::where, "{0} ? {1} : {2}"},
                                                  {Fn::cast, "{0}"},
                                                  {Fn::is_nan, "isnan({0})"},
                                                  {Fn::is_inf, "isinf({0})"}};
  return table;
}

// Null when there is none. The kind is that of the operands; of `where`, that of the chosen ones.
const char* pattern(Fn fn, bool real) {
  if ((fn == Fn::is_nan || fn == Fn::is_inf) && !real) return nullptr;
  if (const auto found = common_functions().find(fn); found != common_functions().end()) return found->second;
  const auto& table = real ? real_functions() : integer_functions();
  const auto found = table.find(fn);
  return found == table.end() ? nullptr : found->second;
}

bool is_real(DType type) { return is_real_element(type); }

std::string literal(const PointwiseInstr& instr) {
  if (!is_real(instr.type))
    return instr.value == -9223372036854775808.0 ? "(-0x7fffffffffffffffLL - 1)"
                                                 : fmt::format("{}LL", static_cast<int64_t>(instr.value));
  return float_literal(instr.value);
}

// The clip by whole bounds in i8's range of a rounded value that instruction i makes an i8, or null.
const PointwiseInstr* quantising_clip(const PointwiseProgram& program, size_t i) {
  const auto operand = [&](const PointwiseInstr& instr, size_t k) -> const PointwiseInstr& {
    return program.code[static_cast<size_t>(instr.operand[k])];
  };
  const auto bound = [&](const PointwiseInstr& instr) {
    return instr.fn == Fn::constant && instr.value >= -128 && instr.value <= 127 &&
           instr.value == std::nearbyint(instr.value);
  };
  const PointwiseInstr& cast = program.code[i];
  if (cast.fn != Fn::cast || cast.type != DType::i8) return nullptr;
  const PointwiseInstr& clip = operand(cast, 0);
  if (clip.fn != Fn::clip || !bound(operand(clip, 1)) || !bound(operand(clip, 2))) return nullptr;
  const PointwiseInstr& round = operand(clip, 0);
  return round.fn == Fn::round && is_real(round.type) ? &clip : nullptr;
}

// The integer input that instruction i converts to a float, or -1 when it does something else.
int32_t converted_input(const PointwiseProgram& program, size_t i) {
  const PointwiseInstr& cast = program.code[i];
  if (cast.fn != Fn::cast || cast.type != DType::f32) return -1;
  const PointwiseInstr& input = program.code[static_cast<size_t>(cast.operand[0])];
  return input.fn == Fn::input && is_integer(input.type) ? input.input : -1;
}

// Integers that come out must be the same on every machine: a product is rounded before it is added to.
bool quantises(const PointwiseProgram& program) {
  return std::any_of(program.code.begin(), program.code.end(),
                     [](const PointwiseInstr& instr) { return instr.type == DType::i8; });
}

// The operand whose kind decides which function is meant.
size_t deciding_operand(Fn fn) { return fn == Fn::where ? 1 : 0; }

}  // namespace

std::string float_literal(double value) {
  return fmt::format("__int_as_float({:#x})", std::bit_cast<uint32_t>(static_cast<float>(value)));
}

const char* element_type(DType type) {
  for (const ElementType& row : kElementTypes)
    if (row.dtype == type) return row.text;
  return nullptr;
}

bool is_real_element(DType type) { return type == DType::f32 || type == DType::f16 || type == DType::bf16; }

const char* sum_type(DType type) { return is_real_element(type) ? "float" : type == DType::i8 ? "int" : nullptr; }

std::string refuse_unless_fixed_real(const Problem& problem) {
  if (!problem.is_static()) return "shapes are not fixed";
  if (const DType type = problem.inputs[0].dtype; !is_real_element(type)) return fmt::format("{} elements", name(type));
  return {};
}

int run_of(DType type, int64_t extent) {
  const auto run = static_cast<int>(16 / size_of(type));
  return extent % run == 0 ? run : 1;
}

const char* unsigned_type(size_t bytes) {
  return bytes == 1   ? "unsigned char"
         : bytes == 2 ? "unsigned short"
         : bytes == 4 ? "unsigned int"
         : bytes == 8 ? "u64"
                      : nullptr;
}

std::string strided_index(const Dims& of, const Dims& strides, int64_t offset, const std::string& index) {
  std::string sum;
  int64_t run = 1;
  for (size_t d = of.size(); d-- > 0; run *= of[d]) {
    if (of[d] == 1 || strides[d] == 0) continue;
    std::string term = run == 1 ? index : fmt::format("{} / {}", index, run);
    if (d > 0) term = fmt::format("({}) % {}", term, of[d]);
    sum += fmt::format("{}({}) * {}", sum.empty() ? "" : " + ", term, strides[d]);
  }
  if (offset != 0 || sum.empty()) sum += fmt::format("{}{}", sum.empty() ? "" : " + ", offset);
  return sum;
}

std::string broadcast_index(const Dims& dims, const Dims& of, const std::string& index) {
  if (dims == of) return index;
  Dims strides(of.size(), 0);
  int64_t run = 1;
  for (size_t i = 0; i < dims.size(); ++i) {
    const size_t from_back = dims.size() - 1 - i;
    if (dims[from_back] != 1) strides[of.size() - 1 - i] = run;
    run *= dims[from_back];
  }
  return strided_index(of, strides, 0, index);
}

namespace {

void add_run(std::string& fields, std::string& fetches, DType type, const std::string& name, const std::string& at) {
  fields += fmt::format("  Run<{}, RUN> {};\n", element_type(type), name);
  fetches += fmt::format("{}load_run<RUN>({} + {})", fetches.empty() ? "" : ", ", name, at);
}

// Element j of a run that is a member of `in`.
std::string element_j(const char* in, const std::string& name, DType type) {
  return type == DType::i8 ? fmt::format("byte_of({}.{}, j)", in, name) : fmt::format("{}.{}.v[j]", in, name);
}

}  // namespace

std::string RunOperands::add_column(const std::string& name, DType type) {
  add_run(column_fields, column_fetches, type, name, "n");
  return element_j("columns", name, type);
}

std::string RunOperands::add(const std::string& name, DType type, const Dims& dims, const Dims& of, bool has_columns) {
  const std::string at = broadcast_index(dims, of, "index");
  const bool last = !dims.empty() && dims.back() == of.back() && of.back() > 1;
  if (dims == of) {
    add_run(fields, fetches, type, name, at);
    return element_j("operands", name, type);
  }
  if (has_columns && last && element_count(dims) == of.back()) return add_column(name, type);
  if (last) {
    loads += fmt::format("  const auto {0}_run = load_run<RUN>({0} + {1});\n", name, at);
    return name + "_run.v[j]";
  }
  loads += fmt::format("  const {0} {1}_one = {1}[{2}];\n", element_type(type), name, at);
  return name + "_one";
}

std::string RunOperands::define(const std::string& parameters) const {
  return fmt::format(
      "struct Operands {{\n{}}};\n__device__ inline Operands operands_at({}, i64 index) {{ return {{{}}}; }}\n", fields,
      parameters, fetches);
}

std::string RunOperands::define_columns(const std::string& parameters) const {
  return fmt::format("struct Columns {{\n{}}};\n__device__ inline Columns columns_at({}, int n) {{ return {{{}}}; }}\n",
                     column_fields, parameters, column_fetches);
}

std::string refuse_program(const PointwiseProgram& program) {
  for (const PointwiseInstr& instr : program.code) {
    if (element_type(instr.type) == nullptr) return fmt::format("{} elements", name(instr.type));
    if (instr.fn == Fn::input || instr.fn == Fn::constant) continue;
    const DType deciding = program.code[static_cast<size_t>(instr.operand[deciding_operand(instr.fn)])].type;
    if (pattern(instr.fn, is_real(deciding)) == nullptr) return fmt::format("{} of {}", name(instr.fn), name(deciding));
  }
  return {};
}

std::string statements(const PointwiseProgram& program, const std::vector<std::string>& inputs) {
  std::string text;
  const bool exact = quantises(program);
  for (size_t i = 0; i < program.code.size(); ++i) {
    const PointwiseInstr& instr = program.code[i];
    const bool real = is_real(instr.type);
    std::string value;
    const PointwiseInstr* const clip = i + 1 == program.code.size() ? quantising_clip(program, i) : nullptr;
    if (clip != nullptr)
      value = fmt::format("nearest_byte(v{}, v{}, v{})", program.code[static_cast<size_t>(clip->operand[0])].operand[0],
                          clip->operand[1], clip->operand[2]);
    else if (const int32_t from = converted_input(program, i); from >= 0)
      value = fmt::format("number_of({})", inputs[static_cast<size_t>(from)]);
    else if (exact && real && instr.fn == Fn::mul)
      value = fmt::format("__fmul_rn(v{}, v{})", instr.operand[0], instr.operand[1]);
    else if (instr.fn == Fn::input) value = inputs[static_cast<size_t>(instr.input)];
    else if (instr.fn == Fn::constant) value = literal(instr);
    else {
      std::string operands[3];
      for (size_t k = 0; k < 3; ++k) operands[k] = fmt::format("v{}", instr.operand[k]);
      const DType deciding = program.code[static_cast<size_t>(instr.operand[deciding_operand(instr.fn)])].type;
      value = fmt::format(fmt::runtime(pattern(instr.fn, is_real(deciding))), operands[0], operands[1], operands[2]);
      // A boolean is true for anything but zero, other integers wrap.
      if (!real && instr.type == DType::boolean && instr.fn == Fn::cast) value = fmt::format("{} != 0", value);
      else if (!real && is_real(deciding) && instr.fn == Fn::cast) value = fmt::format("to_integer({})", value);
      if (!real && instr.type != DType::i64) value = fmt::format("({})({})", element_type(instr.type), value);
    }
    text += fmt::format("  const {} v{} = {};\n", real ? "float" : "i64", i, value);
  }
  return text;
}

}  // namespace hone::cuda
