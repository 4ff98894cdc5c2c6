/* tape.h, release.h and apply.h: the tape keeps its own copy of what it is told, gives memory back
 * only when nothing can reach it, and is as it was after a call that failed. Also built with the
 * address sanitizer, under which the arena's free memory is poisoned. */
#include "release.h"

#include <math.h>
#include <string.h>

#include "check.h"

enum { N = 5 };

static const int64_t shape[1] = {N};
static const tt_attrs no_attrs;
static void *const nothing_saved[TT_MAX_SAVED];

static int64_t system_bytes(void)
{
    tt_memory m;
    mem_stats(&m);
    return m.system_bytes;
}

/* A leaf of N doubles first, first + 1, ... that wants a gradient. */
static tt_handle leaf(tt_ctx *ctx, double first)
{
    double values[N];
    for (int i = 0; i < N; i++) values[i] = first + i;
    tt_handle h = 0;
    CHECK(tt_new(ctx, TT_POOL_PARAM, TT_FLOAT64, 1, shape, values, &h) == TT_OK, "%s",
          tt_error_message());
    tt_set_requires_grad(ctx, h, 1);
    return h;
}

static tt_tensor *tensor_of(tt_ctx *ctx, tt_handle h) { return handle_tensor(ctx, h, "test"); }

static tt_status try_apply(tt_ctx *ctx, int op, tt_handle a, tt_handle b, tt_handle *out)
{
    const tt_handle in[2] = {a, b};
    return tt_apply(ctx, op, tt_ops[op]->inputs, in, 0, NULL, 0, NULL, out);
}

static tt_handle apply(tt_ctx *ctx, int op, tt_handle a, tt_handle b)
{
    tt_handle out = 0;
    CHECK(try_apply(ctx, op, a, b, &out) == TT_OK, "%s", tt_error_message());
    return out;
}

static void release(tt_ctx *ctx, tt_handle h)
{
    CHECK(tt_release(ctx, h) == TT_OK, "%s", tt_error_message());
}

static tt_status backward(tt_ctx *ctx, tt_handle root, bool retain)
{
    tt_tensor *y = tensor_of(ctx, root);
    double ones[64];
    for (int i = 0; i < 64; i++) ones[i] = 1;
    tt_handle gradient = 0;
    if (y == NULL) return TT_ERR_STALE;
    TT_TRY(tt_new(ctx, TT_POOL_DATA, TT_FLOAT64, y->ndim, y->shape, ones, &gradient));
    tt_status status = tt_backward(ctx, 1, &root, &gradient, 0, NULL, retain, 0, NULL);
    tt_release(ctx, gradient);
    return status;
}

/* Element i of the gradient of a leaf; NaN where there is none. */
static double grad_at(tt_ctx *ctx, tt_handle h, int i)
{
    const tt_tensor *t = tensor_of(ctx, h);
    return t != NULL && t->grad != NULL ? ((const double *)t->grad->data)[i] : NAN;
}

static void check_grad(tt_ctx *ctx, tt_handle h, double at_0, double slope, const char *what)
{
    for (int i = 0; i < N; i++)
        CHECK(grad_at(ctx, h, i) == at_0 + slope * i, "%s: element %d is %g, not %g", what, i,
              grad_at(ctx, h, i), at_0 + slope * i);
}

/* ---- the array of inputs ---- */

/* y = a * b, recorded by hand. */
static tt_tensor *product_of(tt_ctx *ctx, tt_tensor *const *inputs)
{
    tt_tensor *out = tensor_new_arena(ctx, "test", PLACE_STEP, TT_FLOAT64, 1, shape, true);
    const double *a = inputs[0]->data, *b = inputs[1]->data;
    for (int i = 0; i < N; i++) ((double *)out->data)[i] = a[i] * b[i];
    tt_status status =
        tape_add_op(ctx, tt_ops[TT_OP_mul], inputs, 2, &out, 1, &no_attrs, nothing_saved);
    CHECK(status == TT_OK, "%s", tt_error_message());
    return out;
}

/* The caller's array is on the stack of this function, which returns before backward. On its way
 * out it writes other tensors into the array, through volatile so that no compiler leaves it
 * out. */
