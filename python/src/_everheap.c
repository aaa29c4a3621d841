/* The extension module everheap._everheap: collections, transactions and iterations of the
   library as Python objects, and Python values as the binary form that VALUES.md describes.

   What must hold beside PY1 to PY7 of the library:
   - is_forked looks for a fork before every call of the library; what a fork frees is forgotten only.
   - A call keeps the GIL only where it waits for nobody: a read, and the first try of a write.
   - The memory of a memoryview is that of a view: the view ends when the last of them is released.

   Start reading at encode_value and decode_value, then collection_get and Waiting. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <datetime.h>
#include <pthread.h>
#include <structmember.h>

#include "libeverheap.h"

#if PY_VERSION_HEX < 0x030a0000
static inline PyObject *Py_NewRef(PyObject *o) { Py_INCREF(o); return o; }
static inline PyObject *Py_XNewRef(PyObject *o) { Py_XINCREF(o); return o; }
#endif

/* ---- what the module has ---- */

static PyObject *raise_error;  /* everheap._errors.raise_error(name, message) */
static PyObject *refuse_value; /* everheap._errors.refuse(what, type, path, value) */
static PyObject *empty_tuple;
static volatile int forked;

static void in_child(void) { forked = 1; }

/* is_forked raises an error in a fork, where the library does not work (PY7). */
static int is_forked(void) {
	if (!forked) return 0;
	PyObject *r = PyObject_CallFunction(raise_error, "ss", "Forked",
		"everheap: this process is a fork of one that has loaded everheap, and cannot use it; "
		"start processes with multiprocessing.get_context(\"spawn\"), or import everheap after the fork");
	Py_XDECREF(r);
	return 1;
}

/* ---- buffers ---- */

typedef struct {
	eh_buf b;
	char own[2048];
} result_buf;

static void result_init(result_buf *r) {
	r->b.data = r->own;
	r->b.len = 0;
	r->b.cap = sizeof r->own;
}

static void result_free(result_buf *r) {
	if (r->b.data != r->own) free(r->b.data);
	r->b.data = r->own;
	r->b.cap = sizeof r->own;
}

/* failed raises the error that a result holds. */
static PyObject *failed(result_buf *r) {
	const char *sep = memchr(r->b.data, 0, r->b.len);
	if (!sep) {
		PyErr_SetString(PyExc_SystemError, "everheap: an error without a name");
	} else {
		PyObject *name = PyUnicode_FromStringAndSize(r->b.data, sep - r->b.data);
		PyObject *text = PyUnicode_DecodeUTF8(sep + 1, r->b.data + r->b.len - sep - 1, "replace");
		if (name && text) {
			PyObject *x = PyObject_CallFunctionObjArgs(raise_error, name, text, NULL);
			Py_XDECREF(x);
		}
		Py_XDECREF(name);
		Py_XDECREF(text);
	}
	result_free(r);
	return NULL;
}

typedef struct {
	char *p;
	size_t len, cap;
	char own[1024];
} out_buf;

static void out_init(out_buf *o) {
	o->p = o->own;
	o->len = 0;
	o->cap = sizeof o->own;
}

static void out_free(out_buf *o) {
	if (o->p != o->own) PyMem_Free(o->p);
}

static int out_grow(out_buf *o, size_t n) {
	size_t cap = o->cap * 2 > o->len + n ? o->cap * 2 : o->len + n;
	char *p = o->p == o->own ? PyMem_Malloc(cap) : PyMem_Realloc(o->p, cap);
	if (!p) {
		PyErr_NoMemory();
		return -1;
	}
	if (o->p == o->own) memcpy(p, o->own, o->len);
	o->p = p;
	o->cap = cap;
	return 0;
}

static inline char *out_room(out_buf *o, size_t n) {
	if (o->len + n > o->cap && out_grow(o, n) < 0) return NULL;
	char *at = o->p + o->len;
	o->len += n;
	return at;
}

static inline int out_u32(out_buf *o, uint32_t v) {
	char *p = out_room(o, 4);
	if (!p) return -1;
	memcpy(p, &v, 4);
	return 0;
}

static inline int out_bytes(out_buf *o, const void *b, size_t n) {
	char *p = out_room(o, n);
	if (!p) return -1;
	memcpy(p, b, n);
	return 0;
}

/* ---- types ---- */

enum kind { K_BOOL, K_INT, K_FLOAT, K_COMPLEX, K_STR, K_TIME, K_DURATION, K_BYTES, K_SLICE, K_ARRAY, K_BYTE_ARRAY, K_OBJECT, K_TUPLE, K_POINTER, K_HANDLE, K_CODED, K_DICT, K_INTERFACE };

typedef struct node node;

typedef struct {
	PyObject *name; /* the attribute; of a K_TUPLE what errors call it */
	node *type;
} field;

struct node {
	enum kind kind;
	int size;      /* bytes of a number; of a K_SLICE: it can contain itself, so it is a part */
	int is_signed; /* of a K_INT; of a K_SLICE or K_ARRAY: values are tuples */
	int empty;     /* a type without bytes */
	Py_ssize_t n;  /* elements of an array; fields */
	node *elem;
	field *fields; /* of a K_DICT: one, for the keys */
	PyObject *cls;  /* of a K_OBJECT or K_TUPLE: the class; of a K_HANDLE: makes an object of an ID; of a K_INTERFACE: knows concrete types */
	PyObject *text; /* of the type, for errors */
};

/* A codec has the types of one value: its nodes refer to each other. */
typedef struct {
	PyObject_HEAD
	Py_ssize_t count;
	node *nodes;
	node *root;
} Codec;

static PyTypeObject CodecType;

static void codec_dealloc(Codec *c) {
	for (Py_ssize_t i = 0; c->nodes && i < c->count; i++) {
		node *t = &c->nodes[i];
		for (Py_ssize_t j = 0; t->fields && j < t->n; j++) Py_XDECREF(t->fields[j].name);
		PyMem_Free(t->fields);
		Py_XDECREF(t->cls);
		Py_XDECREF(t->text);
	}
	PyMem_Free(c->nodes);
	Py_TYPE(c)->tp_free((PyObject *)c);
}

/* Codec(root, [(kind, text, size, signed, empty, n, elem, cls, [(name, type), …]), …]) */
static PyObject *codec_new(PyTypeObject *type, PyObject *args, PyObject *kw) {
	PyObject *list;
	Py_ssize_t root;
	if (!PyArg_ParseTuple(args, "nO!", &root, &PyList_Type, &list)) return NULL;
	Codec *c = (Codec *)type->tp_alloc(type, 0);
	if (!c) return NULL;
	Py_ssize_t count = PyList_GET_SIZE(list);
	c->nodes = PyMem_Calloc(count ? count : 1, sizeof(node));
	c->count = count;
	if (!c->nodes || root < 0 || root >= count) {
		PyErr_SetString(PyExc_ValueError, "no such type");
		goto bad;
	}
	c->root = &c->nodes[root];
	for (Py_ssize_t i = 0; i < count; i++) {
		node *t = &c->nodes[i];
		int kind;
		Py_ssize_t n, elem;
		PyObject *text, *cls, *fields;
		if (!PyArg_ParseTuple(PyList_GET_ITEM(list, i), "iUiiinnOO!", &kind, &text, &t->size, &t->is_signed, &t->empty, &n, &elem, &cls, &PyList_Type, &fields)) goto bad;
		t->kind = kind;
		t->text = Py_NewRef(text);
		t->cls = Py_NewRef(cls);
		if (elem >= count) goto bad;
		t->elem = elem < 0 ? NULL : &c->nodes[elem];
		if (kind == K_OBJECT || kind == K_TUPLE || kind == K_DICT) {
			n = PyList_GET_SIZE(fields);
			t->fields = PyMem_Calloc(n ? n : 1, sizeof(field));
			if (!t->fields) goto bad;
			t->n = n;
			for (Py_ssize_t j = 0; j < n; j++) {
				PyObject *name;
				Py_ssize_t at;
				if (!PyArg_ParseTuple(PyList_GET_ITEM(fields, j), "Un", &name, &at) || at < 0 || at >= count) goto bad;
				Py_INCREF(name);
				PyUnicode_InternInPlace(&name);
				t->fields[j].name = name;
				t->fields[j].type = &c->nodes[at];
			}
		}
		t->n = n;
	}
	return (PyObject *)c;
bad:
	if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "everheap: a damaged description of types");
	Py_DECREF(c);
	return NULL;
}

/* ---- encoding ---- */

enum { MOST_PATH = 64 };

typedef struct {
	node *type;
	PyObject *value; /* owned */
	int elems;       /* the elements of a slice */
} later_part;

typedef struct {
	out_buf *out;
	uint32_t parts;
	later_part *later;
	Py_ssize_t count, cap;
	PyObject *ids; /* bytes of (address, type) -> number of a part */
	struct {
		PyObject *name;
		Py_ssize_t index;
	} path[MOST_PATH];
	int depth;
	node *root;
	PyObject *root_value;
} encoder;

/* refuse raises the error for a value that is none of its type. */
static int refuse(encoder *e, const char *what, node *t, PyObject *v) {
	if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_AttributeError) && !PyErr_ExceptionMatches(PyExc_OverflowError) && !PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
		return -1;
	PyErr_Clear();
	PyObject *path = PyUnicode_FromString("");
	for (int i = 0; i < e->depth && i < MOST_PATH && path; i++) {
		PyObject *next = e->path[i].name ? PyUnicode_FromFormat(PyUnicode_GET_LENGTH(path) ? "%U.%U" : "%U%U", path, e->path[i].name)
		                                 : PyUnicode_FromFormat("%U[%zd]", path, e->path[i].index);
		Py_DECREF(path);
		path = next;
	}
	if (path) {
		PyObject *x = PyObject_CallFunction(refuse_value, "sOOO", what, t->text, path, v);
		Py_XDECREF(x);
		Py_DECREF(path);
	}
	return -1;
}

static void push(encoder *e, PyObject *name, Py_ssize_t index) {
	if (e->depth < MOST_PATH) {
		e->path[e->depth].name = name;
		e->path[e->depth].index = index;
	}
	e->depth++;
}

static int encode_value(encoder *e, node *t, PyObject *v);

