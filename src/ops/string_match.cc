#include <wctype.h>

#include <algorithm>
#include <clocale>
#include <map>
#include <numeric>
#include <regex>
#include <set>

#include "base/counted.h"
#include "ops/strings.h"

namespace hone {
namespace {

// Code points of UTF-8 text; what is not UTF-8 becomes U+FFFD, a byte at a time.
std::wstring to_wide(std::string_view text) {
  std::wstring out;
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const size_t length = lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 0;
    uint32_t point = length == 1 ? lead : lead & (0x7fu >> length);
    bool good = length > 0 && i + length <= text.size();
    for (size_t k = 1; good && k < length; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      good = (next & 0xc0) == 0x80;
      point = point << 6 | (next & 0x3f);
    }
    out.push_back(good ? static_cast<wchar_t>(point) : L'\xfffd');
    i += good ? length : 1;
  }
  return out;
}

std::string to_utf8(std::wstring_view text) {
  std::string out;
  for (wchar_t c : text) {
    const auto point = static_cast<uint32_t>(c);
    if (point < 0x80) {
      out.push_back(static_cast<char>(point));
      continue;
    }
    const int more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    out.push_back(static_cast<char>((0xf0u << (3 - more) & 0xffu) | point >> (6 * more)));
    for (int k = more - 1; k >= 0; --k) out.push_back(static_cast<char>(0x80u | (point >> (6 * k) & 0x3fu)));
  }
  return out;
}

std::string change_case(const std::string& text, const std::string& change) {
  if (change == "NONE") return text;
  static const locale_t unicode = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  std::wstring wide = to_wide(text);
  for (wchar_t& c : wide) {
    const auto w = static_cast<wint_t>(c);
    if (unicode != nullptr)
      c = static_cast<wchar_t>(change == "LOWER" ? towlower_l(w, unicode) : towupper_l(w, unicode));
    else c = static_cast<wchar_t>(change == "LOWER" ? towlower(w) : towupper(w));
  }
  return to_utf8(wide);
}

constexpr size_t kLongest = 4096, kDeepest = 100;

// How long the pattern is once its counted repetitions are written out; too much when its groups nest too deep, for the
// library descends by recursion.
size_t written_out(std::string_view pattern) {
  constexpr size_t kTooMuch = kLongest + 1;
  std::vector<size_t> groups{0};  // the lengths of the open ones
  size_t last = 0;                // of what a repetition would repeat
  for (size_t i = 0; i < pattern.size(); ++i) {
    size_t added = 1;
    if (pattern[i] == '(') {
      if (groups.size() > kDeepest) return kTooMuch;
      groups.push_back(0);
      continue;
    }
    if (pattern[i] == ')' && groups.size() > 1) {
      added = groups.back() + 1;
      groups.pop_back();
    } else if (pattern[i] == '{') {
      size_t most = 1;
      for (size_t count = 0; ++i < pattern.size() && pattern[i] != '}'; most = std::max(most, count))
        count = std::isdigit(static_cast<unsigned char>(pattern[i]))
                    ? std::min(count * 10 + static_cast<size_t>(pattern[i] - '0'), kTooMuch)
                    : 0;
      added = last * most;
    } else if (pattern[i] == '\\') {
      ++i;
    }
    last = added;
    if ((groups.back() += added) > kLongest) return kTooMuch;
  }
  return std::accumulate(groups.begin(), groups.end(), size_t{0});
}

// Refuses what RE2 and ECMAScript read differently: classes and anchors of one of them, groups other than (?:...).
Status check_pattern(const std::string& pattern) {
  if (pattern.size() > kLongest || written_out(pattern) > kLongest)
    return unsupported("a pattern of over {} characters, repetitions written out, or with groups over {} deep",
                       kLongest, kDeepest);
  for (size_t i = 0; i + 1 < pattern.size(); ++i) {
    const char next = pattern[i + 1];
    if (pattern[i] == '(' && next == '?' && pattern.compare(i, 3, "(?:") != 0)
      return unsupported("pattern '{}': group '{}'", pattern, pattern.substr(i, 3));
    if (pattern[i] != '\\') continue;
    const bool letter = std::isalnum(static_cast<unsigned char>(next)) != 0;
    if (letter && std::string_view("dDsSwWbBtnrfvx").find(next) == std::string_view::npos)
      return unsupported("pattern '{}': escape '\\{}'", pattern, next);
    ++i;
  }
  return {};
}

Result<std::wregex> compile(const std::string& pattern) {
  HONE_CHECK(check_pattern(pattern));
  try {
    // Without backtracking, so that no input takes exponential time or deep recursion.
    return std::wregex(to_wide(pattern), std::regex_constants::ECMAScript | std::regex_constants::__polynomial);
  } catch (const std::regex_error& error) {
    return invalid("pattern '{}': {}", pattern, error.what());
  }
}

}  // namespace

