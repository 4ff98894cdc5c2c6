/* fold: each line of a tensor to one value, in one fixed order for any number of threads.
 *
 * The tensor is contiguous, with shape (outer, n, inner): outer * inner lines of n elements. A long
 * line is folded in pieces, and adjacent lines are folded together, because they share cache lines.
 * The pieces depend on the sizes alone. A fold gives one partial value for each piece of each line;
 * these are then joined in their order. */
#ifndef TT_FOLD_H
#define TT_FOLD_H

enum { FOLD_WIDTH = 256 };

typedef struct fold fold;
/* Folds x[i * inner + j] over i < n, for each of `width` lines j. `line` is the number of the first
 * line, `row` the position of x in its line; the result of line j goes to position slot + j. */
typedef void (*fold_fn)(const fold *f, const T *x, int64_t n, int64_t width, int64_t line,
                        int64_t row, int64_t slot);

struct fold {
    const T *x;
    tt_span s;
    int64_t lines, pieces; /* of a line */
    int64_t rows, blocks;  /* elements of a line in a piece; groups of adjacent lines */
    int64_t units_per_shard;
    fold_fn fn;
    const SUM *with; /* one value for each line, which the fold may use; or NULL */
    double power;
    /* The results, (pieces, lines). */
    SUM *total;
    T *value;
    int64_t *index;
};

static inline fold fold_of(const tt_tensor *x, const tt_attrs *attrs)
{
    fold f = {.x = x->data, .s = rule_span_of(x, attrs)};
    f.lines = f.s.outer * f.s.inner;
    int64_t width = at_least_one(at_most(f.s.inner, FOLD_WIDTH));
    f.rows = GRAIN / width;
    f.pieces = at_least_one(shards_of(f.s.n, f.rows));
    f.blocks = shards_of(f.s.inner, FOLD_WIDTH);
    f.units_per_shard = rows_per_shard(at_most(f.s.n, f.rows) * width);
    return f;
}

static inline void fold_shard(void *arg, int64_t shard)
{
    const fold *f = arg;
    int64_t end = at_most((shard + 1) * f->units_per_shard, f->s.outer * f->blocks * f->pieces);
    for (int64_t unit = shard * f->units_per_shard; unit < end; unit++) {
        int64_t piece = unit % f->pieces, block = unit / f->pieces % f->blocks;
        int64_t o = unit / f->pieces / f->blocks, column = block * FOLD_WIDTH;
        int64_t row = piece * f->rows, line = o * f->s.inner + column;
        f->fn(f, f->x + (o * f->s.n + row) * f->s.inner + column, at_most(f->rows, f->s.n - row),
              at_most(FOLD_WIDTH, f->s.inner - column), line, row, piece * f->lines + line);
    }
}

static inline void fold_run(fold *f, fold_fn fn)
{
    f->fn = fn;
    int64_t units = f->s.outer * f->blocks * f->pieces;
    parallel_for(shards_of(units, f->units_per_shard), fold_shard, f);
}

/* Runs a fold that sums, and adds up the pieces of each line; total holds pieces * lines values. */
static inline void fold_sum(fold *f, fold_fn fn)
{
    fold_run(f, fn);
    for (int64_t i = f->lines; i < f->pieces * f->lines; i++) f->total[i % f->lines] += f->total[i];
}

static inline SUM *fold_totals(tt_call *c, fold *f)
{
    f->total = call_scratch(c, (size_t)(f->pieces * f->lines) * sizeof(SUM));
    return f->total;
}

#define TT_PRAGMA(text) _Pragma(#text)

/* A fold that starts with START. `next` is an expression in s, the value so far, a, an element, and
 * b, the value of `with` for the line. */
#define TT_FOLD_NEXT(name, VECTORS, START, next)                                        \
    static void name(const fold *f, const T *x, int64_t n, int64_t width, int64_t line, \
                     int64_t row, int64_t slot)                                         \
    {                                                                                   \
        static const SUM none[FOLD_WIDTH];                                              \
        const SUM *with = f->with != NULL ? f->with + line : none;                      \
        SUM *restrict total = f->total + slot;                                          \
        (void)row;                                                                      \
        if (f->s.inner == 1) {                                                          \
            const SUM b = with[0];                                                      \
            SUM s = START;                                                              \
            (void)b;                                                                    \
            VECTORS                                                                     \
            for (int64_t i = 0; i < n; i++) {                                           \
                const SUM a = (SUM)x[i];                                                \
                s = (next);                                                             \
            }                                                                           \
            total[0] = s;                                                               \
            return;                                                                     \
        }                                                                               \
        for (int64_t j = 0; j < width; j++) total[j] = START;                           \
        for (int64_t i = 0; i < n; i++, x += f->s.inner) {                              \
            TT_PRAGMA(omp simd)                                                         \
            for (int64_t j = 0; j < width; j++) {                                       \
                const SUM a = (SUM)x[j], b = with[j], s = total[j];                     \
                (void)b;                                                                \
                total[j] = (next);                                                      \
            }                                                                           \
        }                                                                               \
    }

/* A sum or a product of an expression in a and b. */
#define TT_FOLD(name, OP, START, term) \
    TT_FOLD_NEXT(name, TT_PRAGMA(omp simd reduction(OP : s)), START, s OP(term))

