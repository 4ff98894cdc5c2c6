/* optim_kernels: the loops of the optimisers, over one range of one parameter. */
#include "kernel_set.h"

/* Adam (Kingma and Ba, 2015) with the decoupled decay of AdamW (Loshchilov and Hutter, 2019):
 * m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2,  p = p - lr m^ / (sqrt(v^) + eps). */
static void adam_range(void *param, const void *grad, void *exp_avg, void *exp_avg_sq, int64_t n,
                       const adam_step *k)
{
    T *restrict p = param, *restrict m = exp_avg, *restrict v = exp_avg_sq;
    const T *g = grad;
    const T beta1 = (T)k->beta1, beta2 = (T)k->beta2, rest1 = (T)(1 - k->beta1),
            rest2 = (T)(1 - k->beta2);
    const T step_size = (T)k->step_size, eps = (T)k->eps, inverse_root = (T)(1 / k->root_bias2);
    const T shrink = (T)k->shrink, l2 = (T)k->l2, sign = (T)k->sign;
    for (int64_t i = 0; i < n; i++) {
        T x = p[i], d = sign * g[i] + l2 * x;
        m[i] = beta1 * m[i] + rest1 * d;
        v[i] = beta2 * v[i] + rest2 * d * d;
        p[i] = shrink * x - step_size * m[i] / (tt_sqrt(v[i]) * inverse_root + eps);
    }
}

/* SGD with momentum as in PyTorch: u = mu u + (1 - dampening) g;  p = p - lr u, or lr (g + mu
 * u) with Nesterov. */
static void sgd_range(void *param, const void *grad, void *momentum, int64_t n, const sgd_step *k)
{
    T *restrict p = param, *restrict u = momentum;
    const T *g = grad;
    const T lr = (T)k->lr, mu = (T)k->momentum, keep = (T)(k->first ? 1 : 1 - k->dampening);
    const T carry = (T)(k->first ? 0 : k->momentum), decay = (T)k->weight_decay, sign = (T)k->sign;
    for (int64_t i = 0; i < n; i++) {
        T d = sign * g[i] + decay * p[i];
        if (u != NULL) {
            T next = carry * u[i] + keep * d;
            u[i] = next;
            d = k->nesterov ? d + mu * next : next;
        }
        p[i] -= lr * d;
    }
}

static double power_sum(const void *data, int64_t n, double power, double scale)
{
    const T *x = data;
    double s = 0;
    if (power == 2) {
#pragma omp simd reduction(+ : s)
        for (int64_t i = 0; i < n; i++) s += ((double)x[i] * scale) * ((double)x[i] * scale);
    } else if (isinf(power)) {
        for (int64_t i = 0; i < n; i++)
            s = fabs((double)x[i]) > s || isnan(x[i]) ? fabs((double)x[i]) : s;
    } else {
        for (int64_t i = 0; i < n; i++) s += pow(fabs((double)x[i] * scale), power);
    }
    return s;
}

static void scale_range(void *data, int64_t n, double factor)
{
    T *x = data;
    for (int64_t i = 0; i < n; i++) x[i] *= (T)factor;
}
