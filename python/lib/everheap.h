/* What the exported functions of the library and their callers share. */
#ifndef EVERHEAP_TYPES_H
#define EVERHEAP_TYPES_H

#include <stddef.h>
#include <stdint.h>

/* A buffer that the library fills: the caller sets data and cap to memory of its own. What does
   not fit is put into memory of malloc, to which data points then: the caller frees it. */
typedef struct {
	char *data;
	size_t len, cap;
} eh_buf;

/* What the functions return. With EH_ERROR the buffer holds the name of the error, a zero byte
   and the message. */
enum { EH_OK = 0, EH_ERROR = 1, EH_MISSING = 2, EH_AGAIN = 3, EH_END = 4 };

/* What an iteration returns of each entry, and how it walks. */
enum { EH_KEYS = 1, EH_VALUES = 2, EH_BACK = 4, EH_PREFIX = 8, EH_FROM = 16, EH_TO = 32, EH_AFTER_FROM = 64, EH_AFTER_TO = 128 };

/* What a transaction is. */
enum { EH_VIEW = 0, EH_UPDATE = 1, EH_VIEW_AT = 2, EH_DURABLE = 3 };

#endif
