/* pass: one backward pass around the walk over its nodes: roots and their gradients, pauses in
 * which the caller runs its hooks and Functions, results, and undoing everything after a failure.
 *
 * The core never calls its caller. A pass that meets a hook or a Function returns TT_PAUSED and
 * waits for an answer, with what it needs in the step arena. So an exception in the caller's code
 * is an ordinary exception there, and the pass can be given up as if it had failed. */
#include "pass.h"

#include <string.h>

#include "anomaly.h"
#include "kernel_set.h"
#include "release.h"
#include "vjp.h"
#include "walk.h"
#include "tensor/copy.h"

/* Whether the pass can read the given gradient where it lies: nothing else is added to it, and
 * no code of the caller sees or changes it before the pass ends. */
static bool can_borrow(const tt_pass *p, const tt_tensor *root, const tt_tensor *gradient)
{
    return gradient != NULL && gradient->contiguous && gradient->numel > 0 && p->n_roots == 1 &&
           root->node != NULL && !root->pass.captured && !p->watched;
}

static tt_status seed(tt_pass *p, tt_tensor *root, tt_tensor *gradient)
{
    if (p->graph) {
        if (gradient == NULL)
            gradient = v_constant(p->ctx, root->dtype, root->ndim, root->shape, 1.0);
        return gradient != NULL ? walk_add(p, root, gradient, "backward")
                                : (tt_status)tt_error_code();
    }
    if (can_borrow(p, root, gradient)) {
        p->borrowed = root->pass.cot = gradient->data;
        root->pass.cot_epoch = p->epoch;
        return TT_OK;
    }
    void *dx = NULL;
    bool acc = false;
    TT_TRY(walk_receive(p, root, "backward", &dx, &acc));
    void *value = acc ? ctx_scratch(p->ctx, "backward", tensor_bytes(root)) : dx;
    if (value == NULL) return TT_ERR_NOMEM;
    if (gradient != NULL) {
        copy_gather(value, gradient);
    } else {
        tt_tensor ones = {.data = value, .numel = root->numel, .dtype = root->dtype};
        tensor_fill(&ones, 1.0);
    }
    if (acc) kernel_set_for(root->dtype)->accumulate(dx, value, root->numel);
    return TT_OK;
}

static tt_status check_root(const tt_tensor *root, const tt_tensor *gradient, int i)
{
    if (!root->requires_grad && root->blocked_by != NULL)
        return tt_fail(TT_ERR_STATE, "backward",
                       "element %d of tensors does not require grad: it was computed through %s, "
                       "which has no gradient",
                       i, root->blocked_by->name);
    if (!root->requires_grad)
        return tt_fail(TT_ERR_STATE, "backward",
                       "element %d of tensors does not require grad and does not have a grad_fn",
                       i);
    if (gradient == NULL) {
        if (root->numel == 1) return TT_OK;
        return tt_fail(TT_ERR_STATE, "backward",
                       "grad can be implicitly created only for scalar outputs, got shape %s",
                       SHAPE_TEXT(root));
    }
    if (gradient->dtype != root->dtype)
        return tt_fail(TT_ERR_DTYPE, "backward", "the gradient of a %s output must be %s, got %s",
                       dtype_text(root->dtype), dtype_text(root->dtype),
                       dtype_text(gradient->dtype));
    if (!tensor_same_shape(root, gradient))
        return tt_fail(TT_ERR_SHAPE, "backward",
                       "the gradient of an output of shape %s has shape %s", SHAPE_TEXT(root),
                       SHAPE_TEXT(gradient));
    return TT_OK;
}

/* A handle to the gradient of t: to the tensor on the tape that carries a graph, or to a copy. */
static tt_status gradient_handle(const tt_pass *p, const tt_tensor *t, tt_handle *out)
{
    *out = 0;
    if (!pass_has_cot(p, t)) return TT_OK;
    tt_tensor *g = p->graph ? t->pass.cot_var : NULL;
    if (g != NULL && (g->place == PLACE_POOL || g->node != NULL))
        return handle_hold(p->ctx, g, out);
    tt_tensor *copy = tensor_new_pool(p->ctx, "grad", TT_POOL_DATA, t->dtype, t->ndim, t->shape);
    if (copy == NULL) return (tt_status)tt_error_code();
    if (g != NULL) copy_gather(copy->data, g);
    else memcpy(copy->data, t->pass.cot, tensor_bytes(t));
    *out = handle_for(p->ctx, copy);
    if (*out != 0) return TT_OK;
    tensor_unref(p->ctx, copy);
    return TT_ERR_NOMEM;
}