static int encode_int(encoder *e, node *t, PyObject *v) {
	if (!PyLong_Check(v)) {
		if (PyFloat_Check(v) || !PyIndex_Check(v)) return refuse(e, "type", t, v);
		PyObject *i = PyNumber_Index(v);
		if (!i) return -1;
		int r = encode_int(e, t, i);
		Py_DECREF(i);
		return r;
	}
	char *p = out_room(e->out, t->size);
	if (!p) return -1;
	if (t->is_signed) {
		int overflow = 0;
		long long x = PyLong_AsLongLongAndOverflow(v, &overflow);
		long long top = t->size == 8 ? INT64_MAX : ((long long)1 << (8 * t->size - 1)) - 1;
		if (overflow || x > top || x < -top - 1) return refuse(e, "range", t, v);
		memcpy(p, &x, t->size);
		return 0;
	}
	unsigned long long x = PyLong_AsUnsignedLongLong(v);
	if ((x == (unsigned long long)-1 && PyErr_Occurred()) || (t->size < 8 && x >> (8 * t->size))) return refuse(e, "range", t, v);
	memcpy(p, &x, t->size);
	return 0;
}

static int encode_float(encoder *e, node *t, PyObject *v) {
	double x;
	if (PyFloat_Check(v)) {
		x = PyFloat_AS_DOUBLE(v);
	} else if (PyLong_Check(v) && !PyBool_Check(v)) {
		x = PyLong_AsDouble(v);
		if (x == -1 && PyErr_Occurred()) return refuse(e, "range", t, v);
	} else {
		return refuse(e, "type", t, v);
	}
	if (t->size == 8) return out_bytes(e->out, &x, 8);
	float f = (float)x;
	return out_bytes(e->out, &f, 4);
}

static int encode_str(encoder *e, node *t, PyObject *v) {
	if (!PyUnicode_Check(v)) return refuse(e, "type", t, v);
	Py_ssize_t n;
	const char *s = PyUnicode_AsUTF8AndSize(v, &n);
	if (s) {
		if (n >= UINT32_MAX) return refuse(e, "length", t, v);
		char *p = out_room(e->out, n + 4);
		if (!p) return -1;
		uint32_t length = (uint32_t)n;
		memcpy(p, &length, 4);
		memcpy(p + 4, s, n);
		return 0;
	}
	if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) return -1;
	PyErr_Clear();
	/* Strings of Go may have any bytes: those that are no UTF-8 are surrogates here. */
	PyObject *b = PyUnicode_AsEncodedString(v, "utf-8", "surrogateescape");
	if (!b) return refuse(e, "surrogate", t, v);
	int r = out_u32(e->out, (uint32_t)PyBytes_GET_SIZE(b)) || out_bytes(e->out, PyBytes_AS_STRING(b), PyBytes_GET_SIZE(b)) ? -1 : 0;
	Py_DECREF(b);
	return r;
}

/* days_of returns the days from 1970-01-01 to a date; civil_of is its inverse. */
static int64_t days_of(int64_t y, int m, int d) {
	y -= m <= 2;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t yoe = y - era * 400, doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1, doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
	return era * 146097 + doe - 719468;
}

static void civil_of(int64_t z, int64_t *y, int *m, int *d) {
	z += 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097, doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365, doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
	*d = (int)(doy - (153 * mp + 2) / 5 + 1);
	*m = (int)(mp < 10 ? mp + 3 : mp - 9);
	*y = yoe + era * 400 + (*m <= 2);
}

static int encode_time(encoder *e, node *t, PyObject *v) {
	if (!PyDateTime_Check(v)) return refuse(e, "type", t, v);
	PyObject *zone = ((PyDateTime_DateTime *)v)->hastzinfo ? ((PyDateTime_DateTime *)v)->tzinfo : Py_None;
	if (zone == Py_None) return refuse(e, "naive", t, v);
	PyObject *utc = NULL;
	if (zone != PyDateTime_TimeZone_UTC) {
		utc = PyObject_CallMethod(v, "astimezone", "O", PyDateTime_TimeZone_UTC);
		if (!utc) return -1;
		v = utc;
	}
	int64_t sec = days_of(PyDateTime_GET_YEAR(v), PyDateTime_GET_MONTH(v), PyDateTime_GET_DAY(v)) * 86400
		+ PyDateTime_DATE_GET_HOUR(v) * 3600 + PyDateTime_DATE_GET_MINUTE(v) * 60 + PyDateTime_DATE_GET_SECOND(v);
	uint32_t nsec = (uint32_t)PyDateTime_DATE_GET_MICROSECOND(v) * 1000;
	Py_XDECREF(utc);
	return out_bytes(e->out, &sec, 8) || out_u32(e->out, nsec) ? -1 : 0;
}

static int encode_duration(encoder *e, node *t, PyObject *v) {
	if (!PyDelta_Check(v)) return refuse(e, "type", t, v);
	int64_t us, ns;
	if (__builtin_mul_overflow((int64_t)PyDateTime_DELTA_GET_DAYS(v), (int64_t)86400000000, &us)
		|| __builtin_add_overflow(us, (int64_t)PyDateTime_DELTA_GET_SECONDS(v) * 1000000 + PyDateTime_DELTA_GET_MICROSECONDS(v), &us)
		|| __builtin_mul_overflow(us, (int64_t)1000, &ns))
		return refuse(e, "range", t, v);
	return out_bytes(e->out, &ns, 8);
}

static int encode_bytes(encoder *e, node *t, PyObject *v, int counted) {
	Py_buffer view;
	if (PyUnicode_Check(v) || !PyObject_CheckBuffer(v)) return refuse(e, "type", t, v);
	if (PyObject_GetBuffer(v, &view, PyBUF_SIMPLE) < 0) return -1;
	int r;
	if (!counted && view.len != t->n) r = refuse(e, "length", t, v);
	else if (counted && view.len >= UINT32_MAX) r = refuse(e, "length", t, v);
	else r = (counted && out_u32(e->out, (uint32_t)view.len)) || out_bytes(e->out, view.buf, view.len) ? -1 : 0;
	PyBuffer_Release(&view);
	return r;
}

static int encode_elements(encoder *e, node *t, PyObject *v) {
	if (!PyList_Check(v) && !PyTuple_Check(v)) return refuse(e, "type", t, v);
	Py_ssize_t n = PySequence_Fast_GET_SIZE(v);
	if (t->kind == K_ARRAY && n != t->n) return refuse(e, "length", t, v);
	if ((uint64_t)n >= UINT32_MAX) return refuse(e, "length", t, v);
	if (t->kind == K_SLICE && out_u32(e->out, (uint32_t)n)) return -1;
	for (Py_ssize_t i = 0; i < n; i++) {
		if (i >= PySequence_Fast_GET_SIZE(v)) return refuse(e, "changed", t, v);
		PyObject *x = Py_NewRef(PySequence_Fast_GET_ITEM(v, i));
		push(e, NULL, i);
		int r = encode_value(e, t->elem, x);
		Py_DECREF(x);
		if (r < 0) return -1;
		e->depth--;
	}
	return 0;
}

static int encode_object(encoder *e, node *t, PyObject *v) {
	if (!PyObject_TypeCheck(v, (PyTypeObject *)t->cls)) return refuse(e, "type", t, v);
	for (Py_ssize_t i = 0; i < t->n; i++) {
		push(e, t->fields[i].name, 0);
		PyObject *x = PyObject_GetAttr(v, t->fields[i].name);
		if (!x) return refuse(e, "missing", t->fields[i].type, Py_None);
		int r = encode_value(e, t->fields[i].type, x);
		Py_DECREF(x);
		if (r < 0) return -1;
		e->depth--;
	}
	return 0;
}

static int encode_tuple(encoder *e, node *t, PyObject *v) {
	if (!PyTuple_Check(v)) return refuse(e, "type", t, v);
	if (PyTuple_GET_SIZE(v) != t->n) return refuse(e, "length", t, v);
	for (Py_ssize_t i = 0; i < t->n; i++) {
		push(e, t->fields[i].name, 0);
		if (encode_value(e, t->fields[i].type, PyTuple_GET_ITEM(v, i)) < 0) return -1;
		e->depth--;
	}
	return 0;
}

static int encode_dict(encoder *e, node *t, PyObject *v) {
	if (!PyDict_Check(v)) return refuse(e, "type", t, v);
	if (Py_EnterRecursiveCall(" while a dict is stored")) return -1;
	Py_ssize_t n = PyDict_GET_SIZE(v), seen = 0, at = 0;
	PyObject *key, *value;
	int r = out_u32(e->out, (uint32_t)n);
	while (r == 0 && PyDict_Next(v, &at, &key, &value)) {
		if (seen++ == n) break;
		Py_INCREF(key);
		Py_INCREF(value);
		push(e, t->fields[0].name, 0);
		r = encode_value(e, t->fields[0].type, key);
		if (r == 0) r = encode_value(e, t->elem, value);
		if (r == 0) e->depth--;
		Py_DECREF(key);
		Py_DECREF(value);
	}
	if (r == 0 && (seen != n || PyDict_GET_SIZE(v) != n)) r = refuse(e, "changed", t, v);
	Py_LeaveRecursiveCall();
	return r;
}

/* part_number looks a part up, or gives it the next number. */
static int part_number(encoder *e, node *t, PyObject *v, int elems, uint32_t *number) {
	struct { void *value; char *type; } key = {v, (char *)t + elems};
	if (!e->ids) {
		if (!(e->ids = PyDict_New())) return -1;
		if (e->root->kind == K_OBJECT) {
			key.value = e->root_value, key.type = (char *)e->root;
			PyObject *k = PyBytes_FromStringAndSize((char *)&key, sizeof key), *one = PyLong_FromLong(1);
			int r = k && one ? PyDict_SetItem(e->ids, k, one) : -1;
			Py_XDECREF(k);
			Py_XDECREF(one);
			if (r < 0) return -1;
			key.value = v, key.type = (char *)t + elems;
		}
	}
	PyObject *k = PyBytes_FromStringAndSize((char *)&key, sizeof key);
	if (!k) return -1;
	PyObject *have = PyDict_GetItemWithError(e->ids, k);
	if (have || PyErr_Occurred()) {
		Py_DECREF(k);
		if (!have) return -1;
		*number = (uint32_t)PyLong_AsUnsignedLong(have);
		return 0;
	}
	*number = e->parts + 1;
	PyObject *n = PyLong_FromUnsignedLong(*number);
	int r = n ? PyDict_SetItem(e->ids, k, n) : -1;
	Py_DECREF(k);
	Py_XDECREF(n);
	return r;
}

