// softmax(q k^T * scale + mask) v for one query of one head: a block of 256 threads, its scores in shared memory.
//
// Around it the source defines QUERIES, KEYS, SIZE, V_SIZE, PARAMETERS, ARGUMENTS, `int keys_seen(parameters, int
// batch, int query)`, which does not fall from query to query, `float adjusted(parameters, float product, int batch,
// int head, int query, int key)`, the score of a key that is seen, ADJUSTED, whether that is more than the product
// times SCALE, for row i: `q_row`, `k_row`, `v_row` and `y_row(parameters, int batch, int head, int i)`, which are
// pointers, and `finished(float)`, what becomes of a result before it is stored as a Y.
extern "C" __global__ void __launch_bounds__(256) kernel(PARAMETERS) {
  begin();
  extern __shared__ float scores[];
  const int query = blockIdx.x, head = blockIdx.y, batch = blockIdx.z;
  const auto* from = q_row(ARGUMENTS, batch, head, query);
  const int seen = keys_seen(ARGUMENTS, batch, query);
  float largest = -INF;
  for (int key = threadIdx.x; key < seen; key += 256) {
    const auto* to = k_row(ARGUMENTS, batch, head, key);
    float product = 0;
    for (int i = 0; i < SIZE; ++i) product += (float)from[i] * (float)to[i];
    scores[key] = adjusted(ARGUMENTS, product, batch, head, query, key);
    largest = most(largest, scores[key]);
  }
  largest = reduce_block<combine_max>(largest, -INF);
  float sum = 0;
  // A query may see no keys.
  for (int key = threadIdx.x; key < seen; key += 256) {
    scores[key] = largest == -INF ? 0.0f : expf(scores[key] - largest);
    sum += scores[key];
  }
  sum = reduce_block<combine_sum>(sum, 0);
  auto* result = y_row(ARGUMENTS, batch, head, query);
  for (int i = threadIdx.x; i < V_SIZE; i += 256) {
    float acc = 0;
    for (int key = 0; key < seen; ++key) acc += scores[key] * (float)v_row(ARGUMENTS, batch, head, key)[i];
    result[i] = (Y)finished(sum == 0 ? 0.0f : acc / sum);
  }
}
