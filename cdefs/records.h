/* Records: a struct for each body, and samples decoded into one fixed struct. Nothing in the bytes is trusted. */
#pragma once
#ifndef CFFI_CDEF
#include <stddef.h>
#include "kernel/perf_event.h"
#endif
#ifdef __cplusplus
extern "C" {
#endif

/* The fixed part of each record; what the kernel appends (names, the sample_id_all trailer) follows it. */
struct perf_record_mmap {
    struct perf_event_header header;
    uint32_t pid, tid;
    uint64_t addr, len, pgoff;
    char filename[];
};
struct perf_record_lost {
    struct perf_event_header header;
    uint64_t id, lost;
};
struct perf_record_comm {
    struct perf_event_header header;
    uint32_t pid, tid;
    char comm[];
};
struct perf_record_exit {
    struct perf_event_header header;
    uint32_t pid, ppid, tid, ptid;
    uint64_t time;
};
struct perf_record_throttle {
    struct perf_event_header header;
    uint64_t time, id, stream_id;
};
struct perf_record_unthrottle {
    struct perf_event_header header;
    uint64_t time, id, stream_id;
};
struct perf_record_fork {
    struct perf_event_header header;
    uint32_t pid, ppid, tid, ptid;
    uint64_t time;
};
/* `values` is what read(2) returns in the event's read_format. */
struct perf_record_read {
    struct perf_event_header header;
    uint32_t pid, tid;
    uint64_t values[];
};
struct perf_record_sample {
    struct perf_event_header header;
};
/* With PERF_RECORD_MISC_MMAP_BUILD_ID the build id, else the device and inode. */
struct perf_record_mmap2 {
    struct perf_event_header header;
    uint32_t pid, tid;
    uint64_t addr, len, pgoff;
    union {
        struct {
            uint32_t maj, min;
            uint64_t ino, ino_generation;
        };
        struct {
            uint8_t build_id_size;
            uint8_t __reserved_1;
            uint16_t __reserved_2;
            uint8_t build_id[20];
        };
    };
    uint32_t prot, flags;
    char filename[];
};
struct perf_record_aux {
    struct perf_event_header header;
    uint64_t aux_offset, aux_size, flags;
};
struct perf_record_itrace_start {
    struct perf_event_header header;
    uint32_t pid, tid;
};
struct perf_record_lost_samples {
    struct perf_event_header header;
    uint64_t lost;
};
struct perf_record_switch {
    struct perf_event_header header;
};
struct perf_record_switch_cpu_wide {
    struct perf_event_header header;
    uint32_t next_prev_pid, next_prev_tid;
};
struct perf_record_namespaces {
    struct perf_event_header header;
    uint32_t pid, tid;
    uint64_t nr_namespaces;
    struct perf_ns_link_info link_info[];
};
struct perf_record_ksymbol {
    struct perf_event_header header;
    uint64_t addr;
    uint32_t len;
    uint16_t ksym_type, flags;
    char name[];
};
struct perf_record_bpf_event {
    struct perf_event_header header;
    uint16_t type, flags;
    uint32_t id;
    uint8_t tag[8];
};
struct perf_record_cgroup {
    struct perf_event_header header;
    uint64_t id;
    char path[];
};
struct perf_record_text_poke {
    struct perf_event_header header;
    uint64_t addr;
    uint16_t old_len, new_len;
    uint8_t bytes[];
};
struct perf_record_aux_output_hw_id {
    struct perf_event_header header;
    uint64_t hw_id;
};
struct perf_record_callchain_deferred {
    struct perf_event_header header;
    uint64_t cookie, nr;
    uint64_t ips[];
};

/* A PERF_RECORD_SAMPLE, or a sample_id_all trailer: fixed fields, 0 where the attr does not ask for them. Of what
 * varies, how many there are and where the first begins, in bytes from the buffer's begin: entries of `read`,
 * `callchain`, `branch` and registers, bytes of `raw`, `user_stack` (those that were filled) and `aux`. */
struct perf_sample {
    uint64_t id, ip;
    uint32_t pid, tid;
    uint64_t time, addr, stream_id;
    uint64_t period, weight, data_src, transaction;
    uint64_t phys_addr, cgroup, data_page_size, code_page_size;
    uint64_t branch_hw_idx;
    uint32_t cpu;
    uint32_t offset;
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

/* One event whose records are in a buffer. Several must be sorted by id, and have it at the same place; a lone one with
 * the id 0 stands for all records. */
struct records_event {
    uint64_t id;
    const struct perf_event_attr *attr;
};

/* The size of the record at `offset`, 0 at the buffer's end; -1 with EBADMSG where none can be: cut off, a size that is
 * no size, or a count or a length inside that goes beyond it. What a sample holds is records_parse's to check. */
long records_next(const void *buffer, size_t size, size_t offset);

/* How many samples there are in the buffer, or before the first record that none can be. */
size_t records_count(const void *buffer, size_t size);

/* Ask for huge pages behind a large array that is about to be filled: faulting it in by small ones costs more than all
 * the decoding. */
void records_prepare(struct perf_sample *out, size_t n);

/* Decode the samples of the buffer, at most `n`, and pass over other records. Returns how many; `*consumed` is where it
 * stopped: the buffer's end, or the sample that found no room. Or else -1, with `out[0 .. *done)` and all before
 * `*consumed` good: EBADMSG, the record there is corrupt or not of this attr; ENOENT, the sample there has an id that
 * is none of `events`; EINVAL, the attrs' ids are not at the same place. At most 4 GiB. */
long records_parse(const void *buffer, size_t size, const struct records_event *events, size_t n_events,
                   struct perf_sample *out, size_t n, size_t *consumed, size_t *done);

/* Decode the sample_id_all trailer of the record that begins the buffer: 0, or -1 as records_parse. */
int records_sample_id(const void *buffer, size_t size, const struct records_event *events, size_t n_events,
                      struct perf_sample *out);

#ifdef __cplusplus
}
#endif