/* encode_part writes the number of a part, and notes it if it is new. */
static int encode_part(encoder *e, node *t, PyObject *v, int elems) {
	uint32_t number = e->parts + 1;
	if ((t->kind == K_OBJECT || t->kind == K_SLICE) && part_number(e, t, v, elems, &number) < 0) return -1;
	if (number == e->parts + 1) {
		if (e->count == e->cap) {
			Py_ssize_t cap = e->cap ? 2 * e->cap : 8;
			later_part *p = PyMem_Realloc(e->later, cap * sizeof *p);
			if (!p) {
				PyErr_NoMemory();
				return -1;
			}
			e->later = p;
			e->cap = cap;
		}
		later_part *l = &e->later[e->count++];
		l->type = t;
		l->value = Py_NewRef(v);
		l->elems = elems;
		e->parts++;
	}
	return out_u32(e->out, number);
}

static int encode_pointer(encoder *e, node *t, PyObject *v) {
	if (v == Py_None) return out_u32(e->out, 0);
	if (t->elem->empty) return out_u32(e->out, 1);
	return encode_part(e, t->elem, v, 0);
}

static int encode_slice(encoder *e, node *t, PyObject *v) {
	if (!t->size) return encode_elements(e, t, v);
	if (!PyList_Check(v) && !PyTuple_Check(v)) return refuse(e, "type", t, v);
	return encode_part(e, t, v, 1);
}

static int encode(out_buf *out, node *t, PyObject *v);

/* encode_interface writes a value with its concrete type, which may have parts of its own. */
static int encode_interface(encoder *e, node *t, PyObject *v) {
	if (v == Py_None) return out_u32(e->out, UINT32_MAX);
	PyObject *type = PyObject_CallMethod(t->cls, "of", "O", v); /* the bytes before the value, and the codec */
	if (!type) return -1;
	PyObject *head, *codec;
	if (!PyArg_ParseTuple(type, "O!O!", &PyBytes_Type, &head, &CodecType, &codec)) {
		Py_DECREF(type);
		return refuse(e, "type", t, v);
	}
	if (Py_EnterRecursiveCall(" while a value is stored")) {
		Py_DECREF(type);
		return -1;
	}
	size_t at = e->out->len;
	int r = out_u32(e->out, 0) || out_bytes(e->out, PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head)) || encode(e->out, ((Codec *)codec)->root, v) ? -1 : 0;
	Py_LeaveRecursiveCall();
	Py_DECREF(type);
	if (r < 0) return -1;
	size_t n = e->out->len - at - 4;
	if (n >= UINT32_MAX) return refuse(e, "length", t, v);
	uint32_t size = (uint32_t)n;
	memcpy(e->out->p + at, &size, 4);
	return 0;
}

static int encode_value(encoder *e, node *t, PyObject *v) {
	switch (t->kind) {
	case K_STR: return encode_str(e, t, v);
	case K_INT: return encode_int(e, t, v);
	case K_OBJECT: return encode_object(e, t, v);
	case K_BOOL: {
		if (!PyBool_Check(v)) return refuse(e, "type", t, v);
		char b = v == Py_True;
		return out_bytes(e->out, &b, 1);
	}
	case K_FLOAT: return encode_float(e, t, v);
	case K_COMPLEX: {
		if (!PyComplex_Check(v)) return refuse(e, "type", t, v);
		double x[2] = {PyComplex_RealAsDouble(v), PyComplex_ImagAsDouble(v)};
		if (t->size == 16) return out_bytes(e->out, x, 16);
		float f[2] = {(float)x[0], (float)x[1]};
		return out_bytes(e->out, f, 8);
	}
	case K_TIME: return encode_time(e, t, v);
	case K_DURATION: return encode_duration(e, t, v);
	case K_BYTES: return encode_bytes(e, t, v, 1);
	case K_BYTE_ARRAY: return encode_bytes(e, t, v, 0);
	case K_SLICE: return encode_slice(e, t, v);
	case K_ARRAY: return encode_elements(e, t, v);
	case K_TUPLE: return encode_tuple(e, t, v);
	case K_POINTER: return encode_pointer(e, t, v);
	case K_HANDLE: {
		uint64_t id = 0;
		if (v != Py_None) {
			PyObject *n = PyObject_GetAttrString(v, "id");
			if (!n) return refuse(e, "type", t, v);
			id = PyLong_AsUnsignedLongLong(n);
			Py_DECREF(n);
			if (PyErr_Occurred()) return refuse(e, "type", t, v);
		}
		return out_bytes(e->out, &id, 8);
	}
	case K_DICT: return encode_dict(e, t, v);
	case K_INTERFACE: return encode_interface(e, t, v);
	case K_CODED:
		if (v == Py_None) return out_u32(e->out, UINT32_MAX);
		return encode_bytes(e, t, v, 1);
	}
	PyErr_SetString(PyExc_SystemError, "everheap: no such kind");
	return -1;
}

/* encode appends the binary form of a value. */
static int encode(out_buf *out, node *t, PyObject *v) {
	encoder e; /* of which the path is large, and is read only as far as it was written */
	e.out = out;
	e.depth = 0;
	if (t->kind == K_STR) return encode_str(&e, t, v); /* those have no parts */
	if (t->kind == K_INT) return encode_int(&e, t, v);
	e.parts = 1;
	e.later = NULL;
	e.count = e.cap = 0;
	e.ids = NULL;
	e.root = t;
	e.root_value = v;
	int r = encode_value(&e, t, v);
	for (Py_ssize_t i = 0; i < e.count && r == 0; i++) {
		e.depth = 0;
		later_part l = e.later[i];
		r = l.elems ? encode_elements(&e, l.type, l.value) : encode_value(&e, l.type, l.value);
	}
	for (Py_ssize_t i = 0; i < e.count; i++) Py_DECREF(e.later[i].value);
	PyMem_Free(e.later);
	Py_XDECREF(e.ids);
	return r;
}

/* ---- decoding ---- */

typedef struct {
	node *type;
	PyObject *value; /* owned; of an object or a list from the first mention on */
	int elems;       /* the elements of a slice */
} read_part;

typedef struct {
	PyObject *holder; /* owned: an object, a dict, a list or a tuple */
	PyObject *name;   /* owned: the attribute or the key, or NULL */
	Py_ssize_t index;
	uint32_t part;
} fixup;

typedef struct {
	const char *p, *end;
	read_part *parts, *own; /* number 1 is parts[1]; own is memory of the caller's */
	Py_ssize_t count, cap;
	fixup *fixups;
	Py_ssize_t fix_count, fix_cap;
} decoder;

static const char *take(decoder *d, size_t n) {
	if ((size_t)(d->end - d->p) < n) {
		PyErr_SetString(PyExc_SystemError, "everheap: the binary form ends too early");
		return NULL;
	}
	const char *at = d->p;
	d->p += n;
	return at;
}

static int take_u32(decoder *d, uint32_t *v) {
	const char *p = take(d, 4);
	if (!p) return -1;
	memcpy(v, p, 4);
	return 0;
}

/* pending stands for a value whose part is still to be read: decode_value returns it, and the
   caller notes where the value belongs. */
static PyObject pending_object;
#define PENDING (&pending_object)

static PyObject *decode_value(decoder *d, node *t, uint32_t *part);

static int note_fixup(decoder *d, PyObject *holder, PyObject *name, Py_ssize_t index, uint32_t part) {
	if (d->fix_count == d->fix_cap) {
		Py_ssize_t cap = d->fix_cap ? 2 * d->fix_cap : 8;
		fixup *f = PyMem_Realloc(d->fixups, cap * sizeof *f);
		if (!f) {
			PyErr_NoMemory();
			return -1;
		}
		d->fixups = f;
		d->fix_cap = cap;
	}
	fixup *f = &d->fixups[d->fix_count++];
	f->holder = Py_NewRef(holder);
	f->name = Py_XNewRef(name);
	f->index = index;
	f->part = part;
	return 0;
}

static PyObject *new_object(node *t) {
	PyTypeObject *type = (PyTypeObject *)t->cls;
	return type->tp_new(type, empty_tuple, NULL);
}

static int fill_object(decoder *d, node *t, PyObject *o) {
	for (Py_ssize_t i = 0; i < t->n; i++) {
		uint32_t part = 0;
		PyObject *x = decode_value(d, t->fields[i].type, &part);
		if (!x) return -1;
		if (x == PENDING) {
			if (note_fixup(d, o, t->fields[i].name, 0, part) < 0) return -1;
			continue;
		}
		int r = PyObject_GenericSetAttr(o, t->fields[i].name, x); /* of a frozen class as well */
		Py_DECREF(x);
		if (r < 0) return -1;
	}
	return 0;
}

static int fill_elements(decoder *d, node *t, PyObject *list, Py_ssize_t n, int tuple) {
	for (Py_ssize_t i = 0; i < n; i++) {
		uint32_t part = 0;
		PyObject *x = decode_value(d, t, &part);
		if (!x) return -1;
		if (x == PENDING) {
			if (note_fixup(d, list, NULL, i, part) < 0) return -1;
			continue;
		}
		if (tuple) PyTuple_SET_ITEM(list, i, x);
		else PyList_SET_ITEM(list, i, x);
	}
	return 0;
}

static PyObject *decode_dict(decoder *d, node *t) {
	uint32_t n;
	if (take_u32(d, &n) < 0) return NULL;
	if (n == UINT32_MAX) n = 0; /* a nil map */
	if (Py_EnterRecursiveCall(" while a dict is read")) return NULL;
	PyObject *dict = PyDict_New();
	for (uint32_t i = 0; dict && i < n; i++) {
		uint32_t part = 0;
		PyObject *value = NULL, *key = decode_value(d, t->fields[0].type, &part);
		if (key == PENDING) {
			PyErr_SetString(PyExc_SystemError, "everheap: a key is a pointer");
			key = NULL;
		}
		int r = key && (value = decode_value(d, t->elem, &part)) ? 0 : -1;
		if (r == 0 && value == PENDING) {
			r = PyDict_SetItem(dict, key, Py_None) < 0 ? -1 : note_fixup(d, dict, key, 0, part);
		} else if (r == 0) {
			r = PyDict_SetItem(dict, key, value);
			Py_DECREF(value);
		}
		Py_XDECREF(key);
		if (r < 0) Py_CLEAR(dict);
	}
	Py_LeaveRecursiveCall();
	return dict;
}

