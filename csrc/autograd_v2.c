/* autograd_v2: the record of what was computed, played backwards.
 *
 * A pass walks the tape from the root to its beginning. Without a graph it calls the backward
 * kernels, which write cotangents as plain memory; with one (create_graph) it calls the vjps, which
 * record ordinary operations, so that what they return can be differentiated again. There is no
 * recursion: a chain of any length is walked in a loop. */
#include <string.h>

#include "tape.h"

tt_status tape_add_op(tt_ctx *ctx, const tt_op *op, tt_tensor *const *inputs, int n_in,
                      tt_tensor *const *outputs, int n_out, const tt_attrs *attrs,
                      void *const *saved)
{
    tt_tape *tape = &ctx->tape;
    tt_node *node = arena_alloc(&ctx->step, sizeof *node);
    tt_tensor **copy = arena_alloc(&ctx->step, (size_t)n_in * sizeof(tt_tensor *));
    if (node == NULL || copy == NULL) return ctx_out_of_memory(ctx, op->name, "step", sizeof *node);
    /* The caller's array may lie on its stack and be gone before backward: this copy lives as long
     * as the node. */
    memcpy(copy, inputs, (size_t)n_in * sizeof(tt_tensor *));
    *node = (tt_node){.prev = tape->newest,
                      .op = op,
                      .sequence = ++tape->sequence,
                      .n_in = n_in,
                      .n_out = n_out,
                      .in = copy};
    node->attrs = *attrs;
    memcpy(node->saved, saved, sizeof node->saved);
    for (int i = 0; i < n_in; i++) {
        if (copy[i] == NULL) continue;
        tape_retain(copy[i]);
        if (copy[i]->requires_grad) node->wants |= 1u << i;
        if (copy[i]->block != NULL) node->versions[i] = copy[i]->block->version;
    }
    for (int k = 0; k < n_out; k++) {
        node->out[k] = outputs[k];
        outputs[k]->node = node;
        outputs[k]->requires_grad = dtype_is_float(outputs[k]->dtype);
    }
    if (tape->newest != NULL) tape->newest->next = node;
    else tape->oldest = node;
    tape->newest = node;
    tape->nodes += 1;
    return TT_OK;
}

/* A cotangent is dead once its node was visited. Its memory, still in the cache, serves the next of
 * the same size. */
enum { SPARE_BUFFERS = 32 };
typedef struct {
    void *data;
    size_t size;
} spare_buffer;

/* One backward pass. */
typedef struct {
    tt_ctx *ctx;
    uint64_t epoch;
    bool into_leaves; /* gradients go to the leaves' grad; otherwise to the captured tensors */
    bool graph;       /* create_graph */
    int n_spare;
    spare_buffer spare[SPARE_BUFFERS];
} pass;

static void *cot_new(pass *p, const tt_tensor *t, const char *op)
{
    size_t size = align_up(tensor_bytes(t));
    for (int i = 0; i < p->n_spare; i++) {
        if (p->spare[i].size != size) continue;
        void *data = p->spare[i].data;
        p->spare[i] = p->spare[--p->n_spare];
        return data;
    }
    void *data = arena_alloc(&p->ctx->step, size);
    if (data == NULL) ctx_out_of_memory(p->ctx, op, "step", size);
    return data;
}

static void cot_spare(pass *p, tt_tensor *t)
{
    if (t->cot == NULL || t->captured || p->n_spare == SPARE_BUFFERS) return;
    p->spare[p->n_spare++] = (spare_buffer){t->cot, align_up(tensor_bytes(t))};
    t->cot = NULL;
}

static bool has_cot(const pass *p, const tt_tensor *t) { return t->cot_epoch == p->epoch; }

static bool wanted(const pass *p, const tt_tensor *t)
{
    return t != NULL && t->requires_grad && (p->into_leaves || t->needed_epoch == p->epoch);
}

static bool wants_input(const pass *p, const tt_node *node, int i)
{
    return (node->wants >> i & 1) && wanted(p, node->in[i]);
}

static tt_status fail_freed(const char *op)
{
    return tt_fail(TT_ERR_STATE, op,
                   "trying to go backward through the graph a second time: what it saved was freed "
                   "by an earlier backward(); pass retain_graph=True there if you need it again");
}

