"""scripts/regenerate.py on tiny headers: what it does not understand stops it."""

import re

import pytest

from perf_event_open_sys import _cdef

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
    "itself": "#define PERF_ODD PERF_ODD",
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_an_unknown_macro_stops_it_by_line_and_name(refusal, shape):
    """The message names file, line and macro, comments and continued lines before it notwithstanding."""
    text = "/* a comment\n * of two lines */\n#define PERF_LONG \\\n\t(1 | \\\n\t2)\nenum perf_new {\n\tPERF_A,\n};\n"
    assert re.search(r"linux/perf_event\.h:9: macro PERF_ODD: \S", refusal(f"{text}{shape}\n#define PERF_AFTER 1\n"))


def test_another_body_of_the_known_function_stops_it(refusal):
    """PERF_MEM_S is translated by hand, so a header in which its body has changed stops the script."""
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
    """A declaration that is no enum, struct, union or macro stops the script, with its line."""
    assert re.search(r"perf_event\.h:2\b", refusal(f"#define PERF_ONE 1\n{declaration}\nenum perf_new {{ PERF_A }};\n"))


def test_a_constant_that_depends_on_the_byte_order_stops_it(refusal):
    """A struct may differ by byte order; a constant may not, and stops the script."""
    text = "#ifdef __LITTLE_ENDIAN_BITFIELD\n#define PERF_ODD 1\n#else\n#define PERF_ODD 2\n#endif\n"
    assert "byte order" in refusal(text)


CONDITIONS = {
    "an #if": "#if 1\n#define PERF_ODD 1\n#endif\n",
    "an #ifdef": "#ifdef CONFIG_ODD\n#define PERF_ODD 1\n#endif\n",
    "an #elif": "#if defined(__LITTLE_ENDIAN_BITFIELD)\n#elif defined(__x86_64__)\n#define PERF_ODD 1\n#endif\n",
    "a second #ifndef": "#ifndef _ODD_H\n#define _ODD_H\n#ifndef _ODD_2_H\nenum perf_odd { PERF_ODD };\n#endif\n#endif\n",
}


@pytest.mark.parametrize("text", CONDITIONS.values(), ids=CONDITIONS)
def test_a_condition_that_hides_something_stops_it(refusal, text):
    """Only the include guard and the byte order may decide what a header declares."""
    assert re.search(r"perf_event\.h:\d: #\w+ .* neither the include guard nor the byte order", refusal(text))


def test_a_macro_that_is_defined_twice_stops_it(refusal):
    """C would take the second definition, so the script refuses the header."""
    assert "PERF_ONE" in refusal("#define PERF_ONE 1\n#define PERF_ONE 2\n")


def test_a_directive_of_ours_that_cffi_would_miss_stops_the_build():
    """The reader of cdefs/ knows #if, #ifdef, #ifndef, #else and #endif, and refuses #elif and indented directives."""
    for text in ("#if A\n#elif B\nint x;\n#endif\n", "#if A\n  #else\n#endif\n"):
        with pytest.raises(ValueError, match=r"line 2: .* not understood"):
            _cdef.selected(text, set())


def test_another_include_stops_it(refusal):
    """The headers may include the three that are stubbed, no others."""
    assert "perf_event.h:1" in refusal("#include <linux/other.h>\n")
