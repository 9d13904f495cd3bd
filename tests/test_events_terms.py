"""Terms and modifiers: the fields of the attr that each sets."""

import pytest
from support.attrs import set_fields

from perf_event_open_sys import bindings as b
from perf_event_open_sys import events

USER, ANY, CALL = b.PERF_SAMPLE_BRANCH_USER, b.PERF_SAMPLE_BRANCH_ANY, b.PERF_SAMPLE_BRANCH_ANY_CALL
STACK, CHAIN, TIME = b.PERF_SAMPLE_BRANCH_STACK, b.PERF_SAMPLE_CALLCHAIN, b.PERF_SAMPLE_TIME
GROUP_READ = {"sample_type": b.PERF_SAMPLE_READ, "read_format": b.PERF_FORMAT_GROUP | b.PERF_FORMAT_ID}
# sample_freq is shown as sample_period: the two are one field.
TERMS = {
    "period=7,freq=77": {"sample_period": 77, "freq": 1},
    "freq=77,period=7": {"sample_period": 7},
    "period=7,freq=77,period=8": {"sample_period": 8},
    "freq=77,period=7,freq=78": {"sample_period": 78, "freq": 1},
    "call-graph=fp,time,max-stack=10": {"sample_type": CHAIN | TIME, "sample_max_stack": 10},
    "call-graph=no,time=0,max-stack=10": {"sample_type": CHAIN, "sample_max_stack": 10},
    "stack-size=64": {"sample_stack_user": 64},
    "inherit": {"inherit": 1},
    "inherit,no-inherit": {},
    "overwrite": {"write_backward": 1},
    "overwrite,no-overwrite": {},
    "aux-output": {"aux_output": 1},
    "aux-sample-size=16": {"aux_sample_size": 16, "sample_type": b.PERF_SAMPLE_AUX},
    "aux-action=pause": {"aux_pause": 1},
    "aux-action=resume": {"aux_resume": 1},
    "aux-action=start-paused": {"aux_start_paused": 1},
    "branch_type": {"branch_sample_type": ANY, "sample_type": STACK},
    "branch_type=u": {"branch_sample_type": ANY | USER, "sample_type": STACK},
    "branch_type='any_call,u',time": {"branch_sample_type": CALL | USER, "sample_type": STACK | TIME},
    "branch_type='any_ret,ind_jmp,save_type'": {
        "branch_sample_type": b.PERF_SAMPLE_BRANCH_ANY_RETURN
        | b.PERF_SAMPLE_BRANCH_IND_JUMP
        | b.PERF_SAMPLE_BRANCH_TYPE_SAVE,
        "sample_type": STACK,
    },
    "name=x,metric-id=y": {},
}
MODIFIERS = {
    "u": {"exclude_kernel": 1, "exclude_hv": 1},
    "kh": {"exclude_user": 1},
    "ukh": {},
    "G": {"exclude_host": 1},
    "H": {"exclude_guest": 1},
    "GH": {},
    "pp": {"precise_ip": 2},
    "I": {"exclude_idle": 1},
    "De": {"pinned": 1, "exclusive": 1},
    "S": GROUP_READ,
    "W": {},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((f"dummy/{terms}/", expected) for terms, expected in TERMS.items()),
        *((f"dummy:{letters}", expected) for letters, expected in MODIFIERS.items()),
        ("dummy/time/Su", {**GROUP_READ, **MODIFIERS["u"], "sample_type": TIME | b.PERF_SAMPLE_READ}),
    ],
)
def test_a_term_or_modifier_sets_its_fields_and_no_other(text, expected):
    """Flags of several terms are added; of two values of one field the last one wins."""
    attr = set_fields(events.attr(text))
    del attr["size"], attr["type"], attr["config"]
    assert attr == expected


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ("time=2", "time takes 0 or 1, not '2'"),
        ("no-inherit=0", "no-inherit takes 1, not '0'"),
        ("aux-action", "aux-action takes pause or resume or start-paused, not '1'"),
        ("branch_type='any,x'", "branch_type takes abort_tx or any or .* or user, not 'x'"),
        ("branch_type=max", "not 'max'"),
    ],
)
def test_a_word_that_a_term_does_not_take_is_a_value_error(term, message):
    """The message lists the words, and not those of the kernel's enum that are no kind of branch."""
    with pytest.raises(ValueError, match=message):
        events.attr(f"dummy/{term}/")
