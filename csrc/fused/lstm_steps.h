/* lstm_steps: how lstm and lstm_scan run along time. Each step is a product of the state with the
 * recurrent weights, and then elementwise work on the units. The weights are packed once for all
 * steps, in blocks of units that hold all four gates: the elementwise work on a unit then finds the
 * sums of its gates in the first cache. A thread takes some rows of the batch through all steps.
 * Where the batch has too few rows for that, threads divide the units and wait for each other after
 * each step. */
#ifndef TT_LSTM_STEPS_H
#define TT_LSTM_STEPS_H

typedef struct lstm_steps lstm_steps;
/* The elementwise work on `rows` rows and `units` units of step t, the i-th that is run. */
typedef void (*lstm_units_fn)(const lstm_steps *s, int64_t i, int64_t t, int64_t row, int64_t rows,
                              int64_t unit, int64_t units);

struct lstm_steps {
    lstm_units_fn units;
    const void *plan;
    bool reverse; /* from the last step to the first */
    bool beyond;  /* one more product follows the last step */
    int64_t steps, n, hidden;
    const T *w;     /* (4H, H) */
    const T *first; /* (N, H), which the product of the first step reads; NULL: there is none */
    /* What a step leaves for the next: h (N, H), or in reverse the gradients of the gates (N, 4H).
     * Two buffers take turns, since other units may still read that of the step before. */
    T *carry;
    int64_t ld_carry;
    /* Where the product goes: forward to the four gates, H apart, of each row; in reverse the sum
     * of the four products to one (N, H). */
    T *out;
    int64_t out_row, out_step;
    T beta;
    /* Set by lstm_run. */
    T *packed; /* (blocks, 4, H, TILE_COLS); NULL: not worth the packing, or a BLAS is used */
    int64_t block, rows_per_part, units_per_part, across;
};

enum {
    LSTM_MIN_ROWS = 4,   /* with fewer rows at a time, reading the weights takes most of the time */
    LSTM_MAX_ROWS = 56,  /* more rows do not stay in the cache */
    LSTM_BLAS_ROWS = 16, /* a fixed height: the order in which a BLAS sums may depend on it */
    LSTM_WORK = 1
        << 15, /* multiplications for which it is worth that threads wait for each other */
};

/* The stride for rows of n elements, of which a product reads a few at the same column. With a
 * stride of a multiple of a page they would compete for one set of the cache. */
static inline int64_t lstm_ld(int64_t n)
{
    return n * (int64_t)sizeof(T) % 1024 == 0 ? n + 64 / (int64_t)sizeof(T) : at_least_one(n);
}

/* The buffer that step i writes and step i + 1 reads. */
static inline T *lstm_carry(const lstm_steps *s, int64_t i)
{
    return s->carry + (i & 1) * s->n * s->ld_carry;
}

static void lstm_product(const lstm_steps *s, int64_t i, int64_t t, int64_t row, int64_t rows,
                         int64_t unit, int64_t units)
{
    int64_t hidden = s->hidden, lda = i > 0 ? s->ld_carry : hidden;
    int64_t a_next = s->reverse ? hidden : 0, out_next = s->reverse ? 0 : hidden;
    const T *a = (i > 0 ? lstm_carry(s, i - 1) : s->first) + row * lda;
    T *out = s->out + row * s->out_row + t * s->out_step + unit;
#ifdef TT_GEMM
    if (s->packed != NULL) {
        int64_t panel = hidden * TILE_COLS;
        gemm_four_panels(rows, units, hidden, a, lda, a_next,
                         s->packed + unit / TILE_COLS * 4 * panel, panel, s->beta, out, s->out_row,
                         out_next);
        return;
    }
#endif
    for (int64_t gate = 0; gate < 4; gate++) {
        const T *w = s->w + gate * hidden * hidden + (s->reverse ? unit : unit * hidden);
        gemm(false, !s->reverse, rows, units, hidden, 1, a + gate * a_next, lda, w, hidden,
             s->reverse && gate > 0 ? 1 : s->beta, out + gate * out_next, s->out_row);
    }
}

static void lstm_step_part(void *arg, int64_t i, int64_t part)
{
    const lstm_steps *s = arg;
    int64_t t = s->reverse ? s->steps - 1 - i : i;
    int64_t row = part / s->across * s->rows_per_part, rows = at_most(s->rows_per_part, s->n - row);
    int64_t unit = part % s->across * s->units_per_part;
    int64_t end = at_most(unit + s->units_per_part, s->hidden);
    for (; unit < end; unit += s->block) {
        int64_t units = at_most(s->block, end - unit);
        if (i > 0 || s->first != NULL) lstm_product(s, i, t, row, rows, unit, units);
        if (i < s->steps) s->units(s, i, t, row, rows, unit, units);
    }
}

static void lstm_all_steps(void *arg, int64_t part)
{
    const lstm_steps *s = arg;
    for (int64_t i = 0; i < s->steps + s->beyond; i++) lstm_step_part(arg, i, part);
}

#ifdef TT_GEMM
static void lstm_pack_block(void *arg, int64_t block)
{
    const lstm_steps *s = arg;
    int64_t hidden = s->hidden, unit = block * TILE_COLS, units = at_most(TILE_COLS, hidden - unit);
    T *panel = s->packed + block * 4 * hidden * TILE_COLS;
    for (int64_t gate = 0; gate < 4; gate++, panel += hidden * TILE_COLS)
        gemm_pack(!s->reverse, hidden, units,
                  s->w + gate * hidden * hidden + (s->reverse ? unit : unit * hidden), hidden,
                  panel);
}
#endif

static tt_status lstm_run(tt_call *c, lstm_steps *s)
{
    if (s->n == 0 || s->hidden == 0) return TT_OK;
    int64_t count = s->steps + s->beyond, down = 1;
    s->block = s->units_per_part = s->hidden;
    s->rows_per_part = at_most(s->n, LSTM_BLAS_ROWS);
    s->across = 1;
#ifdef TT_GEMM
    if (!blas_preferred()) {
        int64_t blocks = shards_of(s->hidden, TILE_COLS), threads = parallel_get_threads();
        int64_t work = 4 * s->hidden * s->hidden;
        if (s->n * work * count < LSTM_WORK) threads = 1;
        down = at_most(threads, at_least_one(s->n / LSTM_MIN_ROWS));
        s->rows_per_part = at_most(LSTM_MAX_ROWS, shards_of(s->n, down));
        int64_t across = at_most(threads / down, at_least_one(s->rows_per_part * work / LSTM_WORK));
        s->units_per_part = shards_of(blocks, at_most(across, blocks)) * TILE_COLS;
        s->across = shards_of(s->hidden, s->units_per_part);
        if (count > 2) {
            s->packed = call_scratch(c, (size_t)(blocks * 4 * s->hidden * TILE_COLS) * sizeof(T));
            if (s->packed == NULL) return TT_ERR_NOMEM;
            s->block = TILE_COLS;
            parallel_for(blocks, lstm_pack_block, s);
        }
    }
#endif
    (void)c;
    down = shards_of(s->n, s->rows_per_part);
    if (s->across == 1) parallel_for(down, lstm_all_steps, s);
    else parallel_steps(count, down * s->across, lstm_step_part, s);
    return TT_OK;
}

#endif
