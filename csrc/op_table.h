/* op_table: what an operation declares, how a call reaches its functions, and the table of all
 * operations. */
#ifndef TT_OP_TABLE_H
#define TT_OP_TABLE_H

#include "ops_gen.h"
#include "tensor/context.h"

enum { TT_MAX_IN = 8, TT_MAX_OUT = 3, TT_MAX_SAVED = 3, TT_MAX_INTS = 12, TT_MAX_REALS = 4 };

typedef struct {
    int n_ints, n_reals;
    int64_t ints[TT_MAX_INTS];
    double reals[TT_MAX_REALS];
} tt_attrs;

/* What an output will be, filled in by the shape rule; of a view also where it is in its input. */
typedef struct {
    int dtype, ndim;
    int64_t shape[TT_MAX_DIMS];
    int64_t strides[TT_MAX_DIMS], offset; /* views only, in elements */
} tt_spec;

/* One call of an operation, forward or backward. */
typedef struct {
    tt_ctx *ctx;
    const tt_op *op;
    const tt_attrs *attrs;
    int n_in, n_out;
    int dtype; /* forward: the common type of the values; int64 if there are none */
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

/* The tables that the build collects. */
#define TT_ENUM(name) TT_OP_##name,
enum { TT_EACH_OP(TT_ENUM) TT_OP_COUNT };
#undef TT_ENUM
extern const tt_op *const tt_ops[TT_OP_COUNT];

#endif
