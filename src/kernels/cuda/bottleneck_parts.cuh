// What the layers of a residual block share: see bottleneck.cuh.
#define WIDTH 14
#define PIXELS ((TILE_H + 2) * 16)
#define RESULTS (TILE_H * 16)
// The pixel of a tile's input that its first result belongs to: one down and one across.
#define INSIDE 17
#define MATRIX_BYTES (64 * ROW_BYTES)
#define BUFFER_BYTES (RESULTS * ROW_BYTES)

// A tile's image and first pixel.
struct Tile {
  int n, h0, w0;
};

// What the last layer of a tile finds in shared memory: the results of the one before it, weights, columns (of the
// shortcut behind its own), and the group's buffers.
struct Here {
  unsigned between, last, shortcut, buffers;
  const float* columns;
};
