"""Whether all pieces of the benchmarks run: a few seconds of several of them. It asserts no timing."""

from bench.case import SATURATION, Bench

from . import catchup, connections, fanout, groups, latency, partitions, restart, share, soak, throughput

PICKED = {
    throughput.BENCH: ("idle", throughput.BASE, "lz4"),
    latency.BENCH: ("produce at 50 %", "one record at a time, end to end"),
    fanout.BENCH: (fanout.ALONE, "5 tail consumers"),
    catchup.BENCH: ("cold read of 8 GiB",),
    partitions.BENCH: ("1,000 partitions in all",),
    connections.BENCH: ("100 connections",),
    restart.BENCH: ("killed with 1 GiB",),
    groups.BENCH: (groups.QUIET,),
    share.BENCH: (share.MIXED, share.BACKLOG),
    soak.BENCH: ("30 minutes at 50 %",),
}

BENCH = Bench(
    name="smoke",
    title="Smoke",
    cases=(SATURATION, *(case for bench, names in PICKED.items() for name in names
                         for case in bench.cases if case.name == name)),
    targets=tuple(target for bench in PICKED for target in bench.targets),
    says=("seconds and megabytes only: these numbers say nothing of speed",),
    servers=("millrace",),
    rounds=1,
)
