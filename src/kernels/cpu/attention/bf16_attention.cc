// The weights that softmax makes of the scores are turned, and so the rows of a second product, whose columns are the
// values.
#include "kernels/cpu/attention/bf16_attention.h"

#include <cstring>

#include "kernels/cpu/attention/attention_blocks.h"
#include "kernels/cpu/bf16/block.h"

namespace hone::cpu {
namespace {

constexpr int64_t kBlock = kBf16Panel;  // queries
constexpr int64_t kHalf = sizeof(bf16), kFloat = sizeof(float);

// Where a worker's parts begin, in bytes.
struct Layout {
  int64_t depth, keys, panels;  // of the sums, as the kernel pads them, and of the values
  bool copies_keys, masks;      // a mask that differs by query is transposed
  int64_t queries, scores, mask, weights, weight_rows, key_rows, values, inverse, scratch, sums;
  int64_t total = 0;
};

Layout layout_of(const AttentionProblem& p, const TileForm& form) {
  Layout l{.depth = round_up(p.depth, form.k_step),
           .keys = round_up(p.keys, form.k_step),
           .panels = ceil_div(p.value_depth, kBf16Panel),
           .masks = p.mask.row != 0};
  l.copies_keys = !form.in_place || l.depth != p.depth;
  const auto take = [&](int64_t bytes) {
    const int64_t at = l.total;
    l.total += round_up(bytes, static_cast<int64_t>(kAlign));
    return at;
  };
  l.queries = take(l.depth * kBlock * kHalf);
  l.scores = take(p.keys * kBlock * kFloat);
  l.mask = take(l.masks ? p.keys * kBlock * kFloat : 0);
  l.weights = take(l.keys * kBlock * kHalf);
  // A kernel may read as many rows as its tile has.
  l.weight_rows = take((kBlock + form.rows) * l.keys * kHalf);
  l.key_rows = take(l.copies_keys ? (p.keys + form.rows) * l.depth * kHalf : 0);
  l.values = take(l.panels * l.keys * kBf16Panel * kHalf);
  l.inverse = take(kBlock * kFloat);
  l.scratch = take(bf16_panel_scratch(l.depth));
  l.sums = take(form.rows * kBf16Panel * kFloat);
  return l;
}

// Rows of a product by a panel of columns, both padded to `depth`.
struct Product {
  TileRows a;
  int64_t rows, depth;
  const std::byte* b;
  int64_t columns;
  std::byte* out;
  int64_t ld;    // values from row to row of the result
  bool in_bf16;  // it; else f32
};

struct Run {
  const AttentionProblem& p;
  const Bf16Kernel& kernel;
  const Layout l;
  const AttentionTensors<bf16>& of;

  const TileForm& form() const { return kernel.from_bf16; }

  void multiply(const Product& product, std::byte* mine) const {
    static const Epilogue none;
    multiply_rows(kernel, product.in_bf16,
                  {.a = product.a,
                   .steps = product.depth / 2,
                   .b = reinterpret_cast<const uint16_t*>(product.b),
                   .columns = static_cast<int>(product.columns),
                   .sums = reinterpret_cast<float*>(mine + l.sums),
                   .out = product.out,
                   .ld = product.ld,
                   .epilogue = &none},
                  product.rows, form().tile_rows(product.depth));
  }

