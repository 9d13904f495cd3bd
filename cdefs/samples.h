/* Samples: every PERF_RECORD_SAMPLE, and the sample_id_all trailer of other records, as one fixed struct. */
#pragma once
#ifndef CFFI_CDEF
#include <stddef.h>
#include "kernel/perf_event.h"
#endif
#ifdef __cplusplus
extern "C" {
#endif

/* A PERF_RECORD_SAMPLE, or the sample_id_all trailer of another record. `type`, `offset` (in the buffer), `size` and
 * `misc` are those of the record; a fixed field is 0 where the attr does not ask for it. Of a variable field, `_count` is
 * the number of its entries (of `raw`, `user_stack` and `aux`: bytes; of `user_stack` those that the kernel could copy),
 * and `_offset` the place of the first, in bytes from the begin of the buffer. */
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

/* An event whose records are in a buffer. Several must be sorted by id, and their sample_types must put the id at the
 * same place; a single one with the id 0 stands for all records. */
struct records_event {
    uint64_t id;
    const struct perf_event_attr *attr;
};

/* How many samples, or records of any type, there are in the buffer, or before the first bytes that can be no record. */
size_t records_count(const void *buffer, size_t size);
size_t records_count_all(const void *buffer, size_t size);

/* Advise the kernel to use huge pages for an array of `n` samples that is about to be filled, if it is large: faulting
 * it in by small pages costs more than the decoding. */
void records_advise(struct perf_sample *out, size_t n);

/* Decode the samples of the buffer, at most `n`, and pass over other records. Returns how many; `*consumed` is where it
 * stopped: the buffer's end, or the sample that found no room. Or else -1, with `out[0 .. *done)` and all before
 * `*consumed` good: EBADMSG, the record there is corrupt or not of this attr; ENOENT, the sample there has an id that
 * is none of `events`; EINVAL, the attrs' ids are not at the same place. At most 4 GiB. */
long records_parse(const void *buffer, size_t size, const struct records_event *events, size_t n_events,
                   struct perf_sample *out, size_t n, size_t *consumed, size_t *done);

/* As records_parse, but every record is a row: of those that are no samples, the header's fields and what the
 * sample_id_all trailer says. A trailer whose id is that of no event is read by the first attr. perf's own types, and
 * those of attrs without sample_id_all, have no trailer: 0. EBADMSG also where records_next says so, and where a record
 * is too short for its trailer. */
long records_parse_all(const void *buffer, size_t size, const struct records_event *events, size_t n_events,
                       struct perf_sample *out, size_t n, size_t *consumed, size_t *done);

/* The time of a row, and where the row is. */
struct records_key {
    uint64_t time, index;
};

/* Sort rows by time, in place; those of one time keep their order. Fast where the rows are a few runs in order, as the
 * records of each ring are. `scratch` has room for 2 * n keys. */
void records_sort(struct perf_sample *rows, size_t n, struct records_key *scratch);

/* One field of struct perf_sample, of `size` bytes at the offset `field` in it, for which `out` is an array. */
struct records_column {
    void *out;
    uint32_t field, size;
};

/* As records_parse, into arrays of single fields instead of rows, at most `n` of each. */
long records_columns(const void *buffer, size_t size, const struct records_event *events, size_t n_events,
                     const struct records_column *columns, size_t n_columns, size_t n, size_t *consumed, size_t *done);

/* Decode the sample_id_all trailer of the record that begins the buffer: 0, or -1 as records_parse. */
int records_sample_id(const void *buffer, size_t size, const struct records_event *events, size_t n_events,
                      struct perf_sample *out);

#ifdef __cplusplus
}
#endif