__attribute__((noinline)) static tt_tensor *product_from_a_frame(tt_ctx *ctx, tt_tensor *a,
                                                                 tt_tensor *b, tt_tensor *decoy)
{
    tt_tensor *inputs[2] = {a, b};
    tt_tensor *out = product_of(ctx, inputs);
    tt_tensor *volatile *seen = inputs;
    seen[0] = decoy;
    seen[1] = decoy;
    return out;
}

/* Writes over the frames that were there before. */
__attribute__((noinline)) static int scribble(int depth)
{
    volatile unsigned char frame[1024];
    for (size_t i = 0; i < sizeof frame; i++) frame[i] = 0xa5;
    return depth > 0 ? scribble(depth - 1) + frame[depth] : frame[0];
}

static void test_inputs_in_a_frame_that_is_gone(void)
{
    tt_ctx *ctx = tt_ctx_new();
    tt_handle a = leaf(ctx, 2), b = leaf(ctx, 10), decoy = leaf(ctx, 1000);
    tt_tensor *y =
        product_from_a_frame(ctx, tensor_of(ctx, a), tensor_of(ctx, b), tensor_of(ctx, decoy));
    CHECK(scribble(8) > 0, "the stack was written over");
    tt_handle root = handle_for(ctx, y);
    CHECK(backward(ctx, root, false) == TT_OK, "%s", tt_error_message());
    check_grad(ctx, a, 10, 1, "d(ab)/da");
    check_grad(ctx, b, 2, 1, "d(ab)/db");
    CHECK(isnan(grad_at(ctx, decoy, 0)), "the decoy has no gradient");
    tt_ctx_free(ctx);
}

/* One array for several operations, as a loop over layers would have it. */
static void test_inputs_in_an_array_that_is_used_again(void)
{
    tt_ctx *ctx = tt_ctx_new();
    tt_handle a = leaf(ctx, 1), b = leaf(ctx, 2), c = leaf(ctx, 3);
    tt_tensor *inputs[2] = {tensor_of(ctx, a), tensor_of(ctx, b)};
    inputs[0] = product_of(ctx, inputs); /* ab */
    inputs[1] = tensor_of(ctx, c);
    inputs[0] = product_of(ctx, inputs); /* abc */
    tt_handle root = handle_for(ctx, inputs[0]);
    memset(inputs, 0, sizeof inputs);
    CHECK(backward(ctx, root, false) == TT_OK, "%s", tt_error_message());
    for (int i = 0; i < N; i++) {
        CHECK(grad_at(ctx, a, i) == (2 + i) * (3 + i), "da %d: %g", i, grad_at(ctx, a, i));
        CHECK(grad_at(ctx, b, i) == (1 + i) * (3 + i), "db %d: %g", i, grad_at(ctx, b, i));
        CHECK(grad_at(ctx, c, i) == (1 + i) * (2 + i), "dc %d: %g", i, grad_at(ctx, c, i));
    }
    tt_ctx_free(ctx);
}

/* The handles of the inputs are released: the tape keeps them alive. */
static void test_inputs_that_nobody_else_holds(void)
{
    tt_ctx *ctx = tt_ctx_new();
    tt_handle a = leaf(ctx, 2), b = leaf(ctx, 10);
    tt_handle y = apply(ctx, TT_OP_mul, a, b);
    release(ctx, b);
    for (int i = 0; i < 20; i++) release(ctx, leaf(ctx, 77)); /* its memory would be taken */
    CHECK(backward(ctx, y, false) == TT_OK, "%s", tt_error_message());
    check_grad(ctx, a, 10, 1, "d(ab)/da");
    release(ctx, y);
    tt_memory m;
    tt_memory_stats(ctx, &m);
    CHECK(m.tape_nodes == 0 && m.live_handles == 1, "%lld nodes", (long long)m.tape_nodes);
    CHECK(m.pool_blocks[TT_POOL_PARAM] == 2, "only a and its gradient are left, not %lld blocks",
          (long long)m.pool_blocks[TT_POOL_PARAM]);
    tt_ctx_free(ctx);
}

/* ---- giving memory back ---- */

