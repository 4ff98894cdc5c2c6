/* matmul: (..., m, k) times (..., k, n), the leading axes broadcast. A second factor without
 * leading axes is one product over all rows of the first. Integers, for which there is no BLAS, are
 * multiplied in int64 and wrap around. */
#include "../op.h"

#ifdef TT_KERNELS

#ifdef TT_I64
/* c (m, n) = a b with a (m, k) and b (k, n), either of them stored transposed. alpha and beta stand
 * where BLAS has them: integers have no backward that would need others than 1 and 0. */
static void integer_gemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, T alpha, const T *a,
                         int64_t lda, const T *b, int64_t ldb, T beta, T *c, int64_t ldc)
{
    (void)alpha, (void)beta;
    for (int64_t i = 0; i < m; i++) {
        T *row = c + i * ldc;
        for (int64_t j = 0; j < n; j++) row[j] = 0;
        for (int64_t l = 0; l < k; l++) {
            T factor = ta ? a[l * lda + i] : a[i * lda + l];
            const T *other = tb ? b + l : b + l * ldb;
            for (int64_t j = 0; j < n; j++) row[j] += factor * other[tb ? j * ldb : j];
        }
    }
}
#define gemm integer_gemm
#define parallel_gemm integer_gemm
#endif

/* One factor as BLAS reads it. */
typedef struct {
    const T *data;
    bool trans;
    int64_t ld;
} blas_operand;

static blas_operand operand_of(const tt_tensor *t)
{
    int64_t rows = t->shape[t->ndim - 2], cols = t->shape[t->ndim - 1];
    if (t->contiguous) return (blas_operand){t->data, false, cols > 0 ? cols : 1};
    bool trans = !(t->strides[t->ndim - 1] == 1 && t->strides[t->ndim - 2] >= cols);
    int64_t ld = t->strides[t->ndim - (trans ? 1 : 2)], least = trans ? rows : cols;
    return (blas_operand){t->data, trans, ld > least ? ld : least};
}

/* Where the b-th matrix of a batch begins. */
static int64_t batch_offset(const tt_tensor *t, int64_t b)
{
    int64_t offset = 0;
    for (int i = t->ndim - 3; b > 0; i--) { /* matrix 0 may be of an empty batch */
        offset += b % t->shape[i] * t->strides[i];
        b /= t->shape[i];
    }
    return offset;
}

typedef struct {
    tt_call *c;
    const tt_tensor *a, *b;
    blas_operand pa, pb;
    int64_t m, n, k, batch;
} matmul_plan;

static matmul_plan matmul_plan_of(tt_call *c)
{
    const tt_tensor *a = c->in[A], *b = c->in[B];
    matmul_plan p = {.c = c, .a = a, .b = b, .pa = operand_of(a), .pb = operand_of(b), .batch = 1};
    p.k = b->shape[b->ndim - 2];
    p.n = b->shape[b->ndim - 1];
    p.m = a->shape[a->ndim - 2];
    if (b->ndim == 2) {
        for (int i = 0; i < a->ndim - 2; i++) p.m *= a->shape[i];
    } else {
        for (int i = 0; i < a->ndim - 2; i++) p.batch *= a->shape[i];
    }
    return p;
}

static void matmul_forward_batch(void *arg, int64_t i)
{
    const matmul_plan *p = arg;
    T *y = (T *)p->c->out[Y]->data + i * p->m * p->n;
    (p->batch > 1 ? gemm : parallel_gemm)(
        p->pa.trans, p->pb.trans, p->m, p->n, p->k, 1, p->pa.data + batch_offset(p->a, i), p->pa.ld,
        p->pb.data + batch_offset(p->b, i), p->pb.ld, 0, y, at_least_one(p->n));
}

static tt_status matmul_forward(tt_call *c)
{
    matmul_plan p = matmul_plan_of(c);
    if (p.batch > 1) parallel_for(p.batch, matmul_forward_batch, &p);
    else if (p.batch == 1) matmul_forward_batch(&p, 0);
    return TT_OK;
}

