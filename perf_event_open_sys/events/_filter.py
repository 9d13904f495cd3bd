"""Explain why the kernel refuses a tracepoint's filter."""

from __future__ import annotations

import re

from .._names import nearest
from ._format import is_string, tracepoint_format

# Fields that the kernel adds to those of every tracepoint; some kernels have not all of them.
_GENERIC = ("CPU", "cpu", "common_cpu", "COMM", "comm", "stacktrace", "STACKTRACE", "common_stacktrace", "common_comm")
_SPACE = r"[ \t\n\v\f\r]*"
_PREDICATE = rf"""
    {_SPACE} (?: \( {_SPACE} | ! (?![= \t]) {_SPACE} )*
    (?P<field>[A-Za-z0-9_]+) (?:\.ustring|\.function)? {_SPACE}
    (?P<operator>[=!<>~&^|]*) {_SPACE}
    (?P<value> "[^"]*" | '[^']*' | CPUS\{{[^}}]*\}} | -?[A-Za-z0-9_]+ )?
    (?: {_SPACE} \) )* {_SPACE}
"""
_OPERATORS = ("==", "!=", "<", "<=", ">", ">=", "~", "&")


def explain_filter(system: str, name: str, filter: str | bytes, *, tracefs: str | None = None) -> str:  # noqa: A002
    """Say in a sentence what is wrong with a filter that the kernel refused for a tracepoint; "" if that is not known.

    Args:
        system: the tracepoint's system, as in ``"sched"``.
        name: its name, as in ``"sched_switch"``.
        filter: what ``ioctls.set_filter`` was given, as in ``'prev_pid == 1 && next_comm ~ "b*"'``.
        tracefs: the root of tracefs; None finds it in the mount table.

    Raises:
        ValueError, FileNotFoundError, PermissionError: as ``tracepoint_format``.

    Source: the kernel's ``predicate_parse`` and ``parse_pred`` in kernel/trace/trace_events_filter.c, Linux 6.18.
    """
    form = tracepoint_format(system, name, tracefs=tracefs)
    fields = {field.name: field for field in form.fields}
    text = filter.decode("latin-1") if isinstance(filter, bytes) else filter
    at = 0
    predicate = re.compile(_PREDICATE, re.VERBOSE)
    while found := predicate.match(text, at):
        field, operator, value = found["field"], found["operator"], found["value"] or ""
        if field not in fields and field not in _GENERIC:
            return f"{system}:{name} has no field {field!r}{nearest(field, fields)}"
        if operator not in _OPERATORS:
            return f"no operator {operator!r} behind {field}: they are {' '.join(_OPERATORS)}" if operator else ""
        if field in fields and is_string(fields[field]) and value and value[0] not in "\"'":
            return f'{field} is text: write {field} {operator} "{value}"'
        at = found.end()
        if not value or text[at : at + 2] not in ("&&", "||"):
            break
        at += 2
    return ""
