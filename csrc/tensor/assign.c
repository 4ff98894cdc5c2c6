/* assign: writing in place: into a whole tensor or a view of it, where a mask is true, or at the
 * places that an index names. The cost depends on what is written. Writing is never recorded; it
 * raises the version of the storage, so that a backward pass notices that a value has changed. */
#include "assign.h"

#include <string.h>

#include "copy.h"

tt_status assign_writable(tt_ctx *ctx, tt_handle h, const char *op, tt_tensor **out)
{
    tt_tensor *t = handle_tensor(ctx, h, op);
    if (t == NULL) return TT_ERR_STALE;
    if (t->place != PLACE_POOL || t->node != NULL || t->graph_freed)
        return tt_fail(TT_ERR_STATE, op,
                       "a tensor that an operation recorded cannot be changed in place");
    *out = t;
    return TT_OK;
}

tt_status tt_check_in_place(tt_ctx *ctx, tt_handle h, const char *name)
{
    tt_tensor *t = NULL;
    TT_TRY(ctx_enter(ctx, name));
    TT_TRY(assign_writable(ctx, h, name, &t));
    if (t->requires_grad && ctx->grad_enabled)
        return tt_fail(TT_ERR_STATE, name,
                       "a leaf that requires grad cannot be changed in place while operations are "
                       "recorded: do it under no_grad()");
    return TT_OK;
}

/* Finds the tensor to be written to, in which no two elements share memory. */
static tt_status destination(tt_ctx *ctx, tt_handle h, const char *op, tt_tensor **out)
{
    TT_TRY(ctx_enter(ctx, op));
    TT_TRY(assign_writable(ctx, h, op, out));
    for (int i = 0; i < (*out)->ndim && (*out)->numel > 0; i++) {
        if ((*out)->strides[i] == 0 && (*out)->shape[i] > 1)
            return tt_fail(
                TT_ERR_STATE, op,
                "an expanded tensor has one element for many places: make it contiguous first");
    }
    return TT_OK;
}

tt_status tt_write(tt_ctx *ctx, tt_handle h, const void *src, int64_t nbytes)
{
    tt_tensor *t = NULL;
    TT_TRY(destination(ctx, h, "copy_", &t));
    TT_TRY(tensor_check_bytes(t, nbytes, "copy_"));
    TT_NEED_LIST("copy_", nbytes, src);
    ctx_lock_values(ctx);
    copy_scatter(t, src);
    ctx_unlock_values(ctx);
    t->block->version += 1;
    return TT_OK;
}

/* What is read: a tensor in its own storage, or as a copy in scratch. */
typedef struct {
    const void *data;
    int64_t strides[TT_MAX_DIMS];
} operand;

/* The strides that show t in a shape to which it broadcasts. */
static tt_status stretch(const tt_tensor *t, int ndim, const int64_t *shape, const char *op,
                         int64_t *strides)
{
    const int lead = ndim - t->ndim;
    for (int i = 0; i < lead; i++) strides[i] = 0;
    bool fits = lead >= 0;
    for (int i = 0; i < t->ndim && fits; i++) {
        fits = t->shape[i] == shape[lead + i] || t->shape[i] == 1;
        strides[lead + i] = t->shape[i] == 1 ? 0 : t->strides[i];
    }
    if (fits) return TT_OK;
    return tt_fail(TT_ERR_SHAPE, op, "shape %s cannot be broadcast to %s", SHAPE_TEXT(t),
                   shape_text(ndim, shape));
}

/* The end of the last element of t; no stride is negative. */
static const char *end_of(const tt_tensor *t)
{
    int64_t last = 0;
    for (int i = 0; i < t->ndim && t->numel > 0; i++) last += (t->shape[i] - 1) * t->strides[i];
    return (const char *)t->data + (last + 1) * (int64_t)dtype_size(t->dtype);
}

/* Whether writing to dst may change what t shows. */
static bool shares_memory(const tt_tensor *dst, const tt_tensor *t)
{
    return t->block != NULL && t->block == dst->block && (const char *)t->data < end_of(dst) &&
           (const char *)dst->data < end_of(t);
}

static tt_status operand_of(tt_ctx *ctx, const tt_tensor *t, const tt_tensor *dst, int dtype,
                            int ndim, const int64_t *shape, const char *op, operand *out)
{
    *out = (operand){.data = t->data};
    TT_TRY(stretch(t, ndim, shape, op, out->strides));
    if (t->dtype == dtype && !shares_memory(dst, t)) return TT_OK;
    tt_tensor dense = *t;
    if (!t->contiguous || t->dtype == dtype) {
        tensor_dense_strides(t->ndim, t->shape, dense.strides);
        dense.data = ctx_scratch(ctx, op, tensor_bytes(t));
        if (dense.data == NULL) return TT_ERR_NOMEM;
        copy_gather(dense.data, t);
    }
    if (t->dtype != dtype) {
        void *converted = ctx_scratch(ctx, op, (size_t)t->numel * dtype_size(dtype));
        if (converted == NULL) return TT_ERR_NOMEM;
        dtype_convert(converted, dtype, dense.data, t->dtype, t->numel);
        dense.data = converted;
    }
    out->data = dense.data;
    tensor_dense_strides(t->ndim, t->shape, dense.strides);
    return stretch(&dense, ndim, shape, op, out->strides);
}

