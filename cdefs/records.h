/* Records: a struct for the body of each type, and the walk from one to the next. Nothing in the bytes is trusted. */
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

/* A record of a type that these headers do not know: a later kernel's, or from 64 on one of those that perf adds. */
struct perf_record_unknown {
    struct perf_event_header header;
    uint8_t data[];
};

/* The size of the record at `offset`, 0 at the buffer's end; -1 with EBADMSG where no record can be: it is cut off, its
 * size is none, or a count or a length inside goes beyond it. What is in a sample is checked by records_parse alone. */
long records_next(const void *buffer, size_t size, size_t offset);

/* Find the records from `*offset` on, at most `n`: their types and addresses. Returns how many, with `*offset` behind the
 * last; or -1 with EBADMSG where no record can be at `*offset`, as records_next. */
long records_walk(const void *buffer, size_t size, size_t *offset, uint32_t *types, uintptr_t *addresses, size_t n);

#ifdef __cplusplus
}
#endif