static void test_sweep_keeps_what_can_be_reached(void)
{
    tt_ctx *ctx = tt_ctx_new();
    tt_handle a = leaf(ctx, 1), b = leaf(ctx, 2);
    tt_handle kept = apply(ctx, TT_OP_mul, a, b);
    tt_handle dropped = apply(ctx, TT_OP_exp, a, 0);
    for (int i = 0; i < 6000; i++) { /* dead: several chunks of it */
        tt_handle next = apply(ctx, TT_OP_neg, dropped, 0);
        release(ctx, dropped);
        dropped = next;
    }
    tt_handle top = apply(ctx, TT_OP_mul, kept, kept); /* reaches back over all of it */
    release(ctx, kept);
    release(ctx, dropped);
    CHECK(ctx->step.chunks > 2, "%zu chunks: the test wants several", ctx->step.chunks);
    size_t used = ctx->step.used;
    release_sweep(ctx);
    CHECK(ctx->tape.nodes == 2, "%lld nodes are left, not 2", (long long)ctx->tape.nodes);
    CHECK(ctx->step.used < used / 2, "%zu of %zu bytes", ctx->step.used, used);
    release_sweep(ctx); /* once more changes nothing */
    CHECK(ctx->tape.nodes == 2, "%lld nodes", (long long)ctx->tape.nodes);
    tt_handle late = apply(ctx, TT_OP_mul, top, a);
    CHECK(backward(ctx, late, false) == TT_OK, "%s", tt_error_message());
    for (int i = 0; i < N; i++) {
        double x = 1 + i, y = 2 + i; /* late = (xy)^2 x */
        CHECK(fabs(grad_at(ctx, a, i) - 3 * x * x * y * y) < 1e-9, "da %d", i);
        CHECK(fabs(grad_at(ctx, b, i) - 2 * x * x * x * y) < 1e-9, "db %d", i);
    }
    release(ctx, top);
    release(ctx, late);
    CHECK(ctx->tape.nodes == 0 && ctx->step.used == 0, "the last holder ends the tape");
    tt_ctx_free(ctx);
}

static void test_sweep_of_views(void)
{
    tt_ctx *ctx = tt_ctx_new();
    tt_handle a = leaf(ctx, 1), square = apply(ctx, TT_OP_mul, a, a), view = 0, part = 0;
    const int64_t flat[2] = {N, 1}, slice[4] = {0, 1, 2, 2};
    CHECK(tt_apply(ctx, TT_OP_reshape, 1, &square, 2, flat, 0, NULL, &view) == TT_OK, "reshape");
    CHECK(tt_apply(ctx, TT_OP_slice, 1, &view, 4, slice, 0, NULL, &part) == TT_OK, "slice");
    release(ctx, square); /* the data lies in a tensor that only the views reach */
    release(ctx, view);
    tt_handle dead = apply(ctx, TT_OP_exp, a, 0);
    for (int i = 0; i < 6000; i++) {
        tt_handle next = apply(ctx, TT_OP_neg, dead, 0);
        release(ctx, dead);
        dead = next;
    }
    release(ctx, dead);
    release_sweep(ctx);
    double got[2] = {0, 0};
    CHECK(tt_read(ctx, part, got, sizeof got) == TT_OK, "%s", tt_error_message());
    CHECK(got[0] == 4 && got[1] == 16, "(%g, %g), not (4, 16)", got[0], got[1]);
    CHECK(backward(ctx, part, false) == TT_OK, "%s", tt_error_message());
    for (int i = 0; i < N; i++)
        CHECK(grad_at(ctx, a, i) == (i % 2 ? 2 * (1 + i) : 0), "%d: %g", i, grad_at(ctx, a, i));
    CHECK(tt_read(ctx, part, got, sizeof got) == TT_OK, "%s", tt_error_message());
    CHECK(got[0] == 4 && got[1] == 16, "(%g, %g) after it moved out", got[0], got[1]);
    tt_ctx_free(ctx);
}

