/* Samples: every PERF_RECORD_SAMPLE, and the sample_id_all trailer of other records, as one fixed struct. */
#pragma once
#ifndef CFFI_CDEF
#include <stddef.h>
#include "kernel/perf_event.h"
#endif

/* A PERF_RECORD_SAMPLE, or the sample_id_all trailer of another record. `type`, `size` and `misc` are those of the
 * record's header, `offset` is the record's byte offset in the buffer. A field that the attr does not ask for is 0.
 * Fields of variable length have a `_count`, the number of their entries, and an `_offset`, the byte offset of the
 * first entry from the start of the buffer. An entry of `raw`, `user_stack` and `aux` is a byte; `user_stack_count`
 * counts only what the kernel could copy of the stack. */
struct perf_sample {
    uint64_t id, ip;
    uint32_t pid, tid;
    uint64_t time, addr, stream_id;
    uint64_t period, weight, data_src, transaction;
    uint64_t phys_addr, cgroup, data_page_size, code_page_size;
    uint64_t branch_hw_idx;
    uint32_t cpu;
    uint32_t type, offset;
    uint16_t size, misc;
    uint16_t user_regs_abi, intr_regs_abi;
    uint32_t read_format;
    uint32_t read_count, read_offset;
    uint32_t callchain_count, callchain_offset;
    uint32_t raw_count, raw_offset;
    uint32_t branch_count, branch_offset, branch_counters_offset;
    uint32_t user_regs_count, user_regs_offset;
    uint32_t user_stack_count, user_stack_offset;
    uint32_t intr_regs_count, intr_regs_offset;
    uint32_t aux_count, aux_offset;
};

/* An event whose records are in a buffer. An array of several must be sorted by id, and their sample_types must put the
 * id at the same place of a record. A single event with id 0 matches every record, whatever its id. */
struct records_event {
    uint64_t id;
    const struct perf_event_attr *attr;
};

/* The time of a row, and the row's index in the array before sorting. */
struct records_key {
    uint64_t time, index;
};

/* An array `out` to be filled with one field of struct perf_sample, which is `size` bytes at offset `field` of the
 * struct. */
struct records_column {
    void *out;
    uint32_t field, size;
};

#ifdef PERF_EVENT_OPEN_SYS_BUILD

/* How many samples (records_count), or records of any type (records_count_all), the buffer has up to its end or to the
 * first bytes that can be no record. */
size_t records_count(const void *buffer, size_t size);
size_t records_count_all(const void *buffer, size_t size);

/* If an array of `n` samples has 4 MiB or more, advise the kernel to use huge pages for it. Called before the array is
 * first written: its page faults with small pages cost more time than the decoding. */
void records_advise(struct perf_sample *out, size_t n);

/* Decode the samples of the buffer, at most `n`, into `out`; other records are passed over. Returns how many samples
 * were decoded. `*consumed` is the offset where decoding stopped: the buffer's end, or the first sample for which `out`
 * had no element left. On failure returns -1; out[0 .. *done) has the samples before offset `*consumed`, and errno is
 *   EBADMSG  the record at `*consumed` is corrupt, or is not of this attr;
 *   ENOENT   the sample at `*consumed` has an id that is none of `events`;
 *   EINVAL   the sample_types of `events` put the id at different places, or the buffer has more than 4 GiB. */
long records_parse(const void *buffer, size_t size, const struct records_event *events, size_t n_events,
                   struct perf_sample *out, size_t n, size_t *consumed, size_t *done);

/* As records_parse, but every record becomes an element of `out`. For a record that is no sample, that has the header's
 * fields and those of the sample_id_all trailer; the others are 0. A trailer whose id is no event's is decoded by the
 * first attr. There is no trailer in records of the perf tool's own types (64 and above), nor in any record if the
 * first attr lacks sample_id_all. EBADMSG also means a record that records_next refuses, or one too short for its
 * trailer. */
long records_parse_all(const void *buffer, size_t size, const struct records_event *events, size_t n_events,
                       struct perf_sample *out, size_t n, size_t *consumed, size_t *done);

/* Sort rows by time, in place; rows of the same time keep their order. This is fast if the rows consist of a few runs
 * that are sorted already, as the records of each ring are. `scratch` is memory for 2 * n keys. */
void records_sort(struct perf_sample *rows, size_t n, struct records_key *scratch);

/* As records_parse, but fills an array for each of some fields instead of an array of structs. Each array has `n`
 * elements. */
long records_columns(const void *buffer, size_t size, const struct records_event *events, size_t n_events,
                     const struct records_column *columns, size_t n_columns, size_t n, size_t *consumed, size_t *done);

/* Decode the sample_id_all trailer of the record at the start of the buffer. Returns 0; or -1, with errno as from
 * records_parse. */
int records_sample_id(const void *buffer, size_t size, const struct records_event *events, size_t n_events,
                      struct perf_sample *out);

#endif
