// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/pointwise/lower.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

#include "kernels/cpu/bf16/bf16.h"

namespace hone::cpu {

namespace scalar {
extern const BlockTable kBlockTable;
}
namespace avx2 {
extern const BlockTable kBlockTable;
}
namespace avx512 {
extern const BlockTable kBlockTable;
}
namespace avx512_bf16 {
extern const StoredBlocks kStoredBlocks;
}

const BlockTable& block_table(Tier tier) {
  switch (tier) {
    case Tier::avx512: return avx512::kBlockTable;
    case Tier::avx2: return avx2::kBlockTable;
    case Tier::scalar: break;
  }
  return scalar::kBlockTable;
}

DType block_type(DType type) {
  switch (type) {
    case DType::f32:
    case DType::f16:
    case DType::bf16:
    case DType::f8e4m3fn: return DType::f32;
    case DType::i8:
    case DType::u8:
    case DType::i16:
    case DType::u16:
    case DType::i32: return DType::i32;
    case DType::u32:
    case DType::i64: return DType::i64;
    case DType::boolean: return DType::boolean;
    default: return DType::none;
  }
}

namespace {

template <class T>
void copy_block(const BlockArgs& args) {
  std::memmove(args.out, args.in[0], static_cast<size_t>(args.n) * sizeof(T));
}
BlockFn copy_of(DType type) {
  const size_t size = size_of(type);
  return size == 8   ? copy_block<int64_t>
         : size == 4 ? copy_block<int32_t>
         : size == 2 ? copy_block<int16_t>
                     : copy_block<uint8_t>;
}

bool can_leave_range(Fn fn) {
  switch (fn) {
    case Fn::add:
    case Fn::sub:
    case Fn::mul:
    case Fn::div:
    case Fn::pow:
    case Fn::mod:
    case Fn::bit_not:
    case Fn::shift_left:
    case Fn::shift_right:
    case Fn::prelu:
    case Fn::leaky_relu:
    case Fn::neg:
    case Fn::abs:
    case Fn::square: return true;
    default: return false;
  }
}

int cost_of(Fn fn) {
  if (fn == Fn::pow || fn == Fn::mod || fn == Fn::fmod || fn == Fn::atan2) return 60;
  if (fn >= Fn::tan && fn <= Fn::atanh && fn != Fn::tanh) return 60;
  if (fn >= Fn::exp && fn <= Fn::erf) return 10;
  if (fn == Fn::elu || fn == Fn::celu) return 10;
  if (fn >= Fn::sigmoid && fn <= Fn::mish && fn != Fn::softsign && fn != Fn::hard_swish) return 12;
  return fn == Fn::div || fn == Fn::sqrt || fn == Fn::rsqrt || fn == Fn::reciprocal ? 4 : 1;
}

// A value while lowering; registers are numbered in single assignment until the end.
struct Value {
  enum Kind { none, input, constant, virtual_register } kind = none;
  int index = 0;
  DType type = DType::none;  // as held: a block type, or a memory type for one conversion
  bool scalar = false;
};

struct Draft {
  BlockFn fn;
  Value in[3];
  int count;
  int out;  // virtual register, or kOutput
  DType type;
  bool scalar;
  BlockKey key = {};  // of functions; conversions have none
};
constexpr int kOutput = -1;

class Lowering {
 public:
  Lowering(const PointwiseProgram& program, std::span<const Access> access, Tier tier)
      : program_(program),
        access_(access),
        table_(block_table(tier)),
        stored_(tier == Tier::avx512 && has_bf16_set(Bf16Set::avx512) ? &avx512_bf16::kStoredBlocks : nullptr) {}

  Status run() {
    const auto& code = program_.code;
    count_uses();
    values_.resize(code.size());
    for (size_t i = 0; i < code.size(); ++i) {
      if (uses_[i] == 0) continue;
      HONE_CHECK(lower(code[i], values_[i]));
    }
    return finish(code.back().type);
  }

