// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// The table of block operations of one tier.
#pragma once

#include "kernels/cpu/pointwise/convert_impl.h"
#include "kernels/cpu/pointwise/float_impl.h"
#include "kernels/cpu/pointwise/integer_impl.h"

namespace hone::cpu::HONE_TIER_NS {

static BlockFn find_where(DType type, unsigned scalars) {
  if (type == DType::f32) return find_where_float(scalars);
  if (scalars != 0) return nullptr;
  switch (type) {
    case DType::i32: return where_block<int32_t>;
    case DType::i64: return where_block<int64_t>;
    case DType::boolean: return where_block<uint8_t>;
    default: return nullptr;
  }
}

static BlockFn find_real(const BlockKey& key) {
  if (key.fused) return float_form<MulAdd>(key.scalars);
  switch (key.fn) {
    case Fn::is_nan: return typed_form<IsNan, float, uint8_t>(key.scalars);
    case Fn::is_inf: return typed_form<IsInf, float, uint8_t>(key.scalars);
    default: break;
  }
  const BlockFn compare = find_compare<float>(key.fn, key.scalars);
  return compare != nullptr ? compare : find_float(key.fn, key.scalars);
}

template <class T>
BlockFn find_whole(const BlockKey& key) {
  if (key.fn == Fn::clip) return key.scalars == 0 ? clip_block<T> : nullptr;
  const BlockFn compare = find_compare<T>(key.fn, key.scalars);
  return compare != nullptr ? compare : find_integer<T>(key.fn, key.scalars);
}

static BlockFn find_block(const BlockKey& key) {
  if (key.fn == Fn::where) return find_where(key.result, key.scalars);
  switch (key.operand) {
    case DType::f32: return find_real(key);
    case DType::i32: return find_whole<int32_t>(key);
    case DType::i64: return find_whole<int64_t>(key);
    case DType::boolean: return find_logic(key.fn, key.scalars);
    default: return nullptr;
  }
}

extern const BlockTable kBlockTable;
const BlockTable kBlockTable{find_block, find_convert, find_splat, find_quantize};

}  // namespace hone::cpu::HONE_TIER_NS
