# The standard library's headers, precompiled once for the rooms named: without, they are a fifth of what compiling
# costs. Hone's own headers stay out, so that a change of one compiles what includes it and no more; sources include
# what they use all the same (the presets asan and tsan build without). Not for kernels, whose instruction sets differ,
# nor the API, whose symbols are hidden.
function(hone_precompile_standard_library first)
  target_precompile_headers(hone_${first} PRIVATE
    <fmt/core.h>
    <algorithm> <array> <charconv> <cmath> <cstdint> <cstring> <filesystem> <functional> <limits> <map> <memory>
    <mutex> <numeric> <optional> <set> <span> <string> <string_view> <unordered_map> <utility> <variant> <vector>)
  foreach(room ${ARGN})
    target_precompile_headers(hone_${room} REUSE_FROM hone_${first})
  endforeach()
endfunction()