/* The end of a pass into leaves. A gradient that the pass made becomes grad, or is dropped if the
 * pass failed; where the leaf had a grad, the result is added to it. */
static void finish_leaf(const tt_pass *p, tt_tensor *t, bool failed)
{
    if (t == NULL || t->node != NULL || !pass_has_cot(p, t) || t->pass.cot == NULL) return;
    if (t->pass.fresh != NULL) {
        if (failed) tensor_unref(p->ctx, t->pass.fresh);
        else t->grad = t->pass.fresh;
        t->pass.fresh = NULL;
    } else if (!failed) {
        kernel_set_for(t->dtype)->accumulate(t->grad->data, t->pass.cot, t->numel);
        t->grad->block->version += 1;
    }
    t->pass.cot = NULL; /* once, however often the leaf was used */
}

static void finish_leaves(const tt_pass *p, bool failed)
{
    ctx_lock_values(p->ctx);
    for (int i = 0; i < p->n_roots; i++) finish_leaf(p, p->roots[i], failed);
    const tt_node *behind = p->oldest != NULL ? p->oldest->prev : p->ctx->tape.newest;
    for (tt_node *node = p->ctx->tape.newest; node != behind; node = node->prev) {
        if (node->visited != p->epoch) continue;
        for (int i = 0; i < node->n_in; i++) finish_leaf(p, node->in[i], failed);
    }
    ctx_unlock_values(p->ctx);
}

static tt_status start(tt_pass *p, tt_tensor **gradients)
{
    for (int i = 0; i < p->n_inputs; i++) {
        p->inputs[i]->pass.needed_epoch = p->epoch;
        p->inputs[i]->pass.captured = true;
    }
    if (!p->into_leaves) walk_mark_needed(p);
    for (int i = 0; i < p->n_roots; i++) {
        tt_tensor *root = p->roots[i];
        TT_TRY(walk_refuse_freed(root, "backward"));
        if (!pass_wants(p, root)) continue;
        walk_reach(p, root);
        p->watched = p->watched || root->hook != NULL;
        if (root->node != NULL && (p->at == NULL || root->node->sequence > p->at->sequence))
            p->at = root->node;
    }
    TT_TRY(walk_survey(p));
    if (p->release) TT_TRY(release_plan(p->ctx, p->oldest, p->epoch));
    for (int i = 0; i < p->n_roots; i++) {
        if (pass_wants(p, p->roots[i])) TT_TRY(seed(p, p->roots[i], gradients[i]));
    }
    return TT_OK;
}

static void drop_references(const tt_pass *p)
{
    for (int i = 0; i < p->n_roots && p->interrupted; i++) tensor_unref(p->ctx, p->roots[i]);
    for (int i = 0; i < p->n_inputs && p->interrupted; i++) tensor_unref(p->ctx, p->inputs[i]);
    for (const kept_tensor *k = p->kept; k != NULL; k = k->next) tensor_unref(p->ctx, k->tensor);
}

static tt_status finish(tt_pass *p, tt_status status, tt_handle *results)
{
    tt_ctx *ctx = p->ctx;
    const bool failed = status != TT_OK, interrupted = p->interrupted;
    const bool release = p->release && !failed, rewind = !p->graph || failed;
    const tape_mark mark = p->mark;
    ctx->grad_enabled = p->grad_enabled;
    for (int i = 0; i < p->n_inputs; i++) p->inputs[i]->pass.captured = false;
    for (int i = 0; i < p->n_inputs && failed && results != NULL; i++) {
        if (results[i] != 0) handle_release(ctx, results[i]);
        results[i] = 0;
    }
    if (p->into_leaves) finish_leaves(p, failed);
    if (failed && p->release) release_cancel(ctx, p->oldest, p->epoch);
    drop_references(p);
    ctx->tape.pass = NULL;
    /* Cotangents end with the pass, the tape stays. If the caller recorded something in a pause and
     * still has handles to it, it stays too, with all that the pass recorded. */
    const bool held = rewind && interrupted && tape_held_since(ctx, mark);
    ctx->tape.sweep_wanted = ctx->tape.sweep_wanted || held;
    if (rewind && !held) tape_rewind(ctx, mark);
    if (release) release_planned(ctx);
    else if (interrupted) release_if_unheld(ctx);
    return status;
}