  Lowered result() {
    out_.inputs = static_cast<int>(access_.size());
    assign_registers();
    return std::move(out_);
  }

 private:
  void count_uses() {
    const auto& code = program_.code;
    uses_.assign(code.size(), 0);
    uses_.back() = 1;
    for (size_t i = code.size(); i-- > 0;) {
      if (uses_[i] == 0) continue;
      for (int k = 0; k < arity(code[i].fn); ++k) ++uses_[static_cast<size_t>(code[i].operand[k])];
    }
  }

  Value emit(BlockFn fn, std::initializer_list<Value> in, DType type) {
    Draft d{.fn = fn, .count = static_cast<int>(in.size()), .out = virtuals_++, .type = type, .scalar = true};
    std::copy(in.begin(), in.end(), d.in);
    for (const Value& v : in) d.scalar = d.scalar && v.scalar;
    drafts_.push_back(d);
    return {Value::virtual_register, d.out, type, d.scalar};
  }

  Status convert(Value& v, DType to) {
    if (v.type == to) return {};
    const bool narrows = v.type == DType::f32 && to == DType::bf16;
    const BlockFn fn = narrows && stored_ != nullptr ? stored_->narrow : table_.convert(v.type, to);
    if (fn == nullptr) return unsupported("no conversion from {} to {}", name(v.type), name(to));
    v = emit(fn, {v}, to);
    return {};
  }

  // Through a narrower memory type and back: wraps integers and rounds floats.
  Status narrow(Value& v, DType type) {
    if (block_type(type) == type) return convert(v, type);
    HONE_CHECK(convert(v, type));
    return convert(v, block_type(type));
  }

  void splat(Value& v) {
    Value w = emit(table_.splat(v.type), {v}, v.type);
    drafts_.back().scalar = w.scalar = false;
    v = w;
  }

  Status lower(const PointwiseInstr& instr, Value& value) {
    switch (instr.fn) {
      case Fn::input: return lower_input(instr, value);
      case Fn::constant: value = constant(instr.type, instr.value); return {};
      case Fn::cast:
      case Fn::cast_saturate: return lower_cast(instr, value);
      default: return lower_function(instr, value);
    }
  }

  Status lower_input(const PointwiseInstr& instr, Value& value) {
    const auto k = static_cast<size_t>(instr.input);
    value = {Value::input, instr.input, instr.type, access_[k] == Access::scalar};
    if (access_[k] == Access::expand) {
      value.kind = Value::virtual_register;
      value.index = virtuals_++;
      expansions_.push_back({instr.input, value.index});
      out_.register_width = std::max(out_.register_width, static_cast<int>(size_of(instr.type)));
    }
    return convert(value, block_type(instr.type));
  }

  Value constant(DType type, double number) {
    int64_t bits = 0;
    const DType held = block_type(type);
    if (held == DType::f32) {
      const float f = static_cast<float>(number);
      std::memcpy(&bits, &f, sizeof f);
    } else {
      bits = static_cast<int64_t>(number);
    }
    out_.constants.push_back(bits);
    return {Value::constant, static_cast<int>(out_.constants.size()) - 1, held, true};
  }

  Status lower_cast(const PointwiseInstr& instr, Value& value) {
    value = operand(instr, 0);
    // Floats reach integers through 64 bits, as in the reference, or the low half of them, so that narrow types wrap.
    const bool to_integer = instr.type != DType::boolean && block_type(instr.type) != DType::f32;
    if (value.type == DType::f32 && to_integer) HONE_CHECK(convert(value, block_type(instr.type)));
    if (value.type != DType::f32 && block_type(instr.type) == DType::f32) HONE_CHECK(convert(value, DType::f32));
    return narrow(value, instr.type);
  }

  const PointwiseInstr& source(const PointwiseInstr& instr, int k) const {
    return program_.code[static_cast<size_t>(instr.operand[k])];
  }
  const Value& operand(const PointwiseInstr& instr, int k) const {
    return values_[static_cast<size_t>(instr.operand[k])];
  }