Result<Types> StringNormalizer::infer(const InferArgs& args) const {
  const TensorType& x = args.type(0);
  if (x.dtype != DType::string) return invalid("input is {}, not string", to_text(x));
  if (change != "NONE" && change != "LOWER" && change != "UPPER")
    return invalid("there is no case change '{}'", change);
  if (!x.shape.ranked) return Types{{DType::string, Shape::unranked()}};
  const int64_t rank = x.shape.rank();
  if (rank != 1 && (rank != 2 || (x.shape.dims[0].known() && x.shape.dims[0].value != 1)))
    return invalid("input must be [C] or [1, C], not {}", to_text(x));
  if (rank == 1) return Types{{DType::string, Shape({Dim()})}};
  return Types{{DType::string, Shape({Dim(1), Dim()})}};
}

Result<Tensors> StringNormalizer::evaluate(const EvalArgs& args) const {
  const Tensor& x = args[0];
  if (x.rank() != 1 && (x.rank() != 2 || x.dims()[0] != 1))
    return invalid("input must be [C] or [1, C], not {}", to_string(x.dims()));
  const auto folded = [this](const std::string& text) { return case_sensitive ? text : change_case(text, "LOWER"); };
  std::set<std::string> stops;
  for (const std::string& word : stop_words) stops.insert(folded(word));
  std::vector<std::string> kept;
  for (const std::string& word : x.text())
    if (!stops.contains(folded(word))) kept.push_back(change_case(word, change));
  if (kept.empty()) kept.emplace_back();
  Dims dims = x.dims();
  dims.back() = static_cast<int64_t>(kept.size());
  return Tensors{Tensor::strings(std::move(dims), std::move(kept))};
}

Result<Types> RegexFullMatch::infer(const InferArgs& args) const {
  if (args.type(0).dtype != DType::string) return invalid("input is {}, not string", to_text(args.type(0)));
  HONE_CHECK(compile(pattern));
  return Types{{DType::boolean, args.type(0).shape}};
}

Result<Tensors> RegexFullMatch::evaluate(const EvalArgs& args) const {
  HONE_TRY(const std::wregex regex, compile(pattern));
  Tensor out(DType::boolean, args[0].dims());
  for (size_t i = 0; i < args[0].text().size(); ++i) {
    try {
      out.mutable_data<bool>()[i] = std::regex_match(to_wide(args[0].text()[i]), regex);
    } catch (const std::regex_error& error) {
      return invalid("pattern '{}': {}", pattern, error.what());
    }
  }
  return Tensors{out};
}

namespace {

// N-grams of item numbers, where equal items of the pool and of the input have equal numbers; -1 for items not in the
// pool.
struct Vocabulary {
  std::map<std::string, int64_t> words;
  std::map<int64_t, int64_t> numbers;

