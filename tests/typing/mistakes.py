"""Mistakes of users. Both type checkers report each line that ends in "# mistake", and no other. It is never run."""

from collections.abc import Mapping

from perf_event_open_sys import bindings as b
from perf_event_open_sys import counters, errors, events, ffi, ioctls, lib, perf_event_attr, perf_event_open, records, ring
from perf_event_open_sys import recrods  # mistake
from perf_event_open_sys.bindings import PERF_COUNT_SW_PAGE_FALTS  # mistake
from perf_event_open_sys.bindings import perf_event_atr_p  # mistake
import perf_event_open_sys as package


def names_of_the_package() -> None:
    package.evnts  # mistake
    package.perf_event_opn  # mistake
    package.HEADER_VERSION  # mistake
    package.lib_adress("ring_read")  # mistake
    package.lib_address(ring.read)  # mistake
    ring.mmap(3, 8)  # mistake
    records.parze(b"", perf_event_attr())  # mistake
    counters.red(3)  # mistake
    ioctls.enabel(3)  # mistake
    events.atr("cycles")  # mistake
    errors.diagnoze(1)  # mistake


def constants() -> None:
    b.PERF_COUNT_SW_PAGE_FALTS  # mistake
    lib.PERF_TYPE_SOFTWEAR  # mistake
    b.PERF_REG_X68_AX  # mistake
    b.PERF_MEM_S("LVL", "L7")  # mistake
    b.PERF_MEM_S("LEVEL", "L1")  # mistake
    b.name_of("perf_event_types", 9)  # mistake
    b.name_of("perf_event_type", "9")  # mistake


def attrs(attr: b.perf_event_attr_p) -> None:
    attr.exclude_kernal = 1  # mistake
    attr.sample_perod  # mistake
    attr.config = "cycles"  # mistake
    attr.sample_freq = 99.5  # mistake
    attr.size = None  # mistake
    perf_event_attr(exclude_kernal=1)  # mistake
    perf_event_attr(config="cycles")  # mistake
    perf_event_attr(1, 2)  # mistake
    b.perf_branch_entry(form=1)  # mistake
    b.perf_event_query_bpf()  # mistake
    events.attr("cycles", sampel_period=1)  # mistake
    events.attr("cycles", sample_period="1")  # mistake
    events.attr(7)  # mistake
    events.parse("cycles").attr  # mistake
    events.tracepoint_format("sched", "sched_switch").feilds  # mistake
    events.tracepoint_format("sched:sched_switch")  # mistake
    events.pmus()["cpu"].typ  # mistake
    b.dump(b.perf_event_header())  # mistake
    b.copy(attr, exclude_kernal=1)  # mistake
    b.copy(attr).valeu  # mistake
    b.copy(7)  # mistake
    b.perf_event_attr_from("text")  # mistake
    b.perf_event_attr_from(b"").exclude_kernal  # mistake
    len(attr)  # mistake


def opening(attr: b.perf_event_attr_p) -> None:
    perf_event_open(b.perf_event_header())  # mistake
    perf_event_open({"type": 1})  # mistake
    perf_event_open(attr, "self")  # mistake
    perf_event_open(attr, cpus=1)  # mistake
    perf_event_open(attr).close()  # mistake
    errors.diagnose(1, ring.map(3, 1), 0, -1, -1, 0)  # mistake


def controlling(fd: int, attr: b.perf_event_attr_p) -> None:
    ioctls.period(fd, "1000")  # mistake
    ioctls.set_output(fd, None)  # mistake
    ioctls.set_filter(fd, 5)  # mistake
    ioctls.enable("3")  # mistake
    ioctls.refresh(fd)  # mistake
    ioctls.modify_attributes(fd, ring.map(fd, 1))  # mistake
    ioctls.id(fd).value  # mistake
    ioctls.query_bpf(fd, "many")  # mistake


