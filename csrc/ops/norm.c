/* norm: (sum |x|^p)^(1/p) over adjacent axes; the largest |x| for p infinite, the smallest for p =
 * -inf, how many are not zero for p = 0. The gradient is taken to be zero where x or the norm is.
 * */
#include "../op.h"

TT_ATTRS(norm, keepdim, first, count, real p)

#ifdef TT_KERNELS

/* Without vectors, which might lose a NaN among the largest. */
TT_FOLD_NEXT(norm_max_fold, , 0, fabs(a) > s || a != a ? fabs(a) : s)
TT_FOLD_NEXT(norm_min_fold, , INFINITY, fabs(a) < s || a != a ? fabs(a) : s)
TT_FOLD(norm_count_fold, +, 0, a != 0)
TT_FOLD(norm_1_fold, +, 0, fabs(a))
TT_FOLD(norm_2_fold, +, 0, a *a)
TT_FOLD_NEXT(norm_p_fold, , 0, s + pow(fabs(a), f->power))
TT_FOLD_NEXT(norm_scaled_fold, , 0, s + pow(fabs(a) / b, f->power))

/* The pieces of a line, where they do not add up. */
static void norm_join(const fold *f)
{
    for (int64_t i = f->lines; i < f->pieces * f->lines; i++) {
        SUM *s = &f->total[i % f->lines], a = f->total[i];
        if ((f->power > 0 ? a > *s : a < *s) || a != a) *s = a;
    }
}

/* Into total: of each line the |x| that decides. */
static void norm_extremes(fold *f)
{
    fold_run(f, f->power > 0 ? norm_max_fold : norm_min_fold);
    norm_join(f);
}

/* Whether powers of what a T can be, or their sum, leave the range in which a SUM is exact. */
static bool norm_leaves_range(const fold *f)
{
    if (f->power == 0 || f->power == 1 || (sizeof(T) < sizeof(SUM) && fabs(f->power) <= 6))
        return false;
    for (int64_t i = 0; i < f->lines; i++) {
        if (!(f->total[i] >= DBL_MIN / DBL_EPSILON && f->total[i] <= DBL_MAX)) return true;
    }
    return false;
}

/* y = b (sum (|x| / b)^p)^(1/p), with b the |x| that decides. */
static tt_status norm_scaled(tt_call *c, fold *f)
{
    T *y = c->out[Y]->data;
    SUM *decides = call_scratch(c, (size_t)f->lines * sizeof *decides);
    if (decides == NULL) return TT_ERR_NOMEM;
    norm_extremes(f);
    for (int64_t i = 0; i < f->lines; i++)
        decides[i] = f->total[i] > 0 && isfinite(f->total[i]) ? f->total[i] : 1;
    f->with = decides;
    fold_sum(f, norm_scaled_fold);
    for (int64_t i = 0; i < f->lines; i++) y[i] = (T)(decides[i] * pow(f->total[i], 1 / f->power));
    return TT_OK;
}

static tt_status norm_forward(tt_call *c)
{
    fold f = fold_of(c->in[X], c->attrs);
    double p = f.power = norm_read(c->attrs).p;
    if (fold_totals(c, &f) == NULL) return TT_ERR_NOMEM;
    if (isinf(p)) {
        norm_extremes(&f);
    } else {
        fold_sum(&f, p == 0   ? norm_count_fold
                     : p == 1 ? norm_1_fold
                     : p == 2 ? norm_2_fold
                              : norm_p_fold);
        if (norm_leaves_range(&f)) return norm_scaled(c, &f);
    }
    T *y = c->out[Y]->data;
    for (int64_t i = 0; i < f.lines; i++) {
        SUM s = f.total[i];
        y[i] = (T)(p == 2 ? sqrt(s) : p == 0 || p == 1 || isinf(p) ? s : pow(s, 1 / p));
    }
    return TT_OK;
}

#define SIGN(a) ((a) > 0 ? 1 : (a) < 0 ? -1 : (a))
TT_FOLD(norm_equals_fold, +, 0, fabs(a) == b || (a != a && b != b))
TT_ROW(norm_inf_row_backward, ((a < 0 ? -a : a) == b || (a != a && b != b)) ? SIGN(a) * d : 0)
TT_ROW(norm_1_row_backward, SIGN(a) * d)
TT_ROW(norm_2_row_backward, b == 0 ? 0 : a / b * d)
TT_ROW(norm_0_row_backward, 0)

typedef struct {
    const T *x, *y, *dy;
    T *dx;
    tt_span s;
    double power;
    bool acc;
} norm_plan;

/* dx = dy sign(x) (|x| / y)^(p - 1), for a shard of the rows of (outer * n, inner) */
static void norm_p_backward_shard(void *arg, int64_t shard)
{
    const norm_plan *p = arg;
    int64_t rows = rows_per_shard(p->s.inner), begin = shard * rows,
            end = at_most(begin + rows, p->s.outer * p->s.n);
    for (int64_t row = begin; row < end; row++) {
        int64_t line = row / p->s.n * p->s.inner, first = row * p->s.inner;
        for (int64_t j = 0; j < p->s.inner; j++) {
            SUM x = (SUM)p->x[first + j], y = (SUM)p->y[line + j];
            SUM slope = x == 0 || y == 0 ? 0 : SIGN(x) * pow(fabs(x) / y, p->power - 1);
            put(p->dx + first + j, (T)(slope * (SUM)p->dy[line + j]), p->acc);
        }
    }
}

