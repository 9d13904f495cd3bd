/* What examples/profile.py profiles in its test: named functions, one compiled at run time, a child that execs and one that
 * does not. Each process takes 0.3 seconds of CPU time; with an argument "forever", it goes on until it is killed. */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline))

static int forever;
static cpu_set_t allowed;

static int is_busy(void)
{
    return forever || clock() < CLOCKS_PER_SEC * 3 / 10;
}

NOINLINE unsigned long spin(unsigned long n)
{
    volatile unsigned long sum = 0;
    while (n--)
        sum += n;
    return sum;
}

/* What is added to the results keeps the compiler from turning a call into a jump: the callers stay on the stack. */
NOINLINE unsigned long inner(void)
{
    return spin(100000) + 1;
}

NOINLINE unsigned long outer(void)
{
    return inner() + 1;
}

NOINLINE unsigned long in_child(void)
{
    return spin(100000) + 1;
}

NOINLINE unsigned long in_fork(void)
{
    return spin(100000) + 1;
}

NOINLINE unsigned long call(unsigned long (*function)(unsigned long))
{
    return function(100000) + 1;
}

/* A copy of spin in memory without a name, that perf-PID.map names, as runtimes do that compile. */
static unsigned long (*compiled(void))(unsigned long)
{
    size_t size = 256;
    char *code = mmap(NULL, size, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED)
        exit(2);
    memcpy(code, (void *)spin, size);
    __builtin___clear_cache(code, code + size);
    char path[64];
    snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)getpid());
    FILE *file = fopen(path, "w");
    if (!file)
        exit(2);
    fprintf(file, "%lx %zx compiled at run time\n", (unsigned long)code, size);
    fclose(file);
    return (unsigned long (*)(unsigned long))code;
}

/* Stay on the first of the CPUs allowed, or on the last: a child's records are in an earlier ring than its parent's. */
static void stay_on(int first)
{
    cpu_set_t one;
    int chosen = -1;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &allowed) && !(first && chosen >= 0))
            chosen = cpu;
    CPU_ZERO(&one);
    CPU_SET(chosen, &one);
    sched_setaffinity(0, sizeof(one), &one);
}

/* Fork: return 0 in the child, which is killed with its parent. */
static pid_t forked(void)
{
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        stay_on(1);
    }
    return child;
}

int main(int argc, char **argv)
{
    forever = argc > 1 && !strcmp(argv[1], "forever");
    if (argc > 1 && !strcmp(argv[1], "child")) {
        while (is_busy())
            in_child();
        return 0;
    }
    sched_getaffinity(0, sizeof(allowed), &allowed);
    stay_on(0);
    unsigned long (*function)(unsigned long) = compiled();
    if (forked() == 0) {
        while (is_busy())
            in_fork();
        return 0;
    }
    if (forked() == 0) {
        execl("/proc/self/exe", "workload", "child", NULL);
        return 2;
    }
    printf("running %d\n", (int)getpid());
    fflush(stdout);
    while (is_busy()) {
        outer();
        call(function);
    }
    while (wait(NULL) > 0)
        ;
    return 0;
}
