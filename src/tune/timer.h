#pragma once

#include <functional>

namespace hone {

// Microseconds of one call: the median of several after a warm-up. `before` runs ahead of each and is not counted. A
// call whose first run takes longer than `give_up_us` is not repeated: it has lost already.
double time_us(const std::function<void()>& before, const std::function<void()>& call, double give_up_us, int repeats);

}  // namespace hone
