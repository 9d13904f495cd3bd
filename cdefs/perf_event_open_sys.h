/* All public headers, with the perf_regs header of the architecture that is compiled for. A cffi extension built on
 * get_ffibuilder() includes this file in its C source: the code that cffi generates for it names every struct and enum
 * declared here. */
#pragma once
#include "kernel/perf_event.h"
#if defined(__x86_64__) || defined(__i386__)
#include "kernel/perf_regs/x86.h"
#elif defined(__aarch64__)
#include "kernel/perf_regs/arm64.h"
#elif defined(__arm__)
#include "kernel/perf_regs/arm.h"
#elif defined(__hppa__)
#include "kernel/perf_regs/parisc.h"
#elif defined(__loongarch__)
#include "kernel/perf_regs/loongarch.h"
#elif defined(__mips__)
#include "kernel/perf_regs/mips.h"
#elif defined(__powerpc__)
#include "kernel/perf_regs/powerpc.h"
#elif defined(__riscv)
#include "kernel/perf_regs/riscv.h"
#elif defined(__s390__)
#include "kernel/perf_regs/s390.h"
#endif
#include "ioctls.h"
#include "counters.h"
#include "ring.h"
#include "records.h"
#include "samples.h"
#include "capi.h"
#include "layout.h"
