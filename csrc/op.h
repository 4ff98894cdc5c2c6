/* op: the contract between an operation and the tape.
 *
 * An operation is one file, read twice. With TT_KERNELS defined it gives its loops, compiled for
 * each dtype and SIMD level; without, its declaration: the shape rule and the vjp, which is the
 * backward rule written with operations of the tape, so that it can be differentiated again. */
#ifndef TT_OP_H
#define TT_OP_H

#include <string.h>

#include "context.h"
#include "ops_gen.h"
#include "base/random.h"

enum { TT_MAX_IN = 8, TT_MAX_OUT = 3, TT_MAX_SAVED = 3, TT_MAX_INTS = 12, TT_MAX_REALS = 4 };

typedef struct {
    int n_ints, n_reals;
    int64_t ints[TT_MAX_INTS];
    double reals[TT_MAX_REALS];
} tt_attrs;

/* Attributes and inputs have names, and no operation writes a position.
 *
 * An operation's file declares its attributes once, above its kernels (integers, then reals; a last
 * integer with [] is a list):
 *
 *     TT_ATTRS(slice, axis, start, step, length)
 *     TT_ATTRS(dropout, seed, stream, offset, real p)
 *     TT_ATTRS(sum, keepdim, axes[])
 *
 * and its TT_OP names them: `.attributes = slice_names`. An operation may use the set of another.
 * The build writes the rest (cmake/attributes.cmake), for every file that includes op.h:
 *
 *     const slice_attrs a = slice_read(c->attrs);     then a.axis, a.start, ...
 *     slice_complete(c->attrs)                        every one is given, and no other
 *     v_call(ctx, TT_OP_slice, &x, 1, ATTRS(slice, .axis = 1, .start = 0, .step = 1, .length = n))
 *     v_call(ctx, TT_OP_permute, &x, 1, ATTRS(permute, .n_order = 2, .order = (int64_t[]){1, 0}))
 *
 * Python says run["slice"]((x,), axis=1, start=0, step=1, length=n) (functional/_apply.py). It
 * gives all of them, as ATTRS does, where a member that is not named is 0; and _read makes 0 of
 * what a call of tt_apply leaves out. So 0 is what an attribute has to be where it does not apply.
 *
 * The only input of an operation is X, those of a pair are A and B; the only output is Y, those of
 * what chooses elements are VALUES and INDICES. Where there are others, the operation's file has an
 * enum with the operation's name before each, since all files are compiled together:
 * enum { LINEAR_X, LINEAR_WEIGHT, LINEAR_BIAS }. They index in, dx, acc and need, or out, dy and
 * spec, and masks are made of them: `.keeps = BIT(LINEAR_X) | BIT(LINEAR_WEIGHT)`.
 *
 *     v_call(ctx, TT_OP_gather, INPUTS(x, index), ATTRS(gather, .axis = axis)) */
#define TT_ATTRS(set, ...)
#define ATTRS(set, ...) ((const tt_attrs[]){set##_pack((set##_attrs){__VA_ARGS__})})
#define BIT(index) (1u << (index))
/* Two arguments: the inputs and how many there are. */
#define INPUTS(...) \
    (tt_tensor *[]){__VA_ARGS__}, (int)(sizeof((tt_tensor *[]){__VA_ARGS__}) / sizeof(tt_tensor *))
enum { X = 0 };
enum { A = 0, B = 1 };
enum { Y = 0 };
enum { VALUES = 0, INDICES = 1 };

/* Reductions over adjacent axes share these; some have one more behind them. */
TT_ATTRS(span, keepdim, first, count)

#include "ops_attrs.h"

/* What an output will be, filled in by the shape rule. A view also says where in its input it
 * lies. */
typedef struct {
    int dtype, ndim;
    int64_t shape[TT_MAX_DIMS];
    int64_t strides[TT_MAX_DIMS], offset; /* views only, in elements */
} tt_spec;

