/* Loads an engine, runs it once on zeros and prints the rank and the first value of its first output.
 *
 *   hone build model.onnx -o model.hone
 *   cc -std=c99 run_engine.c $(pkg-config --cflags --libs hone_runtime) -o run_engine_c && ./run_engine_c model.hone */
#include <hone/hone.h>

#include <stdio.h>
#include <stdlib.h>

#define MAX_INPUTS 64

static int fail(void) {
  fprintf(stderr, "run_engine: %s\n", hone_last_error());
  return 1;
}

/* Binds zeros, which the caller frees after the context. 16 bytes an element are enough for every type but strings. */
static hone_code bind_zeros(hone_context* context, const hone_tensor_info* info, void** memory) {
  hone_tensor input = HONE_TENSOR_INIT;
  size_t elements = 1;
  int i;
  for (i = 0; i < info->rank; ++i) elements *= info->dims[i] < 0 ? 0 : (size_t)info->dims[i];
  *memory = calloc(elements + 1, 16);
  input.dtype = info->dtype;
  input.rank = info->rank;
  input.dims = info->dims;
  input.data = *memory;
  return hone_context_bind(context, info->name, &input);
}

static int run(const hone_engine* engine, hone_context* context, void** memory) {
  hone_tensor_info info = HONE_TENSOR_INFO_INIT;
  hone_tensor output = HONE_TENSOR_INIT;
  size_t i;
  for (i = 0; i < hone_engine_input_count(engine) && i < MAX_INPUTS; ++i) {
    if (hone_engine_input(engine, i, &info) != HONE_OK) return fail();
    if (bind_zeros(context, &info, &memory[i]) != HONE_OK) return fail();
  }
  if (hone_context_run(context) != HONE_OK) return fail();
  if (hone_engine_output(engine, 0, &info) != HONE_OK) return fail();
  if (hone_context_output(context, info.name, &output) != HONE_OK) return fail();
  printf("%s: rank %d", info.name, (int)output.rank);
  if (output.dtype == HONE_F32) printf(", first value %g", *(const float*)output.data);
  printf("\n");
  return 0;
}

int main(int argc, char** argv) {
  hone_engine* engine = NULL;
  hone_context* context = NULL;
  void* memory[MAX_INPUTS] = {NULL};
  int result, i;
  if (argc != 2) return fprintf(stderr, "usage: run_engine ENGINE\n"), 2;
  if (hone_engine_load(argv[1], &engine) != HONE_OK) return fail();
  result = hone_context_create(engine, &context) == HONE_OK ? run(engine, context, memory) : fail();
  hone_context_free(context);
  hone_engine_free(engine);
  for (i = 0; i < MAX_INPUTS; ++i) free(memory[i]);
  return result;
}