/* A tensor that outlived its tape has no way back, unless its own gradient is all that was asked
 * for. */
static tt_status refuse_freed(const tt_tensor *t, const char *op)
{
    return t->graph_freed && !t->captured ? fail_freed(op) : TT_OK;
}

/* Where a gradient for t is to be written, and whether there is something to add to. */
static tt_status receive(pass *p, tt_tensor *t, const char *op, void **dx, bool *acc)
{
    *acc = has_cot(p, t);
    if (*acc) {
        *dx = t->cot;
        return TT_OK;
    }
    if (p->into_leaves && t->node == NULL && t->grad == NULL) {
        t->grad = tensor_new_pool(p->ctx, op, TT_POOL_PARAM, t->dtype, t->ndim, t->shape);
        if (t->grad == NULL) return (tt_status)tt_error_code();
        t->grad_fresh = true;
        t->cot = t->grad->data;
    } else {
        /* Also where a leaf has a gradient: it is added when nothing can fail any more. */
        t->cot = cot_new(p, t, op);
        if (t->cot == NULL) return TT_ERR_NOMEM;
    }
    t->cot_epoch = p->epoch;
    *dx = t->cot;
    return TT_OK;
}

static tt_status check_node(const tt_node *node)
{
    if (node->released != 0) return fail_freed(node->op->name);
    for (int i = 0; i < node->n_in; i++) {
        const tt_tensor *t = node->in[i];
        if (t == NULL || t->block == NULL || !(node->op->keeps >> i & 1)) continue;
        if (t->block->version != node->versions[i])
            return tt_fail(TT_ERR_STATE, node->op->name,
                           "input %d (shape %s) was changed in place after it was recorded, and "
                           "its old value is needed "
                           "for the gradient",
                           i, SHAPE_TEXT(t));
    }
    return TT_OK;
}

/* The inputs whose gradient is dy itself. The last of them may take dy over, since nobody reads it
 * afterwards. */
static tt_status pass_through(pass *p, tt_node *node, void *dy)
{
    int last = -1;
    for (int i = 0; i < node->n_in; i++) {
        if (node->op->passes >> i & 1 && wants_input(p, node, i)) last = i;
    }
    for (int i = 0; i <= last; i++) {
        tt_tensor *t = node->in[i];
        if (!(node->op->passes >> i & 1) || !wants_input(p, node, i)) continue;
        bool takes_over = i == last && !has_cot(p, t) && !node->out[0]->captured &&
                          !(p->into_leaves && t->node == NULL);
        if (takes_over) {
            t->cot = dy;
            t->cot_epoch = p->epoch;
            node->out[0]->cot = NULL;
            continue;
        }
        void *dx = NULL;
        bool acc = false;
        TT_TRY(receive(p, t, node->op->name, &dx, &acc));
        if (acc) kernels_for(t->dtype)->accumulate(dx, dy, t->numel);
        else memcpy(dx, dy, tensor_bytes(t));
    }
    return TT_OK;
}

static tt_status backward_node(pass *p, tt_node *node)
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
        if (has_cot(p, node->out[k])) c.dy[k] = node->out[k]->cot;
    }
    memcpy(c.saved, node->saved, sizeof c.saved);
    /* The same tensor twice: the kernel must not see one buffer under two names. */
    bool repeated[TT_MAX_IN] = {false};
    bool kernel = false;
    for (int i = 0; i < node->n_in; i++) {
        tt_tensor *t = node->in[i];
        if (!wants_input(p, node, i) || node->op->passes >> i & 1) continue;
        for (int j = 0; j < i; j++)
            repeated[i] = repeated[i] || (node->in[j] == t && c.dx[j] != NULL);
        if (repeated[i]) {
            c.dx[i] = call_scratch(&c, tensor_bytes(t));
            if (c.dx[i] == NULL) return TT_ERR_NOMEM;
        } else {
            TT_TRY(receive(p, t, node->op->name, &c.dx[i], &c.acc[i]));
        }
        kernel = true;
    }
    if (kernel) TT_TRY(kernels_for(node->out[0]->dtype)->ops[node->op->id]->backward(&c));
    for (int i = 0; i < node->n_in; i++) {
        tt_tensor *t = node->in[i];
        if (repeated[i]) kernels_for(t->dtype)->accumulate(t->cot, c.dx[i], t->numel);
    }
    union {
        const void *read;
        void *owned;
    } dy = {.read = c.dy[0]}; /* the pass owns the cotangents it hands to kernels as const */
    if (node->op->passes) TT_TRY(pass_through(p, node, dy.owned));
    for (int k = 0; k < node->n_out; k++) {
        if (has_cot(p, node->out[k])) cot_spare(p, node->out[k]);
    }
    return TT_OK;
}

