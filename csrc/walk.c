/* walk: the loop over the nodes in a backward pass.
 *
 * The walk goes over the tape from the root to its beginning. Without a graph it calls the backward
 * kernels, which write cotangents as plain memory. With a graph (create_graph) it calls the vjps,
 * which record ordinary operations, so that their results can be differentiated again. There is no
 * recursion: a loop walks a chain of any length. */
#include "walk.h"

#include <string.h>

#include "anomaly.h"
#include "apply.h"
#include "kernel_set.h"
#include "vjp.h"

static void *cot_new(tt_pass *p, const tt_tensor *t, const char *op)
{
    size_t size = align_up(tensor_bytes(t));
    for (int i = 0; i < p->n_spare; i++) {
        if (p->spare[i].size != size) continue;
        void *data = p->spare[i].data;
        p->spare[i] = p->spare[--p->n_spare];
        return data;
    }
    void *data = arena_alloc(&p->ctx->step, size);
    if (data == NULL) mem_exhausted(op, "step", size);
    return data;
}

void walk_spare(tt_pass *p, tt_tensor *t)
{
    if (t->pass.cot == NULL || t->pass.captured || p->n_spare == SPARE_BUFFERS) return;
    if (t->pass.cot == p->borrowed) return;
    p->spare[p->n_spare++] = (spare_buffer){t->pass.cot, align_up(tensor_bytes(t))};
    t->pass.cot = NULL;
}

static tt_status fail_freed(const char *op)
{
    return tt_fail(TT_ERR_STATE, op,
                   "trying to go backward through the graph a second time: what it saved was freed "
                   "by an earlier backward(); pass retain_graph=True there if you need it again");
}

/* The graph behind a tensor whose tape was released cannot be walked; a pass may still ask for the
 * gradient of the tensor itself. */
tt_status walk_refuse_freed(const tt_tensor *t, const char *op)
{
    return t->graph_freed && !t->pass.captured ? fail_freed(op) : TT_OK;
}

/* Where a gradient for t is to be written, and whether there is something to add to. */
tt_status walk_receive(tt_pass *p, tt_tensor *t, const char *op, void **dx, bool *acc)
{
    *acc = pass_has_cot(p, t);
    if (*acc) {
        *dx = t->pass.cot;
        return TT_OK;
    }
    if (p->into_leaves && t->node == NULL && t->grad == NULL) {
        t->pass.fresh = tensor_new_pool(p->ctx, op, TT_POOL_PARAM, t->dtype, t->ndim, t->shape);
        if (t->pass.fresh == NULL) return (tt_status)tt_error_code();
        t->pass.cot = t->pass.fresh->data;
    } else {
        /* Also for a leaf with a grad: the result is added to it at the end of the pass. */
        t->pass.cot = cot_new(p, t, op);
        if (t->pass.cot == NULL) return TT_ERR_NOMEM;
    }
    t->pass.cot_epoch = p->epoch;
    *dx = t->pass.cot;
    return TT_OK;
}

static tt_status check_versions(const tt_node *node)
{
    for (int i = 0; i < node->n_in; i++) {
        const tt_tensor *t = node->in[i];
        if (t == NULL || t->block == NULL || !(node->keeps >> i & 1)) continue;
        if (t->block->version != node->versions[i])
            return tt_fail(TT_ERR_STATE, tape_node_name(node),
                           "input %d (shape %s) was changed in place after it was recorded, and "
                           "its old value is needed "
                           "for the gradient",
                           i, SHAPE_TEXT(t));
    }
    return TT_OK;
}

/* The inputs whose gradient is dy itself. The last of them may take dy over, since nobody reads it
 * afterwards. */
