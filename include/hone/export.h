#pragma once

#define HONE_API __attribute__((visibility("default")))

// The public types live in hone::v0, so that the symbols of releases that do not fit together differ; users write
// hone::. Hone's own sources have other types of the same names in hone: they set HONE_OWN_SOURCES and write v0:: in
// full.
#ifdef HONE_OWN_SOURCES
#define HONE_NAMESPACE_BEGIN namespace hone { namespace v0 {
#else
#define HONE_NAMESPACE_BEGIN namespace hone { inline namespace v0 {
#endif
#define HONE_NAMESPACE_END } }
