#pragma once

#include "kernel_rows.h"

// Kernels of images and of integers.
namespace hone {

inline const Row kMoreRows[] = {
    {"cuda.conv_direct", R"hone(graph {
      input %1 "x" : f32[2,4,5,6,7]
      input %2 "w" : f32[6,2,3,1,2]
      input %3 "b" : f32[6]
      %4 = Conv(%1, %2, %3) {strides=[1,2,1], dilations=[1,1,2], pads=[1,0,1,1,0,0], groups=2}
      output %4 "y"
    })hone"},
    {"cuda.conv_direct", R"hone(graph {
      input %1 "x" : f16[1,5,6,3]
      input %2 "w" : f16[8,3,3,3]
      %3 = Conv(%1, %2) {strides=[1,1], dilations=[1,1], pads=[1,1,1,1], channels_last=true}
      %4 = Pointwise(%3) {program="in0:f16; cast:f32(0); relu:f32(1); cast:f16(2)"}
      output %4 "y"
    })hone"},
    {"cuda.conv_direct", R"hone(graph {
      input %1 "x" : u8[1,4,9]
      input %2 "w" : i8[3,4,2]
      %3 = Conv(%1, %2) {strides=[2], dilations=[1], pads=[0,1]}
      output %3 "y"
    })hone"},
    {"cuda.conv_transpose", R"hone(graph {
      input %1 "x" : f32[1,4,5,6]
      input %2 "w" : f32[6,2,3,2]
      input %3 "b" : f32[4]
      %4 = ConvTranspose(%1, %2, %3)
        {strides=[1,2], dilations=[1,1], pads=[0,0,0,0], output_padding=[0,1], groups=2, channels_last=true}
      output %4 "y"
    })hone"},
    {"cuda.rnn", R"hone(graph {
      input %1 "x" : f16[3,2,5]
      input %2 "w" : f16[1,16,5]
      input %3 "r" : f16[1,16,4]
      input %4 "b" : f16[1,32]
      %5, %6, %7 = Rnn(%1, %2, %3, %4) {cell="lstm", hidden=4, activations=["sigmoid","tanh","tanh"],
        alpha=[0,0,0], beta=[0,0,0]}
      output %5 "y"
      output %6 "h"
    })hone"},
    {"cuda.conv_depthwise", R"hone(graph {
      input %1 "x" : f16[1,2,5,6]
      const %2 : f16[2,1,1,2] = [1, 2, 3, 4]
      %3 = Conv(%1, %2) {strides=[1,1], dilations=[1,1], pads=[0,0,0,0], groups=2}
      output %3 "y"
    })hone"},
    {"cuda.attention", R"hone(graph {
      input %1 "q" : f32[2,2,3,8]
      input %2 "k" : f32[2,2,9,8]
      input %3 "v" : f32[2,2,9,8]
      input %4 "mask" : bool[3,7]
      input %5 "lengths" : i64[2]
      input %6 "offset" : i64[1]
      %7 = Attention(%1, %2, %3, %4, %5, %6) {causal=true}
      output %7 "y"
    })hone"},
    {"cuda.grid_sample", R"hone(graph {
      input %1 "x" : f16[2,3,5,6]
      input %2 "grid" : f32[2,4,7,2]
      %3 = GridSample(%1, %2) {mode="cubic", padding="reflection"}
      output %3 "y"
    })hone"},
    {"cuda.grid_sample", R"hone(graph {
      input %1 "x" : f32[1,2,3,5,6]
      input %2 "grid" : f32[1,2,3,4,3]
      %3 = GridSample(%1, %2) {mode="nearest", padding="reflection", align_corners=true}
      output %3 "y"
    })hone"},
    {"cuda.grid_sample", R"hone(graph {
      input %1 "x" : bf16[1,2,5,6]
      input %2 "grid" : bf16[1,3,4,2]
      %3 = GridSample(%1, %2) {padding="border"}
      output %3 "y"
    })hone"},
    {"cuda.affine_grid", R"hone(graph {
      input %1 "theta" : f32[2,2,3]
      const %2 : i64[4] = [2, 3, 5, 6]
      %3 = AffineGrid(%1, %2) {align_corners=true}
      output %3 "y"
    })hone"},
    {"cuda.roi_align", R"hone(graph {
      input %1 "x" : f32[2,3,9,8]
      input %2 "rois" : f32[5,4]
      input %3 "images" : i64[5]
      %4 = RoiAlign(%1, %2, %3) {height=3, width=2, spatial_scale=0.25}
      output %4 "y"
    })hone"},
    {"cuda.roi_align", R"hone(graph {
      input %1 "x" : f16[2,3,9,8]
      input %2 "rois" : f16[5,4]
      input %3 "images" : i32[5]
      %4 = RoiAlign(%1, %2, %3) {mode="max", height=3, width=2, sampling_ratio=2, half_pixel=false}
      output %4 "y"
    })hone"},
    {"cuda.max_roi_pool", R"hone(graph {
      input %1 "x" : bf16[2,3,9,8]
      input %2 "rois" : bf16[5,5]
      %3 = MaxRoiPool(%1, %2) {height=3, width=2, spatial_scale=0.5}
      output %3 "y"
    })hone"},
    {"cuda.deform_conv", R"hone(graph {
      input %1 "x" : f32[2,4,9,8]
      input %2 "w" : f32[6,2,3,3]
      input %3 "offsets" : f32[2,36,9,8]
      input %4 "b" : f32[6]
      input %5 "mask" : f32[2,18,9,8]
      %6 = DeformConv(%1, %2, %3, %4, %5)
        {strides=[1,1], dilations=[1,1], pads=[1,1,1,1], groups=2, offset_groups=2}
      output %6 "y"
    })hone"},
    {"cuda.max_unpool", R"hone(graph {
      input %1 "x" : f16[2,3,4,5]
      input %2 "i" : i64[2,3,4,5]
      const %3 : i64[4] = [2, 3, 9, 9]
      %4 = MaxUnpool(%1, %2, %3) {kernel=[2,2], strides=[2,2], pads=[0,0,0,0]}
      output %4 "y"
    })hone"},
    {"cuda.col2im", R"hone(graph {
      input %1 "x" : f32[2,12,30]
      const %2 : i64[2] = [6, 7]
      const %3 : i64[2] = [2, 2]
      %4 = Col2Im(%1, %2, %3)
      output %4 "y"
    })hone"},
    {"cuda.pool", R"hone(graph {
      input %1 "x" : u8[2,3,8,9]
      %2, %3 = Pool(%1) {kernel=[2,3], strides=[2,3], dilations=[1,1], pads=[0,0,0,0], column_major=true}
      output %2 "y"
      output %3 "i"
    })hone"},
    {"cuda.pool", R"hone(graph {
      input %1 "x" : f16[2,3,4,5,6]
      %2 = Pool(%1) {kind="lp", p=3, kernel=[2,2,2], strides=[1,2,2], dilations=[1,1,1], pads=[0,0,0,0,0,0]}
      output %2 "y"
    })hone"},
    {"cuda.matmul", R"hone(graph {
      input %1 "a" : i32[3,17,5]
      input %2 "b" : i32[5,9]
      %3 = MatMul(%1, %2)
      output %3 "y"
    })hone"},
    {"cuda.quantize", R"hone(graph {
      input %1 "x" : f32[3,4,5]
      input %2 "s" : f32[3,2,5]
      input %3 "z" : i8[3,2,5]
      %4 = Quantize(%1, %2, %3) {type="i8", axis=1, block=2}
      output %4 "y"
    })hone"},
    {"cuda.dequantize", R"hone(graph {
      input %1 "x" : u16[3,4,5]
      input %2 "s" : f16[4]
      input %3 "z" : u16[4]
      %4 = Dequantize(%1, %2, %3) {type="f16", axis=1}
      output %4 "y"
    })hone"},
};

}  // namespace hone