static PyObject *decode_elements(decoder *d, node *t) {
	uint32_t n;
	if (take_u32(d, &n) < 0) return NULL;
	if (n == UINT32_MAX) n = 0; /* nil */
	if (!t->elem->empty && n > (size_t)(d->end - d->p)) {
		take(d, n);
		return NULL;
	}
	PyObject *list = t->is_signed ? PyTuple_New(n) : PyList_New(n);
	if (list && fill_elements(d, t->elem, list, n, t->is_signed) < 0) Py_CLEAR(list);
	return list;
}

/* append_elements reads the elements of a list that others may refer to already. */
static int append_elements(decoder *d, node *t, PyObject *list) {
	uint32_t n;
	if (take_u32(d, &n) < 0) return -1;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t part = 0;
		PyObject *x = decode_value(d, t->elem, &part);
		if (!x) return -1;
		if (x == PENDING) {
			if (note_fixup(d, list, NULL, i, part) < 0 || PyList_Append(list, Py_None) < 0) return -1;
			continue;
		}
		int r = PyList_Append(list, x);
		Py_DECREF(x);
		if (r < 0) return -1;
	}
	return 0;
}

/* decode_part returns the value of the part with a number, or PENDING. */
static PyObject *decode_part(decoder *d, node *t, int elems, uint32_t n, uint32_t *part) {
	if (n > d->count || (n < d->count && (d->parts[n].type != t || d->parts[n].elems != elems))) {
		PyErr_SetString(PyExc_SystemError, "everheap: the binary form mentions a part that is not there");
		return NULL;
	}
	if (n == d->count) {
		if (d->count == d->cap) {
			Py_ssize_t cap = 2 * d->cap;
			read_part *p = d->parts == d->own ? PyMem_Malloc(cap * sizeof *p) : PyMem_Realloc(d->parts, cap * sizeof *p);
			if (!p) return PyErr_NoMemory();
			if (d->parts == d->own) memcpy(p, d->own, d->count * sizeof *p);
			d->parts = p;
			d->cap = cap;
		}
		d->parts[n].type = t;
		d->parts[n].elems = elems;
		d->parts[n].value = NULL;
		d->count++;
		if (elems && !t->is_signed) d->parts[n].value = PyList_New(0);
		else if (!elems && t->kind == K_OBJECT) d->parts[n].value = new_object(t);
		if (PyErr_Occurred()) return NULL;
	}
	if (d->parts[n].value) return Py_NewRef(d->parts[n].value);
	*part = n;
	return PENDING;
}

static PyObject *decode_slice(decoder *d, node *t, uint32_t *part) {
	if (!t->size) return decode_elements(d, t);
	uint32_t n;
	if (take_u32(d, &n) < 0) return NULL;
	if (n == 0) return t->is_signed ? PyTuple_New(0) : PyList_New(0);
	return decode_part(d, t, 1, n, part);
}

static PyObject *decode_time(decoder *d) {
	const char *p = take(d, 12);
	if (!p) return NULL;
	int64_t sec, y;
	uint32_t nsec;
	int m, day;
	memcpy(&sec, p, 8);
	memcpy(&nsec, p + 8, 4);
	int64_t days = sec >= 0 ? sec / 86400 : -((-sec + 86399) / 86400), rest = sec - days * 86400;
	if (days < -719162 || days > 2932896) {
		PyObject *x = PyObject_CallFunction(raise_error, "ss", "OutOfRange", "everheap: a stored time is outside of the years 1 to 9999, which a datetime has");
		Py_XDECREF(x);
		return NULL;
	}
	civil_of(days, &y, &m, &day);
	return PyDateTimeAPI->DateTime_FromDateAndTime((int)y, m, day, (int)(rest / 3600), (int)(rest / 60 % 60), (int)(rest % 60), (int)(nsec / 1000), PyDateTime_TimeZone_UTC, PyDateTimeAPI->DateTimeType);
}

static PyObject *decode_pointer(decoder *d, node *t, uint32_t *part) {
	uint32_t n;
	if (take_u32(d, &n) < 0) return NULL;
	if (n == 0) Py_RETURN_NONE;
	if (t->elem->empty) {
		if (t->elem->kind == K_OBJECT) return new_object(t->elem);
		decoder nothing = {.p = "", .end = ""};
		return decode_value(&nothing, t->elem, part);
	}
	return decode_part(d, t->elem, 0, n, part);
}

static PyObject *decode(node *t, const char **p, const char *end);

/* decode_interface reads a value with its concrete type. */
static PyObject *decode_interface(decoder *d, node *t) {
	uint32_t n, name_size, size;
	const char *name, *descriptor;
	if (take_u32(d, &n) < 0) return NULL;
	if (n == UINT32_MAX) Py_RETURN_NONE;
	const char *p = take(d, n);
	if (!p) return NULL;
	decoder in = {.p = p, .end = p + n};
	if (take_u32(&in, &name_size) < 0 || !(name = take(&in, name_size)) || take_u32(&in, &size) < 0 || !(descriptor = take(&in, size))) return NULL;
	PyObject *codec = PyObject_CallMethod(t->cls, "codec", "y#y#", name, (Py_ssize_t)name_size, descriptor, (Py_ssize_t)size);
	if (!codec) return NULL;
	PyObject *v = NULL;
	if (!PyObject_TypeCheck(codec, &CodecType)) {
		PyErr_SetString(PyExc_TypeError, "a Codec is expected");
	} else if (!Py_EnterRecursiveCall(" while a value is read")) {
		v = decode(((Codec *)codec)->root, &in.p, in.end);
		Py_LeaveRecursiveCall();
	}
	Py_DECREF(codec);
	return v;
}

static PyObject *decode_value(decoder *d, node *t, uint32_t *part) {
	const char *p;
	switch (t->kind) {
	case K_STR: {
		uint32_t n;
		if (take_u32(d, &n) < 0 || !(p = take(d, n))) return NULL;
		return PyUnicode_DecodeUTF8(p, n, "surrogateescape");
	}
	case K_INT:
		if (!(p = take(d, t->size))) return NULL;
		if (t->is_signed) {
			int64_t x = 0;
			memcpy(&x, p, t->size);
			int shift = 64 - 8 * t->size;
			return PyLong_FromLongLong((int64_t)((uint64_t)x << shift) >> shift);
		} else {
			uint64_t x = 0;
			memcpy(&x, p, t->size);
			return PyLong_FromUnsignedLongLong(x);
		}
	case K_OBJECT: {
		PyObject *o = new_object(t);
		if (o && fill_object(d, t, o) < 0) Py_CLEAR(o);
		return o;
	}
	case K_BOOL:
		if (!(p = take(d, 1))) return NULL;
		return PyBool_FromLong(*p);
	case K_FLOAT: {
		if (!(p = take(d, t->size))) return NULL;
		double x;
		float f;
		if (t->size == 8) memcpy(&x, p, 8);
		else memcpy(&f, p, 4), x = f;
		return PyFloat_FromDouble(x);
	}
	case K_COMPLEX: {
		if (!(p = take(d, t->size))) return NULL;
		double x[2];
		float f[2];
		if (t->size == 16) memcpy(x, p, 16);
		else memcpy(f, p, 8), x[0] = f[0], x[1] = f[1];
		return PyComplex_FromDoubles(x[0], x[1]);
	}
	case K_TIME: return decode_time(d);
	case K_DURATION: {
		if (!(p = take(d, 8))) return NULL;
		int64_t ns, us;
		memcpy(&ns, p, 8);
		us = ns >= 0 ? ns / 1000 : -((-(ns + 1)) / 1000) - 1;
		int64_t days = us >= 0 ? us / 86400000000 : -((-us + 86399999999) / 86400000000), rest = us - days * 86400000000;
		return PyDelta_FromDSU((int)days, (int)(rest / 1000000), (int)(rest % 1000000));
	}
	case K_BYTES:
	case K_CODED: {
		uint32_t n;
		if (take_u32(d, &n) < 0) return NULL;
		if (n == UINT32_MAX) {
			if (t->kind == K_CODED) Py_RETURN_NONE;
			n = 0;
		}
		if (!(p = take(d, n))) return NULL;
		return PyBytes_FromStringAndSize(p, n);
	}
	case K_BYTE_ARRAY:
		if (!(p = take(d, t->n))) return NULL;
		return PyBytes_FromStringAndSize(p, t->n);
	case K_SLICE: return decode_slice(d, t, part);
	case K_ARRAY: {
		PyObject *list = t->is_signed ? PyTuple_New(t->n) : PyList_New(t->n);
		if (list && fill_elements(d, t->elem, list, t->n, t->is_signed) < 0) Py_CLEAR(list);
		return list;
	}
	case K_TUPLE: {
		PyTypeObject *type = (PyTypeObject *)t->cls;
		PyObject *tuple = type == &PyTuple_Type ? PyTuple_New(t->n) : type->tp_alloc(type, t->n);
		if (!tuple) return NULL;
		for (Py_ssize_t i = 0; i < t->n; i++) {
			uint32_t later = 0;
			PyObject *x = decode_value(d, t->fields[i].type, &later);
			if (x == PENDING) {
				if (note_fixup(d, tuple, NULL, i, later) == 0) continue;
				x = NULL;
			}
			if (!x) {
				Py_DECREF(tuple);
				return NULL;
			}
			PyTuple_SET_ITEM(tuple, i, x);
		}
		return tuple;
	}
	case K_DICT: return decode_dict(d, t);
	case K_INTERFACE: return decode_interface(d, t);
	case K_POINTER: return decode_pointer(d, t, part);
	case K_HANDLE: {
		if (!(p = take(d, 8))) return NULL;
		uint64_t id;
		memcpy(&id, p, 8);
		if (id == 0) Py_RETURN_NONE;
		return PyObject_CallFunction(t->cls, "K", (unsigned long long)id);
	}
	}
	PyErr_SetString(PyExc_SystemError, "everheap: no such kind");
	return NULL;
}

/* settle puts the values of parts where they were mentioned before they were read. */
static int settle(decoder *d) {
	for (Py_ssize_t i = 0; i < d->fix_count; i++) {
		fixup *f = &d->fixups[i];
		PyObject *x = d->parts[f->part].value;
		if (!x) {
			PyErr_SetString(PyExc_SystemError, "everheap: the binary form lacks a part");
			return -1;
		}
		if (f->name && PyDict_Check(f->holder)) {
			if (PyDict_SetItem(f->holder, f->name, x) < 0) return -1;
		} else if (f->name) {
			if (PyObject_GenericSetAttr(f->holder, f->name, x) < 0) return -1;
		} else if (PyTuple_Check(f->holder)) {
			PyTuple_SET_ITEM(f->holder, f->index, Py_NewRef(x));
		} else {
			if (PyList_SetItem(f->holder, f->index, Py_NewRef(x)) < 0) return -1;
		}
	}
	return 0;
}