/* One run of an operation, forward or backward. */
typedef struct {
    tt_ctx *ctx;
    const tt_op *op;
    const tt_attrs *attrs;
    int n_in, n_out;
    int dtype; /* forward: in which the values meet; int64 where there are none */
    tt_tensor **in, **out;
    tt_spec *spec;             /* forward: of each output */
    tt_place place;            /* forward: where an output goes that is not recorded */
    bool recording;            /* forward: a backward will want what is saved */
    void *saved[TT_MAX_SAVED]; /* for the backward kernel */
    /* backward: dy[i] is contiguous (NULL: zero); dx[i] is contiguous (NULL: not wanted); with
     * acc[i] the kernel adds to dx[i], otherwise it overwrites it. */
    const void *dy[TT_MAX_OUT];
    void *dx[TT_MAX_IN];
    bool acc[TT_MAX_IN];
} tt_call;

typedef struct {
    tt_status (*forward)(tt_call *c);
    tt_status (*backward)(tt_call *c);
} tt_kernels;

typedef enum {
    TT_VIEW = 1,      /* no kernel: the output shares the input's storage, as spec says */
    TT_NOGRAD = 2,    /* not differentiable: never recorded */
    TT_ANY_DTYPE = 4, /* the kernel takes elements of any type as they are */
    TT_INTEGERS = 8,  /* has kernels for int64; narrower integers and bool compute there too */
    TT_NO_BOOL = 16,  /* but bool is refused */
    TT_PROMOTES = 32, /* inputs meet in their common type, as torch.result_type has it */
    TT_TO_FLOAT = 64, /* integers become float32 first */
} tt_op_flags;

/* The layout that the kernels want of an input; the tape makes a contiguous copy where it does not
 * hold. */
typedef enum {
    TT_CONTIGUOUS = 0,
    TT_STRIDED, /* any strides */
    TT_MATRIX   /* the last two dimensions as BLAS wants them: one of them with stride 1 */
} tt_layout;

struct tt_op {
    const char *name;
    int id;                 /* its place in tt_ops */
    const char *attributes; /* their names; NULL: there are none */
    int inputs, outputs;    /* outputs 0 reads as 1 */
    unsigned flags;
    tt_layout layout;  /* of the inputs that are no indices */
    unsigned optional; /* bit i: input i may be absent */
    unsigned indices;  /* bit i: input i holds integers, int64 for the kernel, without a gradient */
    unsigned masks;    /* bit i: input i holds bool, without a gradient */
    unsigned own_dtype; /* bit k: output k has a type of its own, not that of the inputs */
    unsigned keeps; /* bit i: backward reads input i, which must not change in place until then */
    unsigned
        passes; /* bit i: the gradient of input i is dy, element by element: the tape does it */
    tt_status (*prepare)(tt_call *c); /* may replace inputs by views of them: broadcasting */
    tt_status (*infer)(tt_call *c);   /* checks the inputs, fills spec */
    void (*vjp)(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
                tt_tensor **dx);
};

/* A recorded operation. */
struct tt_node {
    tt_node *prev, *next;
    const tt_op *op;
    uint64_t sequence;
    int n_in, n_out;
    uint64_t reached;  /* the latest pass that comes here */
    uint64_t visited;  /* the latest pass that goes through here */
    uint64_t released; /* the pass that gave up what this saved; 0: none */
    tt_tensor **in;    /* the tape's own copy of the caller's array */
    tt_tensor **out;
    uint32_t *versions;    /* of the inputs' storage when this was recorded */
    uint64_t wants;        /* bit i: input i required a gradient then */
    uint64_t keeps;        /* bit i: input i is read by backward; the op's, but for a Function */
    tt_attached *function; /* a Function of the outside; NULL: an operation of ours */
    int32_t origin;        /* the outside's number for the line that led here; 0: unknown */
    int32_t order;         /* 0: forward; n: recorded by differentiating a node of order n - 1 */
    void *saved[TT_MAX_SAVED];
    tt_attrs attrs;
};

/* The tables that the build collects. */
#define TT_ENUM(name) TT_OP_##name,
enum { TT_EACH_OP(TT_ENUM) TT_OP_COUNT };
#undef TT_ENUM
extern const tt_op *const tt_ops[TT_OP_COUNT];

