//! The one table of what this broker serves: requests are dispatched by it and ApiVersions is answered from it.
//!
//! The versions are those that Apache Kafka 4.3 advertises. An API joins the table together with its handler.

macro_rules! apis {
    ($($number:literal $name:ident $min:literal - $max:literal, flexible $flexible:literal;)*) => {
        /// An API that is served.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(i16)]
        pub enum ApiKey {
            $(#[doc = concat!("`", stringify!($name), "`, key ", stringify!($number), ".")] $name = $number,)*
        }

        /// Every API that is served, by key.
        pub const APIS: &[Api] = &[
            $(Api {
                key: ApiKey::$name,
                name: stringify!($name),
                min: $min,
                max: $max,
                flexible_since: $flexible,
            },)*
        ];
    };
}

apis! {
    0 Produce 3-13, flexible 9;
    1 Fetch 4-18, flexible 12;
    2 ListOffsets 1-11, flexible 6;
    3 Metadata 0-13, flexible 9;
    8 OffsetCommit 2-10, flexible 8;
    9 OffsetFetch 1-10, flexible 6;
    10 FindCoordinator 0-6, flexible 3;
    11 JoinGroup 0-9, flexible 6;
    12 Heartbeat 0-4, flexible 4;
    13 LeaveGroup 0-5, flexible 4;
    14 SyncGroup 0-5, flexible 4;
    15 DescribeGroups 0-6, flexible 5;
    16 ListGroups 0-5, flexible 3;
    18 ApiVersions 0-4, flexible 3;
    19 CreateTopics 2-7, flexible 5;
    20 DeleteTopics 1-6, flexible 4;
    21 DeleteRecords 0-2, flexible 2;
    22 InitProducerId 0-5, flexible 2;
    23 OffsetForLeaderEpoch 2-4, flexible 4;
    32 DescribeConfigs 1-4, flexible 4;
    33 AlterConfigs 0-2, flexible 2;
    34 AlterReplicaLogDirs 1-2, flexible 2;
    35 DescribeLogDirs 1-5, flexible 2;
    37 CreatePartitions 0-3, flexible 2;
    42 DeleteGroups 0-2, flexible 2;
    43 ElectLeaders 0-2, flexible 2;
    44 IncrementalAlterConfigs 0-1, flexible 1;
    45 AlterPartitionReassignments 0-1, flexible 0;
    46 ListPartitionReassignments 0-0, flexible 0;
    47 OffsetDelete 0-0, flexible 1;
    48 DescribeClientQuotas 0-1, flexible 1;
    49 AlterClientQuotas 0-1, flexible 1;
    50 DescribeUserScramCredentials 0-0, flexible 0;
    51 AlterUserScramCredentials 0-0, flexible 0;
    55 DescribeQuorum 0-2, flexible 0;
    57 UpdateFeatures 0-2, flexible 0;
    60 DescribeCluster 0-2, flexible 0;
    61 DescribeProducers 0-0, flexible 0;
    64 UnregisterBroker 0-0, flexible 0;
    68 ConsumerGroupHeartbeat 0-1, flexible 0;
    69 ConsumerGroupDescribe 0-1, flexible 0;
    71 GetTelemetrySubscriptions 0-0, flexible 0;
    72 PushTelemetry 0-0, flexible 0;
    74 ListConfigResources 0-1, flexible 0;
    75 DescribeTopicPartitions 0-0, flexible 0;
    76 ShareGroupHeartbeat 1-1, flexible 0;
    77 ShareGroupDescribe 1-1, flexible 0;
    78 ShareFetch 1-2, flexible 0;
    79 ShareAcknowledge 1-2, flexible 0;
    90 DescribeShareGroupOffsets 0-1, flexible 0;
    91 AlterShareGroupOffsets 0-0, flexible 0;
    92 DeleteShareGroupOffsets 0-0, flexible 0;
}

/// One row of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Api {
    /// The key.
    pub key: ApiKey,
    /// Kafka's name of it.
    pub name: &'static str,
    /// First version that works.
    pub min: i16,
    /// Last version that works.
    pub max: i16,
    /// First version with compact lengths and tagged fields.
    pub flexible_since: i16,
}

impl Api {
    /// First version that ApiVersions states. It is the first that works, but for Produce: librdkafka takes a broker
    /// whose Produce starts above 0 for one that cannot do message format 2 (KAFKA-18659).
    #[must_use]
    pub fn advertised_min(&self) -> i16 {
        if self.key == ApiKey::Produce { 0 } else { self.min }
    }

    /// Whether requests of `version` are answered.
    #[must_use]
    pub const fn works_in(&self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    /// Whether `version` has compact lengths and tagged fields.
    #[must_use]
    pub const fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible_since
    }
}

impl ApiKey {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> i16 {
        self as i16
    }

    /// The row of this key.
    ///
    /// # Panics
    /// Never: every key comes from a row.
    #[must_use]
    pub fn api(self) -> &'static Api {
        match find(self.number()) {
            Some(api) => api,
            None => unreachable!("a key without its row"),
        }
    }
}

/// The row of a key by its number on the wire; `None` when it is not served.
#[must_use]
pub fn find(key: i16) -> Option<&'static Api> {
    APIS.iter().find(|api| api.key.number() == key)
}

/// The API, if requests of this key and version are answered. ApiVersions answers unknown versions too, with an
/// error: see [`crate::control::encode_api_versions`].
#[must_use]
pub fn supported(key: i16, version: i16) -> Option<ApiKey> {
    find(key).filter(|api| api.works_in(version)).map(|api| api.key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_order_and_sane() {
        assert!(APIS.windows(2).all(|pair| pair[0].key < pair[1].key));
        for api in APIS {
            assert!(0 <= api.min && api.min <= api.max, "{}", api.name);
            assert_eq!(api.key.api(), api);
        }
    }

    #[test]
    fn only_produce_advertises_more_than_it_does() {
        for api in APIS {
            let expected = if api.name == "Produce" { 0 } else { api.min };
            assert_eq!(api.advertised_min(), expected, "{}", api.name);
        }
        assert_eq!(supported(0, 2), None);
        assert_eq!(supported(0, 3), Some(ApiKey::Produce));
        assert_eq!(supported(0, 14), None);
        assert_eq!(supported(1000, 0), None);
        assert_eq!(supported(-1, 0), None);
    }
}