/* What a line's elements share: dy, for infinite p over how many reach it. */
static T *norm_factors(tt_call *c, fold *f)
{
    const T *y = c->out[Y]->data, *dy = c->dy[Y];
    T *factor = call_scratch(c, (size_t)f->lines * sizeof *factor);
    if (factor == NULL) return NULL;
    memcpy(factor, dy, (size_t)f->lines * sizeof *factor);
    if (isinf(f->power)) {
        SUM *with = call_scratch(c, (size_t)f->lines * sizeof *with);
        if (with == NULL || fold_totals(c, f) == NULL) return NULL;
        for (int64_t i = 0; i < f->lines; i++) with[i] = (SUM)y[i];
        f->with = with;
        fold_sum(f, norm_equals_fold);
        for (int64_t i = 0; i < f->lines; i++) factor[i] = (T)((SUM)dy[i] / f->total[i]);
    }
    return factor;
}

static tt_status norm_backward(tt_call *c)
{
    fold f = fold_of(c->in[X], c->attrs);
    const T *y = c->out[Y]->data;
    double p = f.power = norm_read(c->attrs).p;
    if (p != 0 && p != 1 && p != 2 && !isinf(p)) {
        norm_plan plan = {f.x, y, c->dy[Y], c->dx[X], f.s, p, c->acc[X]};
        int64_t rows = f.s.inner > 0 ? f.s.outer * f.s.n : 0;
        parallel_for(shards_of(rows, rows_per_shard(f.s.inner)), norm_p_backward_shard, &plan);
        return TT_OK;
    }
    const T *factor = norm_factors(c, &f);
    if (factor == NULL) return TT_ERR_NOMEM;
    row_fn row = p == 0   ? norm_0_row_backward
                 : p == 1 ? norm_1_row_backward
                 : p == 2 ? norm_2_row_backward
                          : norm_inf_row_backward;
    span_backward(c, row, y, factor);
    return TT_OK;
}
TT_KERNELS_OF(norm, norm_forward, norm_backward)

#else

#include <math.h>

static tt_status norm_infer(tt_call *c)
{
    const tt_tensor *x = c->in[X];
    if (c->attrs->n_reals != 1 || isnan(norm_read(c->attrs).p))
        return tt_fail(TT_ERR_ARG, c->op->name, "p must be a number, got NaN");
    double p = norm_read(c->attrs).p;
    TT_TRY(rule_span(c));
    if ((p < 0 || isinf(p)) && rule_span_of(x, c->attrs).n == 0)
        return tt_fail(TT_ERR_INDEX, c->op->name,
                       "the norm of order %g of nothing does not exist: got shape %s", p,
                       SHAPE_TEXT(x));
    return TT_OK;
}

/* dx = dy sign(x) (|x| / y)^(p - 1), with ones in the place of zeros */
static void norm_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                     tt_tensor **dx)
{
    (void)need;
    const tt_attrs *attrs = &node->attrs;
    tt_tensor *x = node->in[X], *y = node->out[Y];
    double p = norm_read(attrs).p;
    if (p == 0 || p == 1 || isinf(p)) {
        dx[X] = v_mul(ctx, v_span_expand(ctx, dy[Y], x, attrs), v_weights(ctx, node));
        return;
    }
    tt_tensor *nonzero = v_unary(ctx, TT_OP_sign, y); /* no norm is negative */
    tt_tensor *safe_y = v_add(ctx, y, v_one_minus(ctx, nonzero));
    tt_tensor *g = v_mul(ctx, dy[Y], nonzero);
    if (p == 2) {
        tt_tensor *direction = v_div(ctx, x, v_span_expand(ctx, safe_y, x, attrs));
        dx[X] = v_mul(ctx, direction, v_span_expand(ctx, g, x, attrs));
        return;
    }
    tt_tensor *sign = v_unary(ctx, TT_OP_sign, x), *size = v_unary(ctx, TT_OP_abs, x);
    tt_tensor *zeros = v_one_minus(ctx, v_unary(ctx, TT_OP_abs, sign));
    tt_tensor *relative = v_div(ctx, v_add(ctx, size, zeros), v_span_expand(ctx, safe_y, x, attrs));
    tt_tensor *power =
        v_call(ctx, TT_OP_pow_number, INPUTS(relative), ATTRS(pow_number, .number = p - 1));
    dx[X] = v_mul(ctx, v_mul(ctx, sign, power), v_span_expand(ctx, g, x, attrs));
}

TT_OP(norm, .inputs = 1, .attributes = norm_names, .keeps = BIT(X), .infer = norm_infer,
      .vjp = norm_vjp)

#endif
