/* switches: with-blocks that change how the operations of a thread are recorded.
 *
 * Python may raise KeyboardInterrupt between any two calls of its own code, also inside a method
 * that was about to put a setting back. Here one call changes a setting and notes its old
 * value, and one call leaves a block, so that nothing comes between. */
#include "binding.h"

#include <stddef.h>
#include <structmember.h>

enum { GRAD_MODE = 0, ANOMALY = 1 };

static PyObject *current; /* current(): the Context of the calling thread */

typedef struct {
    PyObject_HEAD int which, mode;
    char switched;    /* when it was made: the first block has been entered already */
    PyObject *before; /* a list of (context, mode): the blocks that are open; NULL: none ever was */
} Switch;

static int set(Context *context, int which, int mode, int *before)
{
    const tt_status status = which == GRAD_MODE ? tt_set_grad_enabled(context->core, mode, before)
                                                : tt_set_anomaly(context->core, mode, before);
    if (status != TT_OK) {
        raise_core_error();
        return -1;
    }
    if (which == ANOMALY) context->watched = mode != TT_ANOMALY_OFF;
    return 0;
}

static Context *own_context(void)
{
    PyObject *context = current != NULL ? PyObject_CallObject(current, NULL) : NULL;
    if (context == NULL || PyObject_TypeCheck(context, context_type)) return (Context *)context;
    Py_DECREF(context);
    PyErr_SetString(PyExc_TypeError, "current() gave no Context");
    return NULL;
}

/* Changes the mode and notes what it was. */
static int begin(Switch *self)
{
    int before = 0;
    if (self->before == NULL) self->before = PyList_New(0);
    Context *context = self->before != NULL ? own_context() : NULL;
    if (context == NULL) return -1;
    int done = set(context, self->which, self->mode, &before);
    if (done == 0) {
        PyObject *note = Py_BuildValue("(Oi)", context, before);
        if (note == NULL || PyList_Append(self->before, note) != 0)
            (void)set(context, self->which, before, NULL), done = -1;
        Py_XDECREF(note);
    }
    Py_DECREF(context);
    return done;
}

static PyObject *switch_enter(PyObject *object, PyObject *unused)
{
    Switch *self = (Switch *)object;
    (void)unused;
    if (!self->switched) return begin(self) == 0 ? Py_NewRef(Py_None) : NULL;
    Context *context = own_context();
    const int done = context != NULL ? set(context, self->which, self->mode, NULL) : -1;
    Py_XDECREF((PyObject *)context);
    if (done != 0) return NULL;
    self->switched = 0;
    Py_RETURN_NONE;
}

/* Puts back what was before the block that was entered last. */
static int end(Switch *self)
{
    const Py_ssize_t depth = self->before != NULL ? PyList_Size(self->before) : 0;
    if (depth == 0) {
        PyErr_SetString(PyExc_RuntimeError, "this block was not entered");
        return -1;
    }
    PyObject *note = PyList_GetItem(self->before, depth - 1);
    Py_INCREF(note);
    Context *context = (Context *)PyTuple_GetItem(note, 0);
    const int mode = (int)PyLong_AsLong(PyTuple_GetItem(note, 1));
    Context *elsewhere = NULL; /* a generator may go on in another thread: it is that one's block */
    if (context->thread != PyThread_get_thread_ident()) context = elsewhere = own_context();
    int done = context != NULL ? set(context, self->which, mode, NULL) : -1;
    if (PyList_SetSlice(self->before, depth - 1, depth, NULL) != 0) done = -1;
    self->switched = 0;
    Py_XDECREF((PyObject *)elsewhere);
    Py_DECREF(note);
    return done;
}

static PyObject *switch_exit(PyObject *object, PyObject *unused)
{
    (void)unused;
    return end((Switch *)object) == 0 ? Py_NewRef(Py_None) : NULL;
}

/* Switch(mode, check_nan=True). Of the class: which setting it is for, and whether it is switched
 * now. */
static int switch_init(PyObject *object, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"mode", "check_nan", NULL};
    Switch *self = (Switch *)object;
    int mode = 0, checks = 1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "p|p", names, &mode, &checks)) return -1;
    PyObject *anomaly = PyObject_GetAttrString(object, "_anomaly");
    PyObject *now = anomaly != NULL ? PyObject_GetAttrString(object, "_now") : NULL;
    self->which = anomaly == Py_True ? ANOMALY : GRAD_MODE;
    self->mode = mode;
    if (anomaly == Py_True && mode) self->mode = checks ? TT_ANOMALY_CHECKS : TT_ANOMALY_LINES;
    int done = now != NULL ? 0 : -1;
    if (now == Py_True) done = begin(self);
    self->switched = now == Py_True && done == 0;
    Py_XDECREF(anomaly);
    Py_XDECREF(now);
    return done;
}

static PyObject *switch_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args, (void)kwargs;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    return allocate(type, 0);
}

static int switch_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((Switch *)object)->before);
    return 0;
}

static int switch_clear(PyObject *object)
{
    Py_CLEAR(((Switch *)object)->before);
    return 0;
}

/* One that switched when it was made goes by an exception before anybody had it: it was to be
 * entered, or the statement that made it did not come to its end. */
static void take_back(Switch *self)
{
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    if (end(self) != 0) PyErr_Clear();
    PyErr_Restore(type, value, trace);
}

static void switch_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    if (((Switch *)object)->switched && PyErr_Occurred()) take_back((Switch *)object);
    switch_clear(object);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

static PyMethodDef switch_methods[] = {
    {"__enter__", switch_enter, METH_NOARGS, NULL},
    {"__exit__", switch_exit, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyMemberDef switch_members[] = {
    {"_mode", T_INT, offsetof(Switch, mode), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot switch_slots[] = {
    {Py_tp_new, switch_new},         {Py_tp_init, switch_init},
    {Py_tp_dealloc, switch_dealloc}, {Py_tp_traverse, switch_traverse},
    {Py_tp_clear, switch_clear},     {Py_tp_methods, switch_methods},
    {Py_tp_members, switch_members}, {0, NULL},
};
static PyType_Spec switch_spec = {"tinytape._binding.Switch", sizeof(Switch), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
                                  switch_slots};

PyObject *context_grad_enabled(PyObject *object, void *closure)
{
    const tt_ctx *core = ((Context *)object)->core;
    (void)closure;
    return PyBool_FromLong(core != NULL && tt_is_grad_enabled(core));
}

/* Whether detection is on, and whether it looks at values. */
PyObject *context_anomaly(PyObject *object, void *closure)
{
    const tt_ctx *core = ((Context *)object)->core;
    const int mode = core != NULL ? tt_get_anomaly(core) : TT_ANOMALY_OFF;
    (void)closure;
    return Py_BuildValue("(NN)", PyBool_FromLong(mode != TT_ANOMALY_OFF),
                         PyBool_FromLong(mode == TT_ANOMALY_CHECKS));
}

static PyObject *set_current(PyObject *module, PyObject *function)
{
    PyObject *old = current;
    (void)module;
    Py_INCREF(function);
    current = function;
    Py_XDECREF(old);
    Py_RETURN_NONE;
}

static PyMethodDef switch_functions[] = {
    {"set_current", set_current, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

int add_switch(PyObject *module)
{
    PyObject *type = PyType_FromSpec(&switch_spec);
    if (type == NULL || PyModule_AddFunctions(module, switch_functions) != 0) return -1;
    return PyModule_AddObject(module, "Switch", type);
}
