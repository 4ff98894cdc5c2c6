/* tensor: shape, strides, dtype and storage. */
#ifndef TT_TENSOR_H
#define TT_TENSOR_H

#include "arena.h"
#include "dtype.h"

enum { TT_MAX_DIMS = 8 };

typedef struct tt_node tt_node;
typedef struct tt_op tt_op;
typedef struct tt_callback tt_callback;

/* Where a tensor lives, which says when it ends. */
typedef enum {
    PLACE_POOL,   /* reference counted: parameters, state, data, results under no_grad */
    PLACE_STEP,   /* in the step arena: ends with the tape */
    PLACE_SCRATCH /* in the scratch arena: ends with the call */
} tt_place;

/* What a backward pass knows of a tensor. It is of the pass whose number it bears; older values
 * mean nothing. It lies in the tensor because the walk looks here at each step. */
typedef struct {
    void *cot;                   /* the cotangent: contiguous, of the tensor's shape */
    struct tt_tensor *cot_var;   /* the same under create_graph: a tensor on the tape */
    struct tt_tensor *fresh;     /* what becomes grad if the pass succeeds */
    struct tt_tensor *successor; /* what the handles name once the tape is released */
    uint64_t cot_epoch;          /* the pass that cot or cot_var belongs to */
    uint64_t needed_epoch;       /* the pass that wants a cotangent here */
    bool captured;               /* the gradient of this tensor was asked for */
} tt_pass_state;

typedef struct tt_tensor {
    void *data;
    tt_block *block; /* the storage; NULL when data lies in an arena */
    tt_block *self;  /* PLACE_POOL: the block this struct lies in */
    tt_node *node;   /* the tape operation that made it; NULL for leaves */
    struct tt_tensor *grad;
    tt_callback *hook;       /* the caller wants to see the gradient of this; NULL: it does not */
    const tt_op *blocked_by; /* the operation without a gradient that lies between this and what
                                requires one; NULL: none */
    tt_pass_state pass;
    struct tt_tensor *held_prev, *held_next; /* the list of tensors with handles that this is in */
    int64_t shape[TT_MAX_DIMS], strides[TT_MAX_DIMS]; /* strides in elements */
    int64_t numel;
    int64_t refs;    /* PLACE_POOL: one for all handles together, one for each tape input, one for a
                        grad's owner */
    int64_t handles; /* how many handles the caller holds */
    uint32_t slot;
    uint8_t dtype, ndim, place;
    bool requires_grad, contiguous;
    bool number;      /* stands for a plain number: only its kind counts in promotion */
    bool graph_freed; /* its tape was released: it has its value but no graph behind it */
    bool retired;     /* replaced by another leaf: a gradient here would be lost */
    bool kept;        /* lies with its graph in the arena of graphs that outlive their step */
    bool marked;      /* scratch mark of the tape's sweep */
} tt_tensor;

static inline size_t tensor_bytes(const tt_tensor *t)
{
    return (size_t)t->numel * dtype_size(t->dtype);
}

/* Fills shape, numel and contiguous strides; refuses negative sizes, too many dimensions and
 * overflow. */
tt_status tensor_set_shape(tt_tensor *t, const char *op, int dtype, int ndim, const int64_t *shape);
/* Strides of a dense tensor of some shape. */
void tensor_dense_strides(int ndim, const int64_t *shape, int64_t *strides);
bool tensor_strides_contiguous(const tt_tensor *t);
bool tensor_same_shape(const tt_tensor *a, const tt_tensor *b);
/* Checks that the caller's memory has as many bytes as the tensor's elements. */
tt_status tensor_check_bytes(const tt_tensor *t, int64_t nbytes, const char *op);
/* Whether any of these has an element. If none has, no kernel is called, so kernels need not handle
 * sizes such as (2^40, 0, 3). */
static inline bool tensor_any_elements(tt_tensor *const *t, int n)
{
    for (int i = 0; i < n; i++) {
        if (t[i]->numel > 0) return true;
    }
    return false;
}
#define SHAPE_TEXT(t) shape_text((t)->ndim, (t)->shape)

/* Pool tensors. A new one has one reference; its elements are not set. */
tt_tensor *tensor_new_pool(tt_ctx *ctx, const char *op, tt_pool pool, int dtype, int ndim,
                           const int64_t *shape);
tt_tensor *tensor_new_view(tt_ctx *ctx, const tt_tensor *like); /* shares like's block */
static inline void tensor_ref(tt_tensor *t) /* one more reference to a pool tensor */
{
    if (t->place == PLACE_POOL) t->refs += 1;
}
void tensor_unref(tt_ctx *ctx, tt_tensor *t);

/* Arena tensors: the struct and, when with_data, its storage. */
tt_tensor *tensor_new_arena(tt_ctx *ctx, const char *op, tt_place place, int dtype, int ndim,
                            const int64_t *shape, bool with_data);

void tensor_fill(tt_tensor *t, double value); /* contiguous floats */

/* For code that copies in both directions and has one pointer for either. */
static inline void *as_writable(const void *data)
{
    union {
        const void *read;
        void *data;
    } both = {.read = data};
    return both.data;
}

#endif
