/* passes: a backward pass, with its hooks and Functions.
 *
 * Python may raise KeyboardInterrupt between any two calls of its own code. Steps that must happen
 * together are therefore one call here: a pass that waits for Python is resumed or given up; a
 * Function that the core knows becomes known to Python; a handle from the core gets its Tensor. */
#include "binding.h"

#include <string.h>

/* The handles of a list of tensors as bytes, 0 for None. NULL, without an exception, when one of
 * them is not a tensor of this context. */
static PyObject *handles_of(PyObject *context, PyObject *list)
{
    const Py_ssize_t n = PyList_Size(list);
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, n * (Py_ssize_t)sizeof(tt_handle));
    char *to = bytes != NULL ? PyBytes_AsString(bytes) : NULL;
    for (Py_ssize_t i = 0; i < n && bytes != NULL; i++) {
        PyObject *tensor = PyList_GetItem(list, i);
        const int given = tensor != Py_None;
        if (given && is_tensor(tensor) && tensor_make((Tensor *)tensor) != 0) {
            Py_CLEAR(bytes);
            break;
        }
        if (given && (!is_tensor(tensor) || (PyObject *)((Tensor *)tensor)->context != context)) {
            Py_CLEAR(bytes);
            break;
        }
        const tt_handle handle = given ? ((Tensor *)tensor)->handle : 0;
        memcpy(to + i * (Py_ssize_t)sizeof handle, &handle, sizeof handle);
    }
    return bytes;
}

/* handles(context, tensors): likewise, None when one is not of this context. */
static PyObject *handles(PyObject *module, PyObject *const *args, Py_ssize_t n_args)
{
    (void)module;
    if (n_args != 2 || !PyList_Check(args[1])) Py_RETURN_NONE;
    PyObject *bytes = handles_of(args[0], args[1]);
    if (bytes != NULL || PyErr_Occurred()) return bytes;
    Py_RETURN_NONE;
}

/* The handles of a list; NULL and an exception when one of them belongs to another context. */
static PyObject *checked_handles(PyObject *context, PyObject *list)
{
    PyObject *bytes = handles_of(context, list);
    if (bytes != NULL || PyErr_Occurred()) return bytes;
    bytes = PyObject_CallMethod(context, "handles", "O", list); /* which raises */
    Py_XDECREF(bytes);
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "expected tensors of one context");
    return NULL;
}

static const tt_handle *handles_in(PyObject *bytes)
{
    return (const tt_handle *)(const void *)PyBytes_AsString(bytes);
}

/* ---- a pass ---- */

typedef struct {
    PyObject *context;
    PyObject *outputs, *gradients, *inputs; /* lists of tensors */
    int retain_graph, create_graph;
    PyObject *answer; /* answer(context): the name and the gradients that the pass waits for */
} request;

static tt_status begin(const request *r, tt_handle *results)
{
    tt_ctx *core = ((Context *)r->context)->core;
    tt_status status = TT_ERR_INTERNAL;
    PyObject *outputs = checked_handles(r->context, r->outputs);
    PyObject *gradients = outputs != NULL ? checked_handles(r->context, r->gradients) : NULL;
    PyObject *inputs = gradients != NULL ? checked_handles(r->context, r->inputs) : NULL;
    if (inputs != NULL) {
        const int n_outputs = (int)PyList_Size(r->outputs), n_inputs = (int)PyList_Size(r->inputs);
        const tt_handle *roots = handles_in(outputs), *seeds = handles_in(gradients);
        const tt_handle *wanted = handles_in(inputs);
        Py_BEGIN_ALLOW_THREADS status = tt_backward(core, n_outputs, roots, seeds, n_inputs, wanted,
                                                    r->retain_graph, r->create_graph, results);
        Py_END_ALLOW_THREADS if (status != TT_OK && status != TT_PAUSED) raise_core_error();
    }
    Py_XDECREF(outputs);
    Py_XDECREF(gradients);
    Py_XDECREF(inputs);
    return status;
}

