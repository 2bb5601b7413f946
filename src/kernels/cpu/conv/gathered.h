// What convolutions whose windows are gathered share, whatever their elements. A block of output pixels is gathered
// into rows, one a pixel, in the form that an inner kernel multiplies: widened, shifted or rounded, zeros where the
// window is outside, and padded to the kernel's step. That is a small part of the work, since each row meets every
// panel of columns. Where memory has that form already, rows are pointers to the lines of their windows.
#pragma once

#include <cstring>

#include "kernels/cpu/conv/conv.h"

namespace hone::cpu {

// Windows of neighbouring output pixels, each of so many lines, that lie whole in the image.
struct WindowRun {
  const std::byte* from = nullptr;  // the first line of the first window
  int64_t pixels = 1, pixel_step = 0;
  int64_t lines = 1, line_step = 0;  // bytes from line to line of a window
  int64_t count = 0;                 // values of a line
  std::byte* to = nullptr;           // a window's lines lie behind each other
  int64_t to_step = 0;               // bytes from window to window
};

constexpr int64_t kShallow = 64;  // values of a sum that are few

// What an inner kernel multiplies: rows as gathered by panels of packed columns, a tile at once.
struct TileForm {
  int rows = 0;           // most rows of a tile
  int shallow_rows = 0;   // of sums of few values, which are finished while others are multiplied; 0: as many
  int panel = 0;          // most columns of a panel
  int vector = 0;         // 0, or what the columns of a panel are a multiple of: panels are then as equal as can be
  int sums = 0;           // vectors of sums that a tile may have, where panels have vectors
  int k_unit = 0;         // values of k taken at once
  int k_step = 0;         // what the depth of a sum is padded to, a multiple of k_unit
  int in_bytes = 0;       // of an activation in memory
  int a_bytes = 0;        // of an activation as gathered
  int b_bytes = 0;        // of a weight
  int start_bytes = 0;    // of what a panel holds for each column before its weights
  int zero = 0;           // the value of the bytes that 0 is gathered as
  bool pads = false;      // whether what the depth is padded with must be `zero`, not just any values
  bool in_place = false;  // whether values in memory have the form that they are gathered in
  // In the order of the windows. May write up to 64 bytes more: what lies behind is gathered later.
  void (*gather)(WindowRun run) = nullptr;
  // Around the tiles of a thread's task; null: nothing to do.
  void (*begin)() = nullptr;
  void (*end)() = nullptr;

  // Of a tile of sums of so many values.
  int tile_rows(int64_t depth) const { return shallow_rows > 0 && depth <= kShallow ? shallow_rows : rows; }
};

// How work is shared out; 0: chosen by the shape.
struct GatherSharing {
  int threads = 1;        // size of the pool that the run will get
  int split = 0;          // what threads share out: 1 rows, 2 output channels
  int row_block = 0;      // output pixels a block
  bool in_place = false;  // rows are not gathered where the kernel can do without
};

// Where a kernel finds rows: at equal distances, or the lines of their windows in place.
struct TileRows {
  const std::byte* first = nullptr;
  int64_t ld = 0;  // bytes from row to row
  const std::byte* const* pointers = nullptr;
  int64_t pointers_ld = 0, lines = 1;

  bool in_place() const { return pointers != nullptr; }
  const std::byte* line(int64_t line, int64_t row) const { return pointers[line * pointers_ld + row]; }
  TileRows from(int64_t row) const {
    TileRows rest = *this;
    if (in_place()) rest.pointers += row;
    else rest.first += row * ld;
    return rest;
  }
};

struct GatherPlan {
  TileForm form;  // with the panel and the rows for these columns
  int64_t pixels = 0;
  int64_t groups = 1, cin = 0, cout = 0;  // after merging; channels of one group
  int64_t depth = 0;                      // of a sum, padded
  int64_t panels = 0, panel_bytes = 0;    // of one group; a panel is what its columns start from, then the columns
  int64_t a_ld = 0;                       // bytes from row to row as they are gathered
  bool in_place = false;                  // they are not
  int64_t lines = 1;                      // that a row is multiplied by, each a step or more
  int64_t row_block = 0, row_blocks = 0, column_blocks = 1;

  int tile_rows() const { return form.tile_rows(depth); }
  size_t packed_bytes() const { return static_cast<size_t>(groups * panels * panel_bytes); }
  int64_t steps() const { return depth / lines / form.k_unit; }  // of a line
  int64_t line_bytes() const { return depth / lines * form.a_bytes; }
  int64_t pointer_bytes() const { return lines * row_block * static_cast<int64_t>(sizeof(void*)); }
  int64_t rows_bytes() const;    // of a task's gathered rows or pointers, and what is written behind them
  int64_t worker_bytes() const;  // those, then 4 bytes for each sum of a tile
  int64_t tasks() const { return column_blocks * groups * row_blocks; }
};

// Without how the work is shared out, which packed weights do not depend on.
GatherPlan packed_plan(const ConvProblem& p, const TileForm& form);
GatherPlan gather_plan(const ConvProblem& p, const TileForm& form, const GatherSharing& sharing);

// Rows [row, row + count) by the panels [first, last) of a group.
struct GatherTask {
  int64_t group, first, last, row, count;
};

GatherTask task_of(const GatherPlan& plan, int64_t index);
// The rows of a task, with `to` as memory: in the input where the plan says so.
TileRows rows_of(const ConvProblem& p, const GatherPlan& plan, const void* in, const GatherTask& task, std::byte* to);

// Where a weight lies: data[out * stride_out + in * stride_in + tap * stride_tap].
template <class T>
struct WeightView {
  const T* data = nullptr;
  int64_t stride_out = 0, stride_in = 0, stride_tap = 0;
};

// Calls f(panel, lane, place, weight) for each weight, on zeroed memory: its panel's bytes, its column there, and its
// index among the weights of the panel.
template <class T, class F>
void for_each_weight(const ConvProblem& p, const GatherPlan& plan, const WeightView<T>& weights, void* packed, F f) {
  const TileForm& form = plan.form;
  const int64_t cin = p.cin / p.groups, cout = p.cout / p.groups;
  std::memset(packed, 0, plan.packed_bytes());
  for (int64_t out = 0; out < p.cout; ++out) {
    const int64_t column = out % plan.cout, lane = column % form.panel, first = out / cout * cin % plan.cin;
    std::byte* panel =
        static_cast<std::byte*>(packed) + (out / plan.cout * plan.panels + column / form.panel) * plan.panel_bytes;
    for (int64_t tap = 0; tap < p.kh * p.kw; ++tap) {
      for (int64_t c = 0; c < cin; ++c) {
        const int64_t k = tap * plan.cin + first + c;
        f(panel, lane, (k / form.k_unit * form.panel + lane) * form.k_unit + k % form.k_unit,
          weights.data[out * weights.stride_out + c * weights.stride_in + tap * weights.stride_tap]);
      }
    }
  }
}

}  // namespace hone::cpu
