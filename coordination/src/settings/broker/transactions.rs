//! Producers, transactions, and the state of share groups.

use super::{ANY_INT, MAX, row};
use crate::settings::Effect::{Kept, Obeyed};
use crate::settings::Kind::{Boolean, Int, Short};
use crate::settings::Setting;
use crate::settings::Update::{Cluster, Start};
use crate::settings::reason::{COORDINATORS, PURGATORY, STATES, TRANSACTIONS};

/// One that Kafka keeps to itself, of five minutes: it is taken, and listed only where somebody set it.
const fn inside(name: &'static str, about: &'static str) -> Setting {
    Setting { hidden: true, ..row(name, Int(1, MAX), "300000", Start, Obeyed, about) }
}

#[rustfmt::skip]
pub(super) static ROWS: &[Setting] = &[
    row("add.partitions.to.txn.retry.backoff.max.ms", Int(0, MAX), "100", Start, Kept(TRANSACTIONS), "Longest wait of the broker before it asks again whether a transaction is going on."),
    row("add.partitions.to.txn.retry.backoff.ms", Int(1, MAX), "20", Start, Kept(TRANSACTIONS), "First wait of the broker before it asks again whether a transaction is going on."),
    row("producer.id.expiration.ms", Int(1, MAX), "86400000", Cluster, Obeyed, "An idempotent producer is forgotten when it was silent for this long."),
    row("share.coordinator.append.linger.ms", Int(-1, MAX), "-1", Start, Kept(STATES), "How long a share coordinator gathers records before it writes them."),
    row("share.coordinator.cached.buffer.max.bytes", Int(524_288, MAX), "1048588", Cluster, Kept(COORDINATORS), "Largest buffer that a share coordinator keeps for the next write."),
    inside("share.coordinator.cold.partition.snapshot.interval.ms", "How often share states that do not change are written again, so that older records can go."),
    row("share.coordinator.load.buffer.size", Int(1, MAX), "5242880", Start, Kept(COORDINATORS), "How much is read at a time when share states are loaded."),
    row("share.coordinator.snapshot.update.records.per.snapshot", Int(0, 500), "500", Start, Obeyed, "Changes of a share state after which all of it is written."),
    row("share.coordinator.state.topic.compression.codec", ANY_INT, "0", Start, Kept(STATES), "Compression of the topic of share states."),
    row("share.coordinator.state.topic.min.isr", Short(1), "2", Start, Kept(STATES), "Replicas in sync that the topic of share states needs."),
    row("share.coordinator.state.topic.num.partitions", Int(1, MAX), "50", Start, Obeyed, "Partitions of the topic of share states."),
    inside("share.coordinator.state.topic.prune.interval.ms", "How often records of the topic of share states that nobody needs are deleted."),
    row("share.coordinator.state.topic.replication.factor", Short(1), "3", Start, Kept(STATES), "Replicas of the topic of share states."),
    row("share.coordinator.state.topic.segment.bytes", Int(1, MAX), "104857600", Start, Obeyed, "Segment size of the topic of share states."),
    row("share.coordinator.threads", Int(1, MAX), "1", Start, Kept(COORDINATORS), "Threads of the share coordinators."),
    row("share.coordinator.write.timeout.ms", Int(1, MAX), "5000", Start, Obeyed, "How long a change of a share state is waited for."),
    row("share.fetch.purgatory.purge.interval.requests", ANY_INT, "1000", Start, Kept(PURGATORY), "How many finished share fetches are cleared away together."),
    row("transaction.abort.timed.out.transaction.cleanup.interval.ms", Int(1, MAX), "10000", Start, Kept(TRANSACTIONS), "How often transactions that take too long are looked for."),
    row("transaction.max.timeout.ms", Int(1, MAX), "900000", Start, Kept(TRANSACTIONS), "Longest transaction a producer may ask for."),
    row("transaction.partition.verification.enable", Boolean, "true", Cluster, Kept(TRANSACTIONS), "Whether it is checked that a partition belongs to the transaction that writes to it."),
    row("transaction.remove.expired.transaction.cleanup.interval.ms", Int(1, MAX), "3600000", Start, Kept(TRANSACTIONS), "How often transactional ids that are out of use are looked for."),
    row("transaction.state.log.load.buffer.size", Int(1, MAX), "5242880", Start, Kept(TRANSACTIONS), "How much is read at a time when transactions are loaded."),
    row("transaction.state.log.min.isr", Int(1, MAX), "2", Start, Kept(TRANSACTIONS), "Replicas in sync that the topic of transactions needs."),
    row("transaction.state.log.num.partitions", Int(1, MAX), "50", Start, Kept(TRANSACTIONS), "Partitions of the topic of transactions."),
    row("transaction.state.log.replication.factor", Short(1), "3", Start, Kept(TRANSACTIONS), "Replicas of the topic of transactions."),
    row("transaction.state.log.segment.bytes", Int(1, MAX), "104857600", Start, Kept(TRANSACTIONS), "Segment size of the topic of transactions."),
    row("transaction.two.phase.commit.enable", Boolean, "false", Start, Kept(TRANSACTIONS), "Whether transactions may take part in a commit in two phases."),
    row("transactional.id.expiration.ms", Int(1, MAX), "604800000", Start, Kept(TRANSACTIONS), "A transactional id that is out of use is forgotten after this."),
];