  Status lower_function(const PointwiseInstr& instr, Value& value) {
    const DType result = block_type(instr.type);
    Value in[3];
    const int n = arity(instr.fn);
    for (int k = 0; k < n; ++k) {
      in[k] = operand(instr, k);
      if (result == DType::f32 && !(instr.fn == Fn::where && k == 0)) HONE_CHECK(convert(in[k], DType::f32));
    }
    out_.cost += cost_of(instr.fn);
    if (instr.fn == Fn::pow && result == DType::f32 && constant_power(source(instr, 1), in[0], value)) return {};
    if (instr.fn == Fn::add && result == DType::f32 && fuse_add(instr, in, value)) return {};
    HONE_CHECK(apply({.fn = instr.fn, .operand = in[0].type, .result = result}, in, n, value));
    if (block_type(instr.type) != instr.type && result != DType::f32 && can_leave_range(instr.fn))
      return narrow(value, instr.type);
    return {};
  }

  Status apply(BlockKey key, Value* in, int n, Value& value) {
    bool all_scalar = true;
    for (int k = 0; k < n; ++k) all_scalar = all_scalar && in[k].scalar;
    const auto find = [&] {
      key.scalars = 0;
      for (int k = 0; k < n && !all_scalar; ++k) key.scalars |= static_cast<unsigned>(in[k].scalar) << k;
      return table_.find(key);
    };
    BlockFn fn = find();
    for (int k = 0; k < n && fn == nullptr && key.scalars != 0; ++k) {
      if (!in[k].scalar) continue;
      splat(in[k]);
      fn = find();
    }
    if (fn == nullptr) return unsupported("{} on {} has no kernel", name(key.fn), name(key.operand));
    value = n == 1   ? emit(fn, {in[0]}, key.result)
            : n == 2 ? emit(fn, {in[0], in[1]}, key.result)
                     : emit(fn, {in[0], in[1], in[2]}, key.result);
    drafts_.back().key = key;
    return {};
  }

  bool constant_power(const PointwiseInstr& exponent, Value base, Value& value) {
    if (exponent.fn != Fn::constant) return false;
    const auto unary = [&](Fn fn, Value v) {
      return emit(table_.find({.fn = fn, .operand = DType::f32, .result = DType::f32}), {v}, DType::f32);
    };
    const double e = exponent.value;
    if (e == 1) value = base;
    else if (e == 2) value = unary(Fn::square, base);
    else if (e == 0.5) value = unary(Fn::sqrt, base);
    else if (e == -1) value = unary(Fn::reciprocal, base);
    else return false;
    return true;
  }

  // a * b + c in one pass when nothing else needs the product.
  bool fuse_add(const PointwiseInstr& instr, const Value (&in)[3], Value& value) {
    for (int k = 0; k < 2; ++k) {
      const auto p = static_cast<size_t>(instr.operand[k]);
      if (source(instr, k).fn != Fn::mul || uses_[p] != 1 || values_[p].kind != Value::virtual_register) continue;
      const auto d =
          std::find_if(drafts_.begin(), drafts_.end(), [&](const Draft& x) { return x.out == values_[p].index; });
      if (d == drafts_.end() || d->scalar || d->count != 2 || d->type != DType::f32) continue;
      Value args[3] = {d->in[0], d->in[1], in[1 - k]};
      if (args[0].scalar) std::swap(args[0], args[1]);
      drafts_.erase(d);
      return apply({.fn = Fn::add, .fused = true}, args, 3, value).ok();
    }
    return false;
  }