static tt_status add_cot_var(pass *p, tt_tensor *t, tt_tensor *dx, const char *op)
{
    if (!tensor_same_shape(dx, t))
        return tt_fail(TT_ERR_INTERNAL, op, "the vjp returned shape %s for an input of shape %s",
                       SHAPE_TEXT(dx), SHAPE_TEXT(t));
    t->cot_var = has_cot(p, t) ? v_add(p->ctx, t->cot_var, dx) : dx;
    t->cot_epoch = p->epoch;
    return t->cot_var != NULL ? TT_OK : (tt_status)tt_error_code();
}

static tt_status differentiate_node(pass *p, tt_node *node)
{
    tt_tensor *dy[TT_MAX_OUT] = {NULL}, *dx[TT_MAX_IN] = {NULL};
    bool need[TT_MAX_IN] = {false}, rule = false;
    for (int k = 0; k < node->n_out; k++) {
        const tt_tensor *y = node->out[k];
        if (!y->requires_grad) continue; /* such as indices */
        dy[k] = has_cot(p, y) ? y->cot_var : v_constant(p->ctx, y->dtype, y->ndim, y->shape, 0.0);
        if (dy[k] == NULL) return (tt_status)tt_error_code();
    }
    for (int i = 0; i < node->n_in; i++) {
        if (!wants_input(p, node, i)) continue;
        if (node->op->passes >> i & 1) dx[i] = v_reshape_like(p->ctx, dy[0], node->in[i]);
        else need[i] = rule = true;
    }
    if (rule) node->op->vjp(p->ctx, node, dy, need, dx);
    for (int i = 0; i < node->n_in; i++) {
        if (!wants_input(p, node, i)) continue;
        if (dx[i] == NULL) return (tt_status)tt_error_code();
        TT_TRY(add_cot_var(p, node->in[i], dx[i], node->op->name));
    }
    return TT_OK;
}

static tt_status seed(pass *p, tt_tensor *root, tt_tensor *gradient)
{
    if (p->graph) {
        if (gradient == NULL)
            gradient = v_constant(p->ctx, root->dtype, root->ndim, root->shape, 1.0);
        return gradient != NULL ? add_cot_var(p, root, gradient, "backward")
                                : (tt_status)tt_error_code();
    }
    void *dx = NULL;
    bool acc = false;
    TT_TRY(receive(p, root, "backward", &dx, &acc));
    void *value = acc ? ctx_scratch(p->ctx, "backward", tensor_bytes(root)) : dx;
    if (value == NULL) return TT_ERR_NOMEM;
    if (gradient != NULL) {
        tensor_gather(value, gradient);
    } else {
        tt_tensor ones = {.data = value, .numel = root->numel, .dtype = root->dtype};
        tensor_fill(&ones, 1.0);
    }
    if (acc) kernels_for(root->dtype)->accumulate(dx, value, root->numel);
    return TT_OK;
}

