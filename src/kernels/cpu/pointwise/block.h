// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
// Block operations: one instruction of a pointwise program over the n values of a block.
#pragma once

#include "base/cpu_info.h"
#include "base/pointwise.h"

namespace hone::cpu {

struct BlockArgs {
  const void* in[3];
  void* out;
  int64_t n;
};
using BlockFn = void (*)(const BlockArgs&);

// Values in a block are f32, i32, i64 or boolean (one byte); other types are held in one of these.
DType block_type(DType type);  // none when there is none

// What a block operation is looked up by. Bit i of `scalars`: operand i is one value for the whole block.
struct BlockKey {
  Fn fn = Fn::input;
  bool fused = false;  // Fn::add of three operands: a * b + c
  DType operand = DType::f32, result = DType::f32;
  unsigned scalars = 0;
};

// Null when the combination has no operation; with scalars == 0 it has one for every program that is supported.
struct BlockTable {
  BlockFn (*find)(const BlockKey& key);
  BlockFn (*convert)(DType from, DType to);  // between memory types and block types
  BlockFn (*splat)(DType type);              // one value to n
  // f32 to whole numbers of i8 or u8, nearest even, between bounds, which are whole numbers of that type; NaN to 0.
  BlockFn (*quantize)(DType to);
};

const BlockTable& block_table(Tier tier);

// The same by a CPU's instructions for bf16.
struct StoredBlocks {
  BlockFn (*find)(const BlockKey& key);  // of operands and a result that lie in memory as bf16, computed in f32
  BlockFn narrow;                        // f32 to bf16
};

}  // namespace hone::cpu