/* Lets Python answer for what the pass waits for; a pass that gets no answer is given up. */
static tt_status go_on(const request *r, tt_handle *results)
{
    tt_ctx *core = ((Context *)r->context)->core;
    const char *name = NULL;
    PyObject *list = NULL, *handles = NULL;
    PyObject *answer = PyObject_CallFunctionObjArgs(r->answer, r->context, NULL);
    if (answer != NULL && PyArg_ParseTuple(answer, "sO!", &name, &PyList_Type, &list))
        handles = checked_handles(r->context, list);
    tt_status status = TT_ERR_INTERNAL;
    if (handles != NULL) {
        const int n = (int)PyList_Size(list);
        const tt_handle *gradients = handles_in(handles);
        Py_BEGIN_ALLOW_THREADS status = tt_backward_resume(core, name, n, gradients, results);
        Py_END_ALLOW_THREADS if (status != TT_OK && status != TT_PAUSED) raise_core_error();
    } else {
        tt_backward_abort(core);
    }
    Py_XDECREF(handles);
    Py_XDECREF(answer);
    return status;
}

static PyObject *listed(Context *context, int n, const tt_handle *handles)
{
    PyObject *list = PyList_New(n);
    for (int i = 0; i < n; i++) {
        PyObject *tensor = NULL;
        if (list == NULL) tt_release(context->core, handles[i]);
        else if (handles[i] != 0) tensor = wrap_handle(context, handles[i]);
        else tensor = Py_NewRef(Py_None);
        if (tensor == NULL) Py_CLEAR(list);
        else PyList_SetItem(list, i, tensor);
    }
    return list;
}

/* backward(context, outputs, gradients, inputs, retain_graph, create_graph, answer): one backward
 * pass; returns the gradients of the inputs as a list of tensors, None where there is none. */
static PyObject *backward(PyObject *module, PyObject *args)
{
    request r;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!O!O!O!ppO", context_type, &r.context, &PyList_Type, &r.outputs,
                          &PyList_Type, &r.gradients, &PyList_Type, &r.inputs, &r.retain_graph,
                          &r.create_graph, &r.answer))
        return NULL;
    if (PyList_Size(r.gradients) != PyList_Size(r.outputs)) {
        PyErr_SetString(PyExc_ValueError, "backward: expected one gradient for each output");
        return NULL;
    }
    if (enter((Context *)r.context) != 0) return NULL;
    const int n = (int)PyList_Size(r.inputs);
    tt_handle *results = PyMem_Calloc((size_t)n + 1, sizeof *results);
    if (results == NULL) return PyErr_NoMemory();
    tt_status status = begin(&r, results);
    while (status == TT_PAUSED) status = go_on(&r, results);
    PyObject *list = status == TT_OK ? listed((Context *)r.context, n, results) : NULL;
    PyMem_Free(results);
    return list;
}

/* ---- what a hook or Function asks while the pass waits ---- */

static PyObject *paused(PyObject *args, tt_status (*ask)(tt_ctx *core, int which, tt_handle *out))
{
    PyObject *context;
    int which;
    tt_handle handle = 0;
    if (!PyArg_ParseTuple(args, "O!i", context_type, &context, &which)) return NULL;
    if (enter((Context *)context) != 0) return NULL;
    if (ask(((Context *)context)->core, which, &handle) != TT_OK) return raise_core_error();
    return handle != 0 ? wrap_handle((Context *)context, handle) : Py_NewRef(Py_None);
}

/* paused_gradient(context, k): of output k, or None. */
static PyObject *paused_gradient(PyObject *module, PyObject *args)
{
    (void)module;
    return paused(args, tt_paused_gradient);
}

/* paused_tensor(context, i): what a Function's node keeps; ~k: its output k. */
static PyObject *paused_tensor(PyObject *module, PyObject *args)
{
    (void)module;
    return paused(args, tt_paused_tensor);
}

/* ---- what the core knows by a number ---- */

/* record(context, attached, number, function, name, inputs, kept, values, saved): has the core
 * record a Function and notes it in `attached`; returns its outputs as a tuple. */
