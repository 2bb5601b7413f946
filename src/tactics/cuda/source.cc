#include "tactics/cuda/source.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>

namespace hone::cuda {

namespace {

struct ElementType {
  DType dtype;
  const char* text;
};

constexpr ElementType kElementTypes[] = {
    {DType::f32, "float"},        {DType::f16, "f16"},          {DType::bf16, "bf16"},
    {DType::i8, "signed char"},   {DType::i16, "short"},        {DType::i32, "int"},
    {DType::i64, "i64"},          {DType::u8, "unsigned char"}, {DType::u16, "unsigned short"},
    {DType::u32, "unsigned int"}, {DType::boolean, "bool"},     {DType::f8e4m3fn, "e4m3"}};

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
                                                  {Fn::cast_saturate, "{0}"},
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

bool is_real(DType type) { return is_held_in_float(type); }

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

// A float that becomes e4m3: where it is the result, when it is stored.
std::string as_e4m3(const PointwiseInstr& instr, const std::string& value, bool stored) {
  const std::string own = instr.fn == Fn::cast ? fmt::format("unsaturated({})", value) : value;
  return stored ? own : fmt::format("(float)(e4m3)({})", own);
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

bool is_held_in_float(DType type) { return is_real_element(type) || type == DType::f8e4m3fn; }

const char* sum_type(DType type) {
  return is_held_in_float(type) ? "float" : type == DType::i8 || type == DType::i32 ? "int" : nullptr;
}

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

bool ends_in_quantising(const PointwiseProgram& program) {
  return quantising_clip(program, program.code.size() - 1) != nullptr;
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
      if (instr.type == DType::f8e4m3fn) value = as_e4m3(instr, value, i + 1 == program.code.size());
      if (!real && instr.type != DType::i64) value = fmt::format("({})({})", element_type(instr.type), value);
    }
    text += fmt::format("  const {} v{} = {};\n", real ? "float" : "i64", i, value);
  }
  return text;
}

}  // namespace hone::cuda
