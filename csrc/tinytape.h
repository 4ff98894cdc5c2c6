/* tinytape: the one public header of the C core.
 *
 * The text between the two marker comments is also the cffi declaration of the Python binding, so
 * the two cannot differ. It has only what cffi parses (no preprocessor lines, no attributes). Every
 * function that can fail returns a tt_status; the message is in the calling thread's last-error
 * record. No function prints, aborts or exits. */
#ifndef TINYTAPE_H
#define TINYTAPE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* cffi: begin */

/* A context owns a tape, its arenas and every tensor made in it; it belongs to the thread that made
 * it. */
typedef struct tt_ctx tt_ctx;

/* A tensor as the caller sees it: a slot number and the generation of its use. A handle whose
 * tensor is gone is refused (TT_ERR_STALE), never followed. 0 is no handle. */
typedef int64_t tt_handle;

typedef enum {
    TT_OK = 0,
    TT_PAUSED = 1,         /* a backward pass waits for tt_backward_resume */
    TT_ERR_ARG = -1,       /* a value outside its range */
    TT_ERR_SHAPE = -2,     /* shapes that do not fit together */
    TT_ERR_DTYPE = -3,     /* element types that do not fit together */
    TT_ERR_INDEX = -4,     /* an axis or element that does not exist */
    TT_ERR_NOMEM = -5,     /* an allocation was refused */
    TT_ERR_STALE = -6,     /* a handle whose tensor is gone */
    TT_ERR_STATE = -7,     /* the graph or tape is not in a state that allows this */
    TT_ERR_THREAD = -8,    /* a context used by a thread that does not own it */
    TT_ERR_NONFINITE = -9, /* an infinity or NaN where none may be */
    TT_ERR_INTERNAL = -10  /* a fault of this library */
} tt_status;

typedef enum {
    TT_FLOAT32 = 0,
    TT_FLOAT64 = 1,
    TT_INT64 = 2,
    TT_BOOL = 3, /* one byte, 0 or 1 */
    TT_UINT8 = 4,
    TT_INT8 = 5,
    TT_INT16 = 6,
    TT_INT32 = 7,
    TT_DTYPE_COUNT = 8
} tt_dtype;

/* Which lifetime a tensor's storage is counted under. */
typedef enum {
    TT_POOL_PARAM = 0,
    TT_POOL_STATE = 1,
    TT_POOL_DATA = 2,
    TT_POOL_META = 3,
    TT_POOL_COUNT = 4
} tt_pool;

/* How tt_fail_allocation does it. */
typedef enum {
    TT_FAIL_FOR_EVER = 1, /* all after the k-th too */
    TT_FAIL_INSIDE = 2    /* what arenas and free lists give from their own counts as well */
} tt_fail_how;

typedef struct {
    int64_t step_used, step_high_water, step_capacity, step_chunks;
    int64_t kept_used, kept_capacity; /* graphs that are held and outlive their step */
    int64_t scratch_high_water, scratch_capacity;
    int64_t pool_bytes[4], pool_blocks[4]; /* live, by tt_pool */
    int64_t pool_cached_bytes;             /* freed blocks kept for reuse */
    int64_t tape_nodes, held_tensors, live_handles;
    int64_t system_allocations; /* calls to the system allocator so far, by the whole process */
    int64_t system_bytes, system_peak_bytes;
} tt_memory;

/* The last failure in the calling thread. */
int tt_error_code(void);
const char *tt_error_op(void);
const char *tt_error_message(void);
int tt_error_origin(void); /* of the operation that failed, -1: unknown, 0: not looked for */

/* Contexts. */
tt_ctx *tt_ctx_new(void);
void tt_ctx_free(tt_ctx *ctx); /* with every tensor in it; handles must not be used any more */
/* Frees it now, or with the release of its last handle; from any thread, if no other uses it. */
void tt_ctx_close(tt_ctx *ctx);
tt_status tt_memory_stats(tt_ctx *ctx, tt_memory *out);
tt_status tt_empty_cache(tt_ctx *ctx);
void tt_set_memory_limit(int64_t bytes); /* of the process; 0: none */
/* For tests: the k-th allocation from now fails; 0: none. Returns what was left of the k before. */
int64_t tt_fail_allocation(int64_t k, int how);

