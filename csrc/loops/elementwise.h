/* elementwise: loops over operands of one shape and any strides, with a contiguous result.
 *
 * Dimensions are joined as far as the strides of all operands allow. The loop then goes over rows,
 * and a row function over the elements of one row, which the compiler turns into vector code. */
#ifndef TT_ELEMENTWISE_H
#define TT_ELEMENTWISE_H

enum { MAX_OPERANDS = 3 };

/* out[i] (+)= f(p0[i * s0], p1[i * s1], p2[i * s2]) for i < n. */
typedef void (*row_fn)(int64_t n, const T *p0, int64_t s0, const T *p1, int64_t s1, const T *p2,
                       int64_t s2, T *out, bool acc);

typedef struct {
    row_fn fn;
    const char *data[MAX_OPERANDS];
    size_t size[MAX_OPERANDS], out_size; /* of an element */
    char *out;
    bool acc;
    int ndim; /* after joining; the last dimension is the row */
    int64_t numel, shape[TT_MAX_DIMS], strides[MAX_OPERANDS][TT_MAX_DIMS];
} elementwise_plan;

static void elementwise_shard(void *arg, int64_t shard)
{
    const elementwise_plan *p = arg;
    int64_t begin = shard * GRAIN, end = at_most(begin + GRAIN, p->numel);
    int64_t row_length = p->shape[p->ndim - 1];
    while (begin < end) {
        int64_t column = begin % row_length, rest = begin / row_length, offset[MAX_OPERANDS];
        for (int k = 0; k < MAX_OPERANDS; k++) offset[k] = column * p->strides[k][p->ndim - 1];
        for (int i = p->ndim - 2; i >= 0; i--) {
            int64_t index = rest % p->shape[i];
            rest /= p->shape[i];
            for (int k = 0; k < MAX_OPERANDS; k++) offset[k] += index * p->strides[k][i];
        }
        int64_t n = at_most(row_length - column, end - begin);
        const void *at[MAX_OPERANDS];
        for (int k = 0; k < MAX_OPERANDS; k++) at[k] = p->data[k] + offset[k] * (int64_t)p->size[k];
        p->fn(n, at[0], p->strides[0][p->ndim - 1], at[1], p->strides[1][p->ndim - 1], at[2],
              p->strides[2][p->ndim - 1], (void *)(p->out + (size_t)begin * p->out_size), p->acc);
        begin += n;
    }
}

/* The operands are tensors with the shape of `shape`; NULL stands for operand 0 again. Masks and
 * outputs of bool are bytes: the row function casts their pointers. */
static inline void elementwise_to(row_fn fn, const tt_tensor *shape,
                                  const tt_tensor *const *operands, void *out, int out_dtype,
                                  bool acc)
{
    if (shape->numel == 0) return;
    elementwise_plan p; /* not zeroed: that would take longer than the loop over a small tensor */
    p.fn = fn, p.out = out, p.out_size = dtype_size(out_dtype), p.acc = acc;
    p.numel = shape->numel, p.ndim = 0;
    const int64_t *strides[MAX_OPERANDS];
    for (int k = 0; k < MAX_OPERANDS; k++) {
        const tt_tensor *t = operands[k] != NULL ? operands[k] : operands[0];
        p.data[k] = t->data;
        p.size[k] = dtype_size(t->dtype);
        strides[k] = t->strides;
    }
    for (int i = 0; i < shape->ndim; i++) {
        if (shape->shape[i] == 1) continue;
        bool joins = p.ndim > 0;
        for (int k = 0; k < MAX_OPERANDS && joins; k++)
            joins = p.strides[k][p.ndim - 1] == strides[k][i] * shape->shape[i];
        if (joins) p.shape[p.ndim - 1] *= shape->shape[i];
        else p.shape[p.ndim++] = shape->shape[i];
        for (int k = 0; k < MAX_OPERANDS; k++) p.strides[k][p.ndim - 1] = strides[k][i];
    }
    if (p.ndim == 0) { /* one element */
        p.shape[p.ndim++] = 1;
        for (int k = 0; k < MAX_OPERANDS; k++) p.strides[k][0] = 0;
    }
    parallel_for(shards_of(p.numel, GRAIN), elementwise_shard, &p);
}

