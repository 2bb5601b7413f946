#include "tools/report.h"

#include <algorithm>
#include <map>

#include "base/counted.h"
#include "engine/floor.h"
#include "engine/inspect.h"
#include "tools/memory_drawing.h"

namespace hone::tools {
namespace {

constexpr const char* kStyle = R"css(
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 76em; padding: 0 1em; color: #222; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .25em .6em; border-bottom: 1px solid #ddd; }
th { background: #f4f4f4; position: sticky; top: 0; }
td.number, th.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td.number { background: linear-gradient(to left, #bcd8f5 var(--share, 0%), transparent 0); }
details { color: #555; } summary { cursor: pointer; }
code { font-size: .93em; overflow-wrap: anywhere; }
svg { width: 100%; height: auto; } svg rect { stroke: #fff; stroke-width: .5; } svg text { font-size: 12px; }
svg .bound { stroke: #c00; stroke-dasharray: 6 4; }
)css";

template <class... Args>
void add(std::string& page, fmt::format_string<Args...> format, Args&&... args) {
  page += fmt::format(format, std::forward<Args>(args)...);
}

void add_row(std::string& page, std::string_view name, std::string_view value) {
  add(page, "<tr><th>{}</th><td>{}</td></tr>\n", name, escaped(value));
}

std::string bindings_text(const std::vector<Binding>& bindings) {
  std::string text;
  for (const Binding& b : bindings) text += fmt::format("{}{}: {}", text.empty() ? "" : ", ", b.name, to_text(b.type));
  return text;
}

// "fp32 (40), tf32 (17)".
std::string precisions_text(const Program& program) {
  std::map<std::string_view, int> counts;
  for (const Step& step : program.steps) ++counts[precision_of(step)];
  std::string text;
  for (const auto& [precision, count] : counts)
    text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", precision, counted(count, "step"));
  return text;
}

double total_us(const Program& program) {
  double sum = 0;
  for (const Step& step : program.steps) sum += step.time_us;
  return sum;
}

void add_summary(std::string& page, const Program& p) {
  page += "<table>\n";
  add_row(page, "inputs", bindings_text(p.inputs));
  add_row(page, "outputs", bindings_text(p.outputs));
  add_row(page, "target", fmt::format("{}, {}; {}", p.target, counted(p.threads, "thread"), p.device));
  add_row(page, "precision", precisions_text(p));
  if (const double us = total_us(p); us > 0)
    add_row(page, "time of the tuned steps", fmt::format("{:.3f} ms", us / 1e3));
  if (p.streams() > 1) add_row(page, "streams", fmt::format("{}", p.streams()));
  const MemorySummary& m = p.memory;
  add_row(page, "memory",
          fmt::format("arena {} (lower bound {}, without reuse {}, largest workspace {}), weights {}",
                      readable_bytes(m.arena_bytes), readable_bytes(m.lower_bound_bytes),
                      readable_bytes(m.without_reuse_bytes), readable_bytes(m.workspace_bytes),
                      readable_bytes(m.weights_bytes)));
  add_row(page, "build",
          fmt::format("{:.2f} s, {} timed, {} from the cache", p.build.seconds,
                      counted(p.build.tactics_timed, "tactic"), counted(p.build.cache_hits, "problem")));
  page += "</table>\n";
}

void add_layer(std::string& page, const Program& program, size_t index, double longest_us) {
  const Step& step = program.steps[index];
  add(page, "<tr><td class=\"number\">{}</td><td><code>{}</code>", index, escaped(layer_name(step)));
  if (step.sources.size() > 1) {
    add(page, "<details><summary>{} nodes</summary>", step.sources.size());
    for (const std::string& source : step.sources) add(page, "<code>{}</code><br>", escaped(source));
    page += "</details>";
  }
  add(page, "</td><td>{}</td><td>{}</td><td><code>{}/{}</code>", escaped(step.op), precision_of(step),
      escaped(step.tactic), step.variant);
  if (!step.library.empty()) add(page, "<br>{}: {}", escaped(step.library), escaped(step.algorithm));
  if (program.streams() > 1) add(page, "<br>stream {}", step.stream);
  if (!step.refused.empty()) {
    add(page, "<details><summary>{} refused</summary>", step.refused.size());
    for (const auto& [tactic, reason] : step.refused)
      add(page, "<code>{}</code>: {}<br>", escaped(tactic), escaped(reason));
    page += "</details>";
  }
  const auto floor = floor_us(program, step);
  add(page, "</td><td class=\"number\" style=\"--share: {:.1f}%\">{}</td><td class=\"number\">{}</td></tr>\n",
      longest_us > 0 ? 100 * step.time_us / longest_us : 0, step.time_us > 0 ? fmt::format("{:.1f}", step.time_us) : "",
      floor ? fmt::format("{:.1f}", *floor) : "");
}

void add_layers(std::string& page, const Program& program) {
  double longest = 0;
  for (const Step& step : program.steps) longest = std::max(longest, step.time_us);
  page +=
      "<table>\n<tr><th class=\"number\">#</th><th>layer</th><th>op</th><th>precision</th><th>tactic</th>"
      "<th class=\"number\">time, µs</th><th class=\"number\">floor, µs</th></tr>\n";
  for (size_t i = 0; i < program.steps.size(); ++i) add_layer(page, program, i, longest);
  page += "</table>\n<p>The time is that of tuning; the floor is what the machine's arithmetic and memory allow.</p>\n";
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string readable_bytes(int64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (value >= 1e9) return fmt::format("{:.2f} GB", value / 1e9);
  if (value >= 1e6) return fmt::format("{:.2f} MB", value / 1e6);
  return value >= 1e3 ? fmt::format("{:.2f} kB", value / 1e3) : fmt::format("{} B", bytes);
}

std::string html_report(const std::string& title, const Program& program) {
  std::string page = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
  page += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
  add(page, "<title>{0}</title>\n<style>{1}</style>\n</head>\n<body>\n<h1>{0}</h1>\n", escaped(title), kStyle);
  add_summary(page, program);
  page += "<h2>Layers</h2>\n";
  add_layers(page, program);
  page += "<h2>Memory plan</h2>\n";
  const std::string drawing = memory_svg(program);
  page += drawing.empty() ? "<p>There is no arena.</p>\n"
                          : drawing +
                                "<p>Each block is a value in the arena from the step that writes it to the last "
                                "that reads it; grey ones are workspaces.</p>\n";
  return page + "</body>\n</html>\n";
}

}  // namespace hone::tools
