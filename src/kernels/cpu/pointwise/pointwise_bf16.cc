// Copyright The Hone Authors. SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/pointwise/float_impl.inc"

namespace hone::cpu::HONE_TIER_NS {

static BlockFn find_stored(const BlockKey& key) {
  if (key.fused) return float_form<MulAdd>(key.scalars);
  return key.fn == Fn::where ? find_where_float(key.scalars) : find_float(key.fn, key.scalars);
}

static void narrow(const BlockArgs& args) {
  const auto* a = static_cast<const float*>(args.in[0]);
  auto* out = static_cast<bf16*>(args.out);
  int64_t i = 0;
  for (; i + kLanes <= args.n; i += kLanes) store(out + i, load(a + i));
  if (const int rest = static_cast<int>(args.n - i); rest > 0) store_n(out + i, load_n(a + i, rest), rest);
}

extern const StoredBlocks kStoredBlocks{find_stored, narrow};

}  // namespace hone::cpu::HONE_TIER_NS