/* decode returns the value whose binary form begins at *p, and moves *p behind it. */
static PyObject *decode(node *t, const char **p, const char *end) {
	uint32_t part = 0;
	read_part own[8];
	decoder d = {.p = *p, .end = end};
	if (t->kind == K_STR || t->kind == K_INT) {
		PyObject *v = decode_value(&d, t, &part);
		*p = d.p;
		return v;
	}
	d.cap = 8;
	d.count = 2;
	d.parts = d.own = own;
	memset(own, 0, 2 * sizeof *own);
	PyObject *v = NULL;
	if (t->kind == K_OBJECT) { /* its parts can refer to it */
		if ((v = new_object(t))) {
			d.parts[1].type = t;
			d.parts[1].value = Py_NewRef(v);
			if (fill_object(&d, t, v) < 0) Py_CLEAR(v);
		}
	} else {
		v = decode_value(&d, t, &part);
	}
	for (Py_ssize_t i = 2; v && i < d.count; i++) {
		PyObject *x = d.parts[i].value;
		node *u = d.parts[i].type;
		if (x) {
			if ((d.parts[i].elems ? append_elements(&d, u, x) : fill_object(&d, u, x)) < 0) x = NULL;
		} else if (d.parts[i].elems) {
			x = decode_elements(&d, u);
			d.parts[i].value = x;
		} else {
			uint32_t inner = 0;
			x = decode_value(&d, u, &inner);
			if (x == PENDING) { /* a pointer to a pointer: they are one here */
				PyErr_SetString(PyExc_NotImplementedError, "everheap: pointers to pointers");
				x = NULL;
			}
			d.parts[i].value = x;
		}
		if (!x) {
			if (v != PENDING) Py_DECREF(v);
			v = NULL;
		}
	}
	if (v && settle(&d) < 0) {
		if (v != PENDING) Py_DECREF(v);
		v = NULL;
	}
	if (v == PENDING) v = Py_XNewRef(d.parts[part].value);
	for (Py_ssize_t i = 1; i < d.count; i++) Py_XDECREF(d.parts[i].value);
	for (Py_ssize_t i = 0; i < d.fix_count; i++) {
		Py_DECREF(d.fixups[i].holder);
		Py_XDECREF(d.fixups[i].name);
	}
	if (d.parts != own) PyMem_Free(d.parts);
	PyMem_Free(d.fixups);
	*p = d.p;
	return v;
}

static PyObject *codec_encode(Codec *c, PyObject *v) {
	out_buf o;
	out_init(&o);
	PyObject *b = encode(&o, c->root, v) < 0 ? NULL : PyBytes_FromStringAndSize(o.p, o.len);
	out_free(&o);
	return b;
}

static PyObject *codec_decode(Codec *c, PyObject *b) {
	if (!PyBytes_Check(b)) {
		PyErr_SetString(PyExc_TypeError, "bytes are expected");
		return NULL;
	}
	const char *p = PyBytes_AS_STRING(b), *end = p + PyBytes_GET_SIZE(b);
	PyObject *v = decode(c->root, &p, end);
	if (v && p != end) {
		PyErr_SetString(PyExc_SystemError, "everheap: bytes follow the value");
		Py_CLEAR(v);
	}
	return v;
}

static PyMethodDef codec_methods[] = {
	{"encode", (PyCFunction)codec_encode, METH_O, "encode(value): the binary form of a value."},
	{"decode", (PyCFunction)codec_decode, METH_O, "decode(bytes): the value with a binary form."},
	{NULL},
};

static PyTypeObject CodecType = {
	PyVarObject_HEAD_INIT(NULL, 0)
	.tp_name = "everheap._everheap.Codec",
	.tp_basicsize = sizeof(Codec),
	.tp_flags = Py_TPFLAGS_DEFAULT,
	.tp_new = codec_new,
	.tp_dealloc = (destructor)codec_dealloc,
	.tp_methods = codec_methods,
	.tp_doc = "How values of a type are encoded.",
};

/* ---- spaces and transactions ---- */

typedef struct {
	unsigned long thread;
	long txn;
	int writes;
} current;

/* A Core is an open space: its handle, and which thread is in which transaction. */
typedef struct {
	PyObject_HEAD
	long handle; /* 0: closed */
	int durable;
	int lent; /* memoryviews of all its views */
	Py_ssize_t count, cap;
	current *txs;
	PyObject *weak;
} Core;

static PyTypeObject CoreType;

static PyObject *core_new(PyTypeObject *type, PyObject *args, PyObject *kw) {
	long handle;
	int durable;
	if (!PyArg_ParseTuple(args, "li", &handle, &durable)) return NULL;
	Core *c = (Core *)type->tp_alloc(type, 0);
	if (c) c->handle = handle, c->durable = durable;
	return (PyObject *)c;
}

static void core_dealloc(Core *c) {
	if (c->weak) PyObject_ClearWeakRefs((PyObject *)c);
	PyMem_Free(c->txs);
	Py_TYPE(c)->tp_free((PyObject *)c);
}

/* innermost returns the transaction that this thread is in; 0: none. */
static inline long innermost(Core *c) {
	if (c->count == 0) return 0;
	unsigned long me = PyThread_get_thread_ident();
	for (Py_ssize_t i = c->count - 1; i >= 0; i--)
		if (c->txs[i].thread == me) return c->txs[i].txn;
	return 0;
}

/* usable raises an error unless the space can be used. */
static int usable(Core *c) {
	if (is_forked()) return 0;
	if (c->handle) return 1;
	PyObject *x = PyObject_CallFunction(raise_error, "ss", "Closed", "everheap: the space is closed");
	Py_XDECREF(x);
	return 0;
}

/* operate(handle, operation, arguments): one of the library's operations, which may wait: it
   can be interrupted (PY4). */
static PyObject *operate(PyObject *module, PyObject *args) {
	long handle, id = 0;
	const char *op, *text;
	Py_ssize_t on, n;
	if (!PyArg_ParseTuple(args, "ls#s#", &handle, &op, &on, &text, &n)) return NULL;
	if (is_forked()) return NULL;
	result_buf r;
	result_init(&r);
	int code;
	Py_BEGIN_ALLOW_THREADS
	code = ehCall(handle, (char *)op, on, (char *)text, n, &id, &r.b);
	Py_END_ALLOW_THREADS
	int interrupted = 0;
	PyObject *type = NULL, *value = NULL, *trace = NULL;
	while (code == EH_AGAIN) {
		if (!interrupted && PyErr_CheckSignals() < 0) {
			interrupted = 1;
			PyErr_Fetch(&type, &value, &trace);
			ehCancel(id);
		}
		if (is_forked()) return NULL;
		Py_BEGIN_ALLOW_THREADS
		code = ehAwait(id, &r.b);
		Py_END_ALLOW_THREADS
	}
	if (interrupted) {
		result_free(&r);
		PyErr_Restore(type, value, trace);
		return NULL;
	}
	if (code != EH_OK) return failed(&r);
	PyObject *b = PyBytes_FromStringAndSize(r.b.data, r.b.len);
	result_free(&r);
	return b;
}

/* A Tx is one transaction of one thread. */
typedef struct {
	PyObject_HEAD
	Core *core;
	long txn; /* 0: ended */
	int writes;
	int lent;  /* memoryviews of its bytes */
	int ended; /* the program has ended it, and memoryviews keep it */
} Tx;

static PyTypeObject TxType;

/* leave makes a transaction none of its thread any more. */
static void leave(Core *c, long txn) {
	for (Py_ssize_t i = 0; i < c->count; i++) {
		if (c->txs[i].txn != txn) continue;
		memmove(&c->txs[i], &c->txs[i + 1], (c->count - i - 1) * sizeof *c->txs);
		c->count--;
		return;
	}
}

/* begin(kind, checkpoint): a transaction of this thread. */
static PyObject *core_begin(Core *c, PyObject *args) {
	int kind;
	const char *name;
	Py_ssize_t n;
	if (!PyArg_ParseTuple(args, "is#", &kind, &name, &n)) return NULL;
	if (!usable(c)) return NULL;
	unsigned long me = PyThread_get_thread_ident();
	int writes = kind == EH_UPDATE || kind == EH_DURABLE;
	for (Py_ssize_t i = 0; i < c->count; i++) {
		if (c->txs[i].thread != me || !writes || !c->txs[i].writes) continue;
		PyObject *x = PyObject_CallFunction(raise_error, "ss", "Self",
			"everheap: this thread is in an update() of the space already, and all that it does is part of that one; leave it first");
		Py_XDECREF(x);
		return NULL;
	}
	if (c->count == c->cap) {
		Py_ssize_t cap = c->cap ? 2 * c->cap : 4;
		current *p = PyMem_Realloc(c->txs, cap * sizeof *p);
		if (!p) return PyErr_NoMemory();
		c->txs = p;
		c->cap = cap;
	}
	Tx *t = PyObject_New(Tx, &TxType);
	if (!t) return NULL;
	t->core = (Core *)Py_NewRef((PyObject *)c);
	t->txn = 0;
	t->writes = writes;
	t->lent = t->ended = 0;
	result_buf r;
	result_init(&r);
	long txn = 0;
	int code;
	Py_BEGIN_ALLOW_THREADS
	code = ehBegin(c->handle, kind, (char *)name, n, &txn, &r.b);
	Py_END_ALLOW_THREADS
	while (code == EH_AGAIN) {
		if (PyErr_CheckSignals() < 0) {
			Py_BEGIN_ALLOW_THREADS
			ehEnd(txn, 0, &r.b);
			Py_END_ALLOW_THREADS
			result_free(&r);
			Py_DECREF(t);
			return NULL;
		}
		Py_BEGIN_ALLOW_THREADS
		code = ehBegun(txn, &r.b);
		Py_END_ALLOW_THREADS
	}
	if (code != EH_OK) {
		Py_DECREF(t);
		return failed(&r);
	}
	t->txn = txn;
	if (c->count == c->cap) { /* other threads have begun meanwhile */
		current *p = PyMem_Realloc(c->txs, 2 * c->cap * sizeof *p);
		if (!p) {
			Py_DECREF(t);
			return PyErr_NoMemory();
		}
		c->txs = p;
		c->cap *= 2;
	}
	c->txs[c->count].thread = me;
	c->txs[c->count].txn = txn;
	c->txs[c->count++].writes = writes;
	return (PyObject *)t;
}

