"""Find out who writes to a variable: a hardware breakpoint sends SIGTRAP, and faulthandler prints the stack at that moment.

No privilege needed. The signal comes from the very instruction that writes (attr.sigtrap, Linux 5.13). A handler made by
signal.signal would run only later, when the interpreter looks for signals; faulthandler's runs at once.
"""

import ctypes
import faulthandler
import os
import signal
import sys

from perf_event_open_sys import events, perf_event_open

balance = ctypes.c_int64(100)


def pay():
    """Be innocent: only read."""
    return balance.value - 10


def refund():
    """Write to the variable."""
    balance.value += 10


faulthandler.register(signal.SIGTRAP, file=sys.stdout, all_threads=False)
attr = events.attr(f"mem:{ctypes.addressof(balance):#x}/8:w:u", sample_period=1, sigtrap=1, remove_on_exec=1)
fd = perf_event_open(attr)
pay()
refund()
os.close(fd)
