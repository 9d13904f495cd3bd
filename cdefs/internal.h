/* Helpers that several of the C files need. Not installed, and not read by cffi. */
#pragma once
/* The headers declare functions for our own files only: other extensions call them through the table of capi.h. */
#define PERF_EVENT_OPEN_SYS_BUILD
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernel/perf_event.h"

/* For functions that run once or more per sample. Inlined, they keep the record's size in a register, and the compiler
 * turns a division by a constant element size into a shift or a multiplication. */
#define INLINE static inline __attribute__((always_inline))

/* Set errno to `error`; return -1, for the caller to return. */
static inline int fail(int error)
{
    errno = error;
    return -1;
}

/* Read the 64-bit word at `*at`, whatever its alignment, and set `*at` behind it. The caller has checked that all 8
 * bytes belong to the buffer. */
INLINE uint64_t next_word(const char **at)
{
    uint64_t word;

    memcpy(&word, *at, sizeof word);
    *at += sizeof word;
    return word;
}

/* Copy a record's header. Callers check and use this copy only: another thread may change the bytes meanwhile. The
 * fields are copied one by one, since the compiler would copy the whole struct to the stack first. */
INLINE struct perf_event_header read_header(const char *at)
{
    struct perf_event_header header;

    memcpy(&header.type, at, sizeof header.type);
    memcpy(&header.misc, at + offsetof(struct perf_event_header, misc), sizeof header.misc);
    memcpy(&header.size, at + offsetof(struct perf_event_header, size), sizeof header.size);
    return header;
}

/* Records of type 64 and above are not the kernel's: the perf tool adds them to its files (PERF_RECORD_USER_TYPE_START
 * in its sources). Their sizes need not be multiples of 8. */
enum { FIRST_USER_TYPE = 64 };

/* True if the header's size is one that a record of its type can have, and not above `available`, the bytes that are
 * left of the buffer. */
INLINE int header_fits(const struct perf_event_header *header, uint64_t available)
{
    const int aligned = header->size % 8 == 0 || header->type >= FIRST_USER_TYPE;
    return header->size >= sizeof *header && aligned && header->size <= available;
}

/* Read the header of the record at `offset` into `*header`. Returns 1; 0 if `offset` is the buffer's end; or -1 with
 * EBADMSG if no record can begin there. */
INLINE int next_header(const char *buffer, size_t size, size_t offset, struct perf_event_header *header)
{
    if (offset == size)
        return 0;
    if (offset > size || size - offset < sizeof *header)
        return fail(EBADMSG);
    *header = read_header(buffer + offset);
    return header_fits(header, size - offset) ? 1 : fail(EBADMSG);
}

/* records.c: the size in bytes of the struct perf_record_* of a record type; 0 for a type that has no such struct. */
size_t record_body_size(uint32_t type);

/* records.c: true if the record is at least as large as the struct of its type, and no count or length in the record
 * reaches beyond its end. */
int record_is_sound(const char *record, const struct perf_event_header *header);
