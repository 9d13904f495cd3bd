"""scripts/regenerate.py on tiny headers: what it translates."""

import os
import shlex
import subprocess
import sys
import textwrap

import pytest
from support.tiny_headers import UNION

CC = shlex.split(os.environ.get("CC", "cc"))
TYPEDEFS = "#include <stdint.h>\ntypedef uint64_t __u64; typedef int64_t __s64; typedef uint32_t __u32;\n"


def test_a_new_enum_is_taken_over_with_numbers(translate):
    """Enumerators without a value count on; the tag stays, and so does its absence."""
    enum = (
        "enum perf_new { PERF_NEW_A = 3, PERF_NEW_B, /* comment */ PERF_NEW_C = PERF_NEW_A | 0x40, };\nenum { PERF_X };"
    )
    assert translate(enum) == (
        "enum perf_new {\n    PERF_NEW_A = 3, PERF_NEW_B = 4, PERF_NEW_C = 67,\n};\nenum {\n    PERF_X = 0,\n};"
    )


def test_a_cast_enumerator_is_folded(translate):
    """A negative number as a __u64 is the large one that C makes of it."""
    text = "enum perf_context { PERF_CONTEXT_HV = (__u64)-32, PERF_NONE = -1, };"
    assert (
        translate(text)
        == "__extension__ enum perf_context {\n    PERF_CONTEXT_HV = 18446744073709551584ULL, PERF_NONE = -1,\n};"
    )


EXPRESSIONS = [
    "42",
    "0x2a",
    "052",
    "0",
    "(1U << 31)",
    "(1UL << 3)",
    "(1ULL << 40)",
    "(0xffffffffULL << 32)",
    "0xffffffff",
    "4294967296LL",
    "~0U",
    "~0ULL",
    "(~((1ULL << 32) - 1))",
    "-1",
    "(__u64)-4095",
    "(__s64)-1",
    "((__u32)-1)",
    "(1 | 2 | 4)",
    "(6 ^ 3)",
    "(255 & ~15)",
    "((1 << 8) >> 4)",
    "(3 * 7 + 1)",
    "(-1 + 2U)",
    "(0x7fffffff + 1U)",
    "((__u64)1 << 63)",
]


def test_every_expression_is_folded_as_c_does(translate, tmp_path):
    """Macros with shifts, casts, complements and wrapping: the literal has the value and type of the expression."""
    defined = translate("".join(f"#define PERF_{i} {text}\n" for i, text in enumerate(EXPRESSIONS)))
    asserts = [f'_Static_assert(PERF_{i} == ({text}), "{text}");' for i, text in enumerate(EXPRESSIONS)]
    asserts += [
        f'_Static_assert(__builtin_types_compatible_p(__typeof__(PERF_{i}), __typeof__({text})), "type of {text}");'
        for i, text in enumerate(EXPRESSIONS)
        if "__u64" not in text and "__s64" not in text  # unsigned long here, and unsigned long long in the kernel
    ]
    source = tmp_path / "fold.c"
    source.write_text("\n".join([TYPEDEFS, defined, *asserts, ""]))
    compiled = subprocess.run([*CC, "-fsyntax-only", str(source)], capture_output=True, text=True)
    assert compiled.stderr == ""
    assert "#define PERF_5 8UL" in defined.splitlines()


def test_a_macro_may_use_what_stands_before_it(translate):
    """Enumerators and macros are known by name from where they are declared on, wherever a #define stands."""
    text = """
    enum perf_new {
        PERF_NEW_A = 2,
    #define PERF_NEW_MASK \\
        (PERF_NEW_A | PERF_NEW_B)
        PERF_NEW_B = 4,
    };
    #define PERF_NEW_SHIFTED (PERF_NEW_MASK << 4)
    """
    assert translate(text) == (
        "enum perf_new {\n    PERF_NEW_A = 2, PERF_NEW_B = 4,\n};\n#define PERF_NEW_MASK 6\n#define PERF_NEW_SHIFTED 96"
    )


def test_a_macro_may_use_what_is_defined_after_it(translate):
    """As in C, where a macro is expanded where it is used; each keeps its place."""
    text = """
    #define PERF_NEW_MASK (PERF_NEW_A | PERF_NEW_LATER)
    #define PERF_NEW_LATER (PERF_NEW_B << 1)
    enum perf_new { PERF_NEW_A = 1, PERF_NEW_B = 4 };
    """
    assert translate(text).splitlines()[:2] == ["#define PERF_NEW_MASK 9", "#define PERF_NEW_LATER 8"]


def test_macros_that_need_each_other_stop_it(refusal):
    """Two macros that are defined by each other have no value."""
    assert "unknown name PERF_A" in refusal("#define PERF_A PERF_B\n#define PERF_B PERF_A\n")


