//! Tiered storage.

use super::{MAX, null, row};
use crate::settings::Effect::Kept;
use crate::settings::Kind::{Boolean, Int, Long, SomeText, Text};
use crate::settings::Setting;
use crate::settings::Update::{Cluster, Start};
use crate::settings::reason::TIERED;

#[rustfmt::skip]
pub(super) static ROWS: &[Setting] = &[
    row("follower.fetch.last.tiered.offset.enable", Boolean, "false", Cluster, Kept(TIERED), "Whether a new follower skips what is tiered already."),
    row("remote.fetch.max.wait.ms", Int(1, MAX), "500", Cluster, Kept(TIERED), "How long a fetch waits for remote storage."),
    row("remote.list.offsets.request.timeout.ms", Long(1), "30000", Cluster, Kept(TIERED), "How long a look-up by time waits for remote storage."),
    row("remote.log.index.file.cache.total.size.bytes", Long(1), "1073741824", Cluster, Kept(TIERED), "Local space for indexes of remote segments."),
    row("remote.log.manager.copier.thread.pool.size", Int(1, MAX), "10", Cluster, Kept(TIERED), "Threads that copy segments to remote storage."),
    row("remote.log.manager.copy.max.bytes.per.second", Long(1), "9223372036854775807", Cluster, Kept(TIERED), "How fast segments are copied to remote storage."),
    row("remote.log.manager.copy.quota.window.num", Int(1, MAX), "11", Start, Kept(TIERED), "Samples behind the quota for copying."),
    row("remote.log.manager.copy.quota.window.size.seconds", Int(1, MAX), "1", Start, Kept(TIERED), "Time that one of these samples covers."),
    row("remote.log.manager.expiration.thread.pool.size", Int(1, MAX), "10", Cluster, Kept(TIERED), "Threads that delete remote segments."),
    row("remote.log.manager.fetch.max.bytes.per.second", Long(1), "9223372036854775807", Cluster, Kept(TIERED), "How fast remote storage is read."),
    row("remote.log.manager.fetch.quota.window.num", Int(1, MAX), "11", Start, Kept(TIERED), "Samples behind the quota for reading."),
    row("remote.log.manager.fetch.quota.window.size.seconds", Int(1, MAX), "1", Start, Kept(TIERED), "Time that one of these samples covers."),
    row("remote.log.manager.follower.thread.pool.size", Int(1, MAX), "2", Cluster, Kept(TIERED), "Threads that follow remote segments of other leaders."),
    row("remote.log.manager.task.interval.ms", Long(1), "30000", Start, Kept(TIERED), "How often it is looked for segments to copy or delete."),
    row("remote.log.manager.thread.pool.size", Int(1, MAX), "2", Start, Kept(TIERED), "Threads that schedule copying and deleting."),
    row("remote.log.metadata.custom.metadata.max.bytes", Int(0, MAX), "128", Start, Kept(TIERED), "What a plug-in may note with a remote segment."),
    row("remote.log.metadata.manager.class.name", SomeText, "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager", Start, Kept(TIERED), "Java class that keeps the list of remote segments."),
    null("remote.log.metadata.manager.class.path", Text, Start, Kept(TIERED), "Where that class is found."),
    row("remote.log.metadata.manager.impl.prefix", SomeText, "rlmm.config.", Start, Kept(TIERED), "How settings for that class begin."),
    null("remote.log.metadata.manager.listener.name", SomeText, Start, Kept(TIERED), "Listener through which that class reaches the cluster."),
    row("remote.log.reader.max.pending.tasks", Int(1, MAX), "100", Start, Kept(TIERED), "Reads of remote storage that may wait."),
    row("remote.log.reader.threads", Int(1, MAX), "10", Cluster, Kept(TIERED), "Threads that read remote storage."),
    null("remote.log.storage.manager.class.name", SomeText, Start, Kept(TIERED), "Java class that reaches remote storage."),
    null("remote.log.storage.manager.class.path", Text, Start, Kept(TIERED), "Where that class is found."),
    row("remote.log.storage.manager.impl.prefix", SomeText, "rsm.config.", Start, Kept(TIERED), "How settings for that class begin."),
    row("remote.log.storage.system.enable", Boolean, "false", Start, Kept(TIERED), "Whether segments may go to remote storage."),
];