static inline void elementwise(row_fn fn, const tt_tensor *shape, const tt_tensor *const *operands,
                               void *out, bool acc)
{
    elementwise_to(fn, shape, operands, out, T_DTYPE, acc);
}

/* A contiguous operand at `data`, for memory that is no tensor: dy, or the output. */
static inline tt_tensor dense_like(const tt_tensor *shape, const void *data)
{
    tt_tensor t = {
        .data = as_writable(data), .numel = shape->numel, .ndim = shape->ndim, .dtype = T_DTYPE};
    int64_t stride = 1;
    for (int i = shape->ndim - 1; i >= 0; i--) {
        t.shape[i] = shape->shape[i];
        t.strides[i] = stride;
        stride *= shape->shape[i];
    }
    return t;
}

/* An operand whose elements are all one number. */
static inline tt_tensor number_like(const tt_tensor *shape, const T *value)
{
    tt_tensor t = dense_like(shape, value);
    memset(t.strides, 0, sizeof t.strides);
    return t;
}

/* A row function of an expression in a, b and d. Three patterns of strides have their own loop:
 * all operands dense; and, where operands broadcast, the first or the second a single value. */
#define TT_ROW_LOOP(expression, A, B, D)       \
    if (acc) {                                 \
        for (int64_t i = 0; i < n; i++) {      \
            const T a = (A), b = (B), d = (D); \
            (void)a, (void)b, (void)d;         \
            out[i] += (expression);            \
        }                                      \
    } else {                                   \
        for (int64_t i = 0; i < n; i++) {      \
            const T a = (A), b = (B), d = (D); \
            (void)a, (void)b, (void)d;         \
            out[i] = (expression);             \
        }                                      \
    }

#define TT_ROW_OF(name, expression, broadcasts)                                                \
    static void name(int64_t n, const T *p0, int64_t s0, const T *p1, int64_t s1, const T *p2, \
                     int64_t s2, T *restrict out, bool acc)                                    \
    {                                                                                          \
        if (s0 == 1 && s1 == 1 && s2 == 1) {                                                   \
            TT_ROW_LOOP(expression, p0[i], p1[i], p2[i])                                       \
        } else if ((broadcasts) && s0 == 1 && s1 == 0 && s2 == 1) {                            \
            TT_ROW_LOOP(expression, p0[i], *p1, p2[i])                                         \
        } else if ((broadcasts) && s0 == 0 && s1 == 1 && s2 == 1) {                            \
            TT_ROW_LOOP(expression, *p0, p1[i], p2[i])                                         \
        } else {                                                                               \
            TT_ROW_LOOP(expression, p0[i * s0], p1[i * s1], p2[i * s2])                        \
        }                                                                                      \
    }

#define TT_ROW(name, expression) TT_ROW_OF(name, expression, true)
/* For operations whose operands are not broadcast. */
#define TT_PLAIN_ROW(name, expression) TT_ROW_OF(name, expression, false)

/* The larger and the smaller of two values; NaN where one of them is NaN. */
#define LARGER(a, b) ((a) > (b) || (a) != (a) ? (a) : (b))
#define SMALLER(a, b) ((a) < (b) || (a) != (a) ? (a) : (b))

/* A row function that writes an expression in a and b as bool. */
#define TT_PREDICATE_LOOP(expression, A, B) \
    for (int64_t i = 0; i < n; i++) {       \
        const T a = (A), b = (B);           \
        (void)a, (void)b;                   \
        y[i] = (expression) ? 1 : 0;        \
    }