struct adam_step; /* optim.h */
struct sgd_step;

/* Loops of one dtype at one SIMD level that are no operation of the tape. */
typedef struct {
    const tt_kernels *ops[TT_OP_COUNT];
    void (*accumulate)(void *dst, const void *src, int64_t n);
    void (*adam)(void *p, const void *g, void *m, void *v, int64_t n, const struct adam_step *k);
    void (*sgd)(void *p, const void *g, void *momentum, int64_t n, const struct sgd_step *k);
    /* sum |scale x|^power; for power infinity the largest |x| */
    double (*power_sum)(const void *x, int64_t n, double power, double scale);
    void (*scale)(void *x, int64_t n, double factor);
    /* Blocks first .. first + PHILOX_BATCH - 1 of the generator; word w of block j is out[w][j]. */
    void (*philox)(uint64_t seed, uint64_t stream, uint64_t first, uint32_t out[4][PHILOX_BATCH]);
} tt_kernel_set;
const tt_kernel_set *kernels_for(int dtype);

/* Runs an operation and records it where a gradient may be wanted. `place` is where an unrecorded
 * output goes. */
tt_status tape_apply(tt_ctx *ctx, int op, tt_tensor **in, int n_in, const tt_attrs *attrs,
                     tt_place place, tt_tensor **out);
/* Appends a node. The array `inputs` may live on the caller's stack: the tape keeps its own
 * copy. */
tt_status tape_add_op(tt_ctx *ctx, const tt_op *op, tt_tensor *const *inputs, int n_in,
                      tt_tensor *const *outputs, int n_out, const tt_attrs *attrs,
                      void *const *saved);
/* Memory for what a kernel saves: in the step arena when recording, else in scratch. */
void *call_save(tt_call *c, int index, size_t n);
/* Where a rule may put a tensor that the operation reads, or shows as a view of: as long-lived as
 * the output. */
static inline tt_place call_place(const tt_call *c)
{
    return c->recording || c->place == PLACE_STEP ? PLACE_STEP : PLACE_SCRATCH;
}
static inline void *call_scratch(tt_call *c, size_t n)
{
    return ctx_scratch(c->ctx, c->op->name, n);
}

/* Shared rules (op_rules.c). */
tt_status prepare_broadcast(tt_call *c); /* all inputs to their common shape */
tt_status infer_same(tt_call *c);        /* inputs of one shape; the output is like them */
tt_status infer_predicate(tt_call *c);   /* likewise, and the output is bool */
tt_status call_broadcast(tt_call *c, int ndim, const int64_t *shape, int input);
int normal_axis(int64_t axis, int ndim); /* -1: there is no such axis */
tt_status fail_axis(const char *op, int64_t axis, const tt_tensor *x);
/* An axis of the input that was given; that of a scalar is 0. */
tt_status check_axis(const tt_call *c, bool given, int64_t axis);
tt_spec spec_like(const tt_tensor *x); /* its type and shape */

/* Reductions over adjacent axes, whose attributes are those of TT_ATTRS(span, ...), or begin so. */
typedef struct {
    int64_t outer, n, inner; /* the tensor's shape, the axes that go taken together */
} tt_span;
tt_span span_of(const tt_tensor *x, const tt_attrs *attrs);
tt_span span_of_axes(const tt_tensor *x, int64_t first, int64_t count);
tt_span span_of_axis(const tt_tensor *x, int64_t axis); /* a scalar has one element along any */
tt_status infer_span(tt_call *c);          /* the shape without those axes, in the input's dtype */
tt_status infer_span_nonempty(tt_call *c); /* likewise, where nothing has no such value */

/* The words in which a vjp is written (vjp.c). A NULL goes in and a NULL comes out, so that a
 * formula needs one check at its end. Unrecorded results live in the step arena. */
