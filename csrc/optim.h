/* optim: the fused updates of the optimisers. */
#ifndef TT_OPTIM_H
#define TT_OPTIM_H

#include <stdbool.h>

typedef struct adam_step {
    double step_size; /* lr / (1 - beta1^t) */
    double beta1, beta2, eps;
    double root_bias2; /* sqrt(1 - beta2^t) */
    double shrink;     /* decoupled weight decay: 1 - lr * weight_decay, else 1 */
    double l2;         /* coupled weight decay, else 0 */
    double sign;       /* -1 to maximise */
} adam_step;

typedef struct sgd_step {
    double lr, momentum, dampening, weight_decay, sign;
    bool nesterov, first;
} sgd_step;

#endif
