//! Every `group.*` and `offset*` setting of a Kafka 4.3.1 broker: its default, its least value, and who obeys it here.

/// Who obeys a setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Obeyed {
    /// The coordinator: a field of [`super::GroupSettings`].
    Machine,
    /// Whoever creates `__consumer_offsets`.
    Topic,
    /// The driver, as far as it has such a thing.
    Driver,
    /// Nobody: it tunes threads and buffers that are not here, or a group protocol that is not here yet.
    Nobody,
}

/// A setting of Kafka's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BrokerSetting {
    /// Its name.
    pub name: &'static str,
    /// Its default, as text.
    pub default: &'static str,
    /// The least number it takes; `None` when it is no number.
    pub least: Option<i64>,
    /// Who obeys it.
    pub obeyed: Obeyed,
}

const fn number(name: &'static str, default: &'static str, least: i64, obeyed: Obeyed) -> BrokerSetting {
    BrokerSetting { name, default, least: Some(least), obeyed }
}

const fn words(name: &'static str, default: &'static str, obeyed: Obeyed) -> BrokerSetting {
    BrokerSetting { name, default, least: None, obeyed }
}

/// All of them, by name.
pub const BROKER_SETTINGS: &[BrokerSetting] = &[
    number("group.consumer.assignment.interval.ms", "1000", 0, Obeyed::Nobody),
    words("group.consumer.assignors", "uniform,range", Obeyed::Nobody),
    number("group.consumer.heartbeat.interval.ms", "5000", 1, Obeyed::Nobody),
    number("group.consumer.max.assignment.interval.ms", "15000", 0, Obeyed::Nobody),
    number("group.consumer.max.heartbeat.interval.ms", "15000", 1, Obeyed::Nobody),
    number("group.consumer.max.session.timeout.ms", "60000", 1, Obeyed::Nobody),
    number("group.consumer.max.size", "2147483647", 1, Obeyed::Nobody),
    words("group.consumer.migration.policy", "bidirectional", Obeyed::Nobody),
    number("group.consumer.min.assignment.interval.ms", "0", 0, Obeyed::Nobody),
    number("group.consumer.min.heartbeat.interval.ms", "5000", 1, Obeyed::Nobody),
    number("group.consumer.min.session.timeout.ms", "45000", 1, Obeyed::Nobody),
    number("group.consumer.regex.refresh.interval.ms", "600000", 10000, Obeyed::Nobody),
    number("group.consumer.session.timeout.ms", "45000", 1, Obeyed::Nobody),
    number("group.coordinator.append.linger.ms", "-1", -1, Obeyed::Driver),
    number("group.coordinator.background.threads", "2", 1, Obeyed::Nobody),
    number("group.coordinator.cached.buffer.max.bytes", "1048588", 524288, Obeyed::Nobody),
    words("group.coordinator.rebalance.protocols", "classic,consumer,streams", Obeyed::Nobody),
    number("group.coordinator.threads", "4", 1, Obeyed::Nobody),
    number("group.initial.rebalance.delay.ms", "3000", 0, Obeyed::Machine),
    number("group.max.session.timeout.ms", "1800000", 0, Obeyed::Machine),
    number("group.max.size", "2147483647", 1, Obeyed::Machine),
    number("group.min.session.timeout.ms", "6000", 0, Obeyed::Machine),
    number("group.share.assignment.interval.ms", "1000", 0, Obeyed::Nobody),
    words("group.share.assignors", "simple", Obeyed::Nobody),
    number("group.share.heartbeat.interval.ms", "5000", 1, Obeyed::Nobody),
    number("group.share.initialize.retry.interval.ms", "30000", 1, Obeyed::Nobody),
    number("group.share.max.assignment.interval.ms", "15000", 0, Obeyed::Nobody),
    number("group.share.max.heartbeat.interval.ms", "15000", 1, Obeyed::Nobody),
    number("group.share.max.session.timeout.ms", "60000", 1, Obeyed::Nobody),
    number("group.share.max.size", "200", 1, Obeyed::Nobody),
    number("group.share.min.assignment.interval.ms", "0", 0, Obeyed::Nobody),
    number("group.share.min.heartbeat.interval.ms", "5000", 1, Obeyed::Nobody),
    number("group.share.min.session.timeout.ms", "45000", 1, Obeyed::Nobody),
    number("group.share.session.timeout.ms", "45000", 1, Obeyed::Nobody),
    number("group.streams.assignment.interval.ms", "1000", 0, Obeyed::Nobody),
    number("group.streams.heartbeat.interval.ms", "5000", 1, Obeyed::Nobody),
    number("group.streams.initial.rebalance.delay.ms", "3000", 0, Obeyed::Nobody),
    number("group.streams.max.assignment.interval.ms", "15000", 0, Obeyed::Nobody),
    number("group.streams.max.heartbeat.interval.ms", "15000", 1, Obeyed::Nobody),
    number("group.streams.max.session.timeout.ms", "60000", 1, Obeyed::Nobody),
    number("group.streams.max.size", "2147483647", 1, Obeyed::Nobody),
    number("group.streams.max.standby.replicas", "2", 0, Obeyed::Nobody),
    number("group.streams.min.assignment.interval.ms", "0", 0, Obeyed::Nobody),
    number("group.streams.min.heartbeat.interval.ms", "5000", 1, Obeyed::Nobody),
    number("group.streams.min.session.timeout.ms", "45000", 1, Obeyed::Nobody),
    number("group.streams.num.standby.replicas", "0", 0, Obeyed::Nobody),
    number("group.streams.session.timeout.ms", "45000", 1, Obeyed::Nobody),
    number("offset.metadata.max.bytes", "4096", 0, Obeyed::Machine),
    number("offsets.commit.timeout.ms", "5000", 1, Obeyed::Driver),
    number("offsets.load.buffer.size", "5242880", 1, Obeyed::Driver),
    number("offsets.retention.check.interval.ms", "600000", 1, Obeyed::Machine),
    number("offsets.retention.minutes", "10080", 1, Obeyed::Machine),
    number("offsets.topic.compression.codec", "0", 0, Obeyed::Topic),
    number("offsets.topic.num.partitions", "50", 1, Obeyed::Topic),
    number("offsets.topic.replication.factor", "3", 1, Obeyed::Topic),
    number("offsets.topic.segment.bytes", "104857600", 1, Obeyed::Topic),
];