/* The vjps of a pass with a graph are recorded whatever the caller has set. */
static void enable_recording(const tt_pass *p)
{
    p->ctx->grad_enabled = p->grad_enabled || p->graph;
}

/* Goes on to the next pause or to the end. */
static tt_status advance(tt_pass *p, tt_status status, tt_handle *results)
{
    tt_ctx *ctx = p->ctx;
    if (status == TT_OK) status = walk_nodes(p);
    for (int i = 0; i < p->n_inputs && status == TT_OK; i++)
        status = gradient_handle(p, p->inputs[i], &results[i]);
    if (status == TT_PAUSED) ctx->grad_enabled = p->graph;
    else status = finish(p, status, results);
    arena_reset(&ctx->scratch);
    return status;
}

/* Lists come from Python; with this bound their sizes cannot overflow. */
enum { MAX_ROOTS = 4096 };

static tt_status check_call(const tt_ctx *ctx, int n_roots, int n_inputs, int create_graph)
{
    if (ctx->tape.pass != NULL)
        return tt_fail(TT_ERR_STATE, "backward",
                       "a backward pass is under way: a hook or Function cannot start another");
    if (n_roots < 1 || n_inputs < 0 || n_roots > MAX_ROOTS)
        return tt_fail(TT_ERR_ARG, "backward", "expected 1 to %d outputs, got %d", MAX_ROOTS,
                       n_roots);
    if (create_graph && n_inputs == 0)
        return tt_fail(TT_ERR_ARG, "backward",
                       "a gradient that carries a graph is returned, never stored in .grad: use "
                       "grad(..., create_graph=True)");
    return TT_OK;
}

static tt_status find_tensors(tt_pass *p, const tt_handle *roots, const tt_handle *gradients,
                              const tt_handle *inputs, tt_tensor **seeds)
{
    tt_ctx *ctx = p->ctx;
    for (int i = 0; i < p->n_roots; i++) {
        bool seeded = gradients != NULL && gradients[i] != 0;
        p->roots[i] = handle_tensor(ctx, roots[i], "backward");
        seeds[i] = seeded ? handle_tensor(ctx, gradients[i], "backward") : NULL;
        if (p->roots[i] == NULL || (seeds[i] == NULL && seeded)) return TT_ERR_STALE;
        TT_TRY(check_root(p->roots[i], seeds[i], i));
        if (seeds[i] != NULL)
            TT_TRY(anomaly_check_value(ctx, "backward", "the gradient given for output", i,
                                       seeds[i], ctx->anomaly.origin));
    }
    for (int i = 0; i < p->n_inputs; i++) {
        p->inputs[i] = handle_tensor(ctx, inputs[i], "grad");
        if (p->inputs[i] == NULL) return TT_ERR_STALE;
        if (!p->inputs[i]->requires_grad)
            return tt_fail(TT_ERR_STATE, "grad", "input %d does not require grad", i);
    }
    return TT_OK;
}

tt_status tt_backward(tt_ctx *ctx, int n_roots, const tt_handle *roots, const tt_handle *gradients,
                      int n_inputs, const tt_handle *inputs, int retain_graph, int create_graph,
                      tt_handle *results)
{
    TT_TRY(ctx_enter(ctx, "backward"));
    TT_TRY(check_call(ctx, n_roots, n_inputs, create_graph));
    TT_NEED("backward", roots);
    TT_NEED_LIST("backward", n_inputs, inputs);
    TT_NEED_LIST("backward", n_inputs, results);
    const tape_mark mark = tape_here(ctx);
    size_t size = sizeof(tt_pass) + (size_t)(2 * n_roots + n_inputs) * sizeof(tt_tensor *);
    tt_pass *p = arena_alloc(&ctx->step, size);
    if (p == NULL) return mem_exhausted("backward", "step", size);
    memset(p, 0, offsetof(tt_pass, spare));
    p->ctx = ctx;
    p->n_roots = n_roots;
    p->n_inputs = n_inputs;
    p->roots = (tt_tensor **)(p + 1);
    p->inputs = p->roots + n_roots;
    p->into_leaves = n_inputs == 0;
    p->graph = create_graph != 0;
    p->release = !retain_graph && !create_graph;
    p->mark = mark;
    tt_tensor **seeds = p->inputs + n_inputs;
    for (int i = 0; i < n_inputs; i++) results[i] = 0;
    tt_status status = find_tensors(p, roots, gradients, inputs, seeds);
    if (status != TT_OK) {
        arena_rewind(&ctx->step, mark.step);
        return status;
    }
    p->epoch = ++ctx->tape.epoch;
    ctx->tape.pass = p;
    p->grad_enabled = ctx->grad_enabled;
    enable_recording(p);
    return advance(p, start(p, seeds), results);
}