static tt_status source_tensor(tt_ctx *ctx, tt_handle h, const char *op, tt_tensor **out)
{
    *out = handle_tensor(ctx, h, op);
    if (*out == NULL) return TT_ERR_STALE;
    if ((*out)->requires_grad && ctx->grad_enabled)
        return tt_fail(TT_ERR_STATE, op,
                       "writing in place is not recorded and would lose the source's gradient: use "
                       "detach() or no_grad()");
    return TT_OK;
}

static bool same_place(const tt_tensor *a, const tt_tensor *b)
{
    return a->data == b->data && a->dtype == b->dtype && tensor_same_shape(a, b) &&
           memcmp(a->strides, b->strides, (size_t)a->ndim * sizeof a->strides[0]) == 0;
}

static tt_status copy_where(tt_ctx *ctx, tt_tensor *dst, const tt_tensor *src,
                            const tt_tensor *mask, const char *op)
{
    operand from, where = {.data = NULL};
    TT_TRY(operand_of(ctx, src, dst, dst->dtype, dst->ndim, dst->shape, op, &from));
    if (mask != NULL)
        TT_TRY(operand_of(ctx, mask, dst, TT_BOOL, dst->ndim, dst->shape, op, &where));
    ctx_lock_values(ctx);
    copy_elements(dst->ndim, dst->shape, dtype_size(dst->dtype), dst->data, dst->strides, from.data,
                  from.strides, where.data, where.strides);
    ctx_unlock_values(ctx);
    return TT_OK;
}

tt_status tt_copy(tt_ctx *ctx, tt_handle h, tt_handle src, tt_handle mask, const char *name)
{
    tt_tensor *dst = NULL, *from = NULL, *where = NULL;
    TT_TRY(destination(ctx, h, name, &dst));
    TT_TRY(source_tensor(ctx, src, name, &from));
    if (mask != 0) {
        where = handle_tensor(ctx, mask, name);
        if (where == NULL) return TT_ERR_STALE;
        if (where->dtype != TT_BOOL)
            return tt_fail(TT_ERR_DTYPE, name, "expected a mask of bool, got %s",
                           dtype_text(where->dtype));
    }
    arena_mark scratch = arena_here(&ctx->scratch);
    tt_status status = same_place(dst, from) ? TT_OK : copy_where(ctx, dst, from, where, name);
    arena_rewind(&ctx->scratch, scratch);
    if (status == TT_OK) dst->block->version += 1;
    return status;
}

static tt_status check_index(const tt_tensor *dst, int axis, int count, const tt_tensor *index,
                             const char *op)
{
    if (axis < 0 || count < 1 || axis > dst->ndim || count > dst->ndim - axis || index->ndim != 1 ||
        index->dtype != TT_INT64 || !index->contiguous)
        return tt_fail(TT_ERR_ARG, op,
                       "expected a vector of int64 for axes of a tensor of %d dimensions, got %s "
                       "of shape %s for %d from axis %d",
                       dst->ndim, dtype_text(index->dtype), SHAPE_TEXT(index), count, axis);
    return copy_check_places(op, count, dst->shape + axis, index);
}

static tt_status put(tt_ctx *ctx, tt_tensor *dst, int axis, int count, const tt_tensor *index,
                     const tt_tensor *src, const char *op)
{
    TT_TRY(check_index(dst, axis, count, index, op));
    const int after = axis + count, ndim = dst->ndim - count + 1;
    int64_t shape[TT_MAX_DIMS];
    memcpy(shape, dst->shape, (size_t)axis * sizeof shape[0]);
    shape[axis] = index->numel;
    memcpy(shape + axis + 1, dst->shape + after, (size_t)(dst->ndim - after) * sizeof shape[0]);
    operand from;
    TT_TRY(operand_of(ctx, src, dst, dst->dtype, ndim, shape, op, &from));
    int64_t *offsets = ctx_scratch(ctx, op, (size_t)index->numel * sizeof offsets[0]);
    if (offsets == NULL) return TT_ERR_NOMEM;
    tt_places places = copy_places_of(dst, axis, count, index, offsets);
    ctx_lock_values(ctx);
    copy_to_places(&places, from.data, from.strides);
    ctx_unlock_values(ctx);
    return TT_OK;
}

tt_status tt_put(tt_ctx *ctx, tt_handle h, int axis, int count, tt_handle index, tt_handle src,
                 const char *name)
{
    tt_tensor *dst = NULL, *from = NULL;
    TT_TRY(destination(ctx, h, name, &dst));
    TT_TRY(source_tensor(ctx, src, name, &from));
    const tt_tensor *where = handle_tensor(ctx, index, name);
    if (where == NULL) return TT_ERR_STALE;
    arena_mark scratch = arena_here(&ctx->scratch);
    tt_status status = put(ctx, dst, axis, count, where, from, name);
    arena_rewind(&ctx->scratch, scratch);
    if (status == TT_OK) dst->block->version += 1;
    return status;
}