#define TT_PREDICATE_ROW(name, expression)                                                     \
    static void name(int64_t n, const T *p0, int64_t s0, const T *p1, int64_t s1, const T *p2, \
                     int64_t s2, T *out, bool acc)                                             \
    {                                                                                          \
        uint8_t *restrict y = (uint8_t *)(void *)out;                                          \
        (void)p2, (void)s2, (void)acc;                                                         \
        if (s0 == 1 && s1 == 1) {                                                              \
            TT_PREDICATE_LOOP(expression, p0[i], p1[i])                                        \
        } else if (s0 == 1 && s1 == 0) {                                                       \
            TT_PREDICATE_LOOP(expression, p0[i], *p1)                                          \
        } else {                                                                               \
            TT_PREDICATE_LOOP(expression, p0[i * s0], p1[i * s1])                              \
        }                                                                                      \
    }

/* The kernels of an operation of one or two inputs with a bool output (rule_predicate in op.h). */
#define TT_PREDICATE(name, expression)                                                       \
    TT_PREDICATE_ROW(name##_row, expression)                                                 \
    static tt_status name##_forward(tt_call *c)                                              \
    {                                                                                        \
        const tt_tensor *operands[MAX_OPERANDS] = {c->in[A], c->n_in > B ? c->in[B] : NULL}; \
        elementwise_to(name##_row, c->in[X], operands, c->out[Y]->data, TT_BOOL, false);     \
        return TT_OK;                                                                        \
    }                                                                                        \
    TT_KERNELS_OF(name, name##_forward, NULL)

/* The kernels of a unary operation y = f(a) with dx = g(a or b = y, d = dy). */
#define TT_UNARY(name, forward_expression, backward_expression) \
    TT_PLAIN_ROW(name##_row, forward_expression)                \
    TT_PLAIN_ROW(name##_row_backward, backward_expression)      \
    TT_UNARY_OF_ROWS(name)

#define TT_UNARY_OF_ROWS(name)                                                     \
    static tt_status name##_forward(tt_call *c)                                    \
    {                                                                              \
        const tt_tensor *operands[MAX_OPERANDS] = {c->in[X]};                      \
        elementwise(name##_row, c->in[X], operands, c->out[Y]->data, false);       \
        return TT_OK;                                                              \
    }                                                                              \
    static tt_status name##_backward(tt_call *c)                                   \
    {                                                                              \
        tt_tensor dy = dense_like(c->in[X], c->dy[Y]);                             \
        const tt_tensor *operands[MAX_OPERANDS] = {c->in[X], c->out[Y], &dy};      \
        elementwise(name##_row_backward, c->in[X], operands, c->dx[X], c->acc[X]); \
        return TT_OK;                                                              \
    }                                                                              \
    TT_KERNELS_OF(name, name##_forward, name##_backward)

/* The kernels of a binary operation y = f(a, b) with the gradients of a and b, where d = dy. */
#define TT_BINARY(name, forward_expression, da_expression, db_expression)                          \
    TT_ROW(name##_row, forward_expression)                                                         \
    TT_ROW(name##_row_da, da_expression)                                                           \
    TT_ROW(name##_row_db, db_expression)                                                           \
    static tt_status name##_forward(tt_call *c)                                                    \
    {                                                                                              \
        const tt_tensor *operands[MAX_OPERANDS] = {c->in[A], c->in[B], c->out[Y]};                 \
        elementwise(name##_row, c->in[X], operands, c->out[Y]->data, false);                       \
        return TT_OK;                                                                              \
    }                                                                                              \
    static tt_status name##_backward(tt_call *c)                                                   \
    {                                                                                              \
        tt_tensor dy = dense_like(c->in[X], c->dy[Y]);                                             \
        const tt_tensor *operands[MAX_OPERANDS] = {c->in[A], c->in[B], &dy};                       \
        if (c->dx[A] != NULL) elementwise(name##_row_da, c->in[A], operands, c->dx[A], c->acc[A]); \
        if (c->dx[B] != NULL) elementwise(name##_row_db, c->in[A], operands, c->dx[B], c->acc[B]); \
        return TT_OK;                                                                              \
    }                                                                                              \
    TT_KERNELS_OF(name, name##_forward, name##_backward)

#endif
