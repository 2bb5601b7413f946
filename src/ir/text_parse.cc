#include <charconv>
#include <cstring>
#include <limits>

#include "base/counted.h"
#include "ir/graph.h"

namespace hone {
namespace {

constexpr int kMaxDepth = 64;  // of nested subgraphs

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Cuts the text into words, numbers, strings and single marks.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) { skip(); }

  bool done() const { return at_ >= text_.size(); }
  char peek() const { return done() ? '\0' : text_[at_]; }
  int line() const { return line_; }

  template <class... Args>
  Status error(fmt::format_string<Args...> format, Args&&... args) const {
    return invalid("line {}: {}", line_, fmt::format(format, std::forward<Args>(args)...));
  }

  bool accept(char mark) {
    if (done() || text_[at_] != mark) return false;
    ++at_;
    skip();
    return true;
  }
  Status expect(char mark) {
    if (accept(mark)) return {};
    if (done()) return error("expected '{}' at the end of the text", mark);
    return error("expected '{}', found '{}'", mark, text_[at_]);
  }

  // A letter and what follows of letters, digits and dots; empty when there is none.
  std::string_view word() {
    const size_t start = at_;
    if (done() || !is_letter(text_[at_])) return {};
    while (!done() && (is_letter(text_[at_]) || is_digit(text_[at_]) || text_[at_] == '.')) ++at_;
    const auto found = text_.substr(start, at_ - start);
    skip();
    return found;
  }
  bool accept_word(std::string_view expected) {
    const auto before = *this;
    if (word() == expected) return true;
    *this = before;
    return false;
  }

  // The characters of a number; "nan", "inf" and "0x.." included.
  std::string_view number() {
    const size_t start = at_;
    while (!done() && (is_letter(text_[at_]) || is_digit(text_[at_]) || text_[at_] == '.' || text_[at_] == '-' ||
                       text_[at_] == '+'))
      ++at_;
    const auto found = text_.substr(start, at_ - start);
    skip();
    return found;
  }

  Result<std::string> string() {
    if (peek() != '"') return error("expected a quoted string");
    std::string out;
    for (++at_; !done(); ++at_) {
      const char c = text_[at_];
      if (c == '"') {
        ++at_;
        skip();
        return out;
      }
      if (c == '\n') break;
      if (c != '\\') {
        out += c;
        continue;
      }
      if (!escape(out)) return error("unknown escape in a string");
    }
    return error("a string does not end");
  }

 private:
  bool escape(std::string& out) {
    if (++at_ >= text_.size()) return false;
    switch (text_[at_]) {
      case 'n': out += '\n'; return true;
      case 't': out += '\t'; return true;
      case '"':
      case '\\': out += text_[at_]; return true;
      case 'x': {
        unsigned value = 0;
        if (text_.size() - at_ < 3) return false;
        const char* first = text_.data() + at_ + 1;
        if (std::from_chars(first, first + 2, value, 16).ptr != first + 2) return false;
        out += static_cast<char>(value);
        at_ += 2;
        return true;
      }
      default: return false;
    }
  }

  // White space, and comments from // to the end of the line.
  void skip() {
    while (!done()) {
      const char c = text_[at_];
      if (c == '\n') ++line_;
      if (c == '/' && text_.substr(at_, 2) == "//") {
        while (!done() && text_[at_] != '\n') ++at_;
        continue;
      }
      if (c != ' ' && c != '\n' && c != '\t' && c != '\r') return;
      ++at_;
    }
  }

  std::string_view text_;
  size_t at_ = 0;
  int line_ = 1;
};

template <class T>
bool whole(std::string_view text, T& value, int base = 10) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc() && end == text.data() + text.size();
}