/* end_now ends a transaction in the library. */
static int end_now(Tx *t, int commit) {
	result_buf r;
	result_init(&r);
	long txn = t->txn;
	int code;
	t->txn = 0;
	Py_BEGIN_ALLOW_THREADS
	code = ehEnd(txn, commit, &r.b);
	Py_END_ALLOW_THREADS
	if (code == EH_OK) return 0;
	failed(&r);
	return -1;
}

/* end(commit) commits or aborts. */
static PyObject *tx_end(Tx *t, PyObject *arg) {
	int commit = PyObject_IsTrue(arg);
	if (commit < 0 || is_forked()) return NULL;
	if (!t->txn || t->ended) {
		if (commit && !t->ended) {
			PyObject *x = PyObject_CallFunction(raise_error, "ss", "Closed", "everheap: the transaction has ended");
			Py_XDECREF(x);
			return NULL;
		}
		Py_RETURN_NONE;
	}
	leave(t->core, t->txn);
	if (t->lent) {
		t->ended = 1;
		Py_RETURN_NONE;
	}
	if (end_now(t, commit) < 0) return NULL;
	Py_RETURN_NONE;
}

static void tx_dealloc(Tx *t) {
	if (t->txn && !forked) {
		PyObject *type, *value, *trace;
		PyErr_Fetch(&type, &value, &trace);
		leave(t->core, t->txn);
		if (end_now(t, 0) < 0) PyErr_Clear();
		PyErr_Restore(type, value, trace);
	}
	Py_DECREF(t->core);
	PyObject_Free(t);
}

static PyObject *tx_open(Tx *t, void *closure) { return is_forked() ? NULL : PyBool_FromLong(t->txn && !t->ended && t->core->handle); }
static PyObject *tx_number(Tx *t, void *closure) { return PyLong_FromLong(t->txn); }
static PyObject *tx_writes(Tx *t, void *closure) { return PyBool_FromLong(t->writes); }

static PyMethodDef tx_methods[] = {{"end", (PyCFunction)tx_end, METH_O, "end(commit)"}, {NULL}};
static PyGetSetDef tx_getset[] = {
	{"open", (getter)tx_open, NULL, "whether it has not ended", NULL},
	{"txn", (getter)tx_number, NULL, "its handle", NULL},
	{"writes", (getter)tx_writes, NULL, "whether it is an update", NULL},
	{NULL},
};

static PyTypeObject TxType = {
	PyVarObject_HEAD_INIT(NULL, 0)
	.tp_name = "everheap._everheap.Tx",
	.tp_basicsize = sizeof(Tx),
	.tp_flags = Py_TPFLAGS_DEFAULT,
	.tp_dealloc = (destructor)tx_dealloc,
	.tp_methods = tx_methods,
	.tp_getset = tx_getset,
};

static PyObject *core_innermost(Core *c, PyObject *unused) { return PyLong_FromLong(innermost(c)); }

static PyMethodDef core_methods[] = {
	{"begin", (PyCFunction)core_begin, METH_VARARGS, "begin(kind, checkpoint): a transaction of this thread."},
	{"innermost", (PyCFunction)core_innermost, METH_NOARGS, "innermost(): the transaction that this thread is in."},
	{NULL},
};

static PyMemberDef core_members[] = {
	{"handle", T_LONG, offsetof(Core, handle), 0, NULL},
	{"durable", T_INT, offsetof(Core, durable), READONLY, NULL},
	{"lent", T_INT, offsetof(Core, lent), READONLY, NULL},
	{"__weaklistoffset__", T_PYSSIZET, offsetof(Core, weak), READONLY, NULL},
	{NULL},
};

static PyTypeObject CoreType = {
	PyVarObject_HEAD_INIT(NULL, 0)
	.tp_name = "everheap._everheap.Core",
	.tp_basicsize = sizeof(Core),
	.tp_flags = Py_TPFLAGS_DEFAULT,
	.tp_new = core_new,
	.tp_dealloc = (destructor)core_dealloc,
	.tp_weaklistoffset = offsetof(Core, weak),
	.tp_methods = core_methods,
	.tp_members = core_members,
};

/* ---- lent bytes ---- */

typedef struct {
	PyObject_HEAD
	Tx *tx;
	char *data;
	Py_ssize_t len;
} Lent;

static int lent_get(Lent *l, Py_buffer *view, int flags) {
	if (PyBuffer_FillInfo(view, (PyObject *)l, l->data ? l->data : "", l->len, 1, flags) < 0) return -1;
	l->tx->lent++;
	l->tx->core->lent++;
	return 0;
}

static void lent_release(Lent *l, Py_buffer *view) {
	l->tx->core->lent--;
	if (--l->tx->lent == 0 && l->tx->ended && l->tx->txn && !forked) {
		PyObject *type, *value, *trace;
		PyErr_Fetch(&type, &value, &trace);
		if (end_now(l->tx, 0) < 0) PyErr_Clear();
		PyErr_Restore(type, value, trace);
	}
}

static void lent_dealloc(Lent *l) {
	Py_DECREF(l->tx);
	PyObject_Free(l);
}

static PyBufferProcs lent_buffer = {(getbufferproc)lent_get, (releasebufferproc)lent_release};

static PyTypeObject LentType = {
	PyVarObject_HEAD_INIT(NULL, 0)
	.tp_name = "everheap._everheap.Lent",
	.tp_basicsize = sizeof(Lent),
	.tp_flags = Py_TPFLAGS_DEFAULT,
	.tp_dealloc = (destructor)lent_dealloc,
	.tp_as_buffer = &lent_buffer,
};

/* ---- collections ---- */

typedef struct {
	PyObject_HEAD
	Core *core;
	long handle;
	Codec *key_codec, *value_codec;
	node *key, *value; /* key is NULL if there are no keys */
	PyObject *dict, *weak;
} Collection;

static PyTypeObject CollectionType;

/* bind(core, handle, key codec or None, value codec) makes it lead to a collection. */
static PyObject *collection_bind(Collection *c, PyObject *args) {
	PyObject *core, *key, *value;
	long handle;
	if (!PyArg_ParseTuple(args, "O!lOO!", &CoreType, &core, &handle, &key, &CodecType, &value)) return NULL;
	if (key != Py_None && !PyObject_TypeCheck(key, &CodecType)) {
		PyErr_SetString(PyExc_TypeError, "a Codec is expected");
		return NULL;
	}
	if (c->core) {
		PyErr_SetString(PyExc_RuntimeError, "it leads to a collection already");
		return NULL;
	}
	c->core = (Core *)Py_NewRef(core);
	c->handle = handle;
	c->value_codec = (Codec *)Py_NewRef(value);
	c->value = c->value_codec->root;
	if (key != Py_None) {
		c->key_codec = (Codec *)Py_NewRef(key);
		c->key = c->key_codec->root;
	}
	Py_RETURN_NONE;
}

static int collection_traverse(Collection *c, visitproc visit, void *arg) {
	Py_VISIT(c->dict);
	return 0;
}

static int collection_clear(Collection *c) {
	Py_CLEAR(c->dict);
	return 0;
}

static void collection_dealloc(Collection *c) {
	PyObject_GC_UnTrack(c);
	if (c->weak) PyObject_ClearWeakRefs((PyObject *)c);
	if (c->handle && !forked) ehFree(c->handle);
	Py_XDECREF(c->core);
	Py_XDECREF(c->key_codec);
	Py_XDECREF(c->value_codec);
	Py_XDECREF(c->dict);
	Py_TYPE(c)->tp_free((PyObject *)c);
}

static int ready(Collection *c) {
	if (!c->core) {
		PyErr_SetString(PyExc_RuntimeError, "everheap: it leads to no collection; make it with methods of Space");
		return 0;
	}
	return usable(c->core);
}

static int encode_key(Collection *c, out_buf *o, PyObject *key) {
	out_init(o);
	if (!c->key) return 0;
	return encode(o, c->key, key);
}

/* get returns the value of a key; NULL without an error if there is none. */
static PyObject *get(Collection *c, PyObject *key) {
	if (!ready(c)) return NULL;
	out_buf k;
	result_buf r;
	result_init(&r);
	if (encode_key(c, &k, key) < 0) {
		out_free(&k);
		return NULL;
	}
	long txn = innermost(c->core);
	int code = ehGet(c->handle, txn, c->key ? k.p : NULL, k.len, &r.b);
	out_free(&k);
	if (code == EH_MISSING) return NULL;
	if (code != EH_OK) return failed(&r);
	const char *p = r.b.data;
	PyObject *v = decode(c->value, &p, r.b.data + r.b.len);
	result_free(&r);
	return v;
}

static PyObject *raise_missing(PyObject *key) {
	PyObject *name = PyUnicode_FromString("Missing");
	if (name) {
		PyObject *x = PyObject_CallFunctionObjArgs(raise_error, name, key, NULL);
		Py_XDECREF(x);
		Py_DECREF(name);
	}
	return NULL;
}

static PyObject *collection_subscript(Collection *c, PyObject *key) {
	if (PySlice_Check(key)) return PyObject_CallMethod((PyObject *)c, "_slice", "O", key);
	PyObject *v = get(c, key);
	return v || PyErr_Occurred() ? v : raise_missing(key);
}

static PyObject *collection_get(Collection *c, PyObject *args) {
	PyObject *key, *missing = Py_None;
	if (!PyArg_UnpackTuple(args, "get", 1, 2, &key, &missing)) return NULL;
	PyObject *v = get(c, key);
	return v || PyErr_Occurred() ? v : Py_NewRef(missing);
}

/* writing runs a call that may wait: first without waiting, then in moments. It is EH_AGAIN
   with an exception if the program was interrupted. */
#define WRITING(core, code, call) do { \
		long txn = innermost(core); \
		int wait = 0; \
		if (!(core)->durable) { code = (call); } \
		else { Py_BEGIN_ALLOW_THREADS code = (call); Py_END_ALLOW_THREADS } \
		wait = 1; \
		while (code == EH_AGAIN && PyErr_CheckSignals() == 0) { \
			Py_BEGIN_ALLOW_THREADS code = (call); Py_END_ALLOW_THREADS \
		} \
	} while (0)

