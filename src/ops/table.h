#pragma once

#include "ir/op.h"

namespace hone {

// A row of the op table for the op struct T.
template <OpLike T>
constexpr OpRow op_row() {
  return {T::kName, [](const Attrs& attrs) -> Result<Op> {
            HONE_TRY(T op, from_attrs<T>(attrs));
            return Op(std::move(op));
          }};
}

}  // namespace hone
