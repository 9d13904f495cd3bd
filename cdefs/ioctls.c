#define _GNU_SOURCE
#include "internal.h"
#include "ioctls.h"

#include <sys/syscall.h>
#include <unistd.h>

int perf_event_open(struct perf_event_attr *attr, int pid, int cpu, int group_fd, unsigned long flags)
{
    return (int)syscall(__NR_perf_event_open, attr, pid, cpu, group_fd, flags);
}

/* The kernel reads the argument as a long: SET_OUTPUT's -1 must arrive sign-extended. musl declares ioctl's request
 * code as an int: a code whose top bit is set needs the cast. */
static int request(int fd, unsigned long code, long argument)
{
#ifdef __GLIBC__
    return ioctl(fd, code, argument);
#else
    return ioctl(fd, (int)code, argument);
#endif
}

int ioctl_enable(int fd, uint32_t flags)
{
    return request(fd, PERF_EVENT_IOC_ENABLE, (long)flags);
}

int ioctl_disable(int fd, uint32_t flags)
{
    return request(fd, PERF_EVENT_IOC_DISABLE, (long)flags);
}

int ioctl_reset(int fd, uint32_t flags)
{
    return request(fd, PERF_EVENT_IOC_RESET, (long)flags);
}

int ioctl_refresh(int fd, int count)
{
    return request(fd, PERF_EVENT_IOC_REFRESH, count);
}

int ioctl_period(int fd, uint64_t period)
{
    return request(fd, PERF_EVENT_IOC_PERIOD, (long)&period);
}

int ioctl_set_output(int fd, int output_fd)
{
    return request(fd, PERF_EVENT_IOC_SET_OUTPUT, output_fd);
}

int ioctl_set_filter(int fd, const char *filter)
{
    return request(fd, PERF_EVENT_IOC_SET_FILTER, (long)filter);
}

int ioctl_id(int fd, uint64_t *id)
{
    return request(fd, PERF_EVENT_IOC_ID, (long)id);
}

int ioctl_set_bpf(int fd, int prog_fd)
{
    return request(fd, PERF_EVENT_IOC_SET_BPF, prog_fd);
}

int ioctl_pause_output(int fd, int paused)
{
    return request(fd, PERF_EVENT_IOC_PAUSE_OUTPUT, paused);
}

int ioctl_query_bpf(int fd, struct perf_event_query_bpf *query)
{
    return request(fd, PERF_EVENT_IOC_QUERY_BPF, (long)query);
}

int ioctl_modify_attributes(int fd, struct perf_event_attr *attr)
{
    return request(fd, PERF_EVENT_IOC_MODIFY_ATTRIBUTES, (long)attr);
}
