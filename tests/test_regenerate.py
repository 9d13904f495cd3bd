"""scripts/regenerate.py on tiny headers: what it translates, what stops it; and the committed files are in step."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from perf_event_open_sys import HEADERS_VERSION

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts" / "regenerate.py"
CC = shlex.split(os.environ.get("CC", "cc"))
UAPI = os.environ.get("PERF_EVENT_UAPI")
GENERATED = [
    ROOT / "cdefs/kernel/perf_event.h",
    *ROOT.glob("cdefs/kernel/perf_regs/*.h"),
    ROOT / "perf_event_open_sys/bindings.pyi",
]
TYPEDEFS = "#include <stdint.h>\ntypedef uint64_t __u64; typedef int64_t __s64; typedef uint32_t __u32;\n"

pytestmark = [
    pytest.mark.skipif(not SCRIPT.exists(), reason="no scripts/ beside tests/"),
    pytest.mark.skipif(not shutil.which(CC[0]), reason=f"needs a C preprocessor ({CC[0]})"),
]


@pytest.fixture(scope="module")
def script():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("regenerate", SCRIPT)
    module = sys.modules["regenerate"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["regenerate"]


@pytest.fixture
def root(script, tmp_path, monkeypatch):
    """An empty project, into which the script writes."""
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.setattr(script, "ROOT", project)
    return project


@pytest.fixture
def headers(tmp_path):
    """Write a kernel's headers, of which perf_event.h is *text*; return their include directory."""

    def write(text, breakpoint="", **registers):  # noqa: A002 - the header's name
        include = tmp_path / "linux-9.9.9" / "include"
        files = {"linux/perf_event.h": text, "linux/hw_breakpoint.h": breakpoint}
        files |= {f"arch/{arch}/asm/perf_regs.h": body for arch, body in registers.items()}
        for name, body in files.items():
            path = include / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(body).lstrip("\n"))
        return include

    return write


@pytest.fixture
def translate(script, headers):
    """Return the declarations that the script makes of a header: the lines after the version."""

    def translated(text, **more):
        lines = script.generate(headers(text, **more), "9.9.9")["cdefs/kernel/perf_event.h"].splitlines()
        [version] = [i for i, line in enumerate(lines) if line.startswith("#define perf_headers_version")]
        return "\n".join(lines[version + 1 :])

    return translated


@pytest.fixture
def refusal(script, headers, root, capsys):
    """Return the message with which the script stops at a header, having written nothing."""

    def refused(text, **more):
        assert script.main([str(headers(text, **more))]) == 2
        assert list(root.iterdir()) == []
        return capsys.readouterr().err

    return refused


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
    assert translate(text) == "enum perf_context {\n    PERF_CONTEXT_HV = 18446744073709551584ULL, PERF_NONE = -1,\n};"


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


def test_a_new_bitfield_is_taken_over(translate):
    """Names, widths and order are the header's; of several declarators each has its line."""
    text = (
        "struct perf_new { __u64 first : 1, second : 2, __reserved : 61; __s32 clock; __u8 tail[3 + 1]; __u32 ids[]; };"
    )
    assert translate(text) == textwrap.dedent("""\
        struct perf_new {
            uint64_t first : 1;
            uint64_t second : 2;
            uint64_t __reserved : 61;
            int32_t clock;
            uint8_t tail[4];
            uint32_t ids[];
        };""")


UNION = """
struct perf_new {
    __u32 before;
    union {
        __u32 action;
        struct {
            __u32 low : 1, mid : 7, high : 24;
        };
    };
    __u64 after;
};
"""