def counting(fd: int, page: b.perf_event_mmap_page_p) -> None:
    counts = counters.read(fd)[0]
    counts.valeu  # mistake
    counters.read(fd).value  # mistake
    counters.read("3")  # mistake
    counters.read_into(["3", "4"], 0, ffi.new("struct perf_counts[]", 2))  # mistake
    counters.read_into([3], 0, [{}])  # mistake
    counters.read_into([3], 0, ffi.new("struct perf_counts *"))  # mistake
    counters.read_into(ffi.new("long[]", 3), 0, ffi.new("struct perf_counts[]", 2))  # mistake
    counters.scaled(3)  # mistake
    counters.scaled(counts) + 1  # mistake
    counters.read_user(fd)  # mistake
    counters.read_user(page).value  # mistake


def reading(fd: int, attr: b.perf_event_attr_p, page: b.perf_event_mmap_page_p) -> None:
    page.data_hed  # mistake
    ring.map(fd, "8")  # mistake
    ring.map(fd, 8, True)  # mistake
    ring.read(attr)  # mistake
    ring.head(fd)  # mistake
    ring.read_into(page)  # mistake
    ring.read_into(page, "text")  # mistake
    ring.set_tail(page, page)  # mistake
    ring.data(page).head  # mistake
    ring.drain_into(page, bytearray(8))  # mistake
    ring.drain_into([attr], bytearray(8))  # mistake
    ring.map_aux(page, fd, 8)  # mistake
    ring.read_aux_into(page, page, bytearray(8))  # mistake


def parsing(buffer: bytes, attr: b.perf_event_attr_p, attrs: Mapping[str, b.perf_event_attr_p]) -> None:
    for sample in records.parse(buffer, attr):
        sample.adr  # mistake
        records.callchain(sample)  # mistake
        records.callchain(buffer, attr)  # mistake
        records.branches(buffer, sample)[0].form  # mistake
        records.raw(buffer, sample).decode()  # mistake
        records.counts(buffer, sample).value  # mistake
    for record in records.iterate(buffer):
        record.heder  # mistake
        record.header.kind  # mistake
        record.pid  # mistake
    records.parse("text", attr)  # mistake
    records.parse(buffer, attrs)  # mistake
    records.parse(buffer, [attr])  # mistake
    records.parse(buffer, attr).columns  # mistake
    records.parse(buffer, attr, all_record=True)  # mistake
    records.columns(buffer, attr, 5)  # mistake
    records.columns(buffer, attr, ["ip"]).ip  # mistake
    records.at(buffer).header  # mistake
    records.at(buffer, 0).pid  # mistake
    records.parse(buffer, attr)["ip"]  # mistake
    records.parse_into(buffer, attr, [])  # mistake
    records.name(attr)  # mistake
    records.sample_id(attr, attr)  # mistake
    records.to_numpy(buffer)  # mistake
    records.dtype("struct perf_sampel")  # mistake


def raw_layer(fd: int, attr: b.perf_event_attr_p, page: b.perf_event_mmap_page_p) -> None:
    lib.ring_reed(page, 0, page, 0)  # mistake
    lib.ring_head(attr)  # mistake
    lib.perf_event_open(attr, 0, -1)  # mistake
    lib.perf_event_open(attr=attr, pid=0, cpu=-1, group_fd=-1, flags=0)  # mistake
    lib.ioctl_id(fd, ffi.new("uint32_t *"))  # mistake
    lib.counters_read(fd, 0, [{}], 1)  # mistake
    lib.PERF_TYPE_SOFTWARE.name  # mistake
    ffi.new("struct perf_event_atr *")  # mistake
    ffi.new("struct perf_counts[]", 3)[0].valeu  # mistake
    ffi.new("struct perf_event_attr *")["config"]  # mistake
    ffi.cast("struct perf_event_mmap_pag *", 0)  # mistake
    ffi.typeof("struct perf_evnt_attr")  # mistake
    ffi.typeof("struct perf_event_attr").feilds  # mistake
    ffi.sizeof("struct perf_event_header_t")  # mistake
    ffi.addressof(lib, "ring_reed")  # mistake
    ffi.neu("int *")  # mistake
    ffi.gc(page, "unmap")  # mistake
