"""``check``: what may be counted, said on every machine."""

import errno
import functools
import os
import re
import shutil
import subprocess
from types import SimpleNamespace

import pytest
from support.cli import CLI, run
from support.marks import REFUSED, needs_events, needs_events_of_users, needs_root, needs_seccomp
from support.processes import as_user, captured
from support.seccomp import deny

from perf_event_open_sys import __main__ as command_line
from perf_event_open_sys import events
from perf_event_open_sys._cli import check as module

YES = {module.OWN: "", module.OWN_KERNEL: "", module.WHOLE_CPUS: ""}
NO = dict.fromkeys(YES, "Permission denied")
OWN_ONLY = NO | {module.OWN: ""}
HARDWARE = [row[0] for row in events.HARDWARE.values()]
NO_PMU = "software events (no hardware ones: there is no PMU, as in most virtual machines)"


def check(**options):
    """The report of ``check``, which ends well on every machine."""
    done = run("check", **options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@needs_events
def test_check_is_what_no_argument_means():
    """The report has a live count, and ends in a verdict."""
    report = run().stdout
    assert report.startswith("Kernel ")
    assert "\n\nMay be counted\n  " in report
    assert "\n\nGeneric events\n  " in report
    assert re.search(r"^Live count +[1-9]\d* page faults while 100 pages were touched$", report, re.MULTILINE)
    assert re.search(r"^Verdict +this machine counts ", report.splitlines()[-1])
    assert re.search(r"^perf_event_attr +\d+ bytes in the kernel, \d+ here", report, re.MULTILINE)


@pytest.mark.skipif(REFUSED == 0, reason="perf_event_open is not refused here")
def test_check_where_perf_event_open_is_refused_says_why():
    """In a container that refuses perf_event_open, the verdict names the kernel's error and what causes it."""
    verdict = check().splitlines()[-1]
    assert verdict.startswith(
        f"Verdict               nothing can be counted here: perf_event_open: {os.strerror(REFUSED)} ("
    )
    assert "seccomp" in verdict or "perf_event_paranoid" in verdict


@needs_root
@needs_events
def test_check_as_root_allows_whole_cpus():
    """As root, check says that whole CPUs may be counted."""
    assert re.search("yes  own processes, in user space, own processes, in the kernel too, whole CPUs", check())
    assert "of everybody" in check().splitlines()[-1]


@needs_seccomp
def test_check_under_a_seccomp_filter_says_so():
    """Under a filter that denies perf_event_open, the verdict is that nothing can be counted, because of the filter."""
    report = check(preexec_fn=functools.partial(deny, errno.EPERM))
    assert re.search("^Verdict +nothing can be counted here: .*a seccomp filter is set", report.splitlines()[-1])


@needs_root
@needs_events_of_users
@pytest.mark.parametrize("level", [2, 3])
def test_check_as_an_ordinary_user_says_what_is_forbidden(paranoid, level):
    """As an ordinary user, check prints perf_event_paranoid and what that level forbids him."""
    paranoid(level)
    done = as_user(captured, command_line.main, ["check"])
    assert (done.returncode, done.stderr) == (0, "")
    meaning = "(on this kernel as 2, )?an ordinary user may count"
    assert re.search(rf"^perf_event_paranoid +{level}: {meaning}", done.stdout, re.MULTILINE)
    assert "This user             uid 65534, no root" in done.stdout
    assert re.search(r"no   whole CPUs\n.*pid=-1\) needs 0 or less", done.stdout)
    assert "your own processes, in user space only" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("level", "privileges", "meaning"),
    [
        ("-1", YES, "-1: everybody may count everything"),
        ("-2", YES, "-2: everybody may count everything"),
        ("1", OWN_ONLY, "1: an ordinary user may count processes of their own, in the kernel too"),
        ("2", OWN_ONLY, "2: an ordinary user may count processes of their own, in user space"),
        ("3", NO, "3: an ordinary user may open no event at all"),
        ("4", NO, "4: an ordinary user may open no event at all"),
        ("3", OWN_ONLY, "3: on this kernel as 2, an ordinary user may count processes of their own, in user space"),
        ("4", YES, "4: an ordinary user may open no event at all, if the kernel has its distribution's patch"),
        ("", YES, "not to be read"),
    ],
)
def test_a_level_means_what_this_kernel_makes_of_it(level, privileges, meaning):
    """Levels above 2 are some distributions' own; check says what they forbid by trying."""
    assert module._meaning(level, privileges).startswith(meaning)


