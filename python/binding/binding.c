/* binding: the module tinytape._binding, a fast path from Python to the core. The parts of Context
 * and Tensor that every step uses dozens of times are C types: they hold and release a handle, run
 * an operation, and look up shape and grad.
 *
 * Only the common case is here. All else (arguments of another kind, another thread, handles that
 * wait to be released, anomaly detection, hooks) is left to the Python function of the same
 * purpose, which also raises the errors: `set_up` is given these functions. */
#include "binding.h"

#include <stddef.h>
#include <structmember.h>

enum { MOST_INPUTS = 8, MOST_INTS = 12, MOST_REALS = 4, MOST_OUTPUTS = 3 };

/* ---- what Python gives ---- */

PyObject *tensor_class; /* owned, as are these; NULL before set_up */
static PyObject *dtypes, *apply_slowly, *raise_last;

static PyObject *take(PyObject **place, PyObject *value)
{
    PyObject *old = *place;
    Py_INCREF(value);
    *place = value;
    Py_XDECREF(old);
    return value;
}

PyObject *raise_core_error(void)
{
    PyObject *nothing = PyObject_CallObject(raise_last, NULL);
    Py_XDECREF(nothing);
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_SystemError, "the core gave no reason");
    return NULL;
}

PyObject *dtype_at(int code) { return PyTuple_GetItem(dtypes, code); }

/* ---- ContextBase ---- */

PyTypeObject *context_type;
static PyTypeObject *tensor_type;

/* A new context of the core, for the calling thread; returns its address. */
static PyObject *context_open(PyObject *object, PyObject *unused)
{
    Context *self = (Context *)object;
    (void)unused;
    if (self->core != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "Context: it is open already");
        return NULL;
    }
    self->core = tt_ctx_new();
    if (self->core == NULL) return raise_core_error();
    self->thread = PyThread_get_thread_ident();
    return PyLong_FromVoidPtr(self->core);
}

/* Whether the calling thread may call the core without a look at what waits for it. */
static int common_case(const Context *context)
{
    return context != NULL && context->core != NULL && !context->orphaned && !context->watched &&
           context->thread == PyThread_get_thread_ident();
}