  Status finish(DType type) {
    Value v = values_.back();
    if (v.scalar) splat(v);
    // What a cast has rounded to the result's type and widened again is there already.
    const Draft* const widened = v.type == type ? nullptr : maker(v);
    if (widened != nullptr && widened == &drafts_.back() && widened->count == 1 && widened->in[0].type == type) {
      v = widened->in[0];
      drafts_.pop_back();
    }
    if (v.type != type) HONE_CHECK(convert(v, type));
    const bool last = !drafts_.empty() && v.kind == Value::virtual_register && drafts_.back().out == v.index;
    if (!last) emit(copy_of(type), {v}, type);
    drafts_.back().out = kOutput;
    if (type == DType::bf16 && stored_ != nullptr) join_conversions();
    if (table_.quantize(type) != nullptr) join_quantization(type);
    return {};
  }

  const Draft* maker(const Value& v) const {
    const auto made = std::ranges::find(drafts_, v.index, &Draft::out);
    return v.kind == Value::virtual_register && made != drafts_.end() ? &*made : nullptr;
  }

  // The last function in one pass where all that it reads lies in memory as bf16, as its result is to.
  void join_conversions() {
    const Draft* const last = maker(drafts_.back().in[0]);
    if (drafts_.back().fn != stored_->narrow || last == nullptr || last->scalar || last->key.fn == Fn::input) return;
    Draft joined = *last;
    joined.fn = stored_->find(joined.key);
    joined.out = kOutput;
    joined.type = DType::bf16;
    for (int k = joined.key.fn == Fn::where ? 1 : 0; k < joined.count; ++k) {  // its first operand is a mask
      const Draft* const widened = maker(joined.in[k]);
      if (widened == nullptr || widened->count != 1 || widened->in[0].type != DType::bf16) return;
      joined.in[k] = widened->in[0];
    }
    if (joined.fn == nullptr) return;
    drafts_.back() = joined;
    remove_unread();
  }

  // The clip of a rounded value and the conversions behind it in one pass, which rounds as well.
  void join_quantization(DType type) {
    const Draft& last = drafts_.back();
    const Draft* const whole = maker(last.in[0]);
    if (whole == nullptr || last.fn != table_.convert(DType::i32, type)) return;
    const Draft* const clip = maker(whole->in[0]);
    if (clip == nullptr || whole->fn != table_.convert(DType::f32, DType::i32)) return;
    if (clip->key.fn != Fn::clip || clip->scalar || !is_number_of(type, clip->in[1]) ||
        !is_number_of(type, clip->in[2]) || !is_whole(clip->in[0]))
      return;
    Draft joined = *clip;
    const Draft* const source = maker(clip->in[0]);
    if (source != nullptr && source->key.fn == Fn::round) joined.in[0] = source->in[0];
    joined.fn = table_.quantize(type);
    joined.out = kOutput;
    joined.type = type;
    drafts_.back() = joined;
    remove_unread();
  }

  // Of a constant in f32.
  std::optional<float> number(const Value& v) const {
    if (v.kind != Value::constant || v.type != DType::f32) return std::nullopt;
    float number = 0;
    std::memcpy(&number, &out_.constants[static_cast<size_t>(v.index)], sizeof number);
    return number;
  }
  bool is_number_of(DType type, const Value& v) const {
    const auto x = number(v);
    const float low = type == DType::i8 ? -128 : 0;
    return x && *x == std::trunc(*x) && *x >= low && *x <= low + 255;
  }
  bool is_whole(const Value& v) const {
    if (const auto x = number(v)) return *x == std::trunc(*x);
    const Draft* const made = maker(v);
    if (made == nullptr || made->type != DType::f32 || made->key.fused) return false;
    return made->key.fn == Fn::round || (made->key.fn == Fn::add && is_whole(made->in[0]) && is_whole(made->in[1]));
  }

  void remove_unread() {
    for (size_t s = drafts_.size() - 1; s-- > 0;)
      if (!is_read(drafts_[s].out)) drafts_.erase(drafts_.begin() + static_cast<std::ptrdiff_t>(s));
  }

  bool is_read(int v) const {
    return std::ranges::any_of(drafts_, [&](const Draft& d) {
      return std::any_of(d.in, d.in + d.count,
                         [&](const Value& in) { return in.kind == Value::virtual_register && in.index == v; });
    });
  }