static int set(Collection *c, PyObject *key, PyObject *value) {
	out_buf k, v;
	result_buf r;
	result_init(&r);
	if (!ready(c)) return -1;
	if (encode_key(c, &k, key) < 0) {
		out_free(&k);
		return -1;
	}
	out_init(&v);
	int code = EH_AGAIN;
	if (encode(&v, c->value, value) == 0)
		WRITING(c->core, code, ehSet(c->handle, txn, wait, c->key ? k.p : NULL, k.len, v.p, v.len, &r.b));
	out_free(&k);
	out_free(&v);
	if (code == EH_OK) return 0;
	if (code == EH_ERROR) failed(&r);
	return -1;
}

/* delete returns 1 if the key was there, 0 if not. */
static int delete(Collection *c, PyObject *key) {
	out_buf k;
	result_buf r;
	result_init(&r);
	if (!ready(c)) return -1;
	if (encode_key(c, &k, key) < 0) {
		out_free(&k);
		return -1;
	}
	int code = EH_AGAIN;
	WRITING(c->core, code, ehDelete(c->handle, txn, wait, c->key ? k.p : NULL, k.len, &r.b));
	out_free(&k);
	if (code == EH_OK) return 1;
	if (code == EH_MISSING) return 0;
	if (code == EH_ERROR) failed(&r);
	return -1;
}

static int collection_ass_subscript(Collection *c, PyObject *key, PyObject *value) {
	if (value) return set(c, key, value);
	if (PySlice_Check(key)) {
		PyObject *x = PyObject_CallMethod((PyObject *)c, "_delete_slice", "O", key);
		Py_XDECREF(x);
		return x ? 0 : -1;
	}
	int r = delete(c, key);
	if (r == 0) raise_missing(key);
	return r == 1 ? 0 : -1;
}

static PyObject *collection_discard(Collection *c, PyObject *key) {
	int r = delete(c, key);
	return r < 0 ? NULL : PyBool_FromLong(r);
}

static Py_ssize_t collection_length(Collection *c) {
	result_buf r;
	result_init(&r);
	if (!ready(c)) return -1;
	long n = 0;
	if (ehLen(c->handle, innermost(c->core), &n, &r.b) == EH_OK) return n;
	failed(&r);
	return -1;
}

static int collection_contains(Collection *c, PyObject *key) {
	out_buf k;
	result_buf r;
	result_init(&r);
	if (!ready(c)) return -1;
	if (encode_key(c, &k, key) < 0) {
		out_free(&k);
		return -1;
	}
	int has = 0, code = ehHas(c->handle, innermost(c->core), k.p, k.len, &has, &r.b);
	out_free(&k);
	if (code == EH_OK) return has;
	failed(&r);
	return -1;
}

static PyObject *collection_rank(Collection *c, PyObject *key) {
	out_buf k;
	result_buf r;
	result_init(&r);
	if (!ready(c)) return NULL;
	if (encode_key(c, &k, key) < 0) {
		out_free(&k);
		return NULL;
	}
	long n = 0;
	int code = ehRank(c->handle, innermost(c->core), k.p, k.len, &n, &r.b);
	out_free(&k);
	return code == EH_OK ? PyLong_FromLong(n) : failed(&r);
}

/* entry returns the key and the value in a result. */
static PyObject *entry(Collection *c, const char **p, const char *end) {
	PyObject *k = decode(c->key, p, end);
	if (!k) return NULL;
	PyObject *v = decode(c->value, p, end);
	PyObject *pair = v ? PyTuple_New(2) : NULL;
	if (!pair) {
		Py_DECREF(k);
		Py_XDECREF(v);
		return NULL;
	}
	PyTuple_SET_ITEM(pair, 0, k);
	PyTuple_SET_ITEM(pair, 1, v);
	return pair;
}

static PyObject *collection_nth(Collection *c, PyObject *arg) {
	result_buf r;
	result_init(&r);
	long i = PyLong_AsLong(arg);
	if ((i == -1 && PyErr_Occurred()) || !ready(c)) return NULL;
	int code = ehNth(c->handle, innermost(c->core), i, &r.b);
	if (code == EH_MISSING) return raise_missing(arg);
	if (code != EH_OK) return failed(&r);
	const char *p = r.b.data;
	PyObject *v = entry(c, &p, p + r.b.len);
	result_free(&r);
	return v;
}

/* packed appends a value with its length before it. */
static int packed(out_buf *o, node *t, PyObject *v) {
	size_t at = o->len;
	if (out_u32(o, 0) || encode(o, t, v) < 0) return -1;
	uint32_t n = (uint32_t)(o->len - at - 4);
	memcpy(o->p + at, &n, 4);
	return 0;
}

/* set_many(pairs): one transaction, one crossing. */
static PyObject *collection_set_many(Collection *c, PyObject *pairs) {
	out_buf o;
	result_buf r;
	result_init(&r);
	if (!ready(c)) return NULL;
	out_init(&o);
	long n = 0;
	PyObject *it = PyObject_GetIter(pairs), *pair;
	if (!it) return NULL;
	while ((pair = PyIter_Next(it))) {
		PyObject *two = pair;
		if (!PyTuple_CheckExact(pair)) {
			two = PySequence_Fast(pair, "pairs of a key and a value are expected");
			Py_DECREF(pair);
			if (!two) break;
		}
		int bad = PySequence_Fast_GET_SIZE(two) != 2;
		if (bad) PyErr_SetString(PyExc_ValueError, "pairs of a key and a value are expected");
		else bad = packed(&o, c->key, PySequence_Fast_GET_ITEM(two, 0)) || packed(&o, c->value, PySequence_Fast_GET_ITEM(two, 1));
		Py_DECREF(two);
		if (bad) break;
		n++;
	}
	Py_DECREF(it);
	int code = EH_AGAIN;
	if (!PyErr_Occurred()) {
		if (n == 0) code = EH_OK;
		else {
			long txn = innermost(c->core);
			do {
				Py_BEGIN_ALLOW_THREADS
				code = ehSetAll(c->handle, txn, 1, o.p, o.len, n, &r.b);
				Py_END_ALLOW_THREADS
			} while (code == EH_AGAIN && PyErr_CheckSignals() == 0);
		}
	}
	out_free(&o);
	if (code == EH_OK) Py_RETURN_NONE;
	return code == EH_ERROR ? failed(&r) : NULL;
}

/* extend(values): adds them at the end of a list, in one transaction. */
static PyObject *collection_extend(Collection *c, PyObject *values) {
	out_buf o;
	result_buf r;
	result_init(&r);
	if (!ready(c)) return NULL;
	out_init(&o);
	long n = 0;
	PyObject *it = PyObject_GetIter(values), *v;
	if (!it) return NULL;
	while ((v = PyIter_Next(it))) {
		int bad = packed(&o, c->value, v);
		Py_DECREF(v);
		if (bad) break;
		n++;
	}
	Py_DECREF(it);
	int code = EH_AGAIN;
	if (!PyErr_Occurred()) {
		if (n == 0) code = EH_OK;
		else WRITING(c->core, code, ehAppend(c->handle, txn, wait, o.p, o.len, n, &r.b));
	}
	out_free(&o);
	if (code == EH_OK) Py_RETURN_NONE;
	return code == EH_ERROR ? failed(&r) : NULL;
}

/* get_many(keys, default): the values, in one version. */
static PyObject *collection_get_many(Collection *c, PyObject *args) {
	PyObject *keys, *missing = Py_None;
	out_buf o;
	result_buf r;
	result_init(&r);
	if (!PyArg_UnpackTuple(args, "get_many", 1, 2, &keys, &missing) || !ready(c)) return NULL;
	out_init(&o);
	long n = 0;
	PyObject *it = PyObject_GetIter(keys), *k;
	if (!it) return NULL;
	while ((k = PyIter_Next(it))) {
		int bad = packed(&o, c->key, k);
		Py_DECREF(k);
		if (bad) break;
		n++;
	}
	Py_DECREF(it);
	if (PyErr_Occurred()) {
		out_free(&o);
		return NULL;
	}
	long txn = innermost(c->core);
	int code;
	Py_BEGIN_ALLOW_THREADS
	code = ehGetAll(c->handle, txn, o.p, o.len, n, &r.b);
	Py_END_ALLOW_THREADS
	out_free(&o);
	if (code != EH_OK) return failed(&r);
	const char *p = r.b.data, *end = p + r.b.len;
	PyObject *list = PyList_New(n);
	for (long i = 0; list && i < n; i++) {
		PyObject *v = p < end && *p++ ? decode(c->value, &p, end) : Py_NewRef(missing);
		if (!v) Py_CLEAR(list);
		else PyList_SET_ITEM(list, i, v);
	}
	result_free(&r);
	return list;
}

/* peek(tx, key): a memoryview of the stored bytes. */
static PyObject *collection_peek(Collection *c, PyObject *args) {
	Tx *tx;
	PyObject *key;
	out_buf k;
	result_buf r;
	result_init(&r);
	if (!PyArg_ParseTuple(args, "O!O", &TxType, &tx, &key) || !ready(c)) return NULL;
	if (tx->core != c->core || !tx->txn || tx->ended) {
		PyObject *x = PyObject_CallFunction(raise_error, "ss", "Closed", "everheap: the view has ended, or is one of another space");
		Py_XDECREF(x);
		return NULL;
	}
	if (encode_key(c, &k, key) < 0) {
		out_free(&k);
		return NULL;
	}
	Lent *l = PyObject_New(Lent, &LentType);
	if (!l) {
		out_free(&k);
		return NULL;
	}
	l->tx = (Tx *)Py_NewRef((PyObject *)tx);
	l->data = NULL;
	size_t len = 0;
	int code = ehPeek(c->handle, tx->txn, c->key ? k.p : NULL, k.len, &l->data, &len, &r.b);
	l->len = len;
	out_free(&k);
	PyObject *view = NULL;
	if (code == EH_OK) view = PyMemoryView_FromObject((PyObject *)l);
	else if (code == EH_MISSING) raise_missing(key);
	else failed(&r);
	Py_DECREF(l);
	return view;
}

/* ---- iteration ---- */

typedef struct {
	PyObject_HEAD
	Collection *c;
	long walk; /* 0: over */
	int flags;
	int busy; /* a thread waits for the next entries */
	result_buf r;
	const char *p, *end;
	uint32_t left;
} Walk;

static PyTypeObject WalkType;