def test_a_new_bitfield_is_taken_over(translate):
    """Names, widths and order are the header's; of several declarators each has its line."""
    text = (
        "struct perf_new { __u64 first : 1, second : 2, __reserved : 61; __s32 clock; __u8 tail[3 + 1]; __u32 ids[]; };"
    )
    assert translate(text) == textwrap.dedent("""\
        __extension__ struct perf_new {
            uint64_t first : 1;
            uint64_t second : 2;
            uint64_t __reserved : 61;
            int32_t clock;
            uint8_t tail[4];
            uint32_t ids[];
        };""")


def test_bits_in_an_anonymous_union_come_first(translate):
    """In API mode cffi places a bitfield behind the fields before it, so a union's bitfields are declared first."""
    assert translate(UNION) == textwrap.dedent("""\
        __extension__ struct perf_new {
            uint32_t before;
            union {
                struct {
                    uint32_t low : 1;
                    uint32_t mid : 7;
                    uint32_t high : 24;
                };
                uint32_t action;
            };
            uint64_t after;
        };""")


BUILD = """
import sys

from cffi import FFI
from perf_event_open_sys._cdef import selected

cdef = open("new.h").read()
ffibuilder = FFI()
ffibuilder.cdef(selected(cdef, {"CFFI_CDEF"}))
ffibuilder.set_source("new_bits", "#include <stdint.h>\\n" + cdef)
ffibuilder.compile()

import new_bits

new = new_bits.ffi.new(sys.argv[1])
for assignment in sys.argv[2:]:
    setattr(new, *[int(word) if word.isdigit() else word for word in assignment.split("=")])
print(bytes(new_bits.ffi.buffer(new)).hex())
"""


@pytest.mark.parametrize(
    ("text", "ctype", "assignments", "expected"),
    [
        (UNION, "struct perf_new *", ["before=1", "mid=3", "high=5", "after=7"], (1, 3 << 1 | 5 << 8, 7)),
        ("union perf_new { __u64 val; struct { __u64 op : 5, lvl : 59; }; };", "perf_new *", ["lvl=3"], (3 << 5,)),
    ],
    ids=["in a struct", "outermost"],
)
@pytest.mark.skipif(sys.byteorder != "little", reason="the expected bytes are those of a little-endian machine")
def test_cffi_places_the_bits_of_a_union_as_c_does(translate, tmp_path, text, ctype, assignments, expected):
    """An API-mode module built from the declarations sets the bytes that the C compiler would."""
    (tmp_path / "new.h").write_text(translate(text) + "\n")
    command = [sys.executable, "-c", BUILD, ctype, *assignments]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    widths = (4, 4, 8) if len(expected) == 3 else (8,)
    assert (
        built.stdout.strip() == b"".join(n.to_bytes(w, "little") for n, w in zip(expected, widths, strict=True)).hex()
    )


def test_another_byte_order_gives_both_layouts(translate):
    """A struct that the header declares by byte order is declared by it here too."""
    text = """
    union perf_new {
        __u64 full;
    #if defined(__LITTLE_ENDIAN_BITFIELD)
        struct { __u32 low; __u32 high; };
    #elif defined(__BIG_ENDIAN_BITFIELD)
        struct { __u32 high; __u32 low; };
    #else
    #error "Unknown endianness"
    #endif
    };
    """
    little, big = ["uint32_t low;", "uint32_t high;"], ["uint32_t high;", "uint32_t low;"]
    words = [line.strip() for line in translate(text).splitlines()]
    assert words == [
        "#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__",
        *["__extension__ union perf_new {", "uint64_t full;", "struct {", *big, "};", "};"],
        "#else",
        *["__extension__ union perf_new {", "uint64_t full;", "struct {", *little, "};", "};"],
        "#endif",
    ]


def test_ioctl_codes_are_left_to_the_compiler(translate):
    """For cffi they are "...", that is, to be asked for; C computes them from the macros of <sys/ioctl.h>."""
    text = """
    struct perf_new { __u64 one; };
    #define PERF_EVENT_IOC_A _IO ('$', 0)
    #define PERF_EVENT_IOC_B _IOW('$', 4, __u64)
    #define PERF_EVENT_IOC_C _IOWR('$', 10, struct perf_new *)
    """
    assert translate(text).splitlines()[3:] == [
        "#ifdef CFFI_CDEF",
        "#define PERF_EVENT_IOC_A ...",
        "#define PERF_EVENT_IOC_B ...",
        "#define PERF_EVENT_IOC_C ...",
        "#else",
        "#define PERF_EVENT_IOC_A _IO('$', 0)",
        "#define PERF_EVENT_IOC_B _IOW('$', 4, uint64_t)",
        "#define PERF_EVENT_IOC_C _IOWR('$', 10, struct perf_new *)",
        "#endif",
    ]


def test_the_same_headers_give_the_same_text(script, headers, root):
    """Running the script twice on the same headers writes the same bytes."""
    include = headers(
        UNION + "enum perf_a { A, B };\n#define PERF_C (1 << 2)\n", z80="enum z { Z };", arm="enum a { R };"
    )
    assert script.generate(include, root) == script.generate(include, root)