def test_bits_in_an_anonymous_union_come_first(translate):
    """The API mode of cffi places bits by what stands before them: nothing does."""
    assert translate(UNION) == textwrap.dedent("""\
        struct perf_new {
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
        *["union perf_new {", "uint64_t full;", "struct {", *big, "};", "};"],
        "#else",
        *["union perf_new {", "uint64_t full;", "struct {", *little, "};", "};"],
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


def test_registers_and_the_stub_are_written_too(script, headers):
    """Each arch/*/asm/perf_regs.h has its file; the stub has constants, fields and constructors, no reserved ones."""
    text = "#define PERF_ONE 1\nstruct perf_new { __u32 size; __u32 from; __u64 __reserved_1; };"
    more = "enum { HW_BREAKPOINT_X = 4 };"
    files = script.generate(headers(text, breakpoint=more, z80="enum perf_event_z80_regs { PERF_REG_Z80_A };"), "9.9.9")
    assert sorted(files) == [
        "cdefs/kernel/perf_event.h",
        "cdefs/kernel/perf_regs/z80.h",
        "perf_event_open_sys/bindings.pyi",
    ]
    assert "    PERF_REG_Z80_A = 0," in files["cdefs/kernel/perf_regs/z80.h"].splitlines()
    stub = files["perf_event_open_sys/bindings.pyi"]
    compile(stub, "bindings.pyi", "exec")
    assert {"PERF_ONE: Final = 1", "HW_BREAKPOINT_X: Final = 4", "class perf_new_p(CData):"} <= set(stub.splitlines())
    assert "    *, size: int = ..., **fields: int," in stub.splitlines()
    assert "__reserved_1" not in stub


def test_the_same_headers_give_the_same_text(script, headers):
    """Twice the same input, twice the same bytes."""
    include = headers(
        UNION + "enum perf_a { A, B };\n#define PERF_C (1 << 2)\n", z80="enum z { Z };", arm="enum a { A };"
    )
    assert script.generate(include, "9.9.9") == script.generate(include, "9.9.9")


SHAPES = {
    "a string": '#define PERF_ODD "text"',
    "sizeof": "#define PERF_ODD sizeof(__u64)",
    "a condition": "#define PERF_ODD (1 ? 2 : 3)",
    "a fraction": "#define PERF_ODD 1.5",
    "a character": "#define PERF_ODD 'x'",
    "two words": "#define PERF_ODD unsigned long",
    "a division": "#define PERF_ODD (8 / 2)",
    "an unknown name": "#define PERF_ODD PERF_ELSEWHERE",
    "an unknown type": "#define PERF_ODD ((long)1)",
    "nothing": "#define PERF_ODD",
    "an ioctl of another type": "#define PERF_ODD _IOW('$', 4, long)",
    "a function": "#define PERF_ODD(a) ((a) << 1)",
    "a long that wraps": "#define PERF_ODD (~0UL)",
    "a long of 64 bits": "#define PERF_ODD (1UL << 32)",
    "an int that overflows": "#define PERF_ODD (1 << 31)",
    "a negative shift": "#define PERF_ODD (1 << -1)",
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_an_unknown_macro_stops_it_by_line_and_name(refusal, shape):
    """The message names file, line and macro, comments and continued lines before it notwithstanding."""
    text = "/* a comment\n * of two lines */\n#define PERF_LONG \\\n\t(1 | \\\n\t2)\nenum perf_new {\n\tPERF_A,\n};\n"
    assert re.search(r"linux/perf_event\.h:9: macro PERF_ODD: \S", refusal(f"{text}{shape}\n#define PERF_AFTER 1\n"))


def test_another_body_of_the_known_function_stops_it(refusal):
    """PERF_MEM_S is translated by hand: it must be what it was."""
    assert "perf_event.h:1: macro PERF_MEM_S" in refusal(
        "#define PERF_MEM_S(a, s) (((__u64)PERF_MEM_##a##_##s) << 3)\n"
    )


MEMBERS = {
    "an unknown type": "int odd;",
    "another struct": "struct perf_other odd;",
    "a pointer": "__u64 *odd;",
    "a pointer to a function": "void (*odd)(void);",
    "two dimensions": "__u8 odd[2][2];",
    "an array of pointers": "__u8 *odd[2];",
    "bits without a name": "__u64 : 3;",
    "a named struct": "struct { __u64 x; } odd;",
    "a tagged struct": "struct perf_tag { __u64 x; };",
    "an attribute": "__u64 odd __attribute__((aligned(16)));",
    "an unknown length": "__u8 odd[PERF_ELSEWHERE];",
}


@pytest.mark.parametrize("member", MEMBERS.values(), ids=MEMBERS)
def test_an_unknown_member_stops_it_by_line(refusal, member):
    """A member whose layout the script does not know is not guessed at."""
    assert re.search(
        r"perf_event\.h:3\b", refusal(f"struct perf_new {{\n\t__u64 one;\n\t{member}\n\t__u64 two;\n}};\n")
    )


DECLARATIONS = {
    "a typedef": "typedef __u64 perf_odd;",
    "a function": "int perf_odd(void);",
    "a variable": "extern __u64 perf_odd;",
    "a forward declaration": "struct perf_odd;",
    "an enum of a variable": "enum perf_odd { PERF_ODD } perf_odd;",
    "an unknown enumerator": "enum perf_odd { PERF_ODD = PERF_ELSEWHERE };",
    "a packed struct": "struct perf_odd { __u8 x; __u64 y; } __attribute__((packed));",
    "an #undef": "#undef PERF_ONE",
}


@pytest.mark.parametrize("declaration", DECLARATIONS.values(), ids=DECLARATIONS)
def test_an_unknown_declaration_stops_it_by_line(refusal, declaration):
    """What is no enum, struct, union or macro is not passed over in silence."""
    assert re.search(r"perf_event\.h:2\b", refusal(f"#define PERF_ONE 1\n{declaration}\nenum perf_new {{ PERF_A }};\n"))


def test_a_constant_that_depends_on_the_byte_order_stops_it(refusal):
    """Only structs may have two forms."""
    text = "#ifdef __LITTLE_ENDIAN_BITFIELD\n#define PERF_ODD 1\n#else\n#define PERF_ODD 2\n#endif\n"
    assert "byte order" in refusal(text)


def test_another_include_stops_it(refusal):
    """The headers may include the three that are stubbed, no others."""
    assert "perf_event.h:1" in refusal("#include <linux/other.h>\n")


def test_a_path_without_a_version_stops_it(script, tmp_path, capsys):
    """The version comes from the folder's name; without one nothing is written."""
    assert script.main([str(tmp_path)]) == 2
    assert "names no kernel version" in capsys.readouterr().err


def test_check_prints_a_diff_and_fails_until_the_files_are_in_step(script, headers, root, capsys):
    """Nothing is written by --check; after a run without it there is nothing to say."""
    include = str(headers("#define PERF_ONE 1\n", z80="enum z { PERF_REG_Z };"))
    assert script.main([include, "--check"]) == 1
    assert "+#define PERF_ONE 1" in capsys.readouterr().out.splitlines()
    assert list(root.iterdir()) == []

    assert script.main([include]) == 0
    assert script.main([include, "--check"]) == 0
    assert capsys.readouterr().out == ""

    header = root / "cdefs" / "kernel" / "perf_event.h"
    header.write_text(header.read_text().replace("PERF_ONE 1", "PERF_ONE 2"))
    assert script.main([include, "--check"]) == 1
    assert {"-#define PERF_ONE 2", "+#define PERF_ONE 1"} <= set(capsys.readouterr().out.splitlines())


def test_check_sees_the_header_of_an_architecture_that_is_gone(script, headers, root, capsys):
    """A file that the headers no longer give is drift."""
    include = str(headers("#define PERF_ONE 1\n"))
    script.main([include])
    gone = root / "cdefs" / "kernel" / "perf_regs" / "vax.h"
    gone.parent.mkdir()
    gone.write_text("enum { PERF_REG_VAX };\n")
    assert script.main([include, "--check"]) == 1
    assert "-enum { PERF_REG_VAX };" in capsys.readouterr().out


@pytest.mark.skipif(not UAPI, reason="PERF_EVENT_UAPI names no include directory of the kernel's headers")
def test_the_committed_files_are_in_step_with_the_kernels(script, capsys):
    """``regenerate.py --check`` finds no drift."""
    if script.version_of(Path(UAPI)) != HEADERS_VERSION:
        pytest.skip(f"PERF_EVENT_UAPI is not of Linux {HEADERS_VERSION}")
    assert (script.main([UAPI, "--check"]), capsys.readouterr().out) == (0, "")


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.name)
def test_line_one_of_each_generated_file_says_so(path):
    """By whom, from which kernel, and that it is not to be edited."""
    first = path.read_text().splitlines()[0]
    assert re.search(
        rf"generated by scripts/regenerate\.py from .* of Linux {re.escape(HEADERS_VERSION)}: do not edit", first
    )


def test_all_generated_files_together_have_at_most_1200_lines():
    """They can be reviewed at each new kernel."""
    assert len(GENERATED) == 11
    assert sum(len(path.read_text().splitlines()) for path in GENERATED) <= 1200