static tt_status check_root(const tt_tensor *root, const tt_tensor *gradient, int i)
{
    if (!root->requires_grad && root->cut != NULL)
        return tt_fail(TT_ERR_STATE, "backward",
                       "element %d of tensors does not require grad: it was computed through %s, "
                       "which has no gradient",
                       i, root->cut->name);
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

/* Only what leads from the captured tensors is visited. What lies behind a tensor that outlived its
 * tape nobody knows: it counts as leading there, and is then refused. */
static void mark_needed(const pass *p)
{
    for (tt_node *node = p->ctx->tape.oldest; node != NULL; node = node->next) {
        bool needed = false;
        for (int i = 0; i < node->n_in; i++) {
            tt_tensor *t = node->in[i];
            if (!(node->wants >> i & 1)) continue;
            if (t->graph_freed) t->needed_epoch = p->epoch;
            needed = needed || t->needed_epoch == p->epoch;
        }
        for (int k = 0; k < node->n_out && needed; k++) node->out[k]->needed_epoch = p->epoch;
    }
}

/* Which nodes the pass goes through: those between the roots and what is wanted. Whatever forbids
 * it is found here, before a gradient is touched. */
static tt_status survey(const pass *p, tt_node *newest)
{
    for (tt_node *node = newest; node != NULL; node = node->prev) {
        bool reached = false, wants = false;
        for (int k = 0; k < node->n_out; k++)
            reached = reached || node->out[k]->reached_epoch == p->epoch;
        for (int i = 0; i < node->n_in && reached; i++) wants = wants || wants_input(p, node, i);
        if (!wants) continue;
        TT_TRY(check_node(node));
        node->visited = p->epoch;
        for (int i = 0; i < node->n_in; i++) {
            tt_tensor *t = node->in[i];
            if (!wants_input(p, node, i)) continue;
            TT_TRY(refuse_freed(t, node->op->name));
            t->reached_epoch = p->epoch;
        }
    }
    return TT_OK;
}

static tt_status walk(pass *p, tt_node *newest)
{
    for (tt_node *node = newest; node != NULL; node = node->prev) {
        if (node->visited != p->epoch) continue;
        arena_mark scratch = arena_here(&p->ctx->scratch);
        TT_TRY(p->graph ? differentiate_node(p, node) : backward_node(p, node));
        arena_rewind(&p->ctx->scratch, scratch);
    }
    return TT_OK;
}

static tt_status take_result(pass *p, tt_tensor *t, tt_handle *out)
{
    *out = 0;
    if (!has_cot(p, t)) return TT_OK;
    tt_tensor *g = p->graph ? t->cot_var : NULL;
    if (g != NULL && (g->place == PLACE_POOL || g->node != NULL)) {
        bool fresh = g->place == PLACE_POOL && g->handles == 0;
        *out = handle_for(p->ctx, g);
        if (*out != 0 && fresh) g->refs += 1;
        return *out != 0 ? TT_OK : TT_ERR_NOMEM;
    }
    tt_tensor *copy = tensor_new_pool(p->ctx, "grad", TT_POOL_DATA, t->dtype, t->ndim, t->shape);
    if (copy == NULL) return (tt_status)tt_error_code();
    if (g != NULL) tensor_gather(copy->data, g);
    else memcpy(copy->data, t->cot, tensor_bytes(t));
    *out = handle_for(p->ctx, copy);
    if (*out != 0) return TT_OK;
    tensor_unref(p->ctx, copy);
    return TT_ERR_NOMEM;
}

/* The end of a pass into leaves: where a gradient was made it stays, or goes if the pass failed;
 * where one was there before, what the pass found is added to it. */
static void settle_leaf(const pass *p, tt_tensor *t, bool failed)
{
    if (t == NULL || t->node != NULL || !has_cot(p, t) || t->cot == NULL) return;
    if (t->grad_fresh && failed) {
        tensor_unref(p->ctx, t->grad);
        t->grad = NULL;
    } else if (!t->grad_fresh && !failed) {
        kernels_for(t->dtype)->accumulate(t->grad->data, t->cot, t->numel);
        t->grad->block->version += 1;
    }
    t->grad_fresh = false;
    t->cot = NULL; /* done, however often the leaf was used */
}

static void settle_leaves(const pass *p, int n_roots, tt_tensor **roots, bool failed)
{
    for (int i = 0; i < n_roots; i++) settle_leaf(p, roots[i], failed);
    for (tt_node *node = p->ctx->tape.newest; node != NULL; node = node->prev) {
        if (node->visited != p->epoch) continue;
        for (int i = 0; i < node->n_in; i++) settle_leaf(p, node->in[i], failed);
    }
}

static tt_status run_pass(pass *p, int n_roots, tt_tensor **roots, tt_tensor **gradients,
                          int n_inputs, tt_tensor **inputs, bool release, tt_handle *results)
{
    tt_node *newest = NULL;
    for (int i = 0; i < n_inputs; i++) {
        inputs[i]->needed_epoch = p->epoch;
        inputs[i]->captured = true;
    }
    if (!p->into_leaves) mark_needed(p);
    for (int i = 0; i < n_roots; i++) {
        tt_node *node = roots[i]->node;
        TT_TRY(refuse_freed(roots[i], "backward"));
        if (!wanted(p, roots[i])) continue;
        roots[i]->reached_epoch = p->epoch;
        if (node != NULL && (newest == NULL || node->sequence > newest->sequence)) newest = node;
    }
    TT_TRY(survey(p, newest));
    if (release) TT_TRY(tape_plan_release(p->ctx, p->epoch));
    for (int i = 0; i < n_roots; i++) {
        if (wanted(p, roots[i])) TT_TRY(seed(p, roots[i], gradients[i]));
    }
    TT_TRY(walk(p, newest));
    for (int i = 0; i < n_inputs; i++) TT_TRY(take_result(p, inputs[i], &results[i]));
    return TT_OK;
}

/* Lists come from Python; with this bound their sizes cannot overflow. */
enum { MOST_ROOTS = 4096 };

tt_status tt_backward(tt_ctx *ctx, int n_roots, const tt_handle *roots, const tt_handle *gradients,
                      int n_inputs, const tt_handle *inputs, int retain_graph, int create_graph,
                      tt_handle *results)
{
    TT_TRY(ctx_enter(ctx, "backward"));
    if (n_roots < 1 || n_inputs < 0 || n_roots > MOST_ROOTS)
        return tt_fail(TT_ERR_ARG, "backward", "expected 1 to %d outputs, got %d", MOST_ROOTS,
                       n_roots);
    if (create_graph && n_inputs == 0)
        return tt_fail(TT_ERR_ARG, "backward",
                       "a gradient that carries a graph is returned, never stored in .grad: use "
                       "grad(..., create_graph=True)");
    size_t list = (size_t)(2 * n_roots + n_inputs) * sizeof(tt_tensor *);
    tt_tensor **tensors = ctx_scratch(ctx, "backward", list);
    if (tensors == NULL) return TT_ERR_NOMEM;
    tt_tensor **seeds = tensors + n_roots, **targets = seeds + n_roots;
    tt_status status = TT_OK;
    for (int i = 0; i < n_roots && status == TT_OK; i++) {
        tensors[i] = handle_tensor(ctx, roots[i], "backward");
        seeds[i] = gradients != NULL && gradients[i] != 0
                       ? handle_tensor(ctx, gradients[i], "backward")
                       : NULL;
        if (tensors[i] == NULL || (seeds[i] == NULL && gradients != NULL && gradients[i] != 0))
            status = TT_ERR_STALE;
        else status = check_root(tensors[i], seeds[i], i);
    }
    for (int i = 0; i < n_inputs && status == TT_OK; i++) {
        targets[i] = handle_tensor(ctx, inputs[i], "grad");
        results[i] = 0;
        if (targets[i] == NULL) status = TT_ERR_STALE;
        else if (!targets[i]->requires_grad)
            status = tt_fail(TT_ERR_STATE, "grad", "input %d does not require grad", i);
    }
    if (status == TT_OK) {
        pass p = {.ctx = ctx,
                  .epoch = ++ctx->tape.epoch,
                  .into_leaves = n_inputs == 0,
                  .graph = create_graph != 0};
        bool release = !retain_graph && !create_graph, enabled = ctx->grad_enabled;
        tape_mark mark = tape_here(ctx);
        if (p.graph) ctx->grad_enabled = true;
        ctx->tape.in_backward = true;
        status = run_pass(&p, n_roots, tensors, seeds, n_inputs, targets, release, results);
        ctx->grad_enabled = enabled;
        for (int i = 0; i < n_inputs; i++) targets[i]->captured = false;
        for (int i = 0; i < n_inputs && status != TT_OK; i++) {
            if (results[i] != 0) tt_release(ctx, results[i]);
            results[i] = 0;
        }
        if (p.into_leaves) settle_leaves(&p, n_roots, tensors, status != TT_OK);
        if (status != TT_OK && release) tape_cancel_release(ctx, p.epoch);
        ctx->tape.in_backward = false;
        if (!p.graph || status != TT_OK)
            tape_rewind(ctx, mark); /* cotangents end with the pass, the tape stays */
        if (status == TT_OK && release) tape_release(ctx);
    }
    arena_reset(&ctx->scratch);
    return status;
}
