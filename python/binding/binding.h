/* binding: what the C files of the Python binding share. */
#ifndef TT_BINDING_H
#define TT_BINDING_H

#include <Python.h>

#include "tinytape.h"

enum { MOST_INFO = 22 }; /* numbers that tt_info gives */

typedef struct {
    PyObject_HEAD tt_ctx *core;
    unsigned long thread;
    char orphaned; /* handles wait in `orphans` for this thread to release them */
    char watched;  /* each operation is to be told where it comes from */
} Context;

typedef struct {
    PyObject_HEAD Context *context;
    tt_handle handle;
    PyObject *shape, *dtype; /* NULL until somebody asks */
    PyObject *grad;          /* the object that stands for the gradient seen last; may be NULL */
    PyObject *hooks;         /* NULL until the first one is registered */
    PyObject *waiting;       /* what it is made from, by the thread that first uses it; until then
                              * there is no context and no handle. NULL: it is made */
} Tensor;

/* Raises what the core recorded; NULL. */
PyObject *raise_core_error(void);
PyObject *dtype_at(int code); /* borrowed; NULL: an error */

/* passing.c: tensors that are passed on between threads. */
int tensor_make(Tensor *self); /* if that is still to be done; -1: an error */
PyObject *shape_of(const int64_t *info);
PyObject *tensor_promise(PyObject *type, PyObject *values);
PyObject *tensor_become(PyObject *object, PyObject *made);
PyObject *tensor_look(PyObject *object, PyObject *unused);

#endif
