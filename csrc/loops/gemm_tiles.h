/* gemm_tiles: matrix products on the calling thread, at the SIMD levels whose registers hold a tile
 * of the result. The matrices of these networks are small and mostly in the cache: a product reads
 * A where it lies, and packs B one panel at a time on the stack.
 *
 * Every element of C is summed in the order of k, DEPTH terms at a time, in any tile. So a product
 * may be divided by rows or columns anywhere, and has the same bits. */
#ifndef TT_GEMM_TILES_H
#define TT_GEMM_TILES_H

#if defined __AVX512F__
enum { VECTOR_BYTES = 64, TILE_ROWS = 14 }; /* 28 of 32 registers hold sums */
#else
enum { VECTOR_BYTES = 32, TILE_ROWS = 6 }; /* 12 of 16 */
#endif

enum {
    LANES = VECTOR_BYTES / sizeof(T),
    TILE_COLS = 2 * LANES,
    DEPTH = 256,                 /* a panel of B, DEPTH x TILE_COLS, stays in the first cache */
    BLOCK_ROWS = 560,            /* and of A as many rows by DEPTH in the second */
    COPY_ROWS = 336 / sizeof(T), /* of a copy of A, on the stack; a multiple of TILE_ROWS */
    COPY_PANELS = 4,
    PAGE = 4096,
    LINE_TERMS = 64 / sizeof(T), /* of the caches */
    LOOK_AHEAD = 16              /* rows of a transposed A are prefetched: they lie far apart */
};

typedef T vec __attribute__((vector_size(VECTOR_BYTES)));
typedef T vec_anywhere __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(T))));

TT_INLINE vec vec_load(const T *p) { return *(const vec_anywhere *)p; }
TT_INLINE void vec_store(T *p, vec x) { *(vec_anywhere *)p = x; }
TT_INLINE vec vec_all(T x) { return x - (vec){0}; }

/* C (rows, TILE_COLS) = alpha A B + beta D for a panel of B: k rows of TILE_COLS. Row r of A begins
 * at a + r * down, and its terms are `along` apart; one of the two is 1. D is C itself or another
 * matrix; with ldd == 0 all its rows are one row. If A is not in the caches yet, each term also
 * prefetches a cache line of the tile below. */
TT_INLINE void gemm_tile(const int rows, const bool is_new, int64_t k, const T *a, int64_t down,
                         int64_t along, const T *b, T alpha, T beta, const T *d, int64_t ldd, T *c,
                         int64_t ldc)
{
    const T *below = a + rows * down;
    vec sum[TILE_ROWS][2];
#pragma GCC unroll 14
    for (int r = 0; r < rows; r++) sum[r][0] = sum[r][1] = (vec){0};
    for (int64_t p = 0; p < k; p++) {
        vec b0 = vec_load(b), b1 = vec_load(b + LANES);
        if (down == 1) {
            __builtin_prefetch(a + LOOK_AHEAD * along);
            __builtin_prefetch(a + LOOK_AHEAD * along + rows - 1);
        }
        if (is_new) __builtin_prefetch(below + (p & (LINE_TERMS - 1)) * down + (p & -LINE_TERMS));
#pragma GCC unroll 14
        for (int r = 0; r < rows; r++) {
            vec x = vec_all(a[r * down]);
            sum[r][0] += x * b0;
            sum[r][1] += x * b1;
        }
        a += along;
        b += TILE_COLS;
    }
#pragma GCC unroll 14
    for (int r = 0; r < rows; r++, c += ldc, d += ldd) {
        vec y0 = sum[r][0] * vec_all(alpha), y1 = sum[r][1] * vec_all(alpha);
        if (beta != 0) {
            y0 += vec_all(beta) * vec_load(d);
            y1 += vec_all(beta) * vec_load(d + LANES);
        }
        vec_store(c, y0);
        vec_store(c + LANES, y1);
    }
}

/* One function for each number of rows and layout of A; and one that copies the elements of a
 * transposed A that a tile reads. */
typedef void gemm_tile_fn(int64_t k, const T *a, int64_t lda, const T *b, T alpha, T beta,
                          const T *d, int64_t ldd, T *c, int64_t ldc);
