/* cat: up to TT_MAX_IN tensors one after the other along an axis; absent inputs count for nothing,
 * and so does, as in PyTorch, a tensor of shape (0). The gradient of each is its slice of dy. */
#include "../op.h"

TT_ATTRS(cat, axis)
enum { CAT_FIRST }; /* the one that has to be there */

static bool cat_skips(const tt_tensor *t) { return t == NULL || (t->ndim == 1 && t->numel == 0); }

/* The first input that is not skipped says what shape the others must have; NULL: all are. */
static inline const tt_tensor *cat_model(const tt_call *c)
{
    for (int k = 0; k < c->n_in; k++) {
        if (!cat_skips(c->in[k])) return c->in[k];
    }
    return NULL;
}

#ifdef TT_KERNELS

/* The output as rows of all that precedes the axis; begin[k] to begin[k + 1] of a row is input
 * k. */
typedef struct {
    const tt_call *c;
    char *out;
    const T *dy;
    int64_t numel, row_length, begin[TT_MAX_IN + 1];
    size_t size;
} cat_plan;

static void cat_piece(const cat_plan *p, int k, int64_t from, int64_t to, int64_t n)
{
    const tt_call *c = p->c;
    if (p->dy == NULL) {
        memcpy(p->out + (size_t)to * p->size, (const char *)c->in[k]->data + (size_t)from * p->size,
               (size_t)n * p->size);
    } else if (c->dx[k] != NULL) {
        T *dx = (T *)c->dx[k] + from;
        for (int64_t i = 0; i < n; i++) put(dx + i, p->dy[to + i], c->acc[k]);
    }
}

static void cat_shard(void *arg, int64_t shard)
{
    const cat_plan *p = arg;
    int64_t at = shard * GRAIN, end = at_most(at + GRAIN, p->numel);
    while (at < end) {
        int64_t row = at / p->row_length, column = at % p->row_length;
        for (int k = 0; k < p->c->n_in && at < end; k++) {
            if (column >= p->begin[k + 1]) continue;
            int64_t length = p->begin[k + 1] - p->begin[k];
            int64_t n = at_most(p->begin[k + 1] - column, end - at);
            cat_piece(p, k, row * length + column - p->begin[k], at, n);
            column += n;
            at += n;
        }
    }
}

static tt_status cat_run(const tt_call *c, const T *dy)
{
    const tt_tensor *y = c->out[Y], *model = cat_model(c);
    if (y->numel == 0) return TT_OK;
    int axis = rule_normal_axis(cat_read(c->attrs).axis, model->ndim);
    int64_t inner = inner_size(y, y->ndim - axis - 1);
    cat_plan p = {.c = c, .out = y->data, .dy = dy, .numel = y->numel};
    p.size = dtype_size(y->dtype);
    for (int k = 0; k < c->n_in; k++)
        p.begin[k + 1] = p.begin[k] + (cat_skips(c->in[k]) ? 0 : c->in[k]->shape[axis] * inner);
    p.row_length = p.begin[c->n_in];
    parallel_for(shards_of(p.numel, GRAIN), cat_shard, &p);
    return TT_OK;
}

static tt_status cat_forward(tt_call *c) { return cat_run(c, NULL); }
static tt_status cat_backward(tt_call *c) { return cat_run(c, c->dy[Y]); }
TT_KERNELS_OF(cat, cat_forward, cat_backward)

#else

static tt_status cat_infer(tt_call *c)
{
    const tt_tensor *model = cat_model(c);
    c->spec[Y] = (tt_spec){.dtype = c->dtype, .ndim = 1};
    if (model == NULL) return TT_OK;
    for (int k = 0; k < c->n_in; k++) {
        if (c->in[k] != NULL && c->in[k]->ndim == 0)
            return tt_fail(TT_ERR_SHAPE, c->op->name,
                           "a tensor of 0 dimensions has no axis to join: use stack");
    }
    const cat_attrs a = cat_read(c->attrs);
    int axis = cat_complete(c->attrs) ? rule_normal_axis(a.axis, model->ndim) : -1;
    if (axis < 0) return rule_fail_axis(c->op->name, a.axis, model);
    c->spec[Y] = rule_spec_like(model);
    c->spec[Y].shape[axis] = 0;
    for (int k = 0; k < c->n_in; k++) {
        const tt_tensor *t = c->in[k];
        if (cat_skips(t)) continue;
        bool fits = t->ndim == model->ndim;
        for (int i = 0; i < t->ndim && fits; i++)
            fits = i == axis || t->shape[i] == model->shape[i];
        if (!fits)
            return tt_fail(TT_ERR_SHAPE, c->op->name,
                           "shapes %s and %s must be equal except along axis %d", SHAPE_TEXT(model),
                           SHAPE_TEXT(t), axis);
        c->spec[Y].shape[axis] += t->shape[axis];
    }
    return TT_OK;
}

static void cat_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                    tt_tensor **dx)
{
    int axis = rule_normal_axis(cat_read(&node->attrs).axis, dy[Y]->ndim);
    int64_t begin = 0;
    for (int k = 0; k < node->n_in; k++) {
        const tt_tensor *t = node->in[k];
        if (t == NULL) continue;
        int64_t length = cat_skips(t) ? 0 : t->shape[axis];
        if (need[k]) dx[k] = v_reshape_like(ctx, v_slice(ctx, dy[Y], axis, begin, length), t);
        begin += length;
    }
}

TT_OP(cat, .inputs = TT_MAX_IN, .attributes = cat_names, .flags = TT_ANY_DTYPE | TT_PROMOTES,
      .optional = ~BIT(CAT_FIRST), .infer = cat_infer, .vjp = cat_vjp)

#endif