tt_tensor *v_unary(tt_ctx *ctx, int op, tt_tensor *x);
tt_tensor *v_binary(tt_ctx *ctx, int op, tt_tensor *a, tt_tensor *b);
tt_tensor *v_to(tt_ctx *ctx, tt_tensor *x, int dtype);
tt_tensor *v_number(tt_ctx *ctx, const tt_tensor *like, double value); /* without dimensions */
tt_tensor *v_where(tt_ctx *ctx, tt_tensor *mask, tt_tensor *a, tt_tensor *b);
tt_tensor *v_scale(tt_ctx *ctx, tt_tensor *x, double factor);
tt_tensor *v_shift(tt_ctx *ctx, tt_tensor *x, double term);
tt_tensor *v_clamp(tt_ctx *ctx, tt_tensor *x, double low, double high);
tt_tensor *v_sum(tt_ctx *ctx, tt_tensor *x, int n_dims, const int64_t *dims, bool keepdim);
tt_tensor *v_sum_axis(tt_ctx *ctx, tt_tensor *x, int dim);  /* one axis, kept */
tt_tensor *v_mean_axis(tt_ctx *ctx, tt_tensor *x, int dim); /* likewise */
tt_tensor *v_reshape(tt_ctx *ctx, tt_tensor *x, int ndim, const int64_t *shape);
tt_tensor *v_reshape_like(tt_ctx *ctx, tt_tensor *x, const tt_tensor *like);
tt_tensor *v_expand_like(tt_ctx *ctx, tt_tensor *x, const tt_tensor *like);
/* A value of each line in the shape of the elements. */
tt_tensor *v_span_expand(tt_ctx *ctx, tt_tensor *x, const tt_tensor *like, const tt_attrs *attrs);
/* What the backward kernel of a recorded operation makes of ones, as a constant: the factor of dy
 * where an operation is linear but for kinks. */
tt_tensor *v_weights(tt_ctx *ctx, const tt_node *node);
tt_tensor *v_as_rows(tt_ctx *ctx, tt_tensor *x); /* (..., n) as (rows, n) */
tt_tensor *v_one_minus(tt_ctx *ctx, tt_tensor *x);
tt_tensor *v_transpose(tt_ctx *ctx, tt_tensor *x); /* the last two axes */
tt_tensor *v_softmax(tt_ctx *ctx, tt_tensor *x, int dim);
tt_tensor *v_slice(tt_ctx *ctx, tt_tensor *x, int dim, int64_t start, int64_t length);
/* zeros with `size` places along dim, of which those from start on are x */
tt_tensor *v_slice_backward(tt_ctx *ctx, tt_tensor *x, int dim, int64_t start, int64_t size);
tt_tensor *v_call(tt_ctx *ctx, int op, tt_tensor **in, int n_in, const tt_attrs *attrs);
tt_tensor *v_constant(tt_ctx *ctx, int dtype, int ndim, const int64_t *shape, double value);
#define v_add(ctx, a, b) v_binary(ctx, TT_OP_add, a, b)
#define v_sub(ctx, a, b) v_binary(ctx, TT_OP_sub, a, b)
#define v_mul(ctx, a, b) v_binary(ctx, TT_OP_mul, a, b)
#define v_div(ctx, a, b) v_binary(ctx, TT_OP_div, a, b)
#define v_matmul(ctx, a, b) v_binary(ctx, TT_OP_matmul, a, b)
#define v_neg(ctx, x) v_unary(ctx, TT_OP_neg, x)
/* The vjp of an operation of one input whose slope is zero. */
void vjp_zero(tt_ctx *ctx, const tt_node *node, tt_tensor *const *dy, const bool *need,
              tt_tensor **dx);

/* The one declaration of an operation. */
#define TT_OP(op_name, ...) \
    const tt_op tt_op_##op_name = {.name = #op_name, .id = TT_OP_##op_name, __VA_ARGS__};
/* The end of its kernels: forward, backward (NULL where there is none). */
#define TT_KERNELS_OF(op_name, forward_fn, backward_fn) \
    static const tt_kernels op_name##_kernels = {forward_fn, backward_fn};

#ifdef TT_KERNELS
#include "loops/kernels.h"
#endif

#endif
