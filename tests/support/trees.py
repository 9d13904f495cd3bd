"""The sysfs and tracefs trees of made-up machines."""

from perf_event_open_sys._files import DEVICES


def device(root, name, kind, **files):
    """Make a PMU in a sysfs tree, of files by their paths."""
    for path, text in {"type": str(kind), **files}.items():
        file = root / DEVICES / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")


def hybrid_machine(root):
    """Make the sysfs of a hybrid machine with an uncore PMU in two boxes, and one with parameters."""
    core = {"format/event": "config:0-7", "format/umask": "config:8-15", "format/inv": "config:23"}
    spread = {"format/frontend": "config1:0-23", "format/ldlat": "config1:0-15", "format/wide": "config:0-7,32-35"}
    device(
        root,
        "cpu_core",
        4,
        **core,
        **spread,
        **{
            "cpus": "0-3",
            "caps/max_precise": "3",
            "events/cpu-cycles": "event=0x3c",
            "events/slots": "event=0x00,umask=0x4",
        },
    )
    device(root, "cpu_atom", 10, **core, **{"cpus": "4,6-7", "events/mem-loads": "event=0xd0,umask=0x5,inv"})
    device(root, "software", 1)
    for box in (0, 1):
        files = {"cpumask": "0", "format/event": "config:0-7", "events/data_reads": "event=0x01"}
        scale = {"events/data_reads.scale": "6.103515625e-5", "events/data_reads.unit": "MiB"}
        device(root, f"uncore_imc_{box}", 20 + box, **files, **scale)
    chips = {"format/domain": "config:0-3", "format/offset": "config:32-63", "format/core": "config:16-31"}
    device(
        root,
        "hv_24x7",
        30,
        **chips,
        **{"events/PM_X": "domain=2,offset=0xe0,core=?", "format/far": "config3:60-63"},
    )
    return str(root)


def tracing(root, **ids):
    """Make a tracefs tree; names have __ for the colon."""
    for name, text in ids.items():
        path = root.joinpath("events", *name.split("__"))
        path.mkdir(parents=True)
        (path / "id").write_text(text)
    return str(root)
