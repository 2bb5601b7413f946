#define XXH_INLINE_ALL
#define XXH_NO_INLINE_HINTS 0  // which -Os turns on, and the sums would leave their registers
#include <xxhash.h>

#include "engine/checksum_piece.h"

namespace hone {

uint64_t hash_piece_avx2(const void* piece, size_t bytes) { return XXH3_64bits(piece, bytes); }

}  // namespace hone
