/* binding: the C types of Context and Tensor, and what the files of the binding share. */
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

/* binding.c */
extern PyTypeObject *context_type;
extern PyObject *tensor_class; /* of Python; NULL before set_up */
int is_tensor(PyObject *object);
PyObject *raise_core_error(void);                     /* the core's last one; returns NULL */
PyObject *dtype_at(int code);                         /* borrowed; NULL: an error */
int enter(Context *context);                          /* -1: refused, an exception is set */
PyObject *wrap_handle(Context *context, tt_handle h); /* takes over one hold on it */
PyObject *wrap_all(Context *context, int n, const tt_handle *handles);

/* pickling.c */
int tensor_make(Tensor *self); /* if that is still to be done; -1: an error */
PyObject *shape_of(const int64_t *info);
PyObject *tensor_promise(PyObject *type, PyObject *values);
PyObject *tensor_become(PyObject *object, PyObject *made);
PyObject *tensor_look(PyObject *object, PyObject *unused);

/* switches.c */
PyObject *context_grad_enabled(PyObject *object, void *closure);
PyObject *context_anomaly(PyObject *object, void *closure);

/* What the other files add to the module; -1: failed. */
int add_switch(PyObject *module);
int add_passes(PyObject *module);

#endif