typedef void gemm_copy_fn(int64_t k, const T *a, int64_t lda, T *out);
#define GEMM_TILES(rows)                                                                          \
    static void gemm_tile_##rows(int64_t k, const T *a, int64_t lda, const T *b, T alpha, T beta, \
                                 const T *d, int64_t ldd, T *c, int64_t ldc)                      \
    {                                                                                             \
        gemm_tile(rows, false, k, a, lda, 1, b, alpha, beta, d, ldd, c, ldc);                     \
    }                                                                                             \
    static void gemm_tile_new_##rows(int64_t k, const T *a, int64_t lda, const T *b, T alpha,     \
                                     T beta, const T *d, int64_t ldd, T *c, int64_t ldc)          \
    {                                                                                             \
        gemm_tile(rows, true, k, a, lda, 1, b, alpha, beta, d, ldd, c, ldc);                      \
    }                                                                                             \
    static void gemm_tile_transposed_##rows(int64_t k, const T *a, int64_t lda, const T *b,       \
                                            T alpha, T beta, const T *d, int64_t ldd, T *c,       \
                                            int64_t ldc)                                          \
    {                                                                                             \
        gemm_tile(rows, false, k, a, 1, lda, b, alpha, beta, d, ldd, c, ldc);                     \
    }                                                                                             \
    static void gemm_copy_##rows(int64_t k, const T *a, int64_t lda, T *out)                      \
    {                                                                                             \
        for (int64_t p = 0; p < k; p++, a += lda, out += rows) memcpy(out, a, rows * sizeof(T));  \
    }
