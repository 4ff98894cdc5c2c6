/* reduce: sums over any set of axes; the maximum of a line and its sum of exponentials.
 *
 * Sums are taken in one fixed order for any number of threads. Partial sums are kept in double, so
 * that a sum of a million floats is exact up to its last rounding. */
#ifndef TT_REDUCE_H
#define TT_REDUCE_H

/* The sum of value, an expression in i, over i < n, for short rows. SUM_LANES partial sums are
 * kept, and added by halves at the end. The last elements of a row are vector code too: lanes
 * beyond n add 0, and `value` is not evaluated there. */
enum { SUM_LANES = 16 };

TT_INLINE T lanes_sum(const T *s)
{
    T h[SUM_LANES / 2];
    for (int k = 0; k < 8; k++) h[k] = s[k] + s[k + 8];
    for (int k = 0; k < 4; k++) h[k] += h[k + 4];
    return (h[0] + h[2]) + (h[1] + h[3]);
}

#define TT_LANES_SUM(total, n, value)                                  \
    do {                                                               \
        T lanes_[SUM_LANES] = {0};                                     \
        const int64_t whole_ = (n) - (n) % SUM_LANES;                  \
        for (int64_t j_ = 0; j_ < whole_; j_ += SUM_LANES) {           \
            _Pragma("omp simd") for (int k_ = 0; k_ < SUM_LANES; k_++) \
            {                                                          \
                const int64_t i = j_ + k_;                             \
                lanes_[k_] += (value);                                 \
            }                                                          \
        }                                                              \
        if (whole_ < (n)) {                                            \
            _Pragma("omp simd") for (int k_ = 0; k_ < SUM_LANES; k_++) \
            {                                                          \
                const int64_t i = whole_ + k_;                         \
                lanes_[k_] += i < (n) ? (value) : 0;                   \
            }                                                          \
        }                                                              \
        (total) = lanes_sum(lanes_);                                   \
    } while (0)

static inline SUM row_sum(const T *x, int64_t n, int64_t stride)
{
    SUM s = 0;
    if (stride == 1) {
#pragma omp simd reduction(+ : s)
        for (int64_t i = 0; i < n; i++) s += (SUM)x[i];
    } else {
        for (int64_t i = 0; i < n; i++) s += (SUM)x[i * stride];
    }
    return s;
}

/* dst[o] (+)= sum of x over the axes with reduced[i]; dst is contiguous over the others, total
 * holds one SUM for each of its n_out elements. */
static inline void reduce_sum(const tt_tensor *x, const bool *reduced, T *dst, int64_t n_out,
                              SUM *total, bool acc)
{
    int64_t out_strides[TT_MAX_DIMS], stride = 1, index[TT_MAX_DIMS] = {0};
    for (int i = x->ndim - 1; i >= 0; i--) {
        out_strides[i] = reduced[i] ? 0 : stride;
        stride *= reduced[i] ? 1 : x->shape[i];
    }
    for (int64_t o = 0; o < n_out; o++) total[o] = 0;
    const T *base = x->data;
    int last = x->ndim - 1;
    int64_t n = last >= 0 ? x->shape[last] : 1, row_stride = last >= 0 ? x->strides[last] : 1;
    bool along = last < 0 || reduced[last];
    int64_t in = 0, out = 0;
    for (int64_t rows = x->numel == 0 ? 0 : x->numel / n; rows > 0; rows--) {
        if (along) total[out] += row_sum(base + in, n, row_stride);
        else
            for (int64_t i = 0; i < n; i++) total[out + i] += (SUM)base[in + i * row_stride];
        for (int i = last - 1; i >= 0; i--) { /* the index of the next row */
            in += x->strides[i];
            out += out_strides[i];
            if (++index[i] < x->shape[i]) break;
            in -= x->strides[i] * x->shape[i];
            out -= out_strides[i] * x->shape[i];
            index[i] = 0;
        }
    }
    for (int64_t o = 0; o < n_out; o++) put(dst + o, (T)total[o], acc);
}

/* The maximum of n >= 1 elements with one stride. */
static inline T line_max(const T *x, int64_t n, int64_t stride)
{
    T m = x[0];
    if (stride == 1) {
        T lane_max[SUM_LANES];
        for (int k = 0; k < SUM_LANES; k++) lane_max[k] = m;
        int64_t whole = n - n % SUM_LANES;
        for (int64_t j = 0; j < whole; j += SUM_LANES) {
#pragma omp simd
            for (int k = 0; k < SUM_LANES; k++)
                lane_max[k] = x[j + k] > lane_max[k] ? x[j + k] : lane_max[k];
        }
        for (int64_t i = whole; i < n; i++) m = x[i] > m ? x[i] : m;
        for (int k = 0; k < 8; k++)
            lane_max[k] = lane_max[k + 8] > lane_max[k] ? lane_max[k + 8] : lane_max[k];
        for (int k = 0; k < 4; k++)
            lane_max[k] = lane_max[k + 4] > lane_max[k] ? lane_max[k + 4] : lane_max[k];
        for (int k = 0; k < 4; k++) m = lane_max[k] > m ? lane_max[k] : m;
    } else {
        for (int64_t i = 1; i < n; i++) m = x[i * stride] > m ? x[i * stride] : m;
    }
    return m;
}

#ifndef TT_I64

/* The sum of e^(x - m), where m is the largest element. Where all elements are -inf it is NaN. */
static inline T line_exp_sum(const T *x, int64_t n, int64_t stride, T m)
{
    T s = 0;
    if (stride == 1) {
        TT_LANES_SUM(s, n, tt_exp_negative(x[i] - m));
    } else {
        for (int64_t i = 0; i < n; i++) s += tt_exp_negative(x[i * stride] - m);
    }
    return s;
}

#endif

/* The sum of each of `cols` columns of a contiguous (rows, cols) matrix: the gradient of a bias. */
typedef struct {
    const T *x;
    T *dst;
    int64_t rows, cols;
    bool acc;
} column_sums_plan;

enum { COLUMN_BLOCK = 64 };

/* The columns first..first+n, at most COLUMN_BLOCK of them. */
static inline void column_sums_block(const column_sums_plan *p, int64_t first, int64_t n)
{
    SUM s[COLUMN_BLOCK] = {0};
    const T *x = p->x + first;
    int64_t r = 0, cols = p->cols;
    for (; r + 8 <= p->rows; r += 8, x += 8 * cols) { /* so few rows may be summed in T */
        for (int64_t i = 0; i < n; i++)
            s[i] +=
                (SUM)(((x[i] + x[i + cols]) + (x[i + 2 * cols] + x[i + 3 * cols])) +
                      ((x[i + 4 * cols] + x[i + 5 * cols]) + (x[i + 6 * cols] + x[i + 7 * cols])));
    }
    for (; r < p->rows; r++, x += cols)
        for (int64_t i = 0; i < n; i++) s[i] += (SUM)x[i];
    for (int64_t i = 0; i < n; i++) put(p->dst + first + i, (T)s[i], p->acc);
}

static void column_sums_shard(void *arg, int64_t shard)
{
    const column_sums_plan *p = arg;
    int64_t first = shard * COLUMN_BLOCK;
    column_sums_block(p, first, at_most(COLUMN_BLOCK, p->cols - first));
}

static inline void column_sums(const T *x, int64_t rows, int64_t cols, T *dst, bool acc)
{
    column_sums_plan p = {x, dst, rows, cols, acc};
    parallel_for(shards_of(cols, COLUMN_BLOCK), column_sums_shard, &p);
}

#endif