/* Leaves it to Python to refuse another thread, and to release what waits for that. */
int enter(Context *context)
{
    if (common_case(context)) return 0;
    if (context == NULL) {
        PyErr_SetString(PyExc_AttributeError, "this tensor is gone");
        return -1;
    }
    PyObject *done = PyObject_CallMethod((PyObject *)context, "enter", NULL);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

static void context_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

/* A Tensor that takes over one hold on a handle. */
static PyObject *context_wrap(PyObject *object, PyObject *handle)
{
    const long long h = PyLong_AsLongLong(handle);
    if (PyErr_Occurred()) return NULL;
    if (((Context *)object)->core != NULL) return wrap_handle((Context *)object, (tt_handle)h);
    PyErr_SetString(PyExc_RuntimeError, "Context: it is not open");
    return NULL;
}

static PyMethodDef context_methods[] = {
    {"_open", context_open, METH_NOARGS, NULL},
    {"_wrap", context_wrap, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};
static PyMemberDef context_members[] = {
    {"_orphaned", T_BOOL, offsetof(Context, orphaned), 0, NULL},
    {"_watched", T_BOOL, offsetof(Context, watched), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyGetSetDef context_properties[] = {
    {"grad_enabled", context_grad_enabled, NULL, "Whether operations are recorded.", NULL},
    {"anomaly", context_anomaly, NULL, "Anomaly detection: is it on, does it look at values.",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot context_slots[] = {
    {Py_tp_dealloc, context_dealloc},
    {Py_tp_methods, context_methods},
    {Py_tp_members, context_members},
    {Py_tp_getset, context_properties},
    {0, NULL},
};
static PyType_Spec context_spec = {"tinytape._binding.ContextBase", sizeof(Context), 0,
                                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, context_slots};

/* ---- TensorBase ---- */

static PyObject *set_up(PyObject *module, PyObject *args)
{
    PyObject *tensor, *types, *slowly, *raises;
    (void)module;
    if (!PyArg_ParseTuple(args, "OO!OO", &tensor, &PyTuple_Type, &types, &slowly, &raises))
        return NULL;
    if (!PyType_Check(tensor) || !PyType_IsSubtype((PyTypeObject *)tensor, tensor_type)) {
        PyErr_SetString(PyExc_TypeError, "set_up: expected a subclass of TensorBase");
        return NULL;
    }
    take(&tensor_class, tensor);
    take(&dtypes, types);
    take(&apply_slowly, slowly);
    take(&raise_last, raises);
    Py_RETURN_NONE;
}

int is_tensor(PyObject *object)
{
    return (PyObject *)Py_TYPE(object) == tensor_class || PyObject_TypeCheck(object, tensor_type);
}

/* Takes over one hold on a handle. */
static PyObject *wrap(PyTypeObject *type, Context *context, tt_handle handle)
{
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Tensor *self = (Tensor *)allocate(type, 0);
    if (self == NULL) {
        tt_release(context->core, handle);
        return NULL;
    }
    Py_INCREF(context);
    self->context = context;
    self->handle = handle;
    return (PyObject *)self;
}

PyObject *wrap_handle(Context *context, tt_handle handle)
{
    return wrap((PyTypeObject *)tensor_class, context, handle);
}

static PyObject *tensor_wrap(PyObject *type, PyObject *args)
{
    PyObject *context;
    long long handle;
    if (!PyArg_ParseTuple(args, "O!L", context_type, &context, &handle)) return NULL;
    if (((Context *)context)->core == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "Context: it is not open");
        return NULL;
    }
    return wrap((PyTypeObject *)type, (Context *)context, (tt_handle)handle);
}

/* One hold goes. Only the thread that owns a context may release: another leaves the handle to
 * it. */
static void let_go(Tensor *self)
{
    Context *context = self->context;
    tt_handle handle = self->handle;
    self->handle = 0;
    if (context == NULL || handle == 0 || tt_release(context->core, handle) == TT_OK) return;
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyObject *done = PyObject_CallMethod((PyObject *)context, "leave", "L", (long long)handle);
    if (done == NULL) PyErr_Clear();
    Py_XDECREF(done);
    PyErr_Restore(type, value, trace);
}

static int tensor_clear(PyObject *object)
{
    Tensor *self = (Tensor *)object;
    PyObject *held[] = {(PyObject *)self->context, self->grad, self->hooks, self->waiting};
    let_go(self);
    self->context = NULL;
    self->grad = self->hooks = self->waiting = NULL;
    for (int i = 0; i < 4; i++) Py_XDECREF(held[i]);
    return 0;
}

static int tensor_traverse(PyObject *object, visitproc visit, void *arg)
{
    Tensor *self = (Tensor *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->context);
    Py_VISIT(self->grad);
    Py_VISIT(self->hooks);
    Py_VISIT(self->waiting);
    return 0;
}

static void tensor_dealloc(PyObject *object)
{
    Tensor *self = (Tensor *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    tensor_clear(object);
    Py_XDECREF(self->shape);
    Py_XDECREF(self->dtype);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

/* Asks the core once: shape and type of a tensor do not change. */
static int learn(Tensor *self)
{
    int64_t info[MOST_INFO];
    if (self->shape != NULL && self->dtype != NULL) return 0;
    if (tensor_make(self) != 0 || enter(self->context) != 0) return -1;
    if (tt_info(self->context->core, self->handle, info) != TT_OK) {
        raise_core_error();
        return -1;
    }
    PyObject *shape = shape_of(info), *dtype = dtype_at((int)info[0]);
    if (shape == NULL || dtype == NULL) {
        Py_XDECREF(shape);
        return -1;
    }
    take(&self->shape, shape);
    take(&self->dtype, dtype);
    Py_DECREF(shape);
    return 0;
}

static PyObject *tensor_context(PyObject *object, void *closure)
{
    Tensor *self = (Tensor *)object;
    (void)closure;
    if (tensor_make(self) != 0) return NULL;
    Py_INCREF(self->context);
    return (PyObject *)self->context;
}

static PyObject *tensor_handle(PyObject *object, void *closure)
{
    Tensor *self = (Tensor *)object;
    (void)closure;
    if (tensor_make(self) != 0) return NULL;
    return PyLong_FromLongLong((long long)self->handle);
}

static PyObject *tensor_shape(PyObject *object, void *closure)
{
    (void)closure;
    if (learn((Tensor *)object) != 0) return NULL;
    Py_INCREF(((Tensor *)object)->shape);
    return ((Tensor *)object)->shape;
}

static PyObject *tensor_dtype(PyObject *object, void *closure)
{
    (void)closure;
    if (learn((Tensor *)object) != 0) return NULL;
    Py_INCREF(((Tensor *)object)->dtype);
    return ((Tensor *)object)->dtype;
}

static PyObject *tensor_ndim(PyObject *object, void *closure)
{
    (void)closure;
    if (learn((Tensor *)object) != 0) return NULL;
    return PyLong_FromSsize_t(PyTuple_Size(((Tensor *)object)->shape));
}

static PyObject *tensor_grad(PyObject *object, void *closure)
{
    Tensor *self = (Tensor *)object;
    tt_handle handle = 0;
    (void)closure;
    if (self->hooks != NULL) { /* a result may have kept its own */
        PyObject *retained = PyObject_CallMethod(object, "_retained_grad", NULL);
        if (retained == NULL || retained != Py_NotImplemented) return retained;
        Py_DECREF(retained);
    }
    if (tensor_make(self) != 0 || enter(self->context) != 0) return NULL;
    if (tt_get_grad(self->context->core, self->handle, &handle) != TT_OK) return raise_core_error();
    if (handle == 0) {
        Py_CLEAR(self->grad);
        Py_RETURN_NONE;
    }
    Tensor *seen = (Tensor *)self->grad;
    if (seen != NULL && seen->handle == handle) { /* it holds it already */
        tt_release(self->context->core, handle);
    } else {
        /* Making one object and letting go of another may run the caller's code, which may come
         * back here: what is returned is held first, and the old one is looked up after. */
        PyObject *grad = wrap_handle(self->context, handle), *old;
        if (grad == NULL) return NULL;
        Py_INCREF(grad);
        old = self->grad;
        self->grad = grad;
        Py_XDECREF(old);
        return grad;
    }
    Py_INCREF(self->grad);
    return self->grad;
}

static int tensor_set_grad(PyObject *object, PyObject *value, void *closure)
{
    Tensor *self = (Tensor *)object;
    (void)closure;
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "grad: set it to None");
        return -1;
    }
    if (value != Py_None && !is_tensor(value)) {
        PyErr_Format(PyExc_TypeError, "grad: expected a Tensor or None, got %R", Py_TYPE(value));
        return -1;
    }
    if (tensor_make(self) != 0 || enter(self->context) != 0) return -1;
    if (self->hooks != NULL && value == Py_None) {
        PyObject *done = PyObject_CallMethod(object, "_forget_retained_grad", NULL);
        if (done == NULL) return -1;
        const int was_retained = done == Py_True;
        Py_DECREF(done);
        if (was_retained) return 0;
    }
    Tensor *grad = value != Py_None ? (Tensor *)value : NULL;
    if (grad != NULL && tensor_make(grad) != 0) return -1;
    if (grad != NULL && grad->context != self->context) {
        PyObject *bad = PyObject_CallMethod((PyObject *)self->context, "handles", "[O]", value);
        Py_XDECREF(bad); /* which raises */
        return -1;
    }
    if (tt_set_grad(self->context->core, self->handle, grad != NULL ? grad->handle : 0) != TT_OK) {
        raise_core_error();
        return -1;
    }
    PyObject *old = self->grad;
    self->grad = (PyObject *)grad;
    Py_XINCREF(self->grad);
    Py_XDECREF(old);
    return 0;
}

/* The values and gradients of two tensors of one context change hands. */
static PyObject *tensor_exchange(PyObject *object, PyObject *given)
{
    Tensor *self = (Tensor *)object, *other = (Tensor *)given;
    if (!PyObject_TypeCheck(given, tensor_type) || self->context == NULL ||
        self->context != other->context) {
        PyErr_SetString(PyExc_TypeError, "_exchange: expected a Tensor of the same context");
        return NULL;
    }
    const Tensor mine = *self;
    self->handle = other->handle, other->handle = mine.handle;
    self->shape = other->shape, other->shape = mine.shape;
    self->dtype = other->dtype, other->dtype = mine.dtype;
    self->grad = other->grad, other->grad = mine.grad;
    Py_RETURN_NONE;
}

static PyObject *tensor_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)type, (void)args, (void)kwargs;
    PyErr_SetString(PyExc_TypeError,
                    "use tinytape.tensor(data), zeros, ones, randn, ... to make a tensor");
    return NULL;
}

static PyMethodDef tensor_methods[] = {
    {"_wrap", tensor_wrap, METH_VARARGS | METH_CLASS, NULL},
    {"_exchange", tensor_exchange, METH_O, NULL},
    {"_promise", tensor_promise, METH_O | METH_CLASS, NULL},
    {"_become", tensor_become, METH_O, NULL},
    {"_look", tensor_look, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyMemberDef tensor_members[] = {
    {"_hooks", T_OBJECT_EX, offsetof(Tensor, hooks), 0, NULL},
    {"_waiting", T_OBJECT, offsetof(Tensor, waiting), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyGetSetDef tensor_properties[] = {
    {"_context", tensor_context, NULL, NULL, NULL},
    {"_handle", tensor_handle, NULL, NULL, NULL},
    {"shape", tensor_shape, NULL, "The size of each axis.", NULL},
    {"dtype", tensor_dtype, NULL, "The type of the elements.", NULL},
    {"ndim", tensor_ndim, NULL, "The number of axes.", NULL},
    {"grad", tensor_grad, tensor_set_grad,
     "The gradient that ``backward()`` left here, of this tensor's shape, or None.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot tensor_slots[] = {
    {Py_tp_new, tensor_new},           {Py_tp_dealloc, tensor_dealloc},
    {Py_tp_traverse, tensor_traverse}, {Py_tp_clear, tensor_clear},
    {Py_tp_methods, tensor_methods},   {Py_tp_members, tensor_members},
    {Py_tp_getset, tensor_properties}, {0, NULL},
};
static PyType_Spec tensor_spec = {"tinytape._binding.TensorBase", sizeof(Tensor), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
                                  tensor_slots};

/* ---- operations ---- */

/* The elements of a tuple or list, borrowed; -1 for anything else, or too many. */
static Py_ssize_t elements(PyObject *sequence, PyObject **out, Py_ssize_t most)
{
    const int tuple = PyTuple_Check(sequence);
    if (!tuple && !PyList_Check(sequence)) return -1;
    const Py_ssize_t n = tuple ? PyTuple_Size(sequence) : PyList_Size(sequence);
    if (n > most) return -1;
    for (Py_ssize_t i = 0; i < n; i++)
        out[i] = tuple ? PyTuple_GetItem(sequence, i) : PyList_GetItem(sequence, i);
    return n;
}

typedef struct {
    int op, n_in, n_ints, n_reals;
    Context *context;
    tt_handle in[MOST_INPUTS];
    int64_t ints[MOST_INTS];
    double reals[MOST_REALS];
} call;

/* Reads the arguments of a call in the common case; 0: it is another. Nothing is converted. */
static int read_call(call *c, PyObject *const *args, Py_ssize_t n_args)
{
    PyObject *in[MOST_INPUTS], *numbers[MOST_INTS];
    if (n_args < 2 || n_args > 4 || raise_last == NULL || !PyLong_Check(args[0])) return 0;
    const long op = PyLong_AsLong(args[0]);
    if (op < 0 || op >= tt_op_count()) return 0;
    c->op = (int)op;
    c->n_in = (int)elements(args[1], in, MOST_INPUTS);
    if (c->n_in < 1 || !is_tensor(in[0])) return 0;
    c->context = ((Tensor *)in[0])->context;
    if (!common_case(c->context)) return 0;
    for (int i = 0; i < c->n_in; i++) {
        if (in[i] != Py_None && (!is_tensor(in[i]) || ((Tensor *)in[i])->context != c->context))
            return 0;
        c->in[i] = in[i] != Py_None ? ((Tensor *)in[i])->handle : 0;
    }
    c->n_ints = n_args > 2 ? (int)elements(args[2], numbers, MOST_INTS) : 0;
    for (int i = 0; i < c->n_ints; i++) {
        if (!PyLong_Check(numbers[i])) return 0;
        c->ints[i] = PyLong_AsLongLong(numbers[i]);
    }
    c->n_reals = n_args > 3 ? (int)elements(args[3], numbers, MOST_REALS) : 0;
    for (int i = 0; i < c->n_reals; i++) {
        /* What converts itself could change the list meanwhile. */
        if (!PyFloat_Check(numbers[i]) && !PyLong_CheckExact(numbers[i])) return 0;
        c->reals[i] = PyFloat_AsDouble(numbers[i]);
    }
    return c->n_ints >= 0 && c->n_reals >= 0;
}

PyObject *wrap_all(Context *context, int n, const tt_handle *handles)
{
    PyObject *made = PyTuple_New(n);
    for (int k = 0; k < n; k++) {
        PyObject *tensor = made != NULL ? wrap_handle(context, handles[k]) : NULL;
        if (made == NULL) tt_release(context->core, handles[k]);
        else if (tensor == NULL) Py_CLEAR(made);
        else PyTuple_SetItem(made, k, tensor);
    }
    return made;
}

/* apply(op, inputs, ints=(), reals=()): runs an operation of the core; returns its output, or a
 * tuple of them where there are several. */
static PyObject *apply(PyObject *module, PyObject *const *args, Py_ssize_t n_args)
{
    call c;
    tt_handle out[MOST_OUTPUTS] = {0};
    tt_status status;
    (void)module;
    if (!read_call(&c, args, n_args) || PyErr_Occurred()) {
        PyErr_Clear();
        PyObject *all = PyTuple_New(n_args), *made;
        for (Py_ssize_t i = 0; all != NULL && i < n_args; i++) {
            Py_INCREF(args[i]);
            PyTuple_SetItem(all, i, args[i]);
        }
        if (all == NULL || apply_slowly == NULL) return all;
        made = PyObject_CallObject(apply_slowly, all);
        Py_DECREF(all);
        return made;
    }
    PyObject *holds = (PyObject *)c.context; /* whatever other threads do to the inputs meanwhile */
    Py_INCREF(holds);
    Py_BEGIN_ALLOW_THREADS status =
        tt_apply(c.context->core, c.op, c.n_in, c.in, c.n_ints, c.ints, c.n_reals, c.reals, out);
    Py_END_ALLOW_THREADS PyObject *made = NULL;
    if (status != TT_OK) {
        raise_core_error();
    } else {
        const int n = tt_op_outputs(c.op);
        made = n == 1 ? wrap_handle(c.context, out[0]) : wrap_all(c.context, n, out);
    }
    Py_DECREF(holds);
    return made;
}

static int is_dtype(const Tensor *tensor, int code)
{
    return tensor->dtype == PyTuple_GetItem(dtypes, code);
}

/* number(like, value): a plain number beside a tensor: in the tensor's type if that is a float,
 * else in that of its own kind. None for what is no plain number, or needs more than 64 bits. */
static PyObject *number(PyObject *module, PyObject *const *args, Py_ssize_t n_args)
{
    (void)module;
    if (n_args != 2 || dtypes == NULL || !is_tensor(args[0])) Py_RETURN_NONE;
    Tensor *like = (Tensor *)args[0];
    const int whole = PyLong_CheckExact(args[1]);
    if (!common_case(like->context) || (!whole && !PyFloat_CheckExact(args[1]))) Py_RETURN_NONE;
    if (learn(like) != 0) return NULL;
    const int wide = is_dtype(like, TT_FLOAT64);
    float single;
    double real = 0;
    long long integer = 0;
    const void *value;
    int code;
    if (whole && !wide && !is_dtype(like, TT_FLOAT32)) {
        integer = PyLong_AsLongLong(args[1]);
        value = &integer, code = TT_INT64;
    } else {
        real = PyFloat_AsDouble(args[1]);
        single = (float)real;
        value = wide ? (void *)&real : (void *)&single, code = wide ? TT_FLOAT64 : TT_FLOAT32;
    }
    if (PyErr_Occurred()) { /* it does not fit */
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    tt_handle handle = 0;
    if (tt_number(like->context->core, code, value, &handle) != TT_OK) return raise_core_error();
    return wrap_handle(like->context, handle);
}

static PyMethodDef methods[] = {
    {"set_up", set_up, METH_VARARGS, NULL},
    {"apply", (PyCFunction)(void (*)(void))apply, METH_FASTCALL, NULL},
    {"number", (PyCFunction)(void (*)(void))number, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_binding", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__binding(void);
PyMODINIT_FUNC PyInit__binding(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module == NULL) return NULL;
    context_type = (PyTypeObject *)PyType_FromSpec(&context_spec);
    tensor_type = (PyTypeObject *)PyType_FromSpec(&tensor_spec);
    if (context_type == NULL || tensor_type == NULL) return NULL;
    Py_INCREF(context_type);
    Py_INCREF(tensor_type);
    if (PyModule_AddObject(module, "ContextBase", (PyObject *)context_type) != 0 ||
        PyModule_AddObject(module, "TensorBase", (PyObject *)tensor_type) != 0 ||
        add_switch(module) != 0 || add_passes(module) != 0)
        return NULL;
    return module;
}