/* What an operation saved may lie in chunks where nothing else of it does. */
static void test_sweep_keeps_what_is_saved(void)
{
    enum { ROWS = 200000 }; /* a double for each does not fit the first chunk */
    static const int64_t logits[2] = {ROWS, 2}, rows[1] = {ROWS}, sum_all[2] = {2, -100};
    tt_ctx *ctx = tt_ctx_new();
    tt_handle in[3] = {0}, loss = 0; /* no weights of the classes */
    tt_new(ctx, TT_POOL_DATA, TT_FLOAT64, 2, logits, NULL, &in[0]);
    tt_new(ctx, TT_POOL_DATA, TT_INT64, 1, rows, NULL, &in[1]);
    tt_set_requires_grad(ctx, in[0], 1);
    CHECK(tt_apply(ctx, TT_OP_cross_entropy, 3, in, 2, sum_all, 0, NULL, &loss) == TT_OK, "%s",
          tt_error_message());
    size_t chunks = ctx->step.chunks;
    CHECK(chunks > 2, "%zu chunks: the test wants several", chunks);
    release_sweep(ctx);
    CHECK(ctx->step.chunks == chunks, "%zu of %zu chunks are left", ctx->step.chunks, chunks);
    CHECK(backward(ctx, loss, false) == TT_OK, "%s", tt_error_message());
    for (int i = 0; i < 2 * ROWS; i += 999) {
        double expected = i % 2 ? 0.5 : -0.5;
        CHECK(fabs(grad_at(ctx, in[0], i) - expected) < 1e-12, "%d: %g", i, grad_at(ctx, in[0], i));
    }
    tt_ctx_free(ctx);
}

/* ---- calls that fail ---- */

typedef struct {
    size_t used;
    int64_t nodes, held, handles, param_blocks, data_blocks;
    tt_node *oldest, *newest;
} snapshot;

static snapshot snapshot_of(tt_ctx *ctx)
{
    tt_memory m;
    tt_memory_stats(ctx, &m);
    return (snapshot){ctx->step.used,
                      m.tape_nodes,
                      m.held_tensors,
                      m.live_handles,
                      m.pool_blocks[TT_POOL_PARAM],
                      m.pool_blocks[TT_POOL_DATA],
                      ctx->tape.oldest,
                      ctx->tape.newest};
}

static void check_same(snapshot a, snapshot b, const char *what, int k)
{
    CHECK(a.used == b.used, "%s %d: %zu bytes of the step, %zu before", what, k, b.used, a.used);
    CHECK(a.nodes == b.nodes, "%s %d: %lld nodes", what, k, (long long)b.nodes);
    CHECK(a.held == b.held && a.handles == b.handles, "%s %d: handles", what, k);
    CHECK(a.param_blocks == b.param_blocks && a.data_blocks == b.data_blocks, "%s %d: blocks", what,
          k);
    CHECK(a.oldest == b.oldest && a.newest == b.newest, "%s %d: the list of nodes", what, k);
    CHECK(b.newest == NULL || b.newest->next == NULL, "%s %d: a node after the newest", what, k);
}

/* Fills the step arena's chunk up to less than `left` bytes, so that the next needs a new one. */
static void fill_step(tt_ctx *ctx, size_t left)
{
    const arena_chunk *c = ctx->step.current;
    if (c != NULL && c->size - c->used > left) arena_alloc(&ctx->step, c->size - c->used - left);
}

/* Operations that record several nodes, refused at each allocation: nothing of them stays. */
static void test_refused_operations(void)
{
    tt_ctx *ctx = tt_ctx_new();
    tt_handle a = leaf(ctx, 1), one = 0, base = apply(ctx, TT_OP_exp, a, 0);
    tt_new(ctx, TT_POOL_PARAM, TT_FLOAT64, 0, NULL, NULL, &one);
    tt_set_requires_grad(ctx, one, 1);
    int refused = 0;
    for (size_t left = 0; left < 3000; left += 64) {
        arena_mark mark = arena_here(&ctx->step);
        fill_step(ctx, left); /* the refusal comes after this many bytes of the call */
        snapshot before = snapshot_of(ctx);
        int64_t refs = tensor_of(ctx, one)->refs;
        tt_fail_allocation(1, 1);
        tt_handle out = 0; /* expand and mul */
        tt_status status = try_apply(ctx, TT_OP_mul, base, one, &out);
        tt_fail_allocation(0, 0);
        if (status == TT_OK) {
            release(ctx, out);
            break;
        }
        refused++;
        CHECK(status == TT_ERR_NOMEM && tt_error_code() == TT_ERR_NOMEM, "status %d", (int)status);
        CHECK(strstr(tt_error_message(), "step") != NULL, "%s", tt_error_message());
        check_same(before, snapshot_of(ctx), "mul", (int)left);
        CHECK(tensor_of(ctx, one)->refs == refs, "an input is still referred to");
        arena_rewind(&ctx->step, mark);
    }
    CHECK(refused > 10, "only %d refusals", refused);
    tt_handle y = apply(ctx, TT_OP_mul, base, one);
    CHECK(backward(ctx, y, false) == TT_OK, "%s", tt_error_message());
    check_grad(ctx, a, 0, 0, "times zero");
    tt_ctx_free(ctx);
}

