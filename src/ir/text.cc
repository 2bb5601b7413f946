#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "ir/graph.h"

namespace hone {
namespace {

std::string quote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += {'\\', c};
    else if (c == '\n') out += "\\n";
    else if (c == '\t') out += "\\t";
    else if (static_cast<unsigned char>(c) < 0x20) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else out += c;
  }
  return out + '"';
}

bool is_word(std::string_view text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  if (text.empty() || !letter(text[0]) || text == "_") return false;
  return std::all_of(text.begin(), text.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '.'; });
}

std::string type_text(const TensorType& type) {
  std::string text(name(type.dtype));
  if (type.element != DType::none) text += fmt::format("<{}>", name(type.element));
  if (!type.shape.ranked) return text + "[*]";
  text += '[';
  for (size_t i = 0; i < type.shape.dims.size(); ++i) {
    const Dim& d = type.shape.dims[i];
    if (i > 0) text += ',';
    if (d.known()) text += std::to_string(d.value);
    else if (d.symbol.empty()) text += '?';
    else text += is_word(d.symbol) ? d.symbol : quote(d.symbol);
  }
  return text + ']';
}

// A double that reads back as a double, not as an integer.
std::string real_text(double value) {
  const std::string text = fmt::format("{}", value);
  return text.find_first_not_of("-0123456789") == std::string::npos ? text + ".0" : text;
}

template <class T>
std::string bits_text(const void* data, int64_t i) {
  return fmt::format("0x{:x}", static_cast<const T*>(data)[i]);
}

// The shortest number that reads back to the same bits; the bits themselves where there is none (NaN payloads).
std::string element_text(const Tensor& t, int64_t i) {
  switch (t.type()) {
    case DType::string: return quote(t.text()[static_cast<size_t>(i)]);
    case DType::u64: return fmt::format("{}", t.data<uint64_t>()[i]);
    case DType::c64: return fmt::format("{}, {}", t.data<float>()[2 * i], t.data<float>()[2 * i + 1]);
    case DType::c128: return fmt::format("{}, {}", t.data<double>()[2 * i], t.data<double>()[2 * i + 1]);
    default: break;
  }
  if (is_integer(t.type()) && size_of(t.type()) > 1) return fmt::format("{}", t.int_at(i));
  const double value = t.at(i);
  if (t.type() == DType::f64 && !std::isnan(value)) return fmt::format("{}", value);
  const size_t size = size_of(t.type());
  if (std::isnan(value) || size == 1) {
    Tensor back(t.type(), {});
    back.set(0, std::isnan(value) ? std::numeric_limits<double>::quiet_NaN() : value);
    if (std::memcmp(back.raw(), static_cast<const uint8_t*>(t.raw()) + static_cast<size_t>(i) * size, size) != 0) {
      if (size == 1) return bits_text<uint8_t>(t.raw(), i);
      if (size == 2) return bits_text<uint16_t>(t.raw(), i);
      return size == 4 ? bits_text<uint32_t>(t.raw(), i) : bits_text<uint64_t>(t.raw(), i);
    }
    if (std::isnan(value)) return "nan";
  }
  return fmt::format("{}", static_cast<float>(value));
}

uint64_t hash_of(const Tensor& t) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  const auto add = [&hash](const void* data, size_t size) {
    for (size_t i = 0; i < size; ++i) hash = (hash ^ static_cast<const uint8_t*>(data)[i]) * 0x100000001b3;
  };
  if (t.type() != DType::string) {
    add(t.raw(), t.bytes());
    return hash;
  }
  for (const std::string& s : t.text()) add(s.c_str(), s.size() + 1);
  return hash;
}

class Printer {
 public:
  explicit Printer(const TextOptions& options) : options_(options) {}

  void graph(const Graph& g, const std::string& indent) {
    out_ += fmt::format("graph {} {{\n", quote(g.name));
    const std::string inner = indent + "  ";
    for (const auto& [key, value] : g.metadata) line(inner, "meta {} = {}", quote(key), quote(value));
    for (ValueId v : g.inputs()) line(inner, "input {}{} : {}", ref(v), named(g, v), type_text(g.type(v)));
    for (ValueId v : g.values())
      if (g.value(v).is_constant()) constant(g, v, inner);
    for (NodeId id : g.order()) node(g, id, inner);
    for (size_t i = 0; i < g.outputs().size(); ++i)
      line(inner, "output {} {}", ref(g.outputs()[i]), quote(g.output_names()[i]));
    out_ += indent + "}";
  }