/* ---- the largest or smallest element of each line ----
 *
 * It goes to `value`, and where `index` is wanted its first place in the line. NaN is larger and
 * smaller than all, as in PyTorch. `largest` is a constant of each call, so that each of the two
 * folds is compiled for itself. */

TT_INLINE bool replaces(const bool largest, T a, T b)
{
    return (largest ? a > b : a < b) || (IS_NAN(a) && !IS_NAN(b));
}

/* The extremum of n elements side by side, and how many of them are NaN. */
TT_INLINE T row_extremum(const bool largest, const T *x, int64_t n, int64_t *nans)
{
    T m = x[0];
    int64_t count = 0;
    if (largest) {
#pragma omp simd reduction(max : m) reduction(+ : count)
        for (int64_t i = 0; i < n; i++) {
            m = x[i] > m ? x[i] : m;
            count += IS_NAN(x[i]);
        }
    } else {
#pragma omp simd reduction(min : m) reduction(+ : count)
        for (int64_t i = 0; i < n; i++) {
            m = x[i] < m ? x[i] : m;
            count += IS_NAN(x[i]);
        }
    }
    *nans = count;
    return m;
}

TT_INLINE void extremum_fold(const bool largest, const fold *f, const T *x, int64_t n,
                             int64_t width, int64_t row, int64_t slot)
{
    T *restrict value = f->value + slot;
    int64_t *index = f->index != NULL ? f->index + slot : NULL;
    if (f->s.inner == 1) {
        int64_t nans, at = 0;
        T m = row_extremum(largest, x, n, &nans);
        if (nans > 0 || index != NULL) {
            while (nans > 0 ? !IS_NAN(x[at]) : x[at] != m) at++;
            m = x[at];
        }
        value[0] = m;
        if (index != NULL) index[0] = row + at;
        return;
    }
    memcpy(value, x, (size_t)width * sizeof(T));
    for (int64_t j = 0; j < width && index != NULL; j++) index[j] = row;
    for (int64_t i = 1; i < n; i++) {
        x += f->s.inner;
        if (index == NULL) {
            for (int64_t j = 0; j < width; j++)
                value[j] = replaces(largest, x[j], value[j]) ? x[j] : value[j];
            continue;
        }
        for (int64_t j = 0; j < width; j++) {
            bool better = replaces(largest, x[j], value[j]);
            value[j] = better ? x[j] : value[j];
            index[j] = better ? row + i : index[j];
        }
    }
}

static inline void largest_fold(const fold *f, const T *x, int64_t n, int64_t width, int64_t line,
                                int64_t row, int64_t slot)
{
    (void)line;
    extremum_fold(true, f, x, n, width, row, slot);
}

static inline void smallest_fold(const fold *f, const T *x, int64_t n, int64_t width, int64_t line,
                                 int64_t row, int64_t slot)
{
    (void)line;
    extremum_fold(false, f, x, n, width, row, slot);
}

/* The extrema of the pieces become those of their lines. */
static inline void extremum_join(bool largest, const fold *f)
{
    for (int64_t i = f->lines; i < f->pieces * f->lines; i++) {
        int64_t first = i % f->lines;
        if (!replaces(largest, f->value[i], f->value[first])) continue;
        f->value[first] = f->value[i];
        if (f->index != NULL) f->index[first] = f->index[i];
    }
}

/* ---- back to the elements ---- */

/* An operand of elementwise() with the shape (outer, n, inner): all elements, or with of_line one
 * value for each line. */
static inline tt_tensor span_tensor(tt_span s, const void *data, bool of_line)
{
    return (tt_tensor){.data = as_writable(data),
                       .numel = s.outer * s.n * s.inner,
                       .ndim = 3,
                       .dtype = T_DTYPE,
                       .shape = {s.outer, s.n, s.inner},
                       .strides = {of_line ? s.inner : s.n * s.inner, of_line ? 0 : s.inner, 1}};
}

/* dx (+)= an expression in a, an element of x, and in b and d, values of its line. */
static inline void span_backward(const tt_call *c, row_fn fn, const T *b, const T *d)
{
    tt_span s = rule_span_of(c->in[X], c->attrs);
    tt_tensor x = span_tensor(s, c->in[X]->data, false), of_b = span_tensor(s, b, true),
              of_d = span_tensor(s, d, true);
    const tt_tensor *operands[MAX_OPERANDS] = {&x, &of_b, &of_d};
    elementwise(fn, &x, operands, c->dx[X], c->acc[X]);
}

/* dx[i, index[i, k, j], j] (+)= dy[i, k, j] for k < chosen: the gradient of an operation that
 * chooses elements of each line. The indices are its second output. */
static inline void span_scatter(const tt_call *c, tt_span s, int64_t chosen)
{
    const int64_t *index = c->out[INDICES]->data;
    const T *dy = c->dy[VALUES];
    T *dx = c->dx[X];
    if (!c->acc[X]) memset(dx, 0, tensor_bytes(c->in[X]));
    for (int64_t o = 0; o < s.outer; o++, dx += s.n * s.inner) {
        for (int64_t k = 0; k < chosen; k++) {
            for (int64_t j = 0; j < s.inner; j++) dx[*index++ * s.inner + j] += *dy++;
        }
    }
}

#endif
