"""Share groups (KIP-932): Kafka's Java share consumer and admin client."""

from harness.check import Context, check

from clients.librdkafka.share_members import SHARE_SETTINGS

from .programs import program

SCENARIOS = {
    "java_members_accept_release_and_reject": "acknowledge",
    "java_records_are_given_up_after_their_last_delivery": "limit",
    "java_records_that_come_back_often_come_few_at_a_time": "isolates",
    "java_locks_end": "locks",
    "java_members_renew_their_locks": "renew",
    "java_polls_bring_batches_or_few_records": "modes",
    "java_groups_begin_where_they_should": "resets",
    "java_members_that_close_give_back": "closes",
    "java_members_accept_implicitly": "implicit",
    "java_members_share_partitions": "many",
    "java_groups_read_what_is_committed": "isolated",
    "java_admin_of_share_groups": "admin",
}
"""Names of checks, and what `ShareClient.java` is told to do."""


def registered(name: str, scenario: str) -> None:
    """Makes a scenario a check."""

    def body(ctx: Context) -> None:
        program(ctx, scenario, "ShareClient")

    body.__name__ = name
    check("shares", SHARE_SETTINGS)(body)


for check_name, what in SCENARIOS.items():
    registered(check_name, what)