int tt_has_other_leaves(tt_ctx *ctx, tt_handle root, int n, const tt_handle *known)
{
    tt_tensor *t = ctx != NULL ? handle_tensor(ctx, root, "backward") : NULL;
    if (t == NULL || ctx->tape.pass != NULL || !t->requires_grad) return 0;
    const uint64_t epoch = ++ctx->tape.epoch;
    for (int i = 0; i < n && known != NULL; i++) {
        tt_tensor *k = handle_tensor(ctx, known[i], "backward");
        if (k != NULL) k->pass.needed_epoch = epoch;
    }
    if (t->pass.needed_epoch == epoch) return 0;
    if (t->node == NULL) return 1;
    tt_pass look = {.epoch = epoch};
    walk_reach(&look, t);
    for (const tt_node *node = t->node; look.pending > 0; node = node->prev) {
        if (node->reached != epoch) continue;
        look.pending -= 1;
        for (int i = 0; i < node->n_in; i++) {
            const tt_tensor *x = node->in[i];
            if (!(node->wants >> i & 1) || x->pass.needed_epoch == epoch) continue;
            if (x->node == NULL) return 1;
            walk_reach(&look, x);
        }
    }
    return 0;
}

/* ---- pauses ---- */

static tt_pass *paused(const tt_ctx *ctx)
{
    tt_pass *p = ctx != NULL ? ctx->tape.pass : NULL;
    return p != NULL && p->paused ? p : NULL;
}

static tt_status find_paused(tt_ctx *ctx, tt_pass **p)
{
    TT_TRY(ctx_enter(ctx, "backward"));
    *p = paused(ctx);
    return *p != NULL ? TT_OK : tt_fail(TT_ERR_STATE, "backward", "no pass is waiting");
}

int64_t tt_paused_id(tt_ctx *ctx)
{
    const tt_pass *p = paused(ctx);
    if (p == NULL) return 0;
    const tt_callback *a = p->waiting != NULL ? p->waiting->hook : p->at->function;
    return a != NULL ? a->id : 0;
}

uint64_t tt_paused_needs(tt_ctx *ctx)
{
    const tt_pass *p = paused(ctx);
    uint64_t needs = 0;
    if (p == NULL || p->waiting != NULL) return 1;
    for (int i = 0; i < p->at->function->n_in; i++)
        needs |= (uint64_t)pass_wants_input(p, p->at, i) << i;
    return needs;
}

tt_status tt_paused_gradient(tt_ctx *ctx, int k, tt_handle *out)
{
    tt_pass *p = NULL;
    TT_TRY(find_paused(ctx, &p));
    TT_NEED("backward", out);
    if (k < 0 || k >= (p->waiting != NULL ? 1 : p->at->n_out))
        return tt_fail(TT_ERR_INDEX, "backward", "there is no output %d", k);
    return gradient_handle(p, p->waiting != NULL ? p->waiting : p->at->out[k], out);
}

tt_status tt_paused_tensor(tt_ctx *ctx, int i, tt_handle *out)
{
    tt_pass *p = NULL;
    TT_TRY(find_paused(ctx, &p));
    TT_NEED("backward", out);
    const tt_node *node = p->at;
    if (p->waiting != NULL || i >= node->n_in || ~i >= node->n_out)
        return tt_fail(TT_ERR_INDEX, "backward", "there is no tensor %d here", i);
    return handle_hold(ctx, i >= 0 ? node->in[i] : node->out[~i], out);
}

/* A gradient with a graph is used itself, so it must stay alive; without a graph its values are
 * copied. */
static tt_status hold_gradient(tt_pass *p, tt_tensor *g)
{
    if (!p->graph || g->place != PLACE_POOL) return TT_OK;
    kept_tensor *kept = arena_alloc(&p->ctx->step, sizeof *kept);
    if (kept == NULL) return mem_exhausted("backward", "step", sizeof *kept);
    *kept = (kept_tensor){.next = p->kept, .tensor = g};
    p->kept = kept;
    tensor_ref(g);
    return TT_OK;
}

