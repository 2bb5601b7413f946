#pragma once

// A graph for each kernel, and more where its source differs.
namespace hone {

struct Row {
  const char* tactic;  // that a step must have
  const char* graph;
};

inline const Row kRows[] = {
    {"cuda.pointwise", R"hone(graph {
      input %1 "x" : f32[2,3,5]
      input %2 "b" : f32[3,1]
    %3 = Pointwise(%1, %2) {program="in0:f32; in1:f32; add:f32(0,1); gelu_erf:f32(2); constant:f32(-inf); max:f32(3,4)"}
      output %3 "y"
    })hone"},
    {"cuda.pointwise", R"hone(graph {
      input %1 "x" : i32[7]
    %2 = Pointwise(%1) {program="in0:i32; constant:i32(3); less:bool(0,1); cast:f32(0); cast:f32(2); where:f32(2,3,4)"}
      output %2 "y"
    })hone"},
    {"cuda.pool", R"hone(graph {
      input %1 "x" : f32[1,9,9,4]
      %2 = Pool(%1) {kind="average", kernel=[3,3], strides=[2,2], dilations=[1,1], pads=[1,1,1,1], channels_last=true}
      output %2 "y"
    })hone"},
    {"cuda.pool", R"hone(graph {
      input %1 "x" : f32[1,4,9]
      %2 = Pool(%1) {kind="max", kernel=[3], strides=[2], dilations=[2], pads=[1,1]}
      output %2 "y"
    })hone"},
    {"cuda.matmul", R"hone(graph {
      input %1 "a" : f32[3,1,17,5]
      input %2 "b" : f32[2,5,9]
      %3 = MatMul(%1, %2)
      output %3 "y"
    })hone"},
    {"cuda.matmul", R"hone(graph {
      input %1 "a" : f32[300,63]
      input %2 "b" : f32[200,63]
      input %3 "bias" : f32[200]
      %4 = MatMul(%1, %2, %3) {trans_b=true}
      %5 = Pointwise(%4) {program="in0:f32; relu:f32(0)"}
      output %5 "y"
    })hone"},
    {"cuda.softmax", R"hone(graph {
      input %1 "x" : f32[2,7,3]
      %2 = Softmax(%1) {axis=1, log=true}
      output %2 "y"
    })hone"},
    {"cuda.layer_norm", R"hone(graph {
      input %1 "x" : f32[2,7,3]
      input %2 "s" : f32[3]
      input %3 "b" : f32[3]
      %4 = LayerNorm(%1, %2, %3) {axis=-1}
      output %4 "y"
    })hone"},
    {"cuda.reduce", R"hone(graph {
      input %1 "x" : f32[2,7,3]
      const %2 : i64[2] = [0, 2]
      %3 = Reduce(%1, %2) {kind="l2"}
      output %3 "y"
    })hone"},
    {"cuda.transpose", R"hone(graph {
      input %1 "x" : i64[2,7,3]
      %2 = Transpose(%1) {perm=[2,0,1]}
      output %2 "y"
    })hone"},
    {"cuda.expand", R"hone(graph {
      input %1 "x" : bool[7,1]
      const %2 : i64[3] = [2, 7, 3]
      %3 = Expand(%1, %2)
      output %3 "y"
    })hone"},
    {"cuda.concat", R"hone(graph {
      input %1 "x" : f16[2,3]
      input %2 "z" : f16[2,5]
      %3 = Concat(%1, %2) {axis=1}
      output %3 "y"
    })hone"},
    {"cuda.split", R"hone(graph {
      input %1 "x" : f32[2,8]
      const %2 : i64[2] = [3, 5]
      %3, %4 = Split(%1, %2) {axis=1}
      output %3 "y"
      output %4 "z"
    })hone"},
    {"cuda.gather", R"hone(graph {
      input %1 "x" : f32[2,8]
      const %2 : i64[2] = [-1, 5]
      %3 = Gather(%1, %2) {axis=1}
      output %3 "y"
    })hone"},
    {"cuda.slice", R"hone(graph {
      input %1 "x" : f16[7,16]
      const %2 : i64[2] = [1, 8]
      const %3 : i64[2] = [6, 16]
      %4 = Slice(%1, %2, %3)
      output %4 "y"
    })hone"},
    {"cuda.slice", R"hone(graph {
      input %1 "x" : i64[3,7]
      const %2 : i64[1] = [-1]
      const %3 : i64[1] = [0]
      const %4 : i64[1] = [1]
      const %5 : i64[1] = [-2]
      %6 = Slice(%1, %2, %3, %4, %5)
      output %6 "y"
    })hone"},
    {"cuda.tile", R"hone(graph {
      input %1 "x" : i8[3,5]
      const %2 : i64[2] = [2, 16]
      %3 = Tile(%1, %2)
      output %3 "y"
    })hone"},
    {"cuda.pad", R"hone(graph {
      input %1 "x" : f32[2,5,8]
      const %2 : i64[6] = [0, 1, 0, 0, 2, 0]
      input %3 "v" : f32[1]
      %4 = Pad(%1, %2, %3)
      output %4 "y"
    })hone"},
    {"cuda.pad", R"hone(graph {
      input %1 "x" : bool[5,7]
      const %2 : i64[4] = [2, 3, -1, 1]
      %3 = Pad(%1, %2) {mode="edge"}
      output %3 "y"
    })hone"},
    {"cuda.pad", R"hone(graph {
      input %1 "x" : bool[5,7]
      const %2 : i64[4] = [2, 3, -1, 1]
      %3 = Pad(%1, %2) {mode="wrap"}
      output %3 "y"
    })hone"},
    {"cuda.pad", R"hone(graph {
      input %1 "x" : bool[5,7]
      const %2 : i64[4] = [2, 3, -1, 1]
      %3 = Pad(%1, %2) {mode="reflect"}
      output %3 "y"
    })hone"},
    {"cuda.resize", R"hone(graph {
      input %1 "x" : f16[1,5,7,16]
      const %2 : f32[4] = [1, 2, 2, 1]
      %3 = Resize(%1, _, %2) {coordinates="asymmetric"}
      output %3 "y"
    })hone"},
    {"cuda.resize", R"hone(graph {
      input %1 "x" : f32[1,3,5,7]
      const %2 : i64[4] = [1, 3, 8, 9]
      %3 = Resize(%1, _, _, %2) {mode="cubic"}
      output %3 "y"
    })hone"},
    {"cuda.conv_transpose", R"hone(graph {
      input %1 "x" : f32[1,4,5,2]
      const %2 : f32[2,4,1,2] = [1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8]
      const %3 : f32[4] = [1, 2, 3, 4]
      %4 = ConvTranspose(%1, %2, %3)
        {strides=[1,2], dilations=[1,1], pads=[0,0,0,0], output_padding=[0,1],
         channels_last=true}
      %5 = Pointwise(%4) {program="in0:f32; relu:f32(0)"}
      output %5 "y"
    })hone"},
    {"cuda.conv_transpose", R"hone(graph {
      input %1 "x" : f16[1,2,3,4,5]
      const %2 : f16[2,1,1,2,2] = [1, 2, 3, 4, 5, 6, 7, 8]
      %3 = ConvTranspose(%1, %2)
        {strides=[1,2,2], dilations=[1,1,1], pads=[0,0,0,0,1,0], output_padding=[0,1,0], groups=2}
      output %3 "y"
    })hone"},
    {"cuda.group_norm_columns", R"hone(graph {
      input %1 "x" : f32[2,3,5,48]
      input %2 "s" : f32[48]
      input %3 "b" : f32[48]
      %4 = GroupNorm(%1, %2, %3) {groups=3, channels_last=true}
      output %4 "y"
    })hone"},
    {"cuda.group_norm_columns", R"hone(graph {
      input %1 "x" : f32[2,3,5,48]
      %2 = GroupNorm(%1) {channels_last=true}
      output %2 "y"
    })hone"},
    {"cuda.group_norm", R"hone(graph {
      input %1 "x" : f16[2,12,3,5,2]
      %2 = GroupNorm(%1) {groups=3}
      output %2 "y"
    })hone"},
    {"cuda.group_norm", R"hone(graph {
      input %1 "x" : f32[2,3,5,40]
      %2 = GroupNorm(%1) {groups=2, channels_last=true}
      output %2 "y"
    })hone"},
    {"cuda.lrn", R"hone(graph {
      input %1 "x" : f32[2,7,3,5]
      %2 = Lrn(%1) {size=5}
      output %2 "y"
    })hone"},
    {"cuda.reduce", R"hone(graph {
      input %1 "x" : f32[2,7,3]
      %2 = Reduce(%1) {kind="log_sum_exp"}
      output %2 "y"
    })hone"},
    {"cuda.reduce_integers", R"hone(graph {
      input %1 "x" : i64[2,7,3]
      const %2 : i64[1] = [1]
      %3 = Reduce(%1, %2) {kind="mean"}
      output %3 "y"
    })hone"},
    {"cuda.reduce_integers", R"hone(graph {
      input %1 "x" : bool[2,7,3]
      %2 = Reduce(%1) {kind="max"}
      output %2 "y"
    })hone"},
    {"cuda.arg_reduce", R"hone(graph {
      input %1 "x" : f16[7,3,50]
      %2 = ArgReduce(%1) {axis=2, select_last=true}
      output %2 "y"
    })hone"},
    {"cuda.arg_reduce", R"hone(graph {
      input %1 "x" : i64[7,3,50]
      %2 = ArgReduce(%1) {axis=1, smallest=true}
      output %2 "y"
    })hone"},
    {"cuda.top_k", R"hone(graph {
      input %1 "x" : f32[2,9000]
      const %2 : i64[1] = [100]
      %3, %4 = TopK(%1, %2) {axis=1}
      output %3 "y"
      output %4 "z"
    })hone"},
    {"cuda.top_k", R"hone(graph {
      input %1 "x" : i8[2,9000]
      const %2 : i64[1] = [100]
      %3, %4 = TopK(%1, %2) {axis=1}
      output %3 "y"
      output %4 "z"
    })hone"},
    {"cuda.top_k", R"hone(graph {
      input %1 "x" : u32[2,9000]
      const %2 : i64[1] = [100]
      %3, %4 = TopK(%1, %2) {axis=1}
      output %3 "y"
      output %4 "z"
    })hone"},
    {"cuda.cumulate", R"hone(graph {
      input %1 "x" : bf16[3,77]
      const %2 : i64[1] = [1]
      %3 = Cumulate(%1, %2) {exclusive=true, reverse=true}
      output %3 "y"
    })hone"},
    {"cuda.cumulate", R"hone(graph {
      input %1 "x" : i64[77,33]
      const %2 : i64[1] = [0]
      %3 = Cumulate(%1, %2) {kind="prod"}
      output %3 "y"
    })hone"},
    {"cuda.gather_elements", R"hone(graph {
      input %1 "x" : f32[3,7]
      input %2 "i" : i64[3,4]
      %3 = GatherElements(%1, %2) {axis=1}
      output %3 "y"
    })hone"},
    {"cuda.gather_nd", R"hone(graph {
      input %1 "x" : bool[3,7,5]
      input %2 "i" : i32[3,4,1]
      %3 = GatherND(%1, %2) {batch_dims=1}
      output %3 "y"
    })hone"},
    {"cuda.scatter", R"hone(graph {
      input %1 "x" : f32[3,7]
      input %2 "i" : i64[3,4]
      input %3 "u" : f32[3,4]
      %4 = ScatterElements(%1, %2, %3) {axis=1}
      output %4 "y"
    })hone"},
    {"cuda.scatter", R"hone(graph {
      input %1 "x" : f16[9,7]
      input %2 "i" : i64[4,1]
      input %3 "u" : f16[4,7]
      %4 = ScatterND(%1, %2, %3) {reduction="add"}
      output %4 "y"
    })hone"},
    {"cuda.scatter", R"hone(graph {
      input %1 "x" : i64[9,7]
      input %2 "i" : i64[4,1]
      input %3 "u" : i64[4,7]
      %4 = ScatterND(%1, %2, %3) {reduction="add"}
      output %4 "y"
    })hone"},
    {"cuda.rnn", R"hone(graph {
      input %1 "x" : f32[5,2,1]
      const %2 : f32[1,4,1] = [1, 2, 3, 4]
      const %3 : f32[1,4,1] = [4, 3, 2, 1]
      %4, %5, %6 = Rnn(%1, %2, %3) 
        {activations=["sigmoid","tanh","tanh"],
        alpha=[0.0,0.0,0.0], beta=[0.0,0.0,0.0]}
      output %4 "y"
      output %5 "h"
      output %6 "c"
    })hone"},
    {"cuda.rnn", R"hone(graph {
      input %1 "x" : f32[5,2,1]
      const %2 : f32[2,3,1] = [1, 2, 3, 4, 5, 6]
      const %3 : f32[2,3,1] = [4, 3, 2, 1, 2, 3]
      const %4 : f32[2,6] = [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6]
      input %5 "lengths" : i32[2]
      input %6 "h" : f32[2,2,1]
      %7 = Rnn(%1, %2, %3, %4, %5, %6) {cell="gru", direction="bidirectional", clip=3.0,
        activations=["sigmoid","tanh","sigmoid","tanh"],
        alpha=[1.0,1.0,1.0,1.0], beta=[1.0,1.0,1.0,1.0]}
      output %7 "y"
    })hone"},
    {"cuda.rnn", R"hone(graph {
      input %1 "x" : f32[5,2,1]
      const %2 : f32[2,3,1] = [1, 2, 3, 4, 5, 6]
      const %3 : f32[2,3,1] = [4, 3, 2, 1, 2, 3]
      const %4 : f32[2,6] = [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6]
      input %5 "lengths" : i32[2]
      input %6 "h" : f32[2,2,1]
      %7 = Rnn(%1, %2, %3, %4, %5, %6) {cell="gru", direction="bidirectional", clip=3.0,
        activations=["relu","affine","relu","affine"],
        alpha=[1.0,1.0,1.0,1.0], beta=[1.0,1.0,1.0,1.0]}
      output %7 "y"
    })hone"},
    {"cuda.rnn", R"hone(graph {
      input %1 "x" : f32[5,2,1]
      const %2 : f32[2,3,1] = [1, 2, 3, 4, 5, 6]
      const %3 : f32[2,3,1] = [4, 3, 2, 1, 2, 3]
      const %4 : f32[2,6] = [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6]
      input %5 "lengths" : i32[2]
      input %6 "h" : f32[2,2,1]
      %7 = Rnn(%1, %2, %3, %4, %5, %6) {cell="gru", direction="bidirectional", clip=3.0,
        activations=["leakyrelu","thresholdedrelu","leakyrelu","thresholdedrelu"],
        alpha=[1.0,1.0,1.0,1.0], beta=[1.0,1.0,1.0,1.0]}
      output %7 "y"
    })hone"},
    {"cuda.rnn", R"hone(graph {
      input %1 "x" : f32[5,2,1]
      const %2 : f32[2,3,1] = [1, 2, 3, 4, 5, 6]
      const %3 : f32[2,3,1] = [4, 3, 2, 1, 2, 3]
      const %4 : f32[2,6] = [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6]
      input %5 "lengths" : i32[2]
      input %6 "h" : f32[2,2,1]
      %7 = Rnn(%1, %2, %3, %4, %5, %6) {cell="gru", direction="bidirectional", clip=3.0,
        activations=["scaledtanh","hardsigmoid","scaledtanh","hardsigmoid"],
        alpha=[1.0,1.0,1.0,1.0], beta=[1.0,1.0,1.0,1.0]}
      output %7 "y"
    })hone"},
    {"cuda.rnn", R"hone(graph {
      input %1 "x" : f32[5,2,1]
      const %2 : f32[2,3,1] = [1, 2, 3, 4, 5, 6]
      const %3 : f32[2,3,1] = [4, 3, 2, 1, 2, 3]
      const %4 : f32[2,6] = [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6]
      input %5 "lengths" : i32[2]
      input %6 "h" : f32[2,2,1]
      %7 = Rnn(%1, %2, %3, %4, %5, %6) {cell="gru", direction="bidirectional", clip=3.0,
        activations=["elu","softsign","elu","softsign"],
        alpha=[1.0,1.0,1.0,1.0], beta=[1.0,1.0,1.0,1.0]}
      output %7 "y"
    })hone"},
    {"cuda.rnn", R"hone(graph {
      input %1 "x" : f32[5,2,1]
      const %2 : f32[2,3,1] = [1, 2, 3, 4, 5, 6]
      const %3 : f32[2,3,1] = [4, 3, 2, 1, 2, 3]
      const %4 : f32[2,6] = [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6]
      input %5 "lengths" : i32[2]
      input %6 "h" : f32[2,2,1]
      %7 = Rnn(%1, %2, %3, %4, %5, %6) {cell="gru", direction="bidirectional", clip=3.0,
        activations=["softplus","sigmoid","softplus","sigmoid"],
        alpha=[1.0,1.0,1.0,1.0], beta=[1.0,1.0,1.0,1.0]}
      output %7 "y"
    })hone"},
    {"cuda.pool", R"hone(graph {
      input %1 "x" : i8[1,9,9,16]
      %2 = Pool(%1) {kind="max", kernel=[3,3], strides=[2,2], dilations=[1,1], pads=[1,1,1,1],
        channels_last=true}
      output %2 "y"
    })hone"},
    {"cuda.pointwise", R"hone(graph {
      input %1 "x" : i8[33]
      input %2 "s" : i8[33]
      %3 = Pointwise(%1, %2)
        {program="in0:i8; in1:i8; div:i8(0,1); mod:i8(0,1); pow:i8(2,3); fmod:i8(4,1); clip:i8(5,0,1); abs:i8(6)"}
      output %3 "y"
    })hone"},
    {"cuda.pointwise", R"hone(graph {
      input %1 "x" : u8[32]
      input %2 "s" : u8[32]
      %3 = Pointwise(%1, %2)
        {program="in0:u8; in1:u8; shift_left:u8(0,1); shift_right:u8(2,1); bit_not:u8(3); square:u8(4); sign:u8(5)"}
      output %3 "y"
    })hone"},
    {"cuda.concat", R"hone(graph {
      input %1 "x" : f16[2,8]
      input %2 "z" : f16[2,16]
      %3 = Concat(%1, %2) {axis=1}
      output %3 "y"
    })hone"},
    {"cuda.gather_indices", R"hone(graph {
      input %1 "x" : f16[9,8]
      input %2 "i" : i64[2,3]
      %3 = Gather(%1, %2)
      output %3 "y"
    })hone"},
};

}  // namespace hone
