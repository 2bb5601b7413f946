#pragma once

#include "kernels/cpu/planes/planes_impl.h"

namespace hone::cpu::HONE_TIER_NS {

static void quantize_pixels(const PixelRun& run, const Quantizer& by, int8_t* y) {
  convert_pixels(run, QuantizeLanes{by}, reinterpret_cast<uint8_t*>(y));
}

extern const QuantizePixelsFn kQuantizePixels;
const QuantizePixelsFn kQuantizePixels = quantize_pixels;

}  // namespace hone::cpu::HONE_TIER_NS