static PyObject *record(PyObject *module, PyObject *args)
{
    PyObject *context, *attached, *number, *function, *inputs, *kept, *values;
    const char *name;
    unsigned long long saved;
    tt_handle out[64] = {0};
    (void)module;
    if (!PyArg_ParseTuple(args, "O!O!O!OsO!O!O!K", context_type, &context, &PyDict_Type, &attached,
                          &PyLong_Type, &number, &function, &name, &PyList_Type, &inputs,
                          &PyList_Type, &kept, &PyList_Type, &values, &saved))
        return NULL;
    if (enter((Context *)context) != 0) return NULL;
    PyObject *made = NULL, *in = checked_handles(context, inputs);
    PyObject *more = in != NULL ? checked_handles(context, kept) : NULL;
    PyObject *results = more != NULL ? checked_handles(context, values) : NULL;
    if (results != NULL && PyDict_SetItem(attached, number, function) == 0) {
        const int n = (int)PyList_Size(values);
        if (tt_function(((Context *)context)->core, name, PyLong_AsLongLong(number),
                        (int)PyList_Size(inputs), handles_in(in), (int)PyList_Size(kept),
                        handles_in(more), n, handles_in(results), saved, out) == TT_OK) {
            made = wrap_all((Context *)context, n, out);
        } else {
            PyDict_DelItem(attached, number);
            raise_core_error();
        }
    }
    Py_XDECREF(in);
    Py_XDECREF(more);
    Py_XDECREF(results);
    return made;
}

/* hold(tensor): another Tensor object for the same tensor of the core. */
static PyObject *hold(PyObject *module, PyObject *object)
{
    tt_handle handle = 0;
    (void)module;
    if (!is_tensor(object)) {
        PyErr_SetString(PyExc_TypeError, "hold: expected a Tensor");
        return NULL;
    }
    if (tensor_make((Tensor *)object) != 0) return NULL;
    Context *context = ((Tensor *)object)->context;
    if (enter(context) != 0) return NULL;
    if (tt_hold(context->core, ((Tensor *)object)->handle, &handle) != TT_OK)
        return raise_core_error();
    return wrap_handle(context, handle);
}

/* release_orphans(context): the handles that other threads left to this one. */
static PyObject *release_orphans(PyObject *module, PyObject *object)
{
    (void)module;
    if (!PyObject_TypeCheck(object, context_type)) {
        PyErr_SetString(PyExc_TypeError, "release_orphans: expected a Context");
        return NULL;
    }
    Context *context = (Context *)object;
    context->orphaned = 0; /* first: another thread may leave more at any time */
    PyObject *orphans = PyObject_GetAttrString(object, "orphans");
    while (orphans != NULL && PyObject_Size(orphans) > 0) {
        PyObject *number = PyObject_CallMethod(orphans, "popleft", NULL);
        if (number != NULL) tt_release(context->core, PyLong_AsLongLong(number));
        Py_XDECREF(number);
        if (number == NULL) break;
    }
    Py_XDECREF(orphans);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

/* forget_ended(context, attached): takes out what no pass can meet any more. */
static PyObject *forget_ended(PyObject *module, PyObject *args)
{
    PyObject *context, *attached;
    int64_t id;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!O!", context_type, &context, &PyDict_Type, &attached))
        return NULL;
    while ((id = tt_ended(((Context *)context)->core)) != 0) {
        PyObject *number = PyLong_FromLongLong(id);
        if (number == NULL) return NULL;
        if (PyDict_GetItemWithError(attached, number) != NULL) PyDict_DelItem(attached, number);
        Py_DECREF(number);
        if (PyErr_Occurred()) return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"handles", (PyCFunction)(void (*)(void))handles, METH_FASTCALL, NULL},
    {"backward", backward, METH_VARARGS, NULL},
    {"paused_gradient", paused_gradient, METH_VARARGS, NULL},
    {"paused_tensor", paused_tensor, METH_VARARGS, NULL},
    {"record", record, METH_VARARGS, NULL},
    {"hold", hold, METH_O, NULL},
    {"release_orphans", release_orphans, METH_O, NULL},
    {"forget_ended", forget_ended, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

int add_passes(PyObject *module) { return PyModule_AddFunctions(module, functions); }