  // The keys of one head; its values are packed.
  TileRows prepare(std::byte* mine, int64_t n, int64_t h) const {
    const int64_t kv = h / (p.heads / p.kv_heads);
    const bf16* const keys = of.k + n * p.k.batch + kv * p.k.head;
    const bf16* const values = of.v + n * p.v.batch + kv * p.v.head;
    for (int64_t j = 0; j < l.panels; ++j)
      kernel.pack_bf16({.from = values + j * kBf16Panel,
                        .ld = p.v.row,
                        .columns = std::min(kBf16Panel, p.value_depth - j * kBf16Panel),
                        .k = p.keys,
                        .depth = l.keys,
                        .to = reinterpret_cast<uint16_t*>(mine + l.values + j * l.keys * kBf16Panel * kHalf)});
    if (!l.copies_keys) return {.first = reinterpret_cast<const std::byte*>(keys), .ld = p.k.row * kHalf};
    for (int64_t i = 0; i < p.keys; ++i) {
      std::byte* const row = mine + l.key_rows + i * l.depth * kHalf;
      std::memcpy(row, keys + i * p.k.row, static_cast<size_t>(p.depth * kHalf));
      std::memset(row + p.depth * kHalf, 0, static_cast<size_t>((l.depth - p.depth) * kHalf));
    }
    return {.first = mine + l.key_rows, .ld = l.depth * kHalf};
  }

  // Of a head that has been prepared.
  void compute(std::byte* mine, const TileRows& keys, const AttentionBlock& b) const {
    const auto floats = [&](int64_t at) { return reinterpret_cast<float*>(mine + at); };
    const int64_t n = b.item, h = b.head, m = b.count, seen = b.seen;
    kernel.pack_bf16({.from = of.q + n * p.q.batch + h * p.q.head + b.first * p.q.row,
                      .ld = p.q.row,
                      .transposed = true,
                      .columns = m,
                      .k = p.depth,
                      .depth = l.depth,
                      .to = reinterpret_cast<uint16_t*>(mine + l.queries),
                      .scratch = mine + l.scratch});
    multiply({keys, seen, l.depth, mine + l.queries, m, mine + l.scores, kBlock, false}, mine);
    const AttentionScores s = scores_of(p, b, floats(l.scores), kBlock, of.mask, floats(l.mask), floats(l.inverse));
    attention_kernel(Tier::avx512).softmax(s);
    attention_kernel(Tier::avx512).normalize(s);
    const int64_t terms = round_up(seen, form().k_step);
    kernel.pack_f32({.from = s.scores,
                     .ld = kBlock,
                     .columns = m,
                     .k = seen,
                     .depth = terms,
                     .to = reinterpret_cast<uint16_t*>(mine + l.weights)});
    turn(mine + l.weights, kBlock, terms / 2, kBlock, mine + l.weight_rows, terms / 2);
    bf16* const out = of.y + n * p.y.batch + h * p.y.head + b.first * p.y.row;
    for (int64_t j = 0; j < l.panels; ++j)
      multiply({{.first = mine + l.weight_rows, .ld = terms * kHalf},
                m,
                terms,
                mine + l.values + j * l.keys * kBf16Panel * kHalf,
                std::min(kBf16Panel, p.value_depth - j * kBf16Panel),
                reinterpret_cast<std::byte*>(out + j * kBf16Panel),
                p.y.row,
                true},
               mine);
  }
};

}  // namespace

size_t attention_bf16_workspace_bytes(const AttentionProblem& p, const Bf16Kernel& kernel, int threads) {
  return static_cast<size_t>(layout_of(p, kernel.from_bf16).total) * static_cast<size_t>(threads);
}

void attention_bf16(const AttentionProblem& p, const Bf16Kernel& kernel, const AttentionTensors<bf16>& of,
                    void* workspace, ThreadPool& pool) {
  const Run run{p, kernel, layout_of(p, kernel.from_bf16), of};
  share_blocks(p, kBlock, pool, [&](int worker, const AttentionBlocks& blocks) {
    std::byte* const mine = static_cast<std::byte*>(workspace) + worker * run.l.total;
    if (run.form().begin != nullptr) run.form().begin();
    TileRows keys;
    blocks.each([&](const AttentionBlock& b) { keys = run.prepare(mine, b.item, b.head); },
                [&](const AttentionBlock& b) { run.compute(mine, keys, b); });
    if (run.form().end != nullptr) run.form().end();
  });
}

}  // namespace hone::cpu
