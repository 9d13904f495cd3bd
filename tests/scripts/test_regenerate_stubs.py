"""scripts/regenerate.py: the stub files that it writes from cdefs/."""

import pytest
from support.tiny_headers import CAPI, STUBS, put


def test_registers_and_the_stubs_are_written_too(script, headers, root):
    """Each arch/*/asm/perf_regs.h has its file; the stubs have constants, fields and constructors, no reserved ones."""
    text = "#define PERF_ONE 1\nstruct perf_new { __u32 size; __u32 from; __u64 __reserved_1; };"
    more = "enum { HW_BREAKPOINT_X = 4 };"
    written = script.generate(headers(text, breakpoint=more, z80="enum perf_event_z80_regs { PERF_REG_Z80_A };"), root)
    assert sorted(written) == sorted(["cdefs/kernel/perf_event.h", "cdefs/kernel/perf_regs/z80.h", *CAPI, *STUBS])
    assert "    PERF_REG_Z80_A = 0," in written["cdefs/kernel/perf_regs/z80.h"].splitlines()
    for name in STUBS:
        compile(written[name], name, "exec")
        assert "__reserved_1" not in written[name]
    lines = written["perf_event_open_sys/bindings.pyi"].splitlines()
    assert {"PERF_ONE: Final = 1", "HW_BREAKPOINT_X: Final = 4", "PERF_REG_Z80_A: Final = 0"} <= set(lines)
    assert lines[lines.index("class _perf_new:") + 1] == "    size: int;"
    assert '    "size": int, "from": int,' in lines
    native = written["perf_event_open_sys/_native.pyi"].splitlines()
    assert '    def typeof(self, ctype: Literal["struct perf_new *"], /) -> _AnyCTypeOf[perf_new_p]: ...' in native
    assert "    PERF_ONE: Final = 1" in native


OWN = """
#pragma once
#ifndef CFFI_CDEF
#include <stddef.h>
#endif
/* A comment; int not_a_function(void); */
struct ring_new { uint64_t first, second; struct perf_new one; uint8_t tail[8]; char name[]; };
long ring_new_read(const struct ring_new *in, void *buffer, size_t size, const int *fds, uint64_t counts[2]);
struct ring_new *ring_new_find(struct ring_new *const *all, const char *name);
void ring_new_stop(void);
"""


def test_the_stubs_follow_the_hand_written_headers(script, headers, root):
    """``--stubs`` needs no kernel: structs and functions of cdefs/*.h are typed, a function's parameters by name."""
    script.main([str(headers("struct perf_new { __u32 size; };"))])
    put(root, {"cdefs/ring.h": OWN})
    assert script.main(["--stubs", "--check"]) == 1
    assert script.main(["--stubs"]) == 0
    native = (root / STUBS[0]).read_text().splitlines()
    assert {line.strip() for line in native if line.startswith("    def ring_")} == {
        "def ring_new_read(self, in_: ring_new_p | ring_new_a | void_p, buffer: _Memory, size: int, "
        "fds: int_p | int_a | void_p | Sequence[int], counts: uint64_t_p | uint64_t_a | void_p, /) -> int: ...",
        "def ring_new_find(self, all: _ring_new_p_p | _ring_new_p_a | void_p | Sequence[ring_new_p], "
        "name: char_p | char_a | void_p | bytes, /) -> ring_new_p: ...",
        "def ring_new_stop(self) -> None: ...",
    }
    bindings = (root / STUBS[1]).read_text().splitlines()
    assert bindings[bindings.index("class _ring_new:") + 1] == (
        "    first: int; second: int; one: perf_new_s; tail: uint8_t_a; name: char_p;"
    )
    assert script.main(["--stubs", "--check"]) == 0


@pytest.mark.parametrize(
    "text", ["double ring_new(void);", "int ring_new(int);", "struct ring_odd *ring_new(void);", "int ring_new;"]
)
def test_an_unknown_declaration_of_ours_stops_it(script, headers, root, capsys, text):
    """A C type that the stubs have no name for, and a parameter without a name, are refused with their line."""
    script.main([str(headers("struct perf_new { __u32 size; };"))])
    put(root, {"cdefs/ring.h": f"#pragma once\n{text}\n"})
    assert script.main(["--stubs"]) == 2
    assert "cdefs/ring.h:2" in capsys.readouterr().err


def test_the_public_functions_of_bindings_keep_their_annotations(script, headers, root):
    """A function of bindings.py that is no constructor is in the stub as it is annotated there, its defaults as dots."""
    put(
        root,
        {"perf_event_open_sys/bindings.py": "def more(x: int = 3, *, y: str = '') -> bytes: ...\ndef _no(): ...\n"},
    )
    written = script.generate(headers("struct perf_new { __u32 size; };"), root)[STUBS[1]]
    assert "def more(x: int=..., *, y: str=...) -> bytes: ..." in written.splitlines()
    assert "_no" not in written