  void assign_registers() {
    std::vector<int> last(static_cast<size_t>(virtuals_), -1), place(last), slot(last);
    for (size_t s = 0; s < drafts_.size(); ++s)
      for (int k = 0; k < drafts_[s].count; ++k)
        if (drafts_[s].in[k].kind == Value::virtual_register)
          last[static_cast<size_t>(drafts_[s].in[k].index)] = static_cast<int>(s);
    std::vector<int> free;
    const auto take = [&](int v) {
      if (free.empty()) free.push_back(out_.registers++);
      slot[static_cast<size_t>(v)] = free.back();
      free.pop_back();
    };
    for (const auto& e : expansions_) take(e.out);
    for (size_t s = 0; s < drafts_.size(); ++s) {
      const Draft& d = drafts_[s];
      out_.register_width = std::max(out_.register_width, static_cast<int>(size_of(d.type)));
      if (d.out != kOutput && d.scalar) slot[static_cast<size_t>(d.out)] = -2 - out_.scalar_registers++;
      if (d.out != kOutput && !d.scalar) take(d.out);
      for (int k = 0; k < d.count; ++k) {
        if (d.in[k].kind != Value::virtual_register) continue;
        const auto v = static_cast<size_t>(d.in[k].index);
        if (last[v] == static_cast<int>(s) && slot[v] >= 0) free.push_back(slot[v]), last[v] = -1;
      }
    }
    emit_steps(slot);
  }

  void emit_steps(const std::vector<int>& slot) {
    const auto place = [&](int v) {
      const int s = slot[static_cast<size_t>(v)];
      return s >= 0 ? out_.register_place(s) : out_.scalar_place(-2 - s);
    };
    for (const auto& e : expansions_) out_.expansions.push_back({e.input, place(e.out)});
    for (const Draft& d : drafts_) {
      Step step{.fn = d.fn, .scalar = d.scalar};
      step.out = d.out == kOutput ? out_.output_place() : place(d.out);
      for (int k = 0; k < d.count; ++k) {
        const Value& v = d.in[k];
        step.in[k] = v.kind == Value::input      ? v.index
                     : v.kind == Value::constant ? out_.constant_place(v.index)
                                                 : place(v.index);
      }
      out_.steps.push_back(step);
    }
  }

  const PointwiseProgram& program_;
  std::span<const Access> access_;
  const BlockTable& table_;
  const StoredBlocks* stored_;  // null without instructions for bf16
  Lowered out_;
  std::vector<int> uses_;
  std::vector<Value> values_;
  std::vector<Draft> drafts_;
  std::vector<Expansion> expansions_;  // `out` is a virtual register
  int virtuals_ = 0;
};

}  // namespace

const char* lowering_refusal(const PointwiseProgram& program) {
  if (program.code.empty()) return "the program is empty";
  if (program.code.size() > 128) return "more than 128 instructions";
  for (const auto& instr : program.code) {
    if (block_type(instr.type) == DType::none) return "a type other than f32, f16, bf16, integers up to i64, boolean";
    if (instr.fn == Fn::input && instr.input < 0) return "an input without an index";
    if (instr.type == DType::f8e4m3fn && instr.fn != Fn::input && instr.fn != Fn::cast_saturate)
      return "e4m3 that may overflow to NaN";
    for (int k = 0; k < arity(instr.fn); ++k)
      if (instr.operand[k] < 0 || instr.operand[k] >= &instr - program.code.data()) return "an operand out of order";
  }
  return nullptr;
}

Result<Lowered> lower_pointwise(const PointwiseProgram& program, std::span<const Access> access, Tier tier) {
  Lowering lowering(program, access, tier);
  HONE_CHECK(lowering.run());
  Lowered lowered = lowering.result();
  if (lowered.places() > kMaxPlaces) return unsupported("pointwise program needs {} values at once", lowered.places());
  return lowered;
}

}  // namespace hone::cpu
