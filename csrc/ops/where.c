/* where: y = a where the mask is true, else b, broadcast. */
#include "../op.h"

enum { WHERE_MASK, WHERE_A, WHERE_B };

#ifdef TT_KERNELS

static void where_row(int64_t n, const T *p0, int64_t s0, const T *p1, int64_t s1, const T *p2,
                      int64_t s2, T *restrict out, bool acc)
{
    const uint8_t *mask = (const uint8_t *)(const void *)p0;
    (void)acc;
    if (s0 == 1 && s1 == 1 && s2 == 1) {
        for (int64_t i = 0; i < n; i++) out[i] = mask[i] ? p1[i] : p2[i];
    } else {
        for (int64_t i = 0; i < n; i++) out[i] = mask[i * s0] ? p1[i * s1] : p2[i * s2];
    }
}

/* dy where the mask is true, and where it is false. */
static void where_row_da(int64_t n, const T *p0, int64_t s0, const T *p1, int64_t s1, const T *p2,
                         int64_t s2, T *restrict out, bool acc)
{
    const uint8_t *mask = (const uint8_t *)(const void *)p0;
    (void)p2, (void)s2;
    for (int64_t i = 0; i < n; i++) put(out + i, mask[i * s0] ? p1[i * s1] : 0, acc);
}

static void where_row_db(int64_t n, const T *p0, int64_t s0, const T *p1, int64_t s1, const T *p2,
                         int64_t s2, T *restrict out, bool acc)
{
    const uint8_t *mask = (const uint8_t *)(const void *)p0;
    (void)p2, (void)s2;
    for (int64_t i = 0; i < n; i++) put(out + i, mask[i * s0] ? 0 : p1[i * s1], acc);
}

static tt_status where_forward(tt_call *c)
{
    const tt_tensor *operands[MAX_OPERANDS] = {c->in[WHERE_MASK], c->in[WHERE_A], c->in[WHERE_B]};
    elementwise(where_row, c->in[WHERE_MASK], operands, c->out[Y]->data, false);
    return TT_OK;
}

static tt_status where_backward(tt_call *c)
{
    tt_tensor dy = dense_like(c->in[WHERE_MASK], c->dy[Y]);
    const tt_tensor *operands[MAX_OPERANDS] = {c->in[WHERE_MASK], &dy};
    if (c->dx[WHERE_A] != NULL)
        elementwise(where_row_da, c->in[WHERE_MASK], operands, c->dx[WHERE_A], c->acc[WHERE_A]);
    if (c->dx[WHERE_B] != NULL)
        elementwise(where_row_db, c->in[WHERE_MASK], operands, c->dx[WHERE_B], c->acc[WHERE_B]);
    return TT_OK;
}
TT_KERNELS_OF(where, where_forward, where_backward)

#else

static void where_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                      tt_tensor **dx)
{
    tt_tensor *mask = node->in[WHERE_MASK], *zero = v_number(ctx, dy[Y], 0.0);
    if (need[WHERE_A]) dx[WHERE_A] = v_where(ctx, mask, dy[Y], zero);
    if (need[WHERE_B]) dx[WHERE_B] = v_where(ctx, mask, zero, dy[Y]);
}

TT_OP(where, .inputs = 3, .flags = TT_INTEGERS | TT_PROMOTES, .layout = TT_STRIDED,
      .masks = BIT(WHERE_MASK), .keeps = BIT(WHERE_MASK), .prepare = rule_broadcast,
      .infer = rule_same_shape, .vjp = where_vjp)

#endif