/* An operation that has no room for the handle of its result records nothing. */
static void test_refused_handles(void)
{
    tt_ctx *ctx = tt_ctx_new();
    tt_handle a = leaf(ctx, 1), held[4096] = {0};
    int n = 0;
    while (ctx->handles.capacity - ctx->handles.count >= TT_MAX_OUT)
        held[n++] = apply(ctx, TT_OP_neg, a, 0);
    snapshot before = snapshot_of(ctx);
    tt_fail_allocation(1, 1);
    tt_handle out = 0;
    tt_status status = try_apply(ctx, TT_OP_mul, a, a, &out);
    tt_fail_allocation(0, 0);
    CHECK(status == TT_ERR_NOMEM, "status %d", (int)status);
    CHECK(strstr(tt_error_message(), "handles pool: asked for") != NULL, "%s", tt_error_message());
    check_same(before, snapshot_of(ctx), "handles", n);
    for (int i = 0; i < n; i++) release(ctx, held[i]);
    tt_ctx_free(ctx);
}

static void test_refused_add_op(void)
{
    for (size_t left = 0; left < 320; left += 64) {
        tt_ctx *ctx = tt_ctx_new();
        tt_handle a = leaf(ctx, 1);
        tt_tensor *inputs[2] = {tensor_of(ctx, a), tensor_of(ctx, a)};
        tt_handle first = handle_for(ctx, product_of(ctx, inputs));
        tt_tensor *out = tensor_new_arena(ctx, "test", PLACE_STEP, TT_FLOAT64, 1, shape, true);
        const tt_node *newest = ctx->tape.newest;
        int64_t refs = inputs[0]->refs;
        fill_step(ctx, left);
        tt_fail_allocation(1, 1);
        tt_status status =
            tape_add_op(ctx, tt_ops[TT_OP_mul], inputs, 2, &out, 1, &no_attrs, nothing_saved);
        tt_fail_allocation(0, 0);
        CHECK(status == TT_ERR_NOMEM, "%zu bytes left: status %d", left, (int)status);
        CHECK(ctx->tape.nodes == 1 && ctx->tape.newest == newest, "a node was added");
        CHECK(newest->next == NULL && out->node == NULL && !out->requires_grad, "half recorded");
        CHECK(inputs[0]->refs == refs, "the input was kept");
        CHECK(backward(ctx, first, false) == TT_OK, "%s", tt_error_message());
        check_grad(ctx, a, 2, 2, "a a");
        tt_ctx_free(ctx);
    }
}

/* A pass that is refused at any allocation leaves the graph to be asked again. */
static void test_refused_backward(void)
{
    for (int create_graph = 0; create_graph < 2; create_graph++) {
        tt_ctx *ctx = tt_ctx_new();
        tt_handle a = leaf(ctx, 1), b = leaf(ctx, 2);
        tt_handle product = apply(ctx, TT_OP_mul, a, b), y = apply(ctx, TT_OP_mul, product, a);
        tt_handle seed = leaf(ctx, 0), wanted[2] = {a, b};
        double ones[N] = {1, 1, 1, 1, 1};
        tt_write(ctx, seed, ones, sizeof ones);
        int k = 1;
        for (; k < 40; k++) {
            tt_empty_cache(ctx);
            arena_mark mark = arena_here(&ctx->step);
            fill_step(ctx, 128);
            snapshot before = snapshot_of(ctx);
            tt_handle results[2] = {-1, -1};
            tt_fail_allocation(k, 1);
            tt_status status = tt_backward(ctx, 1, &y, &seed, 2, wanted, 0, create_graph, results);
            tt_fail_allocation(0, 0);
            if (status == TT_OK) {
                release(ctx, results[0]);
                release(ctx, results[1]);
                break;
            }
            CHECK(status == TT_ERR_NOMEM, "k %d: %s", k, tt_error_message());
            CHECK(results[0] <= 0 && results[1] <= 0, "k %d: a result of a pass that failed", k);
            check_same(before, snapshot_of(ctx), "backward", k);
            arena_rewind(&ctx->step, mark);
        }
        CHECK(k > 1 && k < 40, "%d refusals", k - 1); /* one chunk may hold all of a pass */
        tt_ctx_free(ctx);
    }
}

