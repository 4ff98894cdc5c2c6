/* all: whether every element over adjacent axes is not zero; and any: whether one is. NaN is not
 * zero. */
#include "../op.h"

#ifdef TT_KERNELS

TT_FOLD(zeros_fold, +, 0, a == 0)
TT_FOLD(nonzeros_fold, +, 0, a != 0)

static tt_status all_or_any(tt_call *c, fold_fn count, bool counted)
{
    fold f = fold_of(c->in[X], c->attrs);
    if (fold_totals(c, &f) == NULL) return TT_ERR_NOMEM;
    fold_sum(&f, count);
    uint8_t *y = c->out[Y]->data;
    for (int64_t i = 0; i < f.lines; i++) y[i] = (f.total[i] > 0) == counted;
    return TT_OK;
}

static tt_status all_forward(tt_call *c) { return all_or_any(c, zeros_fold, false); }
static tt_status any_forward(tt_call *c) { return all_or_any(c, nonzeros_fold, true); }
TT_KERNELS_OF(all, all_forward, NULL)
TT_KERNELS_OF(any, any_forward, NULL)

#else

static tt_status all_infer(tt_call *c)
{
    TT_TRY(rule_span(c));
    c->spec[Y].dtype = TT_BOOL;
    return TT_OK;
}

TT_OP(all, .inputs = 1, .attributes = span_names, .flags = TT_INTEGERS | TT_NOGRAD,
      .own_dtype = BIT(Y), .infer = all_infer)
TT_OP(any, .inputs = 1, .attributes = span_names, .flags = TT_INTEGERS | TT_NOGRAD,
      .own_dtype = BIT(Y), .infer = all_infer)

#endif