static tt_status check_answer(const tt_pass *p, const char *name, const char *what, int i,
                              const tt_tensor *t, const tt_tensor *g)
{
    if (g->dtype != t->dtype)
        return tt_fail(TT_ERR_DTYPE, name, "%s %d must be %s, got %s", what, i,
                       dtype_text(t->dtype), dtype_text(g->dtype));
    if (!tensor_same_shape(g, t))
        return tt_fail(TT_ERR_SHAPE, name, "%s %d must have shape %s, got %s", what, i,
                       SHAPE_TEXT(t), SHAPE_TEXT(g));
    const tt_node *node = p->waiting != NULL ? t->node : p->at;
    return anomaly_check_value(p->ctx, name, what, i, g, node != NULL ? node->origin : 0);
}

static tt_status answer_hook(tt_pass *p, const char *name, tt_tensor *g)
{
    tt_tensor *t = p->waiting;
    if (g == NULL) return TT_OK;
    TT_TRY(check_answer(p, name, "the gradient of tensor", 0, t, g));
    TT_TRY(hold_gradient(p, g));
    if (p->graph) t->pass.cot_var = g;
    else copy_gather(t->pass.cot, g);
    return TT_OK;
}

static tt_status add_gradient(tt_pass *p, const char *name, tt_tensor *t, tt_tensor *g)
{
    TT_TRY(hold_gradient(p, g));
    if (p->graph) return walk_add(p, t, g, name);
    void *dx = NULL;
    bool acc = false;
    TT_TRY(walk_receive(p, t, name, &dx, &acc));
    void *value = acc ? ctx_scratch(p->ctx, name, tensor_bytes(t)) : dx;
    if (value == NULL) return TT_ERR_NOMEM;
    copy_gather(value, g);
    if (acc) kernel_set_for(t->dtype)->accumulate(dx, value, t->numel);
    return TT_OK;
}

static tt_status answer_function(tt_pass *p, const char *name, int n, tt_tensor **gradients)
{
    tt_node *node = p->at;
    if (n != node->function->n_in)
        return tt_fail(TT_ERR_ARG, name, "expected the gradients of %d inputs, got %d",
                       node->function->n_in, n);
    for (int i = 0; i < n; i++) {
        if (gradients[i] == NULL || !pass_wants_input(p, node, i)) continue;
        TT_TRY(check_answer(p, name, "the gradient of input", i, node->in[i], gradients[i]));
    }
    for (int i = 0; i < n; i++) {
        if (gradients[i] == NULL || !pass_wants_input(p, node, i)) continue;
        TT_TRY(add_gradient(p, name, node->in[i], gradients[i]));
    }
    for (int k = 0; k < node->n_out && !p->graph; k++) {
        if (pass_has_cot(p, node->out[k])) walk_spare(p, node->out[k]);
    }
    p->delivered = true;
    return TT_OK;
}

static tt_status answer(tt_pass *p, const char *name, int n, const tt_handle *handles)
{
    enum { MAX_GRADIENTS = 64 };
    tt_tensor *gradients[MAX_GRADIENTS] = {NULL};
    if (n < 1 || n > MAX_GRADIENTS) return tt_fail(TT_ERR_ARG, name, "got %d gradients", n);
    for (int i = 0; i < n; i++) {
        if (handles[i] == 0) continue;
        gradients[i] = handle_tensor(p->ctx, handles[i], name);
        if (gradients[i] == NULL) return TT_ERR_STALE;
    }
    p->paused = false;
    return p->waiting != NULL ? answer_hook(p, name, gradients[0])
                              : answer_function(p, name, n, gradients);
}

tt_status tt_backward_resume(tt_ctx *ctx, const char *name, int n, const tt_handle *gradients,
                             tt_handle *results)
{
    tt_pass *p = NULL;
    TT_TRY(find_paused(ctx, &p));
    TT_NEED("backward", name);
    TT_NEED_LIST(name, n, gradients);
    TT_NEED_LIST(name, p->n_inputs, results);
    enable_recording(p);
    return advance(p, answer(p, name, n, gradients), results);
}

void pass_give_up(tt_ctx *ctx)
{
    if (ctx->tape.pass != NULL) finish(ctx->tape.pass, TT_ERR_STATE, NULL);
}

tt_status tt_backward_abort(tt_ctx *ctx)
{
    TT_TRY(ctx_enter(ctx, "backward"));
    pass_give_up(ctx);
    return TT_OK;
}