static tt_status pass_through(tt_pass *p, tt_node *node, void *dy)
{
    int last = -1;
    for (int i = 0; i < node->n_in; i++) {
        if (node->op->passes >> i & 1 && pass_wants_input(p, node, i)) last = i;
    }
    for (int i = 0; i <= last; i++) {
        tt_tensor *t = node->in[i];
        if (!(node->op->passes >> i & 1) || !pass_wants_input(p, node, i)) continue;
        bool takes_over = i == last && !pass_has_cot(p, t) && !node->out[0]->pass.captured &&
                          dy != p->borrowed && !(p->into_leaves && t->node == NULL);
        if (takes_over) {
            t->pass.cot = dy;
            t->pass.cot_epoch = p->epoch;
            node->out[0]->pass.cot = NULL;
            continue;
        }
        void *dx = NULL;
        bool acc = false;
        TT_TRY(walk_receive(p, t, node->op->name, &dx, &acc));
        if (acc) kernel_set_for(t->dtype)->accumulate(dx, dy, t->numel);
        else memcpy(dx, dy, tensor_bytes(t));
    }
    return TT_OK;
}

static tt_status run_backward_kernel(tt_call *c)
{
    if (tensor_any_elements(c->out, c->n_out))
        return kernel_set_for(c->out[0]->dtype)->ops[c->op->id]->backward(c);
    for (int i = 0; i < c->n_in; i++) {
        if (c->dx[i] != NULL && !c->acc[i]) memset(c->dx[i], 0, tensor_bytes(c->in[i]));
    }
    return TT_OK;
}

static tt_status backward_node(tt_pass *p, tt_node *node)
{
    tt_ctx *ctx = p->ctx;
    tt_call c = {.ctx = ctx,
                 .op = node->op,
                 .attrs = &node->attrs,
                 .n_in = node->n_in,
                 .n_out = node->n_out,
                 .in = node->in,
                 .out = node->out};
    for (int k = 0; k < node->n_out; k++) {
        if (pass_has_cot(p, node->out[k])) c.dy[k] = node->out[k]->pass.cot;
    }
    memcpy(c.saved, node->saved, sizeof c.saved);
    /* If a tensor is two inputs, the kernel must not get one buffer under two names. */
    bool repeated[TT_MAX_IN] = {false};
    bool kernel = false;
    for (int i = 0; i < node->n_in; i++) {
        tt_tensor *t = node->in[i];
        if (!pass_wants_input(p, node, i) || node->op->passes >> i & 1) continue;
        for (int j = 0; j < i; j++)
            repeated[i] = repeated[i] || (node->in[j] == t && c.dx[j] != NULL);
        if (repeated[i]) {
            c.dx[i] = call_scratch(&c, tensor_bytes(t));
            if (c.dx[i] == NULL) return TT_ERR_NOMEM;
        } else {
            TT_TRY(walk_receive(p, t, node->op->name, &c.dx[i], &c.acc[i]));
        }
        kernel = true;
    }
    if (kernel) TT_TRY(run_backward_kernel(&c));
    for (int i = 0; i < node->n_in; i++) {
        tt_tensor *t = node->in[i];
        if (repeated[i]) kernel_set_for(t->dtype)->accumulate(t->pass.cot, c.dx[i], t->numel);
    }
    /* The pass owns the cotangents that it hands to kernels as const. */
    if (node->op->passes) TT_TRY(pass_through(p, node, as_writable(c.dy[0])));
    for (int k = 0; k < node->n_out; k++) {
        if (pass_has_cot(p, node->out[k])) walk_spare(p, node->out[k]);
    }
    return TT_OK;
}

tt_status walk_add(tt_pass *p, tt_tensor *t, tt_tensor *dx, const char *op)
{
    if (!tensor_same_shape(dx, t))
        return tt_fail(TT_ERR_INTERNAL, op, "the vjp returned shape %s for an input of shape %s",
                       SHAPE_TEXT(dx), SHAPE_TEXT(t));
    t->pass.cot_var = pass_has_cot(p, t) ? v_add(p->ctx, t->pass.cot_var, dx) : dx;
    t->pass.cot_epoch = p->epoch;
    return t->pass.cot_var != NULL ? TT_OK : (tt_status)tt_error_code();
}