  int64_t number(const Tensor& t, int64_t i, bool grow) {
    const auto lookup = [&](auto& table, const auto& key) {
      const auto at = table.find(key);
      if (at != table.end()) return at->second;
      const auto fresh = static_cast<int64_t>(table.size());
      if (grow) table.emplace(key, fresh);
      return grow ? fresh : int64_t{-1};
    };
    if (t.type() == DType::string) return lookup(words, t.text()[static_cast<size_t>(i)]);
    return lookup(numbers, t.int_at(i));
  }
};

using Grams = std::map<std::vector<int64_t>, int64_t>;  // n-gram -> output position

Result<Grams> grams_of(const TfIdf& op, const Tensor& pool, Vocabulary& vocabulary) {
  Grams grams;
  size_t gram = 0;
  for (size_t k = 0; k < op.counts.size(); ++k) {
    const auto length = static_cast<int64_t>(k + 1);
    const int64_t from = op.counts[k], to = k + 1 < op.counts.size() ? op.counts[k + 1] : pool.count();
    if (from < 0 || from > to || to > pool.count() || (to - from) % length != 0)
      return invalid("{}-grams at [{}, {}) of a pool of {}", length, from, to, pool.count());
    for (int64_t at = from; at < to; at += length, ++gram) {
      if (gram >= op.indexes.size()) return invalid("the pool holds more than {} n-grams", op.indexes.size());
      if (length < op.min_length || length > op.max_length) continue;
      std::vector<int64_t> items;
      for (int64_t i = at; i < at + length; ++i) items.push_back(vocabulary.number(pool, i, true));
      grams[items] = op.indexes[gram];
    }
  }
  return grams;
}

// Adds the counts of one row's n-grams.
void count_grams(const TfIdf& op, const Grams& grams, std::span<const int64_t> row, std::span<double> counts) {
  const auto size = static_cast<int64_t>(row.size()),
             longest = std::min<int64_t>(op.max_length, static_cast<int64_t>(op.counts.size()));
  for (int64_t length = op.min_length; length <= longest; ++length) {
    // Skips do not matter to single items.
    const int64_t distances = length == 1 ? 1 : std::min(op.max_skip, size) + 1;
    for (int64_t distance = 1; distance <= distances; ++distance) {
      for (int64_t from = 0; from + distance * (length - 1) < size; ++from) {
        std::vector<int64_t> items;
        for (int64_t i = 0; i < length; ++i) items.push_back(row[static_cast<size_t>(from + i * distance)]);
        if (const auto at = grams.find(items); at != grams.end()) ++counts[static_cast<size_t>(at->second)];
      }
    }
  }
}

}  // namespace

Result<Types> TfIdf::infer(const InferArgs& args) const {
  const TensorType &x = args.type(0), &pool = args.type(1);
  if (mode != "TF" && mode != "IDF" && mode != "TFIDF") return invalid("there is no mode '{}'", mode);
  if ((x.dtype == DType::string) != (pool.dtype == DType::string) || (x.dtype != DType::string && !is_integer(x.dtype)))
    return invalid("input is {}, the pool {}", to_text(x), to_text(pool));
  if (min_length < 1 || max_length < min_length || max_skip < 0)
    return invalid("n-gram lengths [{}, {}], skip {}", min_length, max_length, max_skip);
  if (indexes.empty()) return invalid("there are no n-gram indexes");
  constexpr int64_t kLargest = int64_t{1} << 31;
  const auto [low, high] = std::minmax_element(indexes.begin(), indexes.end());
  if (*low < 0 || *high >= kLargest) return invalid("n-gram indexes [{}, {}]", *low, *high);
  if (!weights.empty() && weights.size() != indexes.size())
    return invalid("{} for {}", counted(weights.size(), "weight"), counted(indexes.size(), "n-gram"));
  if (!x.shape.ranked) return Types{{DType::f32, Shape::unranked()}};
  if (x.shape.rank() != 1 && x.shape.rank() != 2) return invalid("input must be [C] or [N, C], not {}", to_text(x));
  if (x.shape.rank() == 1) return Types{{DType::f32, Shape({Dim(*high + 1)})}};
  return Types{{DType::f32, Shape({x.shape.dims[0], Dim(*high + 1)})}};
}

Result<Tensors> TfIdf::evaluate(const EvalArgs& args) const {
  const Tensor& x = args[0];
  if (x.rank() != 1 && x.rank() != 2) return invalid("input must be [C] or [N, C], not {}", to_string(x.dims()));
  const int64_t width = *std::max_element(indexes.begin(), indexes.end()) + 1;
  const int64_t rows = x.rank() == 2 ? x.dims()[0] : 1, columns = x.dims().back();
  Vocabulary vocabulary;
  HONE_TRY(const Grams grams, grams_of(*this, args[1], vocabulary));
  Dims dims = x.dims();
  dims.back() = width;
  HONE_CHECK(checked_bytes(DType::f32, dims));
  Tensor out(DType::f32, dims);
  for (int64_t r = 0; r < rows; ++r) {
    std::vector<int64_t> row;
    for (int64_t c = 0; c < columns; ++c) row.push_back(vocabulary.number(x, r * columns + c, false));
    std::vector<double> counts(static_cast<size_t>(width), 0);
    count_grams(*this, grams, row, counts);
    for (int64_t i = 0; i < width; ++i) {
      double value = counts[static_cast<size_t>(i)];
      if (mode == "IDF") value = std::min(value, 1.0);
      // Weights go with the output positions, as in other runtimes.
      if (mode != "TF" && static_cast<size_t>(i) < weights.size()) value *= weights[static_cast<size_t>(i)];
      out.set(r * width + i, value);
    }
  }
  return Tensors{out};
}

}  // namespace hone
