/* Records: a struct for each type, and functions that go from one record to the next. Every size and count in the bytes
 * is checked before it is used. */
#pragma once
#ifndef CFFI_CDEF
#include <stddef.h>
#include "kernel/perf_event.h"
#endif

/* The structs describe the fixed part of a record; names and the sample_id_all trailer follow it. */
__extension__ struct perf_record_mmap {
    struct perf_event_header header;
    uint32_t pid, tid;
    uint64_t addr, len, pgoff;
    char filename[];
};
__extension__ struct perf_record_lost {
    struct perf_event_header header;
    uint64_t id, lost;
};
__extension__ struct perf_record_comm {
    struct perf_event_header header;
    uint32_t pid, tid;
    char comm[];
};
__extension__ struct perf_record_exit {
    struct perf_event_header header;
    uint32_t pid, ppid, tid, ptid;
    uint64_t time;
};
__extension__ struct perf_record_throttle {
    struct perf_event_header header;
    uint64_t time, id, stream_id;
};
__extension__ struct perf_record_unthrottle {
    struct perf_event_header header;
    uint64_t time, id, stream_id;
};
__extension__ struct perf_record_fork {
    struct perf_event_header header;
    uint32_t pid, ppid, tid, ptid;
    uint64_t time;
};
/* `values` is what read(2) returns in the event's read_format. */
__extension__ struct perf_record_read {
    struct perf_event_header header;
    uint32_t pid, tid;
    uint64_t values[];
};
__extension__ struct perf_record_sample {
    struct perf_event_header header;
};
/* With PERF_RECORD_MISC_MMAP_BUILD_ID in header.misc, the union holds the build id, otherwise device and inode. */
__extension__ struct perf_record_mmap2 {
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
__extension__ struct perf_record_aux {
    struct perf_event_header header;
    uint64_t aux_offset, aux_size, flags;
};
__extension__ struct perf_record_itrace_start {
    struct perf_event_header header;
    uint32_t pid, tid;
};
__extension__ struct perf_record_lost_samples {
    struct perf_event_header header;
    uint64_t lost;
};
__extension__ struct perf_record_switch {
    struct perf_event_header header;
};
__extension__ struct perf_record_switch_cpu_wide {
    struct perf_event_header header;
    uint32_t next_prev_pid, next_prev_tid;
};
__extension__ struct perf_record_namespaces {
    struct perf_event_header header;
    uint32_t pid, tid;
    uint64_t nr_namespaces;
    struct perf_ns_link_info link_info[];
};
__extension__ struct perf_record_ksymbol {
    struct perf_event_header header;
    uint64_t addr;
    uint32_t len;
    uint16_t ksym_type, flags;
    char name[];
};
__extension__ struct perf_record_bpf_event {
    struct perf_event_header header;
    uint16_t type, flags;
    uint32_t id;
    uint8_t tag[8];
};
__extension__ struct perf_record_cgroup {
    struct perf_event_header header;
    uint64_t id;
    char path[];
};
__extension__ struct perf_record_text_poke {
    struct perf_event_header header;
    uint64_t addr;
    uint16_t old_len, new_len;
    uint8_t bytes[];
};
__extension__ struct perf_record_aux_output_hw_id {
    struct perf_event_header header;
    uint64_t hw_id;
};
__extension__ struct perf_record_callchain_deferred {
    struct perf_event_header header;
    uint64_t cookie, nr;
    uint64_t ips[];
};

/* A record of a type that these headers do not know: it is a later kernel's, or, from type 64 on, one of those that the
 * perf tool adds to its files. */
__extension__ struct perf_record_unknown {
    struct perf_event_header header;
    uint8_t data[];
};

#ifdef PERF_EVENT_OPEN_SYS_BUILD

/* Return the size in bytes of the record at `offset`; 0 if `offset` is the buffer's end; or -1 with EBADMSG if no
 * record can be there: its size is below that of its struct, no multiple of 8, or more than the buffer has left, or a
 * count or a length in the record reaches beyond its end. The inside of a PERF_RECORD_SAMPLE is checked by
 * records_parse only. */
long records_next(const void *buffer, size_t size, size_t offset);

/* Store types and addresses of the records from `*offset` on, at most `n`. Returns how many were found, with `*offset`
 * set to the end of the last; or -1 with EBADMSG if no record can be at `*offset`, by the rules of records_next. */
long records_walk(const void *buffer, size_t size, size_t *offset, uint32_t *types, uintptr_t *addresses, size_t n);

/* Move `*offset` on to the first record of one of the given types, which are the perf tool's own: bit n of `user_types`
 * stands for type 64 + n. Returns the size in bytes of that record; 0, with `*offset` at the buffer's end, if there is
 * none; or -1 with EBADMSG if no record can be at `*offset`. Only the sizes of the records are checked, not what is in
 * them. */
long records_find(const void *buffer, size_t size, size_t *offset, uint64_t user_types);

#endif
