// As in bf16_attention.cc, the weights of softmax are turned, and so the rows of the second product.
#include "kernels/cpu/attention/attention_int8.h"

#include "kernels/cpu/attention/attention_blocks.h"
#include "kernels/cpu/attention/attention_int8_kernel.h"
#include "kernels/cpu/int8/kernel.h"

namespace hone::cpu {
namespace {

constexpr int64_t kBlock = kBytesPanel;  // queries
constexpr int64_t kQuad = 4;
constexpr int64_t kSpare = 64;  // that a gathering may write behind its rows

// Where a worker's parts begin, in bytes.
struct Layout {
  int64_t key_quads, panels;  // of the values
  int64_t keys, queries, start, scores, mask, weights, weight_rows, values, inverse, sums;
  int64_t total = 0;
};

Layout layout_of(const AttentionProblem& p) {
  Layout l{.key_quads = ceil_div(p.keys, kQuad), .panels = ceil_div(p.value_depth, kBytesPanel)};
  const auto take = [&](int64_t bytes) {
    const int64_t at = l.total;
    l.total += round_up(bytes, static_cast<int64_t>(kAlign));
    return at;
  };
  l.keys = take(p.keys * p.depth + kSpare);
  l.queries = take(p.depth * kBlock);
  l.start = take(kBlock * 4);
  l.scores = take(p.keys * kBlock * 4);
  l.mask = take(p.mask.row != 0 ? p.keys * kBlock * 4 : 0);
  l.weights = take(l.key_quads * kQuad * kBlock);
  l.weight_rows = take(l.key_quads * kQuad * kBlock);
  l.values = take(l.panels * l.key_quads * kQuad * kBytesPanel);
  l.inverse = take(kBlock * 4);
  l.sums = take(kBlock * kBytesPanel * 4);
  return l;
}

// sums[row][column] = start[column] + rows of `quads` quads by a panel.
struct Product {
  const std::byte* a;
  int64_t rows, quads;
  const int8_t* b;
  int64_t columns;
  const int32_t* start;
  int32_t* sums;
};

void multiply(const Int8Kernel& kernel, const Product& of) {
  const int64_t vectors = ceil_div(of.columns, kernel.form.vector);
  for_tiles(of.rows, std::min<int64_t>(kernel.form.rows, kernel.form.sums / vectors), [&](int64_t from, int height) {
    kernel.run({.a = {.first = of.a + from * of.quads * kQuad, .ld = of.quads * kQuad},
                .rows = height,
                .steps = of.quads,
                .start = of.start,
                .b = of.b,
                .panel = static_cast<int>(kBytesPanel),
                .columns = static_cast<int>(of.columns),
                .sums = of.sums + from * kBytesPanel});
  });
}

struct Run {
  const AttentionProblem& p;
  const AttentionInt8Args& args;
  const Layout l;
  const AttentionInt8Kernel& kernel = avx512::kAttentionInt8Kernel;
  const Int8Kernel &by_key = int8_kernel(Int8Set::vnni, false), &by_weight = int8_kernel(Int8Set::vnni, true);

  // The keys and values of a head.
  void prepare(std::byte* mine, const AttentionBlock& b) const {
    const int64_t kv = b.head / (p.heads / p.kv_heads);
    const int8_t* const keys = args.k + b.item * p.k.batch + kv * p.k.head;
    const int8_t* const values = args.v + b.item * p.v.batch + kv * p.v.head;
    by_key.form.gather({.from = reinterpret_cast<const std::byte*>(keys),
                        .pixels = p.keys,
                        .pixel_step = p.k.row,
                        .count = p.depth,
                        .to = mine + l.keys,
                        .to_step = p.depth});
    for (int64_t j = 0; j < l.panels; ++j)
      kernel.pack({values + j * kBytesPanel, p.v.row, p.keys, std::min(kBytesPanel, p.value_depth - j * kBytesPanel),
                   panel(mine, j)});
  }

  void compute(std::byte* mine, const AttentionBlock& b) const {
    const auto floats = [&](int64_t at) { return reinterpret_cast<float*>(mine + at); };
    const auto ints = [&](int64_t at) { return reinterpret_cast<int32_t*>(mine + at); };
    const int64_t depth_quads = p.depth / kQuad, quads = ceil_div(b.seen, kQuad);
    turn(args.q + b.item * p.q.batch + b.head * p.q.head + b.first * p.q.row, p.q.row / kQuad, b.count, depth_quads,
         mine + l.queries, kBlock);
    const auto* queries = reinterpret_cast<const int8_t*>(mine + l.queries);
    kernel.take_off(queries, depth_quads, ints(l.start));
    multiply(by_key, {mine + l.keys, b.seen, depth_quads, queries, b.count, ints(l.start), ints(l.scores)});
    kernel.softmax(scores_of(p, b, floats(l.scores), kBlock, args.mask, floats(l.mask), floats(l.inverse)),
                   reinterpret_cast<uint8_t*>(mine + l.weights));
    turn(mine + l.weights, kBlock, quads, b.count, mine + l.weight_rows, quads);
    static constexpr int32_t kNothing[kBytesPanel] = {};
    const int64_t at = b.item * p.y.batch + b.head * p.y.head + b.first * p.y.row;
    for (int64_t j = 0; j < l.panels; ++j) {
      const int64_t columns = std::min(kBytesPanel, p.value_depth - j * kBytesPanel);
      multiply(by_weight, {mine + l.weight_rows, b.count, quads, panel(mine, j), columns, kNothing, ints(l.sums)});
      const int64_t first = at + j * kBytesPanel;
      void* const y = args.quantizes ? static_cast<void*>(static_cast<int8_t*>(args.y) + first)
                                     : static_cast<float*>(args.y) + first;
      kernel.finish({ints(l.sums), b.count, columns, floats(l.inverse), args.result_scale, args.quantizes, y, p.y.row});
    }
  }

  int8_t* panel(std::byte* mine, int64_t j) const {
    return reinterpret_cast<int8_t*>(mine + l.values + j * l.key_quads * kQuad * kBytesPanel);
  }
};

}  // namespace

const char* attention_int8_supports(const AttentionProblem& p) {
  if (const char* reason = attention_supports(p); reason != nullptr) return reason;
  if (p.depth % kQuad != 0 || p.q.row % kQuad != 0) return "a depth that is no multiple of 4";
  return nullptr;
}

size_t attention_int8_workspace_bytes(const AttentionProblem& p, int threads) {
  return static_cast<size_t>(layout_of(p).total) * static_cast<size_t>(threads);
}

void attention_int8(const AttentionProblem& p, const AttentionInt8Args& args) {
  const Run run{p, args, layout_of(p)};
  share_blocks(p, kBlock, *args.pool, [&](int worker, const AttentionBlocks& blocks) {
    std::byte* const mine = static_cast<std::byte*>(args.workspace) + worker * run.l.total;
    blocks.each([&](const AttentionBlock& b) { run.prepare(mine, b); },
                [&](const AttentionBlock& b) { run.compute(mine, b); });
  });
}

}  // namespace hone::cpu
