/* Hone's C API, C99 and newer: the same verbs as in C++. The ABI is stable: it only grows.
 *
 * Every function that can fail returns a hone_code; hone_last_error() then has the message of this thread. Handles are
 * opaque and freed by the function of their type; NULL may be freed, and is otherwise refused. Strings and arrays
 * handed to Hone are copied unless stated otherwise; those handed out belong to the handle. Strings are UTF-8. Every
 * struct starts with its size, which the HONE_..._INIT macros set, so that it can grow. Hone throws no exception and
 * installs no signal handler.
 * hone_build is in the library `hone`; all else is in `hone_runtime` too. */
#ifndef HONE_HONE_C_H
#define HONE_HONE_C_H

#include <stddef.h>
#include <stdint.h>

#define HONE_C_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t hone_code;
enum {
  HONE_OK = 0,
  HONE_CHECK_FAILED = 1,
  HONE_INVALID = 2,     /* bad usage or bad input */
  HONE_UNSUPPORTED = 3, /* understood, but Hone has no way to do it */
  HONE_DEVICE = 4,      /* device missing, incompatible or out of memory */
  HONE_CANCELLED = 5,   /* the progress callback asked to stop */
  HONE_INTERNAL = 6     /* a bug in Hone */
};

/* Element types. Types narrower than a byte take a byte an element; a boolean is a byte of 0 or 1. */
typedef int32_t hone_dtype;
enum {
  HONE_NONE = 0,
  HONE_F32 = 1, HONE_F64 = 2, HONE_F16 = 3, HONE_BF16 = 4,
  HONE_I8 = 5, HONE_I16 = 6, HONE_I32 = 7, HONE_I64 = 8,
  HONE_U8 = 9, HONE_U16 = 10, HONE_U32 = 11, HONE_U64 = 12,
  HONE_BOOLEAN = 13, HONE_STRING = 14,
  HONE_F8E4M3FN = 15, HONE_F8E4M3FNUZ = 16, HONE_F8E5M2 = 17, HONE_F8E5M2FNUZ = 18, HONE_F8E8M0 = 19,
  HONE_I4 = 20, HONE_U4 = 21, HONE_I2 = 22, HONE_U2 = 23, HONE_F4E2M1 = 24,
  HONE_C64 = 25, HONE_C128 = 26
};

typedef int32_t hone_precision;
enum {
  HONE_PRECISION_FP32 = 0, HONE_PRECISION_TF32 = 1, HONE_PRECISION_BF16 = 2,
  HONE_PRECISION_FP16 = 3, HONE_PRECISION_FP8 = 4, HONE_PRECISION_INT8 = 5
};

typedef struct hone_engine hone_engine;   /* immutable; any number of threads at once */
typedef struct hone_context hone_context; /* one per thread */

/* The message of this thread's last call that did not return HONE_OK; valid until the next such call. Never NULL. */
HONE_C_API const char* hone_last_error(void);
/* "0.1.0" */
HONE_C_API const char* hone_version(void);

/* A dense row-major array: data aligned to the element size, for HONE_STRING an array of const char*. */
typedef struct hone_tensor {
  size_t size;
  hone_dtype dtype;
  int32_t rank;
  const int64_t* dims; /* rank of them; may be NULL for rank 0 */
  void* data;
} hone_tensor;
#define HONE_TENSOR_INIT {sizeof(hone_tensor), HONE_NONE, 0, NULL, NULL}

/* An input or output of an engine; everything in it belongs to the engine. */
typedef struct hone_tensor_info {
  size_t size;
  const char* name;
  hone_dtype dtype;
  int32_t rank;        /* -1: known only when the engine runs */
  const int64_t* dims; /* -1: known only when the engine runs */
} hone_tensor_info;
#define HONE_TENSOR_INFO_INIT {sizeof(hone_tensor_info), NULL, HONE_NONE, 0, NULL}

typedef struct hone_memory {
  size_t size;
  int64_t arena, lower_bound, without_reuse, weights, workspace; /* bytes; see MemorySummary in engine.h */
} hone_memory;
#define HONE_MEMORY_INIT {sizeof(hone_memory), 0, 0, 0, 0, 0}

typedef struct hone_shape {
  const char* name;
  const int64_t* dims;
  size_t rank;
} hone_shape;