/* Tensors. A new one is a leaf with contiguous storage; data NULL means zeros. */
tt_status tt_new(tt_ctx *ctx, int pool, int dtype, int ndim, const int64_t *shape, const void *data,
                 tt_handle *out);
/* A value without dimensions (NULL: zero) that stands for a plain number: beside tensors only its
 * kind counts (bool, integer, float), as in torch.result_type; an integer keeps all its bits. */
tt_status tt_number(tt_ctx *ctx, int dtype, const void *value, tt_handle *out);
tt_status tt_release(tt_ctx *ctx, tt_handle h);
/* These two may be called from any thread, as long as nobody lets go of the handle meanwhile: for
 * a pickle that another thread makes. The owner may be at work; what is read is then a value from
 * between two changes. out: dtype, ndim, requires_grad, is_leaf, is_contiguous, numel, shape[ndim],
 * strides[ndim] (22 numbers at most). */
tt_status tt_info(tt_ctx *ctx, tt_handle h, int64_t *out);
tt_status tt_read(tt_ctx *ctx, tt_handle h, void *dst, int64_t nbytes);
tt_status tt_write(tt_ctx *ctx, tt_handle h, const void *src,
                   int64_t nbytes); /* in place; leaves and their views */
/* In-place writing for an operation of the caller, whose name errors bear: is it allowed here; of
 * src, broadcast and converted, where a mask of bool is true (0: everywhere); of src at a vector of
 * places, int64, in `count` axes from `axis` on, which they stand for. */
tt_status tt_check_in_place(tt_ctx *ctx, tt_handle h, const char *name);
tt_status tt_copy(tt_ctx *ctx, tt_handle h, tt_handle src, tt_handle mask, const char *name);
tt_status tt_put(tt_ctx *ctx, tt_handle h, int axis, int count, tt_handle index, tt_handle src,
                 const char *name);
tt_status tt_detach(tt_ctx *ctx, tt_handle h, tt_handle *out);
tt_status tt_copy_to_pool(tt_ctx *ctx, tt_handle h, int pool, tt_handle *out);
tt_status tt_set_requires_grad(tt_ctx *ctx, tt_handle h, int requires_grad);
/* Another leaf takes the place of this one: a pass that would leave a gradient here is refused. */
tt_status tt_retire(tt_ctx *ctx, tt_handle h);
tt_status tt_get_grad(tt_ctx *ctx, tt_handle h, tt_handle *out); /* 0 when there is none */
tt_status tt_set_grad(tt_ctx *ctx, tt_handle h, tt_handle grad); /* 0 clears it */
/* Fill a leaf in place; element i depends only on (seed, stream, offset + i). kind 0: uniform on
 * [a, b), 1: normal with mean a and standard deviation b. */
tt_status tt_random_fill(tt_ctx *ctx, tt_handle h, int kind, uint64_t seed, uint64_t stream,
                         uint64_t offset, double a, double b);
void tt_philox_u64(uint64_t seed, uint64_t stream, uint64_t offset, int64_t n, uint64_t *out);

/* Operations. */
int tt_op_count(void);
const char *tt_op_name(int op);
int tt_op_inputs(int op);
int tt_op_outputs(int op);
int tt_op_differentiable(int op);
/* The names of its attributes: integers, the last with [] if it is a list of any length; behind a
 * bar those that are real: "seed stream offset | p". */
const char *tt_op_attributes(int op);
tt_status tt_apply(tt_ctx *ctx, int op, int n_in, const tt_handle *in, int n_ints,
                   const int64_t *ints, int n_reals, const double *reals, tt_handle *out);
/* Whether operations are recorded from now on; before (may be NULL): whether they were. */
tt_status tt_set_grad_enabled(tt_ctx *ctx, int enabled, int *before);
int tt_is_grad_enabled(const tt_ctx *ctx);
/* Reverse mode from roots (gradients[i] 0: ones, for a single element only). With n_inputs == 0 the
 * gradients of the leaves are added to their grad; otherwise results[i] is the gradient of
 * inputs[i], or 0 when no path leads there. */