static tt_status differentiate_node(tt_pass *p, tt_node *node)
{
    tt_tensor *dy[TT_MAX_OUT] = {NULL}, *dx[TT_MAX_IN] = {NULL};
    p->ctx->anomaly.differentiating = node;
    bool need[TT_MAX_IN] = {false}, rule = false;
    for (int k = 0; k < node->n_out; k++) {
        const tt_tensor *y = node->out[k];
        if (!y->requires_grad) continue; /* such as indices */
        dy[k] = pass_has_cot(p, y) ? y->pass.cot_var
                                   : v_constant(p->ctx, y->dtype, y->ndim, y->shape, 0.0);
        if (dy[k] == NULL) return (tt_status)tt_error_code();
    }
    for (int i = 0; i < node->n_in; i++) {
        if (!pass_wants_input(p, node, i)) continue;
        if (node->op->passes >> i & 1) dx[i] = v_reshape_like(p->ctx, dy[0], node->in[i]);
        else need[i] = rule = true;
    }
    if (rule) node->op->vjp(p->ctx, node, dy, need, dx);
    for (int i = 0; i < node->n_in; i++) {
        if (!pass_wants_input(p, node, i)) continue;
        if (dx[i] == NULL) return (tt_status)tt_error_code();
        TT_TRY(walk_add(p, node->in[i], dx[i], node->op->name));
    }
    return TT_OK;
}

void walk_reach(tt_pass *p, const tt_tensor *t)
{
    if (t->node == NULL || t->node->reached == p->epoch) return;
    t->node->reached = p->epoch;
    p->pending += 1;
}

/* The oldest node that the roots depend on: older nodes do not matter, however many there are. */
static tt_node *oldest_behind(const tt_pass *p)
{
    tt_pass look = {.epoch = ++p->ctx->tape.epoch};
    tt_node *oldest = NULL;
    for (int i = 0; i < p->n_roots; i++) walk_reach(&look, p->roots[i]);
    for (tt_node *node = p->ctx->tape.newest; look.pending > 0; node = node->prev) {
        if (node->reached != look.epoch) continue;
        look.pending -= 1;
        oldest = node;
        for (int i = 0; i < node->n_in; i++) {
            if (node->wants >> i & 1) walk_reach(&look, node->in[i]);
        }
    }
    return oldest;
}

/* Only nodes that depend on the captured tensors are visited. What a tensor whose tape was released
 * depends on is not known: it counts as depending on them, and is then refused. */
void walk_mark_needed(const tt_pass *p)
{
    for (tt_node *node = oldest_behind(p); node != NULL; node = node->next) {
        bool needed = false;
        for (int i = 0; i < node->n_in; i++) {
            tt_tensor *t = node->in[i];
            if (!(node->wants >> i & 1)) continue;
            if (t->graph_freed) t->pass.needed_epoch = p->epoch;
            needed = needed || t->pass.needed_epoch == p->epoch;
        }
        for (int k = 0; k < node->n_out && needed; k++) node->out[k]->pass.needed_epoch = p->epoch;
    }
}

static tt_status fail_retired(const tt_node *node, const tt_tensor *t)
{
    return tt_fail(TT_ERR_STATE, tape_node_name(node),
                   "the gradient of a %s parameter of shape %s would be lost: it was converted to "
                   "another type after it was recorded; convert it before the forward",
                   dtype_text(t->dtype), SHAPE_TEXT(t));
}

/* Finds the nodes that the pass goes through: those between the roots and what is wanted. Every
 * reason to refuse the pass is found here, before a gradient is touched. */
tt_status walk_survey(tt_pass *p)
{
    for (tt_node *node = p->at; p->pending > 0; node = node->prev) {
        if (node->reached != p->epoch) continue;
        p->pending -= 1;
        bool wants = false;
        for (int i = 0; i < node->n_in; i++) wants = wants || pass_wants_input(p, node, i);
        if (!wants) continue;
        if (node->released != 0) return fail_freed(tape_node_name(node));
        tt_status kept = check_versions(node);
        if (kept != TT_OK) return anomaly_name_line(p->ctx, node->origin, kept);
        p->watched = p->watched || node->function != NULL;
        if (node->order > p->order) p->order = node->order;
        node->visited = p->epoch;
        p->oldest = node;
        for (int i = 0; i < node->n_in; i++) {
            tt_tensor *t = node->in[i];
            if (!pass_wants_input(p, node, i)) continue;
            TT_TRY(walk_refuse_freed(t, tape_node_name(node)));
            if (t->retired && p->into_leaves) return fail_retired(node, t);
            walk_reach(p, t);
            if (t->hook == NULL) continue;
            p->watched = true;
            t->hook->last = node; /* the walk comes by here in the same order */
            t->hook->seen = p->epoch;
        }
    }
    return TT_OK;
}