/* Zero in any field is the default. */
typedef struct hone_build_options {
  size_t size;
  const char* target;               /* NULL: auto */
  const hone_precision* precisions; /* those allowed; NULL: fp32, or those of the engine that is built again */
  size_t precision_count;
  const hone_shape* shapes;         /* dims of inputs that the model leaves open, or to override */
  size_t shape_count;
  int32_t threads;                  /* CPU threads to tune for; 0: as many as usable */
  int32_t no_tune, no_winograd, deterministic; /* flags */
  const char* isa;                  /* highest instruction set: auto, avx512, avx2, scalar; NULL: auto */
  double time_budget_s;             /* limit for timing tactics; 0: 60 */
  const char* timing_cache;         /* file; compiled code is kept beside it, in the folder FILE.d; NULL: none */
  /* Called before each layer is tuned; 0 cancels the build. `what` is valid during the call. */
  int (*progress)(size_t done, size_t total, const char* what, void* user);
  void* user;                       /* handed to progress */
  const char* calibration_cache;    /* file of ranges, which int8 and fp8 need and fp16 uses; NULL: none */
  int32_t strict;                   /* flag: a tensor that fp16 cannot hold is an error, and does not stay in fp32 */
  int32_t no_portable;              /* flag: leave out what the engine could be built from again */
} hone_build_options;
#define HONE_BUILD_OPTIONS_INIT \
  { sizeof(hone_build_options), NULL, NULL, 0, NULL, 0, 0, 0, 0, 0, NULL, 0, NULL, NULL, NULL, NULL, 0, 0 }

/* Optimises an ONNX model for this machine, or builds an engine file again for it, see build.h. options may be NULL. On
 * success *engine is to be freed by hone_engine_free; on failure it is NULL. */
HONE_C_API hone_code hone_build(const char* path, const hone_build_options* options, hone_engine** engine);

HONE_C_API hone_code hone_engine_load(const char* path, hone_engine** engine);
HONE_C_API hone_code hone_engine_save(const hone_engine* engine, const char* path);
/* Contexts made from the engine stay valid. */
HONE_C_API void hone_engine_free(hone_engine* engine);

HONE_C_API size_t hone_engine_input_count(const hone_engine* engine);
HONE_C_API size_t hone_engine_output_count(const hone_engine* engine);
HONE_C_API hone_code hone_engine_input(const hone_engine* engine, size_t index, hone_tensor_info* info);
HONE_C_API hone_code hone_engine_output(const hone_engine* engine, size_t index, hone_tensor_info* info);
HONE_C_API hone_code hone_engine_memory(const hone_engine* engine, hone_memory* memory);
/* What `hone inspect --json` prints. The string belongs to the engine. */
HONE_C_API hone_code hone_engine_inspect_json(const hone_engine* engine, const char** json);

/* With as many CPU threads as the engine was built for. The memory for running is allocated here. */
HONE_C_API hone_code hone_context_create(const hone_engine* engine, hone_context** context);
HONE_C_API void hone_context_free(hone_context* context);

/* Inputs are read in place by each run and never written: their memory stays the caller's and must be valid then.
 * Outputs that are bound are copied to the memory at the end of a run; a tensor with dtype HONE_NONE unbinds an output.
 * The rules are those of Context::bind in engine.h. */
HONE_C_API hone_code hone_context_bind(hone_context* context, const char* name, const hone_tensor* tensor);
HONE_C_API hone_code hone_context_run(hone_context* context);
/* Launches a run on a CUDA stream (CUstream or cudaStream_t; NULL: the default one) and returns without waiting. The
 * rules are those of Context::enqueue in engine.h. On an engine that runs on the CPU, NULL makes it hone_context_run,
 * and all else is refused. */
HONE_C_API hone_code hone_context_enqueue(hone_context* context, void* stream);
/* Waits for what was enqueued, and returns what it found wrong. */
HONE_C_API hone_code hone_context_synchronize(hone_context* context);
/* A view of the last run's output. data is valid until the next bind or run of the context, dims until the next call of
 * this function for the same context. */
HONE_C_API hone_code hone_context_output(hone_context* context, const char* name, hone_tensor* tensor);

#ifdef __cplusplus
}
#endif

#endif