tt_status tt_backward(tt_ctx *ctx, int n_roots, const tt_handle *roots, const tt_handle *gradients,
                      int n_inputs, const tt_handle *inputs, int retain_graph, int create_graph,
                      tt_handle *results);

/* Whether a backward pass from root would come to a leaf that is none of the known tensors, behind
 * which it does not look. */
int tt_has_other_leaves(tt_ctx *ctx, tt_handle root, int n, const tt_handle *known);

/* Hooks and Functions belong to the caller, which knows them by numbers of its own (> 0). A
 * backward pass that meets one stops with TT_PAUSED; the caller looks at what the pass waits for,
 * and answers or gives up. In between it may do anything but start another pass; operations are
 * recorded under create_graph only. However the pass ends, they are recorded afterwards as they
 * were before it. */
tt_status tt_hook(tt_ctx *ctx, tt_handle h, int64_t id,
                  int64_t *out); /* pause at the gradient of h; out: its number so far, or id */
/* Records what a Function computed. The node keeps its inputs, further tensors, and the values that
 * the outputs out[k] show; bit i of saved: tensor i of these must not change in place. */
tt_status tt_function(tt_ctx *ctx, const char *name, int64_t id, int n_in, const tt_handle *in,
                      int n_kept, const tt_handle *kept, int n_out, const tt_handle *values,
                      uint64_t saved, tt_handle *out);
int64_t tt_paused_id(tt_ctx *ctx);     /* the hook or Function that is waited for; 0: none */
uint64_t tt_paused_needs(tt_ctx *ctx); /* bit i: a gradient for input i is of use */
tt_status tt_paused_gradient(tt_ctx *ctx, int k, tt_handle *out); /* of output k; 0: none came */
tt_status tt_paused_tensor(tt_ctx *ctx, int i,
                           tt_handle *out); /* what a node keeps; ~k: output k */
/* gradients: of a Function's inputs, 0 for none; or what replaces a hook's, 0: nothing does. */
tt_status tt_backward_resume(tt_ctx *ctx, const char *name, int n, const tt_handle *gradients,
                             tt_handle *results);
tt_status tt_backward_abort(tt_ctx *ctx);
int64_t tt_ended(tt_ctx *ctx); /* a hook or Function that will not be met any more; 0: no further */
tt_status tt_hold(tt_ctx *ctx, tt_handle h, tt_handle *out); /* one more hold: the same handle */
int tt_used_by_tape(tt_ctx *ctx, tt_handle h); /* whether more than handles keeps a leaf alive */

/* Anomaly detection. With checks, the first value that is not finite is an error. */
typedef enum { TT_ANOMALY_OFF = 0, TT_ANOMALY_LINES = 1, TT_ANOMALY_CHECKS = 2 } tt_anomaly_mode;
tt_status tt_set_anomaly(tt_ctx *ctx, int mode, int *before); /* before: may be NULL */
int tt_get_anomaly(const tt_ctx *ctx);
tt_status tt_set_origin(tt_ctx *ctx, int origin); /* of the operations that follow */

/* Fused updates, in place, over lists of leaves of one dtype. */
tt_status tt_adam(tt_ctx *ctx, int n, const tt_handle *params, const tt_handle *grads,
                  const tt_handle *exp_avgs, const tt_handle *exp_avg_sqs, int64_t step, double lr,
                  double beta1, double beta2, double eps, double weight_decay, int decoupled,
                  int maximize);
tt_status tt_sgd(tt_ctx *ctx, int n, const tt_handle *params, const tt_handle *grads,
                 const tt_handle *momenta, double lr, double momentum, double dampening,
                 double weight_decay, int nesterov, int maximize, int first);
tt_status tt_grad_norm(tt_ctx *ctx, int n, const tt_handle *grads, double norm_type, double *out);
tt_status tt_scale(tt_ctx *ctx, int n, const tt_handle *tensors, double factor);

/* The machine and the build. */
int tt_set_num_threads(int n);
int tt_get_num_threads(void);
int tt_simd_requested_ok(void);
const char *tt_config(const char *key);

/* cffi: end */

#ifdef __cplusplus
}
#endif
#endif
