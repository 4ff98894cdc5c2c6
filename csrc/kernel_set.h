/* kernel_set: the loops of one dtype at one SIMD level, and the choice of those in use. */
#ifndef TT_KERNEL_SET_H
#define TT_KERNEL_SET_H

#include "op_table.h"
#include "random.h"

/* What a step of an optimiser gives its loop. */
typedef struct {
    double step_size; /* lr / (1 - beta1^t) */
    double beta1, beta2, eps;
    double root_bias2; /* sqrt(1 - beta2^t) */
    double shrink;     /* decoupled weight decay: 1 - lr * weight_decay, else 1 */
    double l2;         /* coupled weight decay, else 0 */
    double sign;       /* -1 to maximise */
} adam_step;

typedef struct {
    double lr, momentum, dampening, weight_decay, sign;
    bool nesterov, first;
} sgd_step;

/* The kernels of all operations, and the loops that are no operation of the tape. */
typedef struct {
    const tt_kernels *ops[TT_OP_COUNT];
    void (*accumulate)(void *dst, const void *src, int64_t n);
    void (*adam)(void *p, const void *g, void *m, void *v, int64_t n, const adam_step *k);
    void (*sgd)(void *p, const void *g, void *momentum, int64_t n, const sgd_step *k);
    /* sum |scale x|^power; for power infinity the largest |x| */
    double (*power_sum)(const void *x, int64_t n, double power, double scale);
    void (*scale)(void *x, int64_t n, double factor);
    /* Blocks first .. first + PHILOX_BATCH - 1 of the generator; word w of block j is out[w][j]. */
    void (*philox)(uint64_t seed, uint64_t stream, uint64_t first, uint32_t out[4][PHILOX_BATCH]);
} tt_kernel_set;
const tt_kernel_set *kernel_set_for(int dtype);

#endif
