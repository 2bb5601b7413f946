#include "ops/einsum.h"

#include <algorithm>
#include <cctype>

#include "base/counted.h"
#include "ops/eval.h"
#include "ops/numbers.h"
#include "ops/table.h"
#include "ops/window.h"

namespace hone {
namespace {

constexpr std::string_view kEllipsis = "...";

// One side of a term: its letters, and where the ellipsis stands among them (-1: nowhere).
struct Term {
  std::string letters;
  int64_t ellipsis = -1;
};

Result<Term> parse_term(std::string_view text) {
  Term term;
  while (!text.empty()) {
    if (text.starts_with(kEllipsis) && term.ellipsis < 0) {
      term.ellipsis = static_cast<int64_t>(term.letters.size());
      text.remove_prefix(kEllipsis.size());
    } else if (std::isalpha(static_cast<unsigned char>(text[0]))) {
      term.letters += text[0];
      text.remove_prefix(1);
    } else {
      return invalid("einsum cannot read '{}'", text);
    }
  }
  return term;
}

struct Equation {
  std::vector<Term> operands;
  Term output;
};

// Without "->" the output has the ellipsis, then in order all letters that occur once.
Term implicit_output(const std::vector<Term>& operands) {
  Term out;
  std::string all;
  for (const Term& t : operands) {
    all += t.letters;
    if (t.ellipsis >= 0) out.ellipsis = 0;
  }
  std::sort(all.begin(), all.end());
  for (char c : all)
    if (std::count(all.begin(), all.end(), c) == 1) out.letters += c;
  return out;
}

Result<Equation> parse(std::string_view text) {
  std::string compact;
  std::copy_if(text.begin(), text.end(), std::back_inserter(compact), [](unsigned char c) { return !std::isspace(c); });
  std::string_view rest = compact;
  const size_t arrow = rest.find("->");
  std::string_view inputs = rest.substr(0, arrow);
  Equation equation;
  while (true) {
    const size_t comma = std::min(inputs.find(','), inputs.size());
    HONE_TRY(Term term, parse_term(inputs.substr(0, comma)));
    equation.operands.push_back(std::move(term));
    if (comma == inputs.size()) break;
    inputs.remove_prefix(comma + 1);
  }
  if (arrow == std::string_view::npos) {
    equation.output = implicit_output(equation.operands);
    return equation;
  }
  HONE_TRY(equation.output, parse_term(rest.substr(arrow + 2)));
  for (char c : equation.output.letters) {
    if (std::count(equation.output.letters.begin(), equation.output.letters.end(), c) > 1)
      return invalid("einsum '{}' has '{}' twice in its output", text, c);
    const auto has = [c](const Term& t) { return t.letters.find(c) != std::string::npos; };
    if (std::none_of(equation.operands.begin(), equation.operands.end(), has))
      return invalid("einsum '{}' has '{}' in its output only", text, c);
  }
  return equation;
}

// Labels below 128 are letters; ellipsis dims count from there, the last one highest.
constexpr int kFirstEllipsis = 128;

std::vector<int> labels_of(const Term& term, int64_t ellipsis_rank, int64_t widest) {
  std::vector<int> labels(term.letters.begin(), term.letters.end());
  if (term.ellipsis < 0) return labels;
  for (int64_t i = 0; i < ellipsis_rank; ++i)
    labels.insert(labels.begin() + term.ellipsis + i, kFirstEllipsis + static_cast<int>(widest - ellipsis_rank + i));
  return labels;
}

// Renumbers the labels that occur from 0 on.
void compact(EinsumPlan& plan) {
  std::vector<int> seen;
  for (const auto& labels : plan.operands)
    for (int label : labels)
      if (std::find(seen.begin(), seen.end(), label) == seen.end()) seen.push_back(label);
  const auto renumber = [&](int& label) {
    label = static_cast<int>(std::find(seen.begin(), seen.end(), label) - seen.begin());
  };
  for (auto& labels : plan.operands) std::for_each(labels.begin(), labels.end(), renumber);
  std::for_each(plan.output.begin(), plan.output.end(), renumber);
  plan.labels = static_cast<int>(seen.size());
}

// The size of each label; 1 gives way to any other size. Unknown dims do not count.
Result<std::vector<Dim>> label_dims(const EinsumPlan& plan, std::span<const TensorType> types) {
  std::vector<Dim> dims(static_cast<size_t>(plan.labels));
  std::vector<bool> set(dims.size());
  for (size_t k = 0; k < plan.operands.size(); ++k) {
    for (size_t d = 0; d < plan.operands[k].size() && types[k].shape.ranked; ++d) {
      const auto label = static_cast<size_t>(plan.operands[k][d]);
      const Dim& own = types[k].shape.dims[d];
      if (!set[label] || dims[label].value == 1) {
        dims[label] = own;
      } else if (own.known() && own.value != 1) {
        if (dims[label].known() && dims[label] != own)
          return invalid("operand {} is {}, whose dim {} is {} elsewhere", k, to_text(types[k]), d, dims[label].value);
        dims[label] = own;
      }
      set[label] = true;
    }
  }
  return dims;
}

Result<EinsumPlan> plan_for(const std::string& equation, std::span<const TensorType> types) {
  std::vector<int64_t> ranks;
  for (const TensorType& t : types) ranks.push_back(t.shape.rank());
  return einsum_plan(equation, ranks);
}

template <class T>
std::vector<T> sum_of_products(const EinsumPlan& plan, const EvalArgs& args, const Dims& sizes, const Dims& out_dims) {
  std::vector<std::vector<T>> values;
  std::vector<Dims> steps;  // for each operand, how far a step of each label goes
  for (size_t k = 0; k < plan.operands.size(); ++k) {
    values.push_back(numbers_of<T>(args[k]));
    const Dims strides = strides_of(args[k].dims());
    steps.emplace_back(sizes.size(), 0);
    for (size_t d = 0; d < strides.size(); ++d)
      if (args[k].dims()[d] != 1) steps[k][static_cast<size_t>(plan.operands[k][d])] += strides[d];
  }
  Dims out_steps(sizes.size(), 0);
  const Dims out_strides = strides_of(out_dims);
  for (size_t d = 0; d < out_dims.size(); ++d) out_steps[static_cast<size_t>(plan.output[d])] = out_strides[d];
  std::vector<T> out(static_cast<size_t>(element_count(out_dims)));
  if (element_count(sizes) == 0) return out;
  Dims at(sizes.size(), 0);
  do {
    const auto offset = [&](const Dims& step) {
      int64_t sum = 0;
      for (size_t l = 0; l < at.size(); ++l) sum += at[l] * step[l];
      return static_cast<size_t>(sum);
    };
    T product = values[0][offset(steps[0])];
    for (size_t k = 1; k < values.size(); ++k) product = multiply_wrapping(product, values[k][offset(steps[k])]);
    T& to = out[offset(out_steps)];
    to = add_wrapping(to, product);
  } while (next_index(at, sizes));
  return out;
}

}  // namespace

Result<EinsumPlan> einsum_plan(std::string_view text, std::span<const int64_t> ranks) {
  HONE_TRY(const Equation equation, parse(text));
  if (equation.operands.size() != ranks.size())
    return invalid("einsum '{}' has {} for {}", text, counted(equation.operands.size(), "term"),
                   counted(ranks.size(), "operand"));
  int64_t widest = 0;
  std::vector<int64_t> ellipsis;
  for (size_t k = 0; k < ranks.size(); ++k) {
    const Term& term = equation.operands[k];
    const int64_t rest = ranks[k] < 0 ? 0 : ranks[k] - static_cast<int64_t>(term.letters.size());
    if (rest < 0 || (rest > 0 && term.ellipsis < 0))
      return invalid("operand {} of einsum '{}' has rank {}", k, text, ranks[k]);
    ellipsis.push_back(rest);
    widest = std::max(widest, rest);
  }
  EinsumPlan plan;
  for (size_t k = 0; k < ranks.size(); ++k)
    plan.operands.push_back(labels_of(equation.operands[k], ellipsis[k], widest));
  plan.output = labels_of(equation.output, widest, widest);
  compact(plan);
  return plan;
}

Result<Types> Einsum::infer(const InferArgs& args) const {
  const DType type = args.type(0).dtype;
  if (!is_numeric(type)) return invalid("einsum of {}", name(type));
  bool ranked = true;
  for (const TensorType& t : args.types) {
    if (t.dtype != type) return invalid("einsum of {} and {}", name(type), name(t.dtype));
    ranked &= t.shape.ranked;
  }
  HONE_TRY(const EinsumPlan plan, plan_for(equation, args.types));
  if (!ranked && equation.find(kEllipsis) != std::string::npos) return Types{{type, Shape::unranked()}};
  HONE_TRY(const auto dims, label_dims(plan, args.types));
  Shape shape;
  for (int label : plan.output) shape.dims.push_back(dims[static_cast<size_t>(label)]);
  return Types{{type, shape}};
}

Result<Tensors> Einsum::evaluate(const EvalArgs& args) const {
  const Types types = types_of(args);
  HONE_TRY(const Types out, infer({types, {}, 1}));
  HONE_TRY(const EinsumPlan plan, plan_for(equation, types));
  HONE_TRY(const auto dims, label_dims(plan, types));
  Dims sizes;
  for (const Dim& d : dims) sizes.push_back(d.value);
  const Dims out_dims = *out[0].shape.concrete();
  HONE_CHECK(checked_bytes(out[0].dtype, out_dims));
  return with_number(out[0].dtype, [&](auto zero) {
    return Tensors{tensor_from(out[0].dtype, out_dims, sum_of_products<decltype(zero)>(plan, args, sizes, out_dims))};
  });
}

std::span<const OpRow> einsum_ops() {
  static constexpr OpRow kRows[] = {op_row<Einsum>()};
  return kRows;
}

}  // namespace hone
