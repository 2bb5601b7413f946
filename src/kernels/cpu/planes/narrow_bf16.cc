#include "kernels/cpu/planes/planes_impl.inc"

namespace hone::cpu::HONE_TIER_NS {

static void narrow_pixels(const PixelRun& run, bf16* y) {
  convert_pixels(run, NarrowLanes(), reinterpret_cast<uint16_t*>(y));
}

extern const NarrowPixelsFn kNarrowPixels = narrow_pixels;

}  // namespace hone::cpu::HONE_TIER_NS
