"""Every record of a long queue is accepted, or rejected on purpose, though members of its share group are killed all the time."""

from harness import options
from harness.check import Context, check

from clients.librdkafka.share_members import SHARE_SETTINGS

from .run import queue

RECORDS_DEFAULT = 1_000_000
RECORDS_FEW = 20_000
FEW_BOUND_S = 240


def bound_s() -> int:
    """What ends a run that hangs: it needs a part of it."""
    return 600 + options.records(RECORDS_DEFAULT) // 1000


@check("queue", SHARE_SETTINGS, bound_s=lambda: bound_s() + 120)
def no_record_is_lost_or_handed_out_wrongly(ctx: Context) -> None:
    print(f"          | seed {options.seed()}: {queue(ctx, options.records(RECORDS_DEFAULT), options.seed(), bound_s())}", flush=True)


@check("shares", SHARE_SETTINGS)
def no_record_of_a_short_queue_is_lost(ctx: Context) -> None:
    queue(ctx, RECORDS_FEW, options.seed(), FEW_BOUND_S)