/* A hook of t that has not been called yet. */
static bool hook_due(const tt_pass *p, const tt_tensor *t)
{
    return t->hook != NULL && t->hook->fired != p->epoch && pass_has_cot(p, t);
}

/* Stops for a hook of `hooked`; NULL: for the Function that the walk has come to. */
static tt_status pause_for(tt_pass *p, tt_tensor *hooked)
{
    if (!p->interrupted) { /* the caller may release what it asked about */
        for (int i = 0; i < p->n_roots; i++) tensor_ref(p->roots[i]);
        for (int i = 0; i < p->n_inputs; i++) tensor_ref(p->inputs[i]);
    }
    p->interrupted = p->paused = true;
    p->waiting = hooked;
    if (hooked != NULL) hooked->hook->fired = p->epoch;
    return TT_PAUSED;
}

/* Hooks are called when a gradient is complete. If the pass goes through the node of a tensor, that
 * is before this node; otherwise it is after the last node that adds to the gradient. */
static tt_status pause_before(tt_pass *p, tt_node *node)
{
    for (int k = 0; k < node->n_out; k++) {
        if (hook_due(p, node->out[k])) return pause_for(p, node->out[k]);
    }
    return TT_OK;
}

static bool ends_here(const tt_pass *p, const tt_tensor *t)
{
    return t->node == NULL || t->node->visited != p->epoch;
}

static tt_status pause_after(tt_pass *p, tt_node *node)
{
    for (int i = 0; i < node->n_in; i++) {
        tt_tensor *t = node->in[i];
        if (t == NULL || !hook_due(p, t)) continue;
        if (ends_here(p, t) && t->hook->seen == p->epoch && t->hook->last == node)
            return pause_for(p, t);
    }
    return TT_OK;
}

static tt_status run_node(tt_pass *p, tt_node *node)
{
    tt_ctx *ctx = p->ctx;
    arena_mark scratch = arena_here(&ctx->scratch);
    tt_status status = p->interrupted ? check_versions(node) : TT_OK;
    if (status == TT_OK) status = p->graph ? differentiate_node(p, node) : backward_node(p, node);
    if (status == TT_OK && ctx->anomaly.checks && !p->graph)
        status = anomaly_check_gradients(p, node);
    ctx->anomaly.differentiating = NULL;
    if (status != TT_OK) return anomaly_name_line(ctx, node->origin, status);
    arena_rewind(&ctx->scratch, scratch);
    return TT_OK;
}

/* One node of a pass that has hooks or Functions. */
static tt_status walk_watched(tt_pass *p, tt_node *node)
{
    if (!p->delivered) {
        bool reached = false; /* a Function may have given nothing to pass on */
        for (int k = 0; k < node->n_out; k++) reached = reached || pass_has_cot(p, node->out[k]);
        TT_TRY(pause_before(p, node));
        if (reached && node->function != NULL) {
            if (p->interrupted) TT_TRY(check_versions(node));
            return pause_for(p, NULL);
        }
        if (reached) TT_TRY(run_node(p, node));
        p->delivered = true;
    }
    TT_TRY(pause_after(p, node));
    p->delivered = false;
    return TT_OK;
}

tt_status walk_nodes(tt_pass *p)
{
    for (; p->at != NULL && p->oldest != NULL; p->at = p->at != p->oldest ? p->at->prev : NULL) {
        if (p->at->visited != p->epoch) continue;
        TT_TRY(p->watched ? walk_watched(p, p->at) : run_node(p, p->at));
    }
    for (int i = 0; i < p->n_roots && p->watched; i++) {
        tt_tensor *root = p->roots[i];
        if (hook_due(p, root) && ends_here(p, root)) return pause_for(p, root);
    }
    return TT_OK;
}