def test_reasons_that_differ_by_a_number_are_one(capsys):
    """Twenty events that a PMU refuses are a line of names, and one reason."""
    module._print_reasons(
        {f"event-{config}": f"it does not take config {config:#x}" for config in range(20)} | {"a": ""}
    )
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("  no   event-0, event-1, ")
    assert shown[0].endswith("and 10 more")
    assert shown[1:] == ["       it does not take config …", "  yes  a"]
    module._print_reasons({"event": "it does not take config 0x5"})
    assert capsys.readouterr().out == "  no   event\n       it does not take config 0x5\n"


@pytest.mark.parametrize(
    ("n", "shown"), [(12, ", ".join("abcdefghijkl")), (13, f"{', '.join('abcdefghij')} and 3 more")]
)
def test_up_to_twelve_names_are_written_out(n, shown, capsys):
    """Of more the first ten are, and the number of the others."""
    module._print_reasons(dict.fromkeys("abcdefghijklm"[:n], ""))
    assert capsys.readouterr().out == f"  yes  {shown}\n"


@pytest.mark.parametrize(
    ("privileges", "refused", "verdict"),
    [
        (YES, [], "this machine counts events of everybody"),
        (OWN_ONLY, HARDWARE, f"this machine counts {NO_PMU} of your own processes, in user space only"),
        (
            OWN_ONLY | {module.OWN_KERNEL: ""},
            [*HARDWARE[1:], "cs"],
            "this machine counts events of your own processes",
        ),
        (NO, [*HARDWARE, "cs"], "nothing can be counted here: Permission denied"),
    ],
)
def test_the_verdict_says_what_and_of_whom(privileges, refused, verdict):
    """Events or software events only, of everybody or of one's own processes, in the kernel or not; or nothing, and why."""
    generic = dict.fromkeys([*HARDWARE, "cs"], "") | dict.fromkeys(refused, "no")
    assert module._verdict(privileges, generic) == verdict


def test_the_facts_of_a_machine(monkeypatch):
    """The kernel, the user, the PMUs, tracefs and the two limits, each as it is or that it is not known."""
    known = {f"{module.SYSCTL}perf_event_paranoid": "1", f"{module.SYSCTL}perf_event_mlock_kb": "516"}
    pmus = [SimpleNamespace(name="cpu", type=4), SimpleNamespace(name="msr", type=9)]
    monkeypatch.setattr(module, "contents", lambda path: known.get(path, ""))
    monkeypatch.setattr(events, "pmus", lambda: dict(enumerate(pmus)))
    monkeypatch.setattr(events, "tracefs", lambda: "/there")
    monkeypatch.setattr(events, "tracepoints", lambda: ["a:b", "a:c"])
    facts = dict(module._facts(YES))
    assert facts["Kernel"] == f"{os.uname().release}, {os.uname().machine}, {os.cpu_count()} CPUs"
    assert facts["perf_event_paranoid"].startswith("1: an ordinary user ")
    assert facts["perf_event_mlock_kb"] == "516 KiB of rings without CAP_IPC_LOCK"
    assert facts["This user"] == (f"uid {os.geteuid()}, no root" if os.geteuid() else "root")
    assert facts["PMUs"] == "cpu (type 4), msr (type 9)"
    assert facts["tracefs"] == "/there, 2 tracepoints"
    known.clear()
    monkeypatch.setattr(events, "pmus", dict)
    monkeypatch.setattr(events, "tracefs", functools.partial(os.stat, "/nowhere"))
    facts = dict(module._facts(YES))
    assert facts["perf_event_mlock_kb"] == "not to be read"
    assert facts["PMUs"] == "none in sysfs"
    assert facts["tracefs"] == "No such file or directory"


@needs_root
@pytest.mark.parametrize("hidden", ["/sys", "/sys/kernel/tracing", "/sys /proc"])
def test_check_ends_well_without_sysfs_and_proc(hidden):
    """Where /sys and /proc are not mounted, check says which facts are not known, and ends with status 0."""
    mounts = " && ".join(f"mount -t tmpfs none {place}" for place in hidden.split())
    if not shutil.which("unshare") or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("needs a mount namespace")
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", f'{mounts} && exec "$@"', "sh", *CLI], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("Verdict ")
