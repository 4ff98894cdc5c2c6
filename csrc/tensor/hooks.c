/* hooks: the records of the caller's code that a backward pass stops for. */
#include "hooks.h"

#include <stdio.h>

tt_callback *hook_new(tt_ctx *ctx, const char *name, int64_t id)
{
    tt_block *self = block_new(&ctx->pool, TT_POOL_META, sizeof(tt_callback));
    if (self == NULL) {
        mem_exhausted(name, "meta", sizeof(tt_callback));
        return NULL;
    }
    tt_callback *callback = block_data(self);
    *callback = (tt_callback){.self = self, .id = id};
    snprintf(callback->name, sizeof callback->name, "%s", name);
    ctx->callbacks += 1;
    return callback;
}

tt_status tt_hook(tt_ctx *ctx, tt_handle h, int64_t id, int64_t *out)
{
    TT_TRY(ctx_enter(ctx, "register_hook"));
    TT_NEED("register_hook", out);
    tt_tensor *t = handle_tensor(ctx, h, "register_hook");
    if (t == NULL) return TT_ERR_STALE;
    if (!t->requires_grad)
        return tt_fail(TT_ERR_STATE, "register_hook",
                       "cannot register a hook on a tensor that doesn't require gradient");
    if (t->hook == NULL) t->hook = hook_new(ctx, "register_hook", id);
    if (t->hook == NULL) return TT_ERR_NOMEM;
    *out = t->hook->id;
    return TT_OK;
}

int64_t tt_ended(tt_ctx *ctx)
{
    tt_callback *ended = ctx != NULL ? ctx->ended : NULL;
    if (ended == NULL) return 0;
    const int64_t id = ended->id;
    ctx->ended = ended->next;
    block_unref(&ctx->pool, ended->self);
    return id;
}