bool real(std::string_view text, double& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

// Writes one number to a tensor, exactly.
bool store(Tensor& t, int64_t i, std::string_view text) {
  if (text.starts_with("0x")) {
    uint64_t bits = 0;
    const size_t size = size_of(t.type());
    if (size > 8 || !whole(text.substr(2), bits, 16) || (t.type() == DType::boolean && bits > 1)) return false;
    std::memcpy(static_cast<uint8_t*>(t.mutable_raw()) + static_cast<size_t>(i) * size, &bits, size);
    return true;
  }
  if (t.type() == DType::boolean && (text == "true" || text == "false")) {
    t.set_int(i, text == "true");
    return true;
  }
  if (is_integer(t.type())) {
    if (t.type() == DType::u64) return whole(text, t.mutable_data<uint64_t>()[i]);
    int64_t value = 0;
    if (!whole(text, value)) return false;
    t.set_int(i, value);
    return t.int_at(i) == value;
  }
  if (t.type() == DType::f32 || t.type() == DType::c64) {
    float& value = t.mutable_data<float>()[i];
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size();
  }
  double value = 0;
  if (!real(text, value)) return false;
  if (t.type() == DType::c128) t.mutable_data<double>()[i] = value;
  else t.set(i, value);
  return true;
}

struct Target {
  uint64_t id;
  std::string name;
  std::optional<TensorType> type;
};

// One graph of the text; nested ones get a parser of their own over the same scanner.
class Parser {
 public:
  Parser(Scanner& scan, const ConstantReader& read, int depth) : scan_(scan), read_(read), depth_(depth) {}

  // What follows the word "graph".
  Result<Graph> graph() {
    if (depth_ > kMaxDepth) return scan_.error("subgraphs are nested deeper than {}", kMaxDepth);
    if (scan_.peek() == '"') {
      HONE_TRY(graph_.name, scan_.string());
    }
    HONE_CHECK(scan_.expect('{'));
    while (!scan_.accept('}')) HONE_CHECK(line());
    return std::move(graph_);
  }

 private:
  Status line() {
    if (scan_.peek() == '%') return node();
    const auto word = scan_.word();
    if (word == "meta") return meta();
    if (word == "input") return input();
    if (word == "const") return constant();
    if (word == "output") return output();
    if (word.empty()) return scan_.error("expected meta, input, const, output, %id or '}}'");
    return scan_.error("expected meta, input, const or output, found '{}'", word);
  }

  Status meta() {
    HONE_TRY(std::string key, scan_.string());
    HONE_CHECK(scan_.expect('='));
    HONE_TRY(graph_.metadata[key], scan_.string());
    return {};
  }

  Status input() {
    HONE_TRY(Target t, target());
    if (!t.type) return scan_.error("input %{} has no type", t.id);
    return define(t.id, graph_.add_input(t.name, *t.type));
  }

  Status output() {
    HONE_TRY(ValueId v, operand());
    if (v == ValueId::none) return scan_.error("an output cannot be absent");
    HONE_TRY(std::string name, scan_.string());
    graph_.add_output(v, std::move(name));
    return {};
  }

  Status constant() {
    HONE_TRY(Target t, target());
    if (!t.type) return scan_.error("constant %{} has no type", t.id);
    HONE_CHECK(scan_.expect('='));
    if (scan_.peek() == '#') return scan_.error("constant %{} is given by its hash only and cannot be read back", t.id);
    const auto dims = t.type->shape.concrete();
    if (!dims) return scan_.error("constant %{} has unknown dims", t.id);
    const auto bytes = checked_bytes(t.type->dtype, *dims);
    if (!bytes.ok()) return scan_.error("constant %{}: {}", t.id, bytes.status().message());
    HONE_TRY(Tensor value, scan_.accept('@') ? stored(t, *dims) : elements(*t.type, *dims));
    return define(t.id, graph_.add_constant(std::move(value), t.name));
  }

  Result<Tensor> stored(const Target& t, const Dims& dims) {
    uint64_t number = 0;
    const auto text = scan_.number();
    if (!whole(text, number)) return scan_.error("'@{}' is not a stored constant", text);
    if (!read_) return scan_.error("constant %{} is stored elsewhere and cannot be read back", t.id);
    auto value = read_(number, t.type->dtype, dims);
    if (!value.ok()) return scan_.error("constant %{}: {}", t.id, value.status().message());
    return value;
  }

  // "[1, 2]": reads all before it allocates, so that the dims cannot ask for more than the text holds.
  Result<Tensor> elements(const TensorType& type, const Dims& dims) {
    if (!type.defined() || type.dtype == DType::sequence) return scan_.error("a constant needs an element type");
    const size_t expected = static_cast<size_t>(element_count(dims));
    HONE_CHECK(scan_.expect('['));
    std::vector<std::string> strings;
    std::vector<std::string_view> numbers;
    while (!scan_.accept(']')) {
      if (!(strings.empty() && numbers.empty())) HONE_CHECK(scan_.expect(','));
      if (type.dtype == DType::string) {
        HONE_TRY(std::string s, scan_.string());
        strings.push_back(std::move(s));
      } else {
        numbers.push_back(scan_.number());
        if (numbers.back().empty()) return scan_.error("expected a number, found '{}'", scan_.peek());
      }
    }
    const size_t count = is_complex(type.dtype) ? numbers.size() / 2 : strings.size() + numbers.size();
    if (count != expected || (is_complex(type.dtype) && numbers.size() % 2 != 0))
      return scan_.error("{} has {}, not {}", to_text(type), counted(expected, "element"), count);
    if (type.dtype == DType::string) return Tensor::strings(dims, std::move(strings));
    Tensor value(type.dtype, dims);
    for (size_t i = 0; i < numbers.size(); ++i)
      if (!store(value, static_cast<int64_t>(i), numbers[i]))
        return scan_.error("'{}' is not a number of type {}", numbers[i], name(type.dtype));
    return value;
  }

  Status node() {
    std::vector<Target> targets;
    do {
      HONE_TRY(Target t, target());
      targets.push_back(std::move(t));
    } while (scan_.accept(','));
    HONE_CHECK(scan_.expect('='));
    const std::string op_name(scan_.word());
    if (op_name.empty()) return scan_.error("expected the name of an op");
    HONE_TRY(auto inputs, operands());
    HONE_TRY(Attrs attrs, attributes());
    HONE_TRY(auto sources, origins());
    auto op = make_op(op_name, attrs);
    if (!op.ok()) return scan_.error("{}", op.status().message());
    auto added = graph_.add_node(std::move(*op), std::move(inputs), targets.size(), std::move(sources));
    if (!added.ok()) return scan_.error("{}: {}", op_name, added.status().message());
    for (size_t i = 0; i < targets.size(); ++i) {
      const ValueId v = graph_.node(*added).outputs[i];
      HONE_CHECK(define(targets[i].id, v));
      graph_.set_name(v, targets[i].name);
      if (!targets[i].type) continue;
      if (!compatible(*targets[i].type, graph_.type(v)))
        return scan_.error("%{} is given as {}, but {} makes it {}", targets[i].id, to_text(*targets[i].type), op_name,
                           to_text(graph_.type(v)));
      graph_.set_type(v, *targets[i].type);
    }
    return {};
  }

  Result<std::vector<ValueId>> operands() {
    std::vector<ValueId> inputs;
    HONE_CHECK(scan_.expect('('));
    while (!scan_.accept(')')) {
      if (!inputs.empty()) HONE_CHECK(scan_.expect(','));
      HONE_TRY(ValueId v, operand());
      inputs.push_back(v);
    }
    return inputs;
  }

  Result<ValueId> operand() {
    if (scan_.accept_word("_")) return ValueId::none;
    HONE_TRY(uint64_t number, id());
    const auto found = ids_.find(number);
    if (found == ids_.end()) return scan_.error("%{} is not defined before its use", number);
    return found->second;
  }

  Result<std::vector<std::string>> origins() {
    std::vector<std::string> sources;
    if (!scan_.accept_word("from")) return sources;
    do {
      HONE_TRY(std::string s, scan_.string());
      sources.push_back(std::move(s));
    } while (scan_.accept(','));
    return sources;
  }

  Result<Attrs> attributes() {
    Attrs attrs;
    if (!scan_.accept('{')) return attrs;
    while (!scan_.accept('}')) {
      if (!attrs.empty()) HONE_CHECK(scan_.expect(','));
      const std::string key(scan_.word());
      if (key.empty()) return scan_.error("expected the name of an attribute");
      HONE_CHECK(scan_.expect('='));
      HONE_TRY(Attr value, attribute());
      if (!attrs.emplace(key, std::move(value)).second) return scan_.error("attribute '{}' is given twice", key);
    }
    return attrs;
  }

  Result<Attr> attribute() {
    if (scan_.peek() == '"') {
      HONE_TRY(std::string s, scan_.string());
      return Attr(std::move(s));
    }
    if (scan_.accept('[')) return list();
    if (scan_.accept_word("graph")) {
      HONE_TRY(Graph body, Parser(scan_, read_, depth_ + 1).graph());
      return Attr(std::make_shared<const Graph>(std::move(body)));
    }
    if (scan_.accept_word("true")) return Attr(true);
    if (scan_.accept_word("false")) return Attr(false);
    if (scan_.accept_word("none")) return Attr(std::shared_ptr<const Graph>());
    return scalar();
  }

  Result<Attr> scalar() {
    const auto text = scan_.number();
    int64_t integer = 0;
    double number = 0;
    if (whole(text, integer)) return Attr(integer);
    if (real(text, number)) return Attr(number);
    return scan_.error("'{}' is not an attribute value", text);
  }

  Result<Attr> list() {
    std::vector<int64_t> integers;
    std::vector<double> numbers;
    std::vector<std::string> strings;
    bool all_whole = true;
    while (!scan_.accept(']')) {
      if (!(numbers.empty() && strings.empty())) HONE_CHECK(scan_.expect(','));
      if (scan_.peek() == '"') {
        HONE_TRY(std::string s, scan_.string());
        strings.push_back(std::move(s));
      } else {
        HONE_TRY(Attr value, scalar());
        const auto* integer = std::get_if<int64_t>(&value);
        all_whole &= integer != nullptr;
        integers.push_back(integer ? *integer : 0);
        numbers.push_back(integer ? static_cast<double>(*integer) : std::get<double>(value));
      }
      if (!strings.empty() && !numbers.empty()) return scan_.error("a list mixes strings and numbers");
    }
    if (!strings.empty()) return Attr(std::move(strings));
    return all_whole ? Attr(std::move(integers)) : Attr(std::move(numbers));
  }

  // %5 "name" : f32[2,3], name and type optional.
  Result<Target> target() {
    Target t;
    HONE_TRY(t.id, id());
    if (scan_.peek() == '"') {
      HONE_TRY(t.name, scan_.string());
    }
    if (scan_.accept(':')) {
      HONE_TRY(t.type, type());
    }
    return t;
  }

  Result<TensorType> type() {
    const auto word = scan_.word();
    const auto dtype = dtype_from_name(word);
    if (!dtype) return scan_.error("'{}' is not an element type", word);
    TensorType type{*dtype, {}};
    if (scan_.accept('<')) {
      const auto item = scan_.word();
      const auto element = dtype_from_name(item);
      if (!element) return scan_.error("'{}' is not an element type", item);
      type.element = *element;
      HONE_CHECK(scan_.expect('>'));
    }
    HONE_CHECK(scan_.expect('['));
    if (scan_.accept('*')) {
      type.shape = Shape::unranked();
      HONE_CHECK(scan_.expect(']'));
      return type;
    }
    while (!scan_.accept(']')) {
      if (!type.shape.dims.empty()) HONE_CHECK(scan_.expect(','));
      HONE_TRY(Dim d, dim());
      type.shape.dims.push_back(std::move(d));
    }
    if (const Status status = check_size(type); !status.ok()) return scan_.error("{}", status.message());
    return type;
  }

  Result<Dim> dim() {
    if (scan_.accept('?')) return Dim();
    if (scan_.peek() == '"') {
      HONE_TRY(std::string symbol, scan_.string());
      return Dim::named(std::move(symbol));
    }
    if (is_letter(scan_.peek())) return Dim::named(std::string(scan_.word()));
    const auto text = scan_.number();
    int64_t value = 0;
    if (!whole(text, value) || value < 0) return scan_.error("'{}' is not a dim", text);
    return Dim(value);
  }

  Result<uint64_t> id() {
    uint64_t number = 0;
    HONE_CHECK(scan_.expect('%'));
    const auto text = scan_.number();
    if (!whole(text, number)) return scan_.error("'%{}' is not a value", text);
    return number;
  }

  Status define(uint64_t id, ValueId v) {
    return ids_.emplace(id, v).second ? Status() : scan_.error("%{} is defined twice", id);
  }

  Scanner& scan_;
  const ConstantReader& read_;
  const int depth_;
  Graph graph_;
  std::map<uint64_t, ValueId> ids_;
};

}  // namespace

Result<Graph> graph_from_text(std::string_view text, const ConstantReader& read) {
  Scanner scan(text);
  if (!scan.accept_word("graph")) return scan.error("expected 'graph'");
  HONE_TRY(Graph graph, Parser(scan, read, 0).graph());
  if (!scan.done()) return scan.error("text follows the graph");
  // A type of the text that says less than inference, or more, may have let pass what a node refuses.
  if (const Status status = verify(graph); !status.ok()) return invalid("{}", status.message());
  return graph;
}

}  // namespace hone