#define GEMM_TILE_ENTRY(rows)                                             \
    {gemm_tile_##rows, gemm_tile_new_##rows, gemm_tile_transposed_##rows, \
     gemm_tile_transposed_##rows},
#if defined __AVX512F__
#define EACH_TILE(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#else
#define EACH_TILE(X) X(1) X(2) X(3) X(4) X(5) X(6)
#endif
EACH_TILE(GEMM_TILES)
static gemm_tile_fn *const gemm_tiles[TILE_ROWS][4] = {EACH_TILE(GEMM_TILE_ENTRY)};
#define GEMM_COPY_ENTRY(rows) gemm_copy_##rows,
static gemm_copy_fn *const gemm_copies[TILE_ROWS] = {EACH_TILE(GEMM_COPY_ENTRY)};

/* a0 b0 a1 b1 ... of the lower halves and of the upper ones */
#if defined __has_builtin
#if __has_builtin(__builtin_shufflevector)
#define VEC_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#endif
#endif
#ifndef VEC_SHUFFLE /* GCC before 12 */
#if defined TT_F32
typedef int32_t vec_places __attribute__((vector_size(VECTOR_BYTES)));
#else
typedef int64_t vec_places __attribute__((vector_size(VECTOR_BYTES)));
#endif
#define VEC_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (vec_places){__VA_ARGS__})
#endif
#if defined __AVX512F__ && defined TT_F32
#define LOWER 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define UPPER 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif defined __AVX512F__ || defined TT_F32
#define LOWER 0, 8, 1, 9, 2, 10, 3, 11
#define UPPER 4, 12, 5, 13, 6, 14, 7, 15
#else
#define LOWER 0, 4, 1, 5
#define UPPER 2, 6, 3, 7
#endif

/* The square of LANES x LANES elements at a, transposed. Each round interleaves the two halves of
 * the rows; after log2(LANES) of them rows are columns. */
TT_INLINE void vec_transpose(const T *a, int64_t lda, T *out, int64_t ld_out)
{
    vec x[LANES], y[LANES];
#pragma GCC unroll 16
    for (int r = 0; r < LANES; r++) x[r] = vec_load(a + r * lda);
#pragma GCC unroll 4
    for (int round = 1; round < LANES; round *= 2) {
#pragma GCC unroll 16
        for (int r = 0; r < LANES / 2; r++) {
            y[2 * r] = VEC_SHUFFLE(x[r], x[r + LANES / 2], LOWER);
            y[2 * r + 1] = VEC_SHUFFLE(x[r], x[r + LANES / 2], UPPER);
        }
#pragma GCC unroll 16
        for (int r = 0; r < LANES; r++) x[r] = y[r];
    }
#pragma GCC unroll 16
    for (int r = 0; r < LANES; r++) vec_store(out + r * ld_out, x[r]);
}

/* A panel of op(B): k rows of TILE_COLS, of which the first cols are from B and the others zero. */
static void gemm_pack(bool tb, int64_t k, int64_t cols, const T *b, int64_t ldb, T *panel)
{
    if (cols < TILE_COLS) memset(panel, 0, (size_t)(k * TILE_COLS) * sizeof(T));
    if (!tb && cols == TILE_COLS) {
        for (int64_t p = 0; p < k; p++, b += ldb, panel += TILE_COLS) {
            vec_store(panel, vec_load(b));
            vec_store(panel + LANES, vec_load(b + LANES));
        }
    } else if (!tb) {
        for (int64_t p = 0; p < k; p++, b += ldb, panel += TILE_COLS)
            memcpy(panel, b, (size_t)cols * sizeof(T));
    } else {
        int64_t j = 0;
        for (; j + LANES <= cols; j += LANES) {
            int64_t p = 0;
            for (; p + LANES <= k; p += LANES)
                vec_transpose(b + j * ldb + p, ldb, panel + p * TILE_COLS + j, TILE_COLS);
            for (; p < k; p++)
                for (int64_t i = j; i < j + LANES; i++) panel[p * TILE_COLS + i] = b[i * ldb + p];
        }
        for (; j < cols; j++)
            for (int64_t p = 0; p < k; p++) panel[p * TILE_COLS + j] = b[j * ldb + p];
    }
}

/* How A lies: as it is; as it is, and not in the caches yet; transposed; or transposed and copied
 * by gemm_copy_tiles, so that the rows of each tile lie side by side. */
typedef enum { A_AS_IT_IS, A_NEW, A_TRANSPOSED, A_COPIED } gemm_layout;

/* The heights of tiles below each other, nearly equal: `taller` of the `left` tiles that are still
 * to come have one row more than `height`. */
typedef struct {
    int64_t height, taller, left;
} gemm_heights;

static gemm_heights gemm_cut(int64_t m)
{
    int64_t tiles = (m + TILE_ROWS - 1) / TILE_ROWS;
    return (gemm_heights){m / tiles, m % tiles, tiles};
}

static inline int64_t gemm_height(gemm_heights *h) /* 0 after the last */
{
    return h->left-- <= 0 ? 0 : h->height + (h->taller-- > 0);
}

static void gemm_copy_tiles(int64_t m, int64_t k, const T *a, int64_t lda, T *out)
{
    gemm_heights heights = gemm_cut(m);
    for (int64_t rows; (rows = gemm_height(&heights)) > 0; a += rows, out += rows * k)
        gemm_copies[rows - 1](k, a, lda, out);
}

/* `cols` columns of C from col on, for a packed panel of B, tile below tile. */
static void gemm_panel(gemm_layout layout, const gemm_args *g, int64_t col, int64_t cols,
                       const T *panel)
{
    gemm_heights heights = gemm_cut(g->m);
    T edge[TILE_ROWS * TILE_COLS], *c = g->c + col;
    const T *a = g->a, *d = g->d + col;
    for (int64_t rows; (rows = gemm_height(&heights)) > 0; c += rows * g->ldc, d += rows * g->ldd) {
        gemm_tile_fn *run = gemm_tiles[rows - 1][layout];
        int64_t ld = layout == A_COPIED ? rows : g->lda;
        if (cols == TILE_COLS) {
            run(g->k, a, ld, panel, g->alpha, g->beta, d, g->ldd, c, g->ldc);
        } else {
            size_t width = (size_t)cols * sizeof(T);
            for (int64_t r = 0; g->beta != 0 && r < rows; r++)
                memcpy(edge + r * TILE_COLS, d + r * g->ldd, width);
            run(g->k, a, ld, panel, g->alpha, g->beta, edge, TILE_COLS, edge, TILE_COLS);
            for (int64_t r = 0; r < rows; r++) memcpy(c + r * g->ldc, edge + r * TILE_COLS, width);
        }
        a += layout == A_TRANSPOSED ? rows : rows * (layout == A_COPIED ? g->k : g->lda);
    }
}

/* The sums of LANES vectors: lane i is the sum of x[i]. */
TT_INLINE vec vec_sums(vec x[LANES])
{
#pragma GCC unroll 4
    for (int half = LANES / 2; half > 0; half /= 2) {
#pragma GCC unroll 16
        for (int i = 0; i < half; i++)
            x[i] = VEC_SHUFFLE(x[i], x[i + half], LOWER) + VEC_SHUFFLE(x[i], x[i + half], UPPER);
    }
    return x[0];
}

/* C (m, n) = alpha A B^T + beta D for few rows, for which packing B costs more than the product:
 * each element is the product of two rows where they lie. */
static void gemm_by_rows(const gemm_args *g)
{
    const T alpha = g->alpha, beta = g->beta;
    int64_t k = g->k;
    for (int64_t col = 0; col < g->n; col += LANES) {
        int64_t cols = at_most(LANES, g->n - col);
        const T *row[LANES]; /* rows past the end repeat the last one, and are dropped */
        for (int64_t j = 0; j < LANES; j++) row[j] = g->b + (col + at_most(j, cols - 1)) * g->ldb;
        for (int64_t i = 0; i < g->m; i++) {
            const T *a = g->a + i * g->lda, *d = g->d + i * g->ldd + col;
            vec sum[LANES];
            T out[LANES], *c = g->c + i * g->ldc + col;
#pragma GCC unroll 16
            for (int j = 0; j < LANES; j++) sum[j] = (vec){0};
            int64_t p = 0;
            for (; p + LANES <= k; p += LANES) {
                vec x = vec_load(a + p);
#pragma GCC unroll 16
                for (int j = 0; j < LANES; j++) sum[j] += x * vec_load(row[j] + p);
            }
            vec_store(out, vec_sums(sum));
            for (; p < k; p++)
                for (int64_t j = 0; j < cols; j++) out[j] += a[p] * row[j][p];
            for (int64_t j = 0; j < cols; j++)
                c[j] = alpha * out[j] + (beta != 0 ? beta * d[j] : 0);
        }
    }
}

/* One or two rows and one panel are too few sums to use all arithmetic units, and the panel has to
 * come from memory: such rows take four panels at once. */
enum { FOUR_ROWS = VECTOR_BYTES == 64 ? 3 : 1, PANEL_AHEAD = 8 };

TT_INLINE void gemm_four_tile(const int rows, int64_t k, const T *a, int64_t lda, int64_t a_next,
                              const T *b, int64_t b_next, T *y)
{
    vec sum[4][FOUR_ROWS][2];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
#pragma GCC unroll 3
        for (int r = 0; r < rows; r++) sum[i][r][0] = sum[i][r][1] = (vec){0};
    for (int64_t p = 0; p < k; p++, a++, b += TILE_COLS) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            vec b0 = vec_load(b + i * b_next), b1 = vec_load(b + i * b_next + LANES);
            __builtin_prefetch(b + i * b_next + PANEL_AHEAD * TILE_COLS);
            __builtin_prefetch(b + i * b_next + PANEL_AHEAD * TILE_COLS + LANES);
#pragma GCC unroll 3
            for (int r = 0; r < rows; r++) {
                vec x = vec_all(a[i * a_next + r * lda]);
                sum[i][r][0] += x * b0;
                sum[i][r][1] += x * b1;
            }
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
#pragma GCC unroll 3
        for (int r = 0; r < rows; r++, y += TILE_COLS) {
            vec_store(y, sum[i][r][0]);
            vec_store(y + LANES, sum[i][r][1]);
        }
}

static inline void gemm_four(int64_t m, int64_t k, const T *a, int64_t lda, int64_t a_next,
                             const T *b, int64_t b_next, T *y)
{
    if (m == 1) gemm_four_tile(1, k, a, lda, a_next, b, b_next, y);
    if (FOUR_ROWS > 1 && m == 2) gemm_four_tile(2, k, a, lda, a_next, b, b_next, y);
    if (FOUR_ROWS > 2 && m == 3) gemm_four_tile(3, k, a, lda, a_next, b, b_next, y);
}

/* C_i (m, cols) = A_i B_i + beta C_i for four matrices A_i (m, k), a_next apart, and four panels
 * B_i over all of k, b_next apart; the C_i are c_next apart. With c_next == 0 there is one C, the
 * sum of the four products. Each element is summed in the same order for every m. */
static inline void gemm_four_panels(int64_t m, int64_t cols, int64_t k, const T *a, int64_t lda,
                                    int64_t a_next, const T *b, int64_t b_next, T beta, T *c,
                                    int64_t ldc, int64_t c_next)
{
    for (int64_t p = 0; p < k; p += DEPTH, a += DEPTH, b += DEPTH * TILE_COLS) {
        int64_t depth = at_most(DEPTH, k - p);
        T y[4 * FOUR_ROWS * TILE_COLS], *from = y;
        if (m <= FOUR_ROWS) gemm_four(m, depth, a, lda, a_next, b, b_next, y);
        for (int i = 0; i < 4; i++) {
            T scale = p > 0 || (i > 0 && c_next == 0) ? 1 : beta, *to = c + i * c_next;
            if (m > FOUR_ROWS) {
                const gemm_args product = {.m = m,
                                           .k = depth,
                                           .alpha = 1,
                                           .beta = scale,
                                           .a = a + i * a_next,
                                           .lda = lda,
                                           .d = to,
                                           .ldd = ldc,
                                           .c = to,
                                           .ldc = ldc};
                gemm_panel(A_AS_IT_IS, &product, 0, cols, b + i * b_next);
                continue;
            }
            for (int64_t r = 0; r < m; r++, to += ldc, from += TILE_COLS)
                for (int64_t j = 0; j < cols; j++)
                    to[j] = scale != 0 ? from[j] + scale * to[j] : from[j];
        }
    }
}

/* A block of rows of C, panel after panel. */
static void gemm_block(gemm_layout layout, const gemm_args *g)
{
    _Alignas(VECTOR_BYTES) T panel[DEPTH * TILE_COLS];
    for (int64_t col = 0; col < g->n; col += TILE_COLS) {
        int64_t cols = at_most(TILE_COLS, g->n - col);
        gemm_pack(g->tb, g->k, cols, g->b + (g->tb ? col * g->ldb : col), g->ldb, panel);
        gemm_panel(col == 0 && layout == A_AS_IT_IS ? A_NEW : layout, g, col, cols, panel);
    }
}

/* The terms of a transposed A may lie on a page each, more pages than the processor has at hand:
 * where several panels use them, they are copied first. */
static __attribute__((noinline)) void gemm_block_copied(const gemm_args *g)
{
    _Alignas(VECTOR_BYTES) T copy[COPY_ROWS * DEPTH];
    gemm_args block = *g;
    gemm_copy_tiles(g->m, g->k, g->a, g->lda, copy);
    block.a = copy;
    gemm_block(A_COPIED, &block);
}

static void tiled_gemm(const gemm_args *g)
{
    bool copies = g->ta && g->lda * (int64_t)sizeof(T) >= PAGE && g->n >= COPY_PANELS * TILE_COLS;
    int64_t max_rows = copies ? COPY_ROWS : BLOCK_ROWS, blocks = (g->m + max_rows - 1) / max_rows;
    int64_t height = (g->m + blocks - 1) / blocks; /* nearly equal blocks of whole tiles */
    height = (height + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS;
    for (int64_t row = 0; row < g->m; row += height) {
        gemm_args block = gemm_part_of(g, row, at_most(height, g->m - row), 0, g->n);
        int64_t p = 0;
        do { /* with k == 0 once, for beta D */
            block.k = at_most(DEPTH, g->k - p);
            block.a = g->a + (g->ta ? p * g->lda + row : row * g->lda + p);
            block.b = g->b + (g->tb ? p : p * g->ldb);
            if (copies) gemm_block_copied(&block);
            else gemm_block(g->ta ? A_TRANSPOSED : A_AS_IT_IS, &block);
            p += block.k;
            block.beta = 1, block.d = block.c, block.ldd = g->ldc; /* to what is there now */
        } while (p < g->k);
    }
}

#endif