  std::string take() { return std::move(out_); }

 private:
  template <class... Args>
  void line(const std::string& indent, fmt::format_string<Args...> format, Args&&... args) {
    out_ += indent;
    out_ += fmt::format(format, std::forward<Args>(args)...);
    out_ += '\n';
  }

  // The text, after a comma when something precedes in the list.
  std::string& separate(bool comma) { return comma ? out_ += ", " : out_; }

  static std::string ref(ValueId v) { return v == ValueId::none ? "_" : fmt::format("%{}", index(v)); }
  static std::string named(const Graph& g, ValueId v) {
    return g.value(v).name.empty() ? "" : fmt::format(" {}", quote(g.value(v).name));
  }

  void constant(const Graph& g, ValueId v, const std::string& indent) {
    const Tensor& t = g.value(v).constant;
    out_ += fmt::format("{}const {}{} : {} = ", indent, ref(v), named(g, v), type_text(g.type(v)));
    if (t.count() > options_.max_inline) {
      out_ += options_.store ? fmt::format("@{}\n", options_.store(t)) : fmt::format("#{:016x}\n", hash_of(t));
      return;
    }
    out_ += '[';
    for (int64_t i = 0; i < t.count(); ++i) separate(i > 0) += element_text(t, i);
    out_ += "]\n";
  }

  void node(const Graph& g, NodeId id, const std::string& indent) {
    const Node& n = g.node(id);
    out_ += indent;
    for (size_t i = 0; i < n.outputs.size(); ++i)
      out_ += fmt::format("{}{}{} : {}", i > 0 ? ", " : "", ref(n.outputs[i]), named(g, n.outputs[i]),
                          type_text(g.type(n.outputs[i])));
    out_ += fmt::format(" = {}(", n.op.name());
    for (size_t i = 0; i < n.inputs.size(); ++i) separate(i > 0) += ref(n.inputs[i]);
    out_ += ')';
    const Attrs attrs = n.op.attrs();
    if (!attrs.empty()) {
      out_ += " {";
      for (auto it = attrs.begin(); it != attrs.end(); ++it) {
        separate(it != attrs.begin()) += it->first;
        out_ += '=';
        attr(it->second, indent);
      }
      out_ += '}';
    }
    for (size_t i = 0; i < n.sources.size(); ++i)
      out_ += fmt::format("{}{}", i > 0 ? ", " : " from ", quote(n.sources[i]));
    out_ += '\n';
  }

  template <class T, class F>
  void list(const std::vector<T>& values, F&& print) {
    out_ += '[';
    for (size_t i = 0; i < values.size(); ++i) separate(i > 0) += print(values[i]);
    out_ += ']';
  }

  void attr(const Attr& value, const std::string& indent) {
    std::visit(
        [&](const auto& v) {
          using T = std::decay_t<decltype(v)>;
          if constexpr (std::is_same_v<T, bool>) out_ += v ? "true" : "false";
          else if constexpr (std::is_same_v<T, int64_t>) out_ += std::to_string(v);
          else if constexpr (std::is_same_v<T, double>) out_ += real_text(v);
          else if constexpr (std::is_same_v<T, std::string>) out_ += quote(v);
          else if constexpr (std::is_same_v<T, std::vector<int64_t>>)
            list(v, [](int64_t i) { return std::to_string(i); });
          else if constexpr (std::is_same_v<T, std::vector<double>>) list(v, real_text);
          else if constexpr (std::is_same_v<T, std::vector<std::string>>) list(v, quote);
          else if (v == nullptr) out_ += "none";
          else graph(*v, indent + "  ");
        },
        value);
  }

  const TextOptions& options_;
  std::string out_;
};

}  // namespace

std::string to_text(const Graph& graph, const TextOptions& options) {
  Printer printer(options);
  printer.graph(graph, "");
  return printer.take() + "\n";
}

}  // namespace hone
