/* pickling: tensors that go from thread to thread. Any thread may read one for a pickle; what comes
 * out of a pickle is made by the thread that first uses it. */
#include "binding.h"

/* _promise(values): a tensor that is made from values when it is first used, by the thread that
 * does: an unpickled one, which comes out of a thread that only hands it on. */
PyObject *tensor_promise(PyObject *type, PyObject *values)
{
    allocfunc allocate = (allocfunc)PyType_GetSlot((PyTypeObject *)type, Py_tp_alloc);
    Tensor *self = (Tensor *)allocate((PyTypeObject *)type, 0);
    if (self == NULL) return NULL;
    Py_INCREF(values);
    self->waiting = values;
    return (PyObject *)self;
}

/* Has the calling thread make the tensor if that is still to be done. `_keep_promise` calls
 * back. */
int tensor_make(Tensor *self)
{
    if (self->context != NULL) return 0;
    if (self->waiting == NULL) {
        PyErr_SetString(PyExc_AttributeError, "this tensor is gone");
        return -1;
    }
    PyObject *done = PyObject_CallMethod((PyObject *)self, "_keep_promise", "(O)", self->waiting);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

/* _become(other): takes over what a new tensor of the same class holds. Where another thread was
 * quicker it stays that thread's. */
PyObject *tensor_become(PyObject *object, PyObject *given)
{
    Tensor *self = (Tensor *)object, *made = (Tensor *)given;
    if (Py_TYPE(object) != Py_TYPE(given) || made->context == NULL) {
        PyErr_SetString(PyExc_TypeError, "_become: expected a Tensor of the same class");
        return NULL;
    }
    if (self->context != NULL) Py_RETURN_NONE;
    PyObject *values = self->waiting;
    self->context = made->context, made->context = NULL;
    self->handle = made->handle, made->handle = 0;
    self->waiting = NULL;
    Py_XDECREF(values);
    Py_RETURN_NONE;
}

PyObject *shape_of(const int64_t *info)
{
    PyObject *shape = PyTuple_New((Py_ssize_t)info[1]);
    for (int i = 0; shape != NULL && i < info[1]; i++) {
        PyObject *size = PyLong_FromLongLong(info[6 + i]);
        if (size == NULL || PyTuple_SetItem(shape, i, size) != 0) Py_CLEAR(shape);
    }
    return shape;
}

/* _look(): (dtype, shape, requires_grad, is_leaf, values as bytes), from any thread. Python's lock
 * is kept, so that nobody can let go of the handle meanwhile. */
PyObject *tensor_look(PyObject *object, PyObject *unused)
{
    Tensor *self = (Tensor *)object;
    int64_t info[MOST_INFO] = {0};
    (void)unused;
    if (tensor_make(self) != 0) return NULL;
    tt_ctx *core = self->context->core;
    if (tt_info(core, self->handle, info) != TT_OK) return raise_core_error();
    PyObject *dtype = dtype_at((int)info[0]);
    PyObject *itemsize = dtype != NULL ? PyObject_GetAttrString(dtype, "itemsize") : NULL;
    if (itemsize == NULL) return NULL;
    const int64_t nbytes = info[5] * PyLong_AsLongLong(itemsize);
    Py_DECREF(itemsize);
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)nbytes);
    if (bytes == NULL) return NULL;
    if (tt_read(core, self->handle, PyBytes_AsString(bytes), nbytes) != TT_OK) {
        Py_DECREF(bytes);
        return raise_core_error();
    }
    PyObject *shape = shape_of(info);
    if (shape == NULL) {
        Py_DECREF(bytes);
        return NULL;
    }
    return Py_BuildValue("(ONNNN)", dtype, shape, PyBool_FromLong((long)info[2]),
                         PyBool_FromLong((long)info[3] || !info[2]), bytes);
}