static void test_rewind_takes_nodes_back(void)
{
    tt_ctx *ctx = tt_ctx_new();
    tt_handle a = leaf(ctx, 1), b = leaf(ctx, 2);
    tt_tensor *inputs[2] = {tensor_of(ctx, a), tensor_of(ctx, b)};
    tt_handle kept = handle_for(ctx, product_of(ctx, inputs));
    int64_t refs = inputs[0]->refs;
    snapshot before = snapshot_of(ctx);
    tape_mark mark = tape_here(ctx);
    for (int i = 0; i < 3000; i++) product_of(ctx, inputs); /* over several chunks */
    CHECK(inputs[0]->refs == refs + 3000 && ctx->step.chunks > 1, "%zu chunks", ctx->step.chunks);
    tape_rewind(ctx, mark);
    check_same(before, snapshot_of(ctx), "rewind", 0);
    CHECK(inputs[0]->refs == refs, "%lld references", (long long)inputs[0]->refs);
    CHECK(backward(ctx, kept, false) == TT_OK, "%s", tt_error_message());
    check_grad(ctx, a, 2, 1, "after a rewind");
    tt_ctx_free(ctx);
}

/* ---- pauses ---- */

/* Every handle is released while a pass waits, and its memory is asked for again. */
static void test_a_pause_outlives_what_it_was_asked_for(void)
{
    for (int aborted = 0; aborted < 2; aborted++) {
        tt_ctx *ctx = tt_ctx_new();
        tt_handle a = leaf(ctx, 1), b = leaf(ctx, 2), one = leaf(ctx, 0), none = 0, seen = 0;
        tt_handle product = apply(ctx, TT_OP_mul, a, b), y = apply(ctx, TT_OP_mul, product, a);
        double ones[N] = {1, 1, 1, 1, 1};
        tt_write(ctx, one, ones, sizeof ones);
        int64_t id = 0;
        CHECK(tt_hook(ctx, product, 7, &id) == TT_OK && id == 7, "%s", tt_error_message());
        CHECK(tt_hook(ctx, product, 8, &id) == TT_OK && id == 7, "a tensor has one number");
        CHECK(tt_backward(ctx, 1, &y, &one, 0, NULL, 0, 0, NULL) == TT_PAUSED, "no pause");
        CHECK(tt_paused_id(ctx) == 7, "%lld", (long long)tt_paused_id(ctx));
        CHECK(tt_backward(ctx, 1, &y, &one, 0, NULL, 0, 0, NULL) == TT_ERR_STATE, "a second pass");
        tt_handle gone[3] = {y, product, one};
        for (int i = 0; i < 3; i++) release(ctx, gone[i]);
        for (int i = 0; i < 6000; i++) release(ctx, apply(ctx, TT_OP_mul, a, b));
        for (int i = 0; i < 20; i++) release(ctx, leaf(ctx, 77));
        tt_empty_cache(ctx);
        CHECK(tt_paused_gradient(ctx, 0, &seen) == TT_OK, "%s", tt_error_message());
        double got[N] = {0};
        tt_read(ctx, seen, got, sizeof got);
        release(ctx, seen);
        for (int i = 0; i < N; i++) CHECK(got[i] == 1 + i, "gradient %d: %g", i, got[i]);
        if (aborted) {
            CHECK(tt_backward_abort(ctx) == TT_OK, "%s", tt_error_message());
            CHECK(isnan(grad_at(ctx, a, 0)) && isnan(grad_at(ctx, b, 0)), "a gradient is left");
        } else {
            CHECK(tt_backward_resume(ctx, "test", 1, &none, NULL) == TT_OK, "%s",
                  tt_error_message());
            for (int i = 0; i < N; i++)
                CHECK(grad_at(ctx, a, i) == 2.0 * (1 + i) * (2 + i), "da %d", i);
        }
        CHECK(tt_backward_resume(ctx, "test", 1, &none, NULL) == TT_ERR_STATE, "nothing waits");
        CHECK(tt_backward_abort(ctx) == TT_OK, "nothing to give up is fine");
        CHECK(ctx->tape.nodes == 0, "%lld nodes", (long long)ctx->tape.nodes);
        CHECK(tt_ended(ctx) == 7 && tt_ended(ctx) == 0, "the hook has ended");
        tt_ctx_free(ctx);
    }
}

