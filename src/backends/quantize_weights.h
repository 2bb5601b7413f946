// Weights alone in 4 or 8 bits: products stay products of floats, and read less.
#pragma once

#include <optional>

#include "backends/error_feedback.h"
#include "ir/graph.h"
#include "ops/matmul_nbits.h"

namespace hone {

struct WeightFormat {
  int64_t bits = 4;    // or 8
  int64_t block = 32;  // so many weights along the sum share a scale: a power of 2 from 16 to 1024
  // Scales of either sign: the number that is one larger below 0 than above is there for a block's largest weight,
  // whatever that one's sign. Hone's kernels take them, other tools may not.
  bool signed_scales = false;
};

// The one that is called "int4" or "int8".
std::optional<WeightFormat> find_weight_format(std::string_view name);
// Errors: invalid.
Status check(const WeightFormat& format);

// Smaller weights are left as they are: there is little to gain.
inline constexpr int64_t kLeastWeightBytes = 64 << 10;

// What became of the weights of a product.
struct WeightReport {
  std::string name;    // of the product
  std::string reason;  // why they stay in floats; empty: they do not
  // The power of the weights by that of what rounding changed, infinite where it changed nothing; with moments, of the
  // results, about their means, on the data that these are from.
  double sqnr_db = 0;
  int64_t bytes_before = 0, bytes_after = 0;
};

// A matrix as whole numbers from -2^(bits - 1) to 2^(bits - 1) - 1, times a scale for each block of a row, divided by a
// factor for each column.
struct RoundedWeights {
  Tensor values, scales;        // i8 [rows, columns]; f32 [rows, ceil(columns / block)]
  std::vector<double> factors;  // above 0; none: they are 1
  double sqnr_db = 0;
};

// Each weight is rounded to the nearest number of its block, whose scale is the one, of several between clipping
// nothing and a third, that leaves the smallest sum of squares of errors. `weights` has finite floats, its sums along
// `axis` (0 or 1), which become the rows. With feedback, errors count by the importance of their columns, and each
// weight takes on what those before it in its row leave to it.
RoundedWeights round_weights(const Tensor& weights, size_t axis, const WeightFormat& format,
                             const ErrorFeedback& feedback, std::vector<double> factors = {});
RoundedWeights round_weights(const Tensor& weights, size_t axis, const WeightFormat& format);

// Why such weights of a product stay in floats, or empty.
std::string refuse_weights(const Tensor& weights);

// MatMul by constants of kLeastWeightBytes or more -> MatMulNBits, in a canonical graph, with scales of either sign.
// One report for each product with a constant matrix on the right. `moments`: of what products read, for feedback, for
// their biases, which take back what rounding does to the means of results, and for factors of the columns; may be
// empty. Columns have factors where what their products read can be divided by them (channel_factors.h), nothing else
// reads it, and results are closer: a column that counts for more is rounded in smaller steps than others of its block,
// as AWQ (Lin et al., 2023) has it. The graph is not canonical then: canonicalisation takes the divisions in.
Result<std::vector<WeightReport>> quantize_weights(Graph& graph, const WeightFormat& format,
                                                   const MomentsOf& moments = {});

// "36 of 40 matrices in int4 ...", of any reports.
std::string summary(const std::vector<WeightReport>& reports, const WeightFormat& format);

}  // namespace hone
