#include "engine/checksum.h"

#include <xxhash.h>

#include <algorithm>
#include <numeric>
#include <system_error>

#include "base/cpu_info.h"
#include "base/thread_pool.h"
#include "engine/checksum_piece.h"

namespace hone {
namespace {

constexpr size_t kPiece = size_t{1} << 20;
constexpr int64_t kPiecesOfThread = 16;  // fewer are hashed before another thread has started
constexpr int64_t kMaxThreads = 8;       // more do not read memory faster

int threads_for(int64_t pieces) {
  const int64_t useful = std::clamp<int64_t>(pieces / kPiecesOfThread, 1, kMaxThreads);
  return static_cast<int>(std::min<int64_t>(useful, useful > 1 ? cpu::usable_cpu_count() : 1));
}

uint64_t hash_piece(std::string_view piece) {
  static const bool avx2 = cpu::best_tier() >= cpu::Tier::avx2;
  return avx2 ? hash_piece_avx2(piece.data(), piece.size()) : XXH3_64bits(piece.data(), piece.size());
}

}  // namespace

std::vector<uint64_t> checksums(std::span<const std::string_view> all) {
  std::vector<std::string_view> pieces;
  std::vector<size_t> first{0};  // piece of each of them, and where the last one ends
  for (const std::string_view bytes : all) {
    for (size_t at = 0; at < bytes.size(); at += kPiece) pieces.push_back(bytes.substr(at, kPiece));
    first.push_back(pieces.size());
  }
  std::vector<uint64_t> hashes(pieces.size());
  const auto hash = [&](int64_t i, int) {
    hashes[static_cast<size_t>(i)] = hash_piece(pieces[static_cast<size_t>(i)]);
  };
  const auto count = static_cast<int64_t>(pieces.size());
  const auto bytes = std::accumulate(all.begin(), all.end(), size_t{0}, [](size_t n, auto b) { return n + b.size(); });
  try {
    cpu::ThreadPool(threads_for(static_cast<int64_t>(bytes / kPiece))).parallel(count, hash);
  } catch (const std::system_error&) {  // no more threads to be had
    cpu::ThreadPool(1).parallel(count, hash);
  }
  std::vector<uint64_t> results;
  for (size_t k = 0; k < all.size(); ++k)
    results.push_back(XXH3_64bits(hashes.data() + first[k], (first[k + 1] - first[k]) * sizeof(uint64_t)));
  return results;
}

uint64_t checksum(std::string_view bytes) { return checksums({&bytes, 1})[0]; }

}  // namespace hone