/* Answers that do not fit end the pass; a context that goes takes a waiting pass with it. */
static void test_pauses_that_end_badly(void)
{
    const int64_t other[1] = {N + 1};
    for (int way = 0; way < 3; way++) {
        tt_ctx *ctx = tt_ctx_new();
        tt_handle a = leaf(ctx, 1), one = leaf(ctx, 1), large = 0, y = apply(ctx, TT_OP_mul, a, a);
        int64_t id = 0;
        tt_new(ctx, TT_POOL_DATA, TT_FLOAT64, 1, other, NULL, &large);
        tt_hook(ctx, a, 1, &id);
        snapshot before = snapshot_of(ctx);
        CHECK(tt_backward(ctx, 1, &y, &one, 0, NULL, 0, 0, NULL) == TT_PAUSED, "no pause");
        if (way == 0) {
            CHECK(tt_backward_resume(ctx, "test", 1, &large, NULL) == TT_ERR_SHAPE, "its shape");
        } else if (way == 1) {
            tt_handle stale = large;
            release(ctx, large);
            CHECK(tt_backward_resume(ctx, "test", 1, &stale, NULL) == TT_ERR_STALE, "stale");
            tt_new(ctx, TT_POOL_DATA, TT_FLOAT64, 1, other, NULL, &large);
        }
        if (way < 2) check_same(before, snapshot_of(ctx), "answer", way);
        if (way < 2) CHECK(isnan(grad_at(ctx, a, 0)), "a gradient is left");
        tt_ctx_free(ctx);
    }
}

/* Looking for what is dead costs no more than recording did, where everything lives and every
 * tensor is tiny: all sweeps together visit a bounded number of nodes for each that was
 * recorded. */
static void test_sweeps_of_a_long_graph_are_few(void)
{
    enum { NODES = 100000 };
    tt_ctx *ctx = tt_ctx_new();
    tt_handle last = leaf(ctx, 1);
    int64_t visited = 0;
    for (int i = 0; i < NODES; i++) {
        size_t planned = ctx->tape.sweep_above;
        tt_handle next = apply(ctx, TT_OP_neg, last, 0);
        release(ctx, last);
        last = next;
        if (ctx->tape.sweep_above != planned) visited += ctx->tape.nodes;
    }
    CHECK(ctx->tape.nodes == NODES, "%lld nodes", (long long)ctx->tape.nodes);
    CHECK(visited > 0 && visited <= 2 * NODES, "sweeps visited %lld nodes", (long long)visited);
    CHECK(ctx->step.chunks < 20, "%zu chunks for %zu bytes", ctx->step.chunks, ctx->step.used);
    tt_ctx_free(ctx);
}

static void test_released_graphs_are_refused(void)
{
    tt_ctx *ctx = tt_ctx_new();
    tt_handle a = leaf(ctx, 1), y = apply(ctx, TT_OP_mul, a, a);
    CHECK(backward(ctx, y, true) == TT_OK, "%s", tt_error_message());
    CHECK(backward(ctx, y, false) == TT_OK, "%s", tt_error_message());
    check_grad(ctx, a, 4, 4, "twice");
    CHECK(backward(ctx, y, false) == TT_ERR_STATE, "a third time");
    check_grad(ctx, a, 4, 4, "a refused pass adds nothing");
    release(ctx, y);
    CHECK(backward(ctx, y, false) == TT_ERR_STALE, "its handle is gone");
    tt_ctx_free(ctx);
}

int main(void)
{
    int64_t before = system_bytes();
    test_inputs_in_a_frame_that_is_gone();
    test_inputs_in_an_array_that_is_used_again();
    test_inputs_that_nobody_else_holds();
    test_sweep_keeps_what_can_be_reached();
    test_sweep_of_views();
    test_sweep_keeps_what_is_saved();
    test_sweeps_of_a_long_graph_are_few();
    test_refused_operations();
    test_refused_handles();
    test_refused_add_op();
    test_refused_backward();
    test_rewind_takes_nodes_back();
    test_a_pause_outlives_what_it_was_asked_for();
    test_pauses_that_end_badly();
    test_released_graphs_are_refused();
    CHECK(system_bytes() == before, "%lld bytes were lost", (long long)(system_bytes() - before));
    return check_result();
}
