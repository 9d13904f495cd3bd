/* Helpers that several of the C files need. Not installed, and not read by cffi. */
#pragma once
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernel/perf_event.h"

/* In the loop over samples: inlined, the record's size stays in a register, and divisions by constants disappear. */
#define INLINE static inline __attribute__((always_inline))

/* Set errno; return what every function of these files returns on failure. */
static inline int fail(int error)
{
    errno = error;
    return -1;
}

/* Read the word at `*at`, whatever its alignment, and step over it. The caller has checked that it is there. */
INLINE uint64_t next_word(const char **at)
{
    uint64_t word;

    memcpy(&word, *at, sizeof word);
    *at += sizeof word;
    return word;
}

/* Read a header, once: the bytes may change meanwhile, and only this copy is checked and used. Field by field, since a
 * copy of the whole struct would go over the stack. */
INLINE struct perf_event_header read_header(const char *at)
{
    struct perf_event_header header;

    memcpy(&header.type, at, sizeof header.type);
    memcpy(&header.misc, at + offsetof(struct perf_event_header, misc), sizeof header.misc);
    memcpy(&header.size, at + offsetof(struct perf_event_header, size), sizeof header.size);
    return header;
}

/* The first of the types that perf itself adds to its files. The sizes of these need not be multiples of 8. */
enum { FIRST_USER_TYPE = 64 };

/* True if a record of this header can stand where `available` bytes are left. */
INLINE int header_fits(const struct perf_event_header *header, uint64_t available)
{
    const int aligned = header->size % 8 == 0 || header->type >= FIRST_USER_TYPE;
    return header->size >= sizeof *header && aligned && header->size <= available;
}

/* Read the header of the record at `offset`: 1; 0 at the buffer's end; -1 with EBADMSG where no record can be. */
INLINE int next_header(const char *buffer, size_t size, size_t offset, struct perf_event_header *header)
{
    if (offset == size)
        return 0;
    if (offset > size || size - offset < sizeof *header)
        return fail(EBADMSG);
    *header = read_header(buffer + offset);
    return header_fits(header, size - offset) ? 1 : fail(EBADMSG);
}

/* records.c: the size of the struct of a type, 0 where the type has none. */
size_t record_body_size(uint32_t type);

/* records.c: true if the record is as large as its struct, and the counts and lengths inside of it do not go beyond it. */
int record_is_sound(const char *record, const struct perf_event_header *header);
