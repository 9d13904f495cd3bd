/* perf_event_open(2) and its twelve ioctls: C conventions, -1 and errno. */
#pragma once
#ifndef CFFI_CDEF
#include "kernel/perf_event.h"
#endif
#ifdef PERF_EVENT_OPEN_SYS_BUILD

int perf_event_open(struct perf_event_attr *attr, int pid, int cpu, int group_fd, unsigned long flags);

/* In the next three, `flags` is 0 for the event alone or PERF_IOC_FLAG_GROUP for its whole group. */
int ioctl_enable(int fd, uint32_t flags);
int ioctl_disable(int fd, uint32_t flags);
int ioctl_reset(int fd, uint32_t flags);
int ioctl_refresh(int fd, int count);
int ioctl_period(int fd, uint64_t period);
/* With an `output_fd` of -1 the records of `fd` go to no other event's ring any more. */
int ioctl_set_output(int fd, int output_fd);
int ioctl_set_filter(int fd, const char *filter);
int ioctl_id(int fd, uint64_t *id);
int ioctl_set_bpf(int fd, int prog_fd);
int ioctl_pause_output(int fd, int paused);
int ioctl_query_bpf(int fd, struct perf_event_query_bpf *query);
int ioctl_modify_attributes(int fd, struct perf_event_attr *attr);

#endif
