"""The fields of an attr."""

from perf_event_open_sys import ffi


def set_fields(attr):
    """The fields of an attr as perf prints them, by name: those that are not 0."""
    names = [name for name, _ in ffi.typeof(attr).item.fields if name not in ("sample_freq", "wakeup_watermark")]
    shown = {"config1": "bp_addr", "config2": "bp_len"}
    values = {name: getattr(attr, name) for name in names if name not in shown.values()}
    pointers = ("kprobe_func", "kprobe_addr", "uprobe_path", "probe_offset", "aux_action")
    return {name: value for name, value in values.items() if value and name not in pointers}
