#include "engine/checksum.h"

#include <xxhash.h>

#include <algorithm>
#include <system_error>
#include <vector>

#include "base/cpu_info.h"
#include "base/thread_pool.h"

namespace hone {
namespace {

constexpr size_t kPiece = size_t{1} << 20;
constexpr int64_t kPiecesOfThread = 16;  // fewer are hashed before another thread has started
constexpr int64_t kMaxThreads = 8;       // more do not read memory faster

int threads_for(int64_t pieces) {
  const int64_t useful = std::clamp<int64_t>(pieces / kPiecesOfThread, 1, kMaxThreads);
  return static_cast<int>(std::min<int64_t>(useful, useful > 1 ? cpu::usable_cpu_count() : 1));
}

}  // namespace

uint64_t checksum(std::string_view bytes) {
  std::vector<uint64_t> hashes((bytes.size() + kPiece - 1) / kPiece);
  const auto pieces = static_cast<int64_t>(hashes.size());
  const auto hash_piece = [&](int64_t i, int) {
    const std::string_view piece = bytes.substr(static_cast<size_t>(i) * kPiece, kPiece);
    hashes[static_cast<size_t>(i)] = XXH3_64bits(piece.data(), piece.size());
  };
  try {
    cpu::ThreadPool(threads_for(pieces)).parallel(pieces, hash_piece);
  } catch (const std::system_error&) {  // no more threads to be had
    cpu::ThreadPool(1).parallel(pieces, hash_piece);
  }
  return XXH3_64bits(hashes.data(), hashes.size() * sizeof(uint64_t));
}

}  // namespace hone
