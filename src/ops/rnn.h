#pragma once

#include "ir/op.h"

namespace hone {

// Recurrent layers with ONNX's gate order and weight layout: rnn(x, w, r, b?, sequence_lens?, h0?, c0?, peepholes?).
// x: [time, batch, in]; w: [dirs, gates * hidden, in]; r: [dirs, gates * hidden, hidden]; b: [dirs, 2 * gates *
// hidden]; sequence_lens: i32 [batch]; h0 and c0: [dirs, batch, hidden]; peepholes: [dirs, 3 * hidden] for i, o, f.
// Gates: lstm i, o, f, c; gru z, r, h; rnn one. c0 and peepholes are for lstm only.
// Outputs: all states [time, dirs, batch, hidden] (zero after the end of a sequence), the last h [dirs, batch, hidden],
// and for lstm the last c.
struct Rnn {
  static constexpr std::string_view kName = "Rnn";
  std::string cell = "lstm";          // lstm, gru, rnn
  std::string direction = "forward";  // forward, reverse, bidirectional
  int64_t hidden = 1;
  // Lower-case names, for each direction f, g, h (lstm), f, g (gru) or f (rnn), with the parameters of each.
  std::vector<std::string> activations;
  std::vector<double> alpha, beta;
  double clip = 0;                   // bounds what goes into activations; 0: no bound
  bool linear_before_reset = false;  // gru: the reset gate applies after the recurrent product
  bool input_forget = false;         // lstm: f = 1 - i

  static void fields(auto& self, auto&& field) {
    field("cell", self.cell);
    field("direction", self.direction);
    field("hidden", self.hidden);
    field("activations", self.activations);
    field("alpha", self.alpha);
    field("beta", self.beta);
    field("clip", self.clip);
    field("linear_before_reset", self.linear_before_reset);
    field("input_forget", self.input_forget);
  }
  int64_t directions() const { return direction == "bidirectional" ? 2 : 1; }
  int64_t gates() const { return cell == "lstm" ? 4 : cell == "gru" ? 3 : 1; }
  size_t functions() const { return cell == "lstm" ? 3 : cell == "gru" ? 2 : 1; }  // a direction
  Result<Types> infer(const InferArgs& args) const;
  Result<Tensors> evaluate(const EvalArgs& args) const;
};

}  // namespace hone