/* walk(flags, from, to): an iterator of keys, values or entries. */
static PyObject *collection_walk(Collection *c, PyObject *args) {
	int flags;
	PyObject *from = Py_None, *to = Py_None;
	if (!PyArg_ParseTuple(args, "i|OO", &flags, &from, &to) || !ready(c)) return NULL;
	out_buf f, t;
	result_buf r;
	out_init(&f);
	out_init(&t);
	result_init(&r);
	long walk = 0;
	int code = EH_AGAIN;
	if (flags & EH_PREFIX) {
		Py_ssize_t n;
		const char *s = PyUnicode_Check(from) ? PyUnicode_AsUTF8AndSize(from, &n) : NULL;
		if (!s) {
			if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "a prefix is a str");
			goto out;
		}
		if (out_bytes(&f, s, n) < 0) goto out;
	} else if (flags & EH_FROM && encode(&f, c->key, from) < 0) goto out;
	if (flags & EH_TO && encode(&t, c->key, to) < 0) goto out;
	code = ehWalk(c->handle, innermost(c->core), flags, f.p, f.len, t.p, t.len, &walk, &r.b);
out:
	out_free(&f);
	out_free(&t);
	if (code == EH_AGAIN) return NULL;
	if (code != EH_OK) return failed(&r);
	Walk *w = PyObject_New(Walk, &WalkType);
	if (!w) {
		ehWalked(walk);
		return NULL;
	}
	w->c = (Collection *)Py_NewRef((PyObject *)c);
	w->walk = walk;
	w->flags = flags;
	w->busy = 0;
	result_init(&w->r);
	w->p = w->end = NULL;
	w->left = 0;
	return (PyObject *)w;
}

static void walk_end(Walk *w) {
	long walk = w->walk;
	w->walk = 0;
	result_free(&w->r);
	w->left = 0;
	if (!walk || forked) return;
	Py_BEGIN_ALLOW_THREADS
	ehWalked(walk);
	Py_END_ALLOW_THREADS
}

static void walk_dealloc(Walk *w) {
	walk_end(w);
	Py_DECREF(w->c);
	PyObject_Free(w);
}

static PyObject *walk_next(Walk *w) {
	if (!w->left) {
		if (!w->walk || is_forked()) return NULL;
		if (w->busy) {
			PyErr_SetString(PyExc_ValueError, "everheap: another thread waits for the next entry of this iterator");
			return NULL;
		}
		result_free(&w->r);
		result_buf r;
		result_init(&r);
		int code;
		long walk = w->walk;
		w->busy = 1;
		Py_BEGIN_ALLOW_THREADS
		code = ehNext(walk, &r.b);
		Py_END_ALLOW_THREADS
		w->busy = 0;
		if (code == EH_ERROR) {
			failed(&r);
			PyObject *type, *value, *trace;
			PyErr_Fetch(&type, &value, &trace);
			walk_end(w);
			PyErr_Restore(type, value, trace);
			return NULL;
		}
		if (code == EH_END) {
			walk_end(w);
			return NULL;
		}
		w->r.b = r.b;
		if (r.b.data == r.own) {
			memcpy(w->r.own, r.own, r.b.len);
			w->r.b.data = w->r.own;
		}
		memcpy(&w->left, w->r.b.data, 4);
		w->p = w->r.b.data + 4;
		w->end = w->r.b.data + w->r.b.len;
	}
	w->left--;
	switch (w->flags & (EH_KEYS | EH_VALUES)) {
	case EH_KEYS: return decode(w->c->key, &w->p, w->end);
	case EH_VALUES: return decode(w->c->value, &w->p, w->end);
	}
	return entry(w->c, &w->p, w->end);
}

static PyObject *walk_close(Walk *w, PyObject *unused) {
	walk_end(w);
	Py_RETURN_NONE;
}

static PyMethodDef walk_methods[] = {{"close", (PyCFunction)walk_close, METH_NOARGS, "close(): ends it."}, {NULL}};

static PyTypeObject WalkType = {
	PyVarObject_HEAD_INIT(NULL, 0)
	.tp_name = "everheap._everheap.Walk",
	.tp_basicsize = sizeof(Walk),
	.tp_flags = Py_TPFLAGS_DEFAULT,
	.tp_dealloc = (destructor)walk_dealloc,
	.tp_iter = PyObject_SelfIter,
	.tp_iternext = (iternextfunc)walk_next,
	.tp_methods = walk_methods,
};

static PyObject *collection_iter(Collection *c) {
	PyObject *args = Py_BuildValue("(i)", EH_KEYS);
	PyObject *w = args ? collection_walk(c, args) : NULL;
	Py_XDECREF(args);
	return w;
}

/* change(watch): the next change, as (version, more, key, old, new). */
static PyObject *collection_change(Collection *c, PyObject *arg) {
	long watch = PyLong_AsLong(arg);
	if ((watch == -1 && PyErr_Occurred()) || !ready(c)) return NULL;
	result_buf r;
	result_init(&r);
	int code;
	do {
		Py_BEGIN_ALLOW_THREADS
		code = ehChange(watch, &r.b);
		Py_END_ALLOW_THREADS
	} while (code == EH_AGAIN && PyErr_CheckSignals() == 0);
	if (code == EH_AGAIN) return NULL;
	if (code != EH_OK) return failed(&r);
	const char *p = r.b.data + 9, *end = r.b.data + r.b.len;
	int flags = r.b.data[8];
	uint64_t version;
	memcpy(&version, r.b.data, 8);
	PyObject *part[3] = {NULL, NULL, NULL};
	int ok = 1;
	for (int i = 0; i < 3 && ok; i++) {
		part[i] = flags & 1 << i ? decode(i == 0 ? c->key : c->value, &p, end) : Py_NewRef(Py_None);
		ok = part[i] != NULL;
	}
	PyObject *t = ok ? Py_BuildValue("KOOOO", (unsigned long long)version, flags & 8 ? Py_True : Py_False, part[0], part[1], part[2]) : NULL;
	for (int i = 0; i < 3; i++) Py_XDECREF(part[i]);
	result_free(&r);
	return t;
}

static PyMethodDef collection_methods[] = {
	{"_bind", (PyCFunction)collection_bind, METH_VARARGS, NULL},
	{"get", (PyCFunction)collection_get, METH_VARARGS, "get(key, default=None): the value of a key."},
	{"_discard", (PyCFunction)collection_discard, METH_O, NULL},
	{"_rank", (PyCFunction)collection_rank, METH_O, NULL},
	{"_nth", (PyCFunction)collection_nth, METH_O, NULL},
	{"_set_many", (PyCFunction)collection_set_many, METH_O, NULL},
	{"_extend", (PyCFunction)collection_extend, METH_O, NULL},
	{"get_many", (PyCFunction)collection_get_many, METH_VARARGS, "get_many(keys, default=None): a list of the values of keys, in one version and one crossing."},
	{"_peek", (PyCFunction)collection_peek, METH_VARARGS, NULL},
	{"_walk", (PyCFunction)collection_walk, METH_VARARGS, NULL},
	{"_change", (PyCFunction)collection_change, METH_O, NULL},
	{NULL},
};

static PyMappingMethods collection_mapping = {(lenfunc)collection_length, (binaryfunc)collection_subscript, (objobjargproc)collection_ass_subscript};
static PySequenceMethods collection_sequence = {.sq_contains = (objobjproc)collection_contains};

static PyTypeObject CollectionType = {
	PyVarObject_HEAD_INIT(NULL, 0)
	.tp_name = "everheap._everheap.Collection",
	.tp_basicsize = sizeof(Collection),
	.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
	.tp_new = PyType_GenericNew,
	.tp_dealloc = (destructor)collection_dealloc,
	.tp_traverse = (traverseproc)collection_traverse,
	.tp_clear = (inquiry)collection_clear,
	.tp_weaklistoffset = offsetof(Collection, weak),
	.tp_dictoffset = offsetof(Collection, dict),
	.tp_methods = collection_methods,
	.tp_as_mapping = &collection_mapping,
	.tp_as_sequence = &collection_sequence,
	.tp_iter = (getiterfunc)collection_iter,
};

/* ---- the module ---- */

static PyObject *setup(PyObject *module, PyObject *args) {
	PyObject *raise, *refuse;
	if (!PyArg_ParseTuple(args, "OO", &raise, &refuse)) return NULL;
	raise_error = Py_NewRef(raise);
	refuse_value = Py_NewRef(refuse);
	Py_RETURN_NONE;
}

static PyObject *nothing(PyObject *module, PyObject *arg) { return PyLong_FromLong(ehNothing(1, 2)); }

static PyObject *unwatch(PyObject *module, PyObject *arg) {
	long watch = PyLong_AsLong(arg);
	if (watch == -1 && PyErr_Occurred()) return NULL;
	if (!forked) {
		Py_BEGIN_ALLOW_THREADS
		ehWatched(watch);
		Py_END_ALLOW_THREADS
	}
	Py_RETURN_NONE;
}

static PyObject *in_fork(PyObject *module, PyObject *unused) {
	forked = 1;
	Py_RETURN_NONE;
}

static PyMethodDef module_methods[] = {
	{"setup", setup, METH_VARARGS, "setup(raise_error, refuse)"},
	{"operate", operate, METH_VARARGS, "operate(handle, operation, arguments): JSON to JSON."},
	{"unwatch", unwatch, METH_O, "unwatch(watch)"},
	{"nothing", nothing, METH_NOARGS, "nothing(): what a call of the library costs."},
	{"in_fork", in_fork, METH_NOARGS, "in_fork(): this process is a fork."},
	{NULL},
};

static struct PyModuleDef module_def = {PyModuleDef_HEAD_INIT, "_everheap", "The library, for the package everheap.", -1, module_methods};

PyMODINIT_FUNC PyInit__everheap(void) {
	PyDateTime_IMPORT;
	if (!PyDateTimeAPI || !(empty_tuple = PyTuple_New(0))) return NULL;
	PyTypeObject *types[] = {&CodecType, &CoreType, &TxType, &LentType, &CollectionType, &WalkType};
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (PyType_Ready(types[i]) < 0) return NULL;
	PyObject *m = PyModule_Create(&module_def);
	if (!m) return NULL;
	PyModule_AddObject(m, "Codec", Py_NewRef((PyObject *)&CodecType));
	PyModule_AddObject(m, "Core", Py_NewRef((PyObject *)&CoreType));
	PyModule_AddObject(m, "Collection", Py_NewRef((PyObject *)&CollectionType));
	pthread_atfork(NULL, NULL, in_child);
	return m;
}