/* da (m, k) = dy b^T, db (k, n) = a^T dy */
static void matmul_backward_batch(void *arg, int64_t i)
{
    const matmul_plan *p = arg;
    const tt_call *c = p->c;
    const T *dy = (const T *)c->dy[Y] + i * p->m * p->n;
    if (c->dx[A] != NULL)
        (p->batch > 1 ? gemm : parallel_gemm)(
            false, !p->pb.trans, p->m, p->k, p->n, 1, dy, at_least_one(p->n),
            p->pb.data + batch_offset(p->b, i), p->pb.ld, c->acc[A],
            (T *)c->dx[A] + i * p->m * p->k, at_least_one(p->k));
    if (c->dx[B] != NULL)
        (p->batch > 1 ? gemm : parallel_gemm)(
            !p->pa.trans, false, p->k, p->n, p->m, 1, p->pa.data + batch_offset(p->a, i), p->pa.ld,
            dy, at_least_one(p->n), c->acc[B], (T *)c->dx[B] + i * p->k * p->n, at_least_one(p->n));
}

static tt_status matmul_backward(tt_call *c)
{
    matmul_plan p = matmul_plan_of(c);
    if (p.batch > 1) parallel_for(p.batch, matmul_backward_batch, &p);
    else if (p.batch == 1) matmul_backward_batch(&p, 0);
    return TT_OK;
}
TT_KERNELS_OF(matmul, matmul_forward, matmul_backward)
#ifdef TT_I64
#undef gemm
#undef parallel_gemm
#endif

#else

static tt_status matmul_check(const tt_call *c)
{
    const tt_tensor *a = c->in[A], *b = c->in[B];
    if (a->ndim >= 2 && b->ndim >= 2 && a->shape[a->ndim - 1] == b->shape[b->ndim - 2])
        return TT_OK;
    return tt_fail(TT_ERR_SHAPE, c->op->name,
                   "shapes %s and %s cannot be multiplied: expected (..., m, k) and (..., k, n)",
                   SHAPE_TEXT(a), SHAPE_TEXT(b));
}

static tt_status matmul_prepare(tt_call *c)
{
    TT_TRY(matmul_check(c));
    const tt_tensor *a = c->in[A], *b = c->in[B];
    if (b->ndim == 2) { /* all rows of a at once, which must then lie densely */
        tt_attrs none = {0};
        if (a->ndim == 2 || a->contiguous) return TT_OK;
        return apply_op(c->ctx, TT_OP_contiguous, &c->in[A], 1, &none, call_place(c), &c->in[A]);
    }
    int ndim = a->ndim > b->ndim ? a->ndim : b->ndim;
    int64_t shape[2][TT_MAX_DIMS];
    for (int i = 0; i < ndim - 2; i++) {
        int ia = i - (ndim - a->ndim), ib = i - (ndim - b->ndim);
        int64_t m = ia >= 0 ? a->shape[ia] : 1, n = ib >= 0 ? b->shape[ib] : 1;
        if (m != n && m != 1 && n != 1)
            return tt_fail(TT_ERR_SHAPE, c->op->name,
                           "the leading axes of shapes %s and %s cannot be broadcast together",
                           SHAPE_TEXT(a), SHAPE_TEXT(b));
        shape[0][i] = shape[1][i] = m == 1 ? n : m;
    }
    for (int i = 0; i < 2; i++) {
        const tt_tensor *t = c->in[i];
        shape[i][ndim - 2] = t->shape[t->ndim - 2];
        shape[i][ndim - 1] = t->shape[t->ndim - 1];
        TT_TRY(rule_broadcast_input(c, ndim, shape[i], i));
    }
    return TT_OK;
}

static tt_status matmul_infer(tt_call *c)
{
    const tt_tensor *a = c->in[A], *b = c->in[B];
    c->spec[Y] = rule_spec_like(a);
    c->spec[Y].shape[a->ndim - 1] = b->shape[b->ndim - 1];
    return TT_OK;
}

static void matmul_vjp(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                       tt_tensor **dx)
{
    tt_tensor *a = node->in[A], *b = node->in[B];
    if (need[A]) dx[A] = v_matmul(ctx, dy[Y], v_transpose(ctx, b));
    if (need[B] && b->ndim == 2)
        dx[B] = v_matmul(ctx, v_transpose(ctx, v_as_rows(ctx, a)), v_as_rows(ctx, dy[Y]));
    else if (need[B]) dx[B] = v_matmul(ctx, v_transpose(ctx, a), dy[Y]);
}

TT_OP(matmul, .inputs = 2, .flags = TT_INTEGERS | TT_NO_BOOL, .layout = TT_MATRIX,
      .keeps = BIT(A) | BIT(B), .prepare = matmul_prepare, .infer = matmul_infer, .vjp = matmul_vjp)

#endif
