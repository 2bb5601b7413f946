#include "compile/accuracy_budget.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

namespace hone {
namespace {

class Search {
 public:
  Search(size_t layers, const PrecisionMeasures& measures) : measures_(measures), chosen_(layers, true) {}

  Result<std::optional<InInt8>> run() {
    HONE_TRY(const bool all, keeps(chosen_));
    if (all) return std::optional(chosen_);
    HONE_CHECK(sort());
    HONE_TRY(const size_t floats, fewest_in_floats());
    chosen_ = all_but_worst(floats);
    // Without the last of the worst ones the budget is exceeded: it is not asked for alone again.
    if (floats > 1) HONE_CHECK(take_back(0, floats - 1));
    return std::ranges::find(chosen_, true) == chosen_.end() ? std::nullopt : std::optional(chosen_);
  }

 private:
  Result<bool> keeps(const InInt8& layers) {
    if (const auto asked = answers_.find(layers); asked != answers_.end()) return asked->second;
    HONE_TRY(const bool kept, measures_.keeps_budget(layers));
    return answers_[layers] = kept;
  }

  // The worst first; of equals, and where nothing is known, in the order of the network.
  Status sort() {
    std::vector<double> errors;
    for (size_t i = 0; i < chosen_.size(); ++i) {
      HONE_TRY(const double error, measures_.sensitivity(i));
      errors.push_back(std::isnan(error) ? HUGE_VAL : error);
    }
    worst_first_.resize(chosen_.size());
    std::iota(worst_first_.begin(), worst_first_.end(), size_t{0});
    std::ranges::stable_sort(worst_first_, [&](size_t a, size_t b) { return errors[a] > errors[b]; });
    return {};
  }

  InInt8 all_but_worst(size_t count) const {
    InInt8 layers(worst_first_.size(), true);
    for (size_t k = 0; k < count; ++k) layers[worst_first_[k]] = false;
    return layers;
  }

  Result<size_t> fewest_in_floats() {
    size_t too_few = 0, enough = worst_first_.size();
    while (enough - too_few > 1) {
      const size_t middle = too_few + (enough - too_few) / 2;
      HONE_TRY(const bool kept, keeps(all_but_worst(middle)));
      (kept ? enough : too_few) = middle;
    }
    return enough;
  }

  // Of the worst ones from `begin` to `end`, as many as the budget lets back into int8.
  Status take_back(size_t begin, size_t end) {
    InInt8 layers = chosen_;
    for (size_t k = begin; k < end; ++k) layers[worst_first_[k]] = true;
    HONE_TRY(const bool kept, keeps(layers));
    if (kept) chosen_ = std::move(layers);
    if (kept || end - begin == 1) return {};
    const size_t middle = begin + (end - begin) / 2;
    HONE_CHECK(take_back(middle, end));
    return take_back(begin, middle);
  }

  const PrecisionMeasures& measures_;
  InInt8 chosen_;
  std::vector<size_t> worst_first_;
  std::map<InInt8, bool> answers_;
};

}  // namespace

Result<std::optional<InInt8>> most_in_int8(size_t layers, const PrecisionMeasures& measures) {
  if (layers == 0) return std::optional<InInt8>();
  return Search(layers, measures).run();
}

}  // namespace hone
