// Stands in for NVRTC beside the recording driver, which runs no code: anything compiles, but with HONE_BLIND_NVRTC, of
// whatever value, where nothing does.
#include <cstddef>
#include <cstdlib>

extern "C" {

int nvrtcVersion(int* major, int* minor) { return *major = 13, *minor = 0, 0; }
const char* nvrtcGetErrorString(int) { return "no error"; }
int nvrtcCreateProgram(void** program, const char*, const char*, int, const char* const*, const char* const*) {
  static int any;
  return *program = &any, 0;
}
int nvrtcCompileProgram(void*, int, const char* const*) { return std::getenv("HONE_BLIND_NVRTC") == nullptr ? 0 : 6; }
int nvrtcDestroyProgram(void**) { return 0; }
int nvrtcGetProgramLogSize(void*, size_t* bytes) { return *bytes = 0, 0; }
int nvrtcGetProgramLog(void*, char*) { return 0; }
int nvrtcGetCUBINSize(void*, size_t* bytes) { return *bytes = 8, 0; }
int nvrtcGetCUBIN(void*, char* cubin) {
  for (int i = 0; i < 8; ++i) cubin[i] = 0;
  return 0;
}

}  // extern "C"
