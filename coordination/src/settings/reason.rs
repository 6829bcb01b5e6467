//! Why a setting of Kafka's is without effect here: each a clause that follows "Without effect here:".

pub(super) const ONE_BROKER: &str =
    "one broker is the whole cluster, so there is no controller quorum to reach and nobody to replicate to";
pub(super) const COORDINATORS: &str =
    "a group coordinator runs on the core that owns its partition and needs no threads or buffers of its own";
pub(super) const OFFSETS: &str =
    "a commit is on stable storage before it is answered, as sent, on the one broker there is";
pub(super) const STATES: &str = "what becomes of a record is on stable storage before it holds, as soon as that can be, on the one broker there is";
pub(super) const STREAMS_GROUPS: &str = "streams groups are not there yet";
pub(super) const TRANSACTIONS: &str = "transactions are not there yet";
pub(super) const TIERED: &str = "tiered storage is not there yet";
pub(super) const TLS: &str = "TLS is not there yet and listeners are PLAINTEXT";
pub(super) const SASL: &str = "SASL is not there yet and listeners are PLAINTEXT";
pub(super) const QUOTAS: &str = "quotas are not there yet";
pub(super) const OVERRIDES: &str = "max.connections.per.ip holds for every address";
pub(super) const JAVA: &str = "it names a Java class or plug-in";
pub(super) const METRICS: &str = "metrics are served by the admin endpoint, without JMX";
pub(super) const THREADS: &str = "every core has one executor that does all its work; see millrace.cores";
pub(super) const CLEANER: &str =
    "every core compacts its own partitions, one at a time, with memory that its cache lends";
pub(super) const QUEUES: &str = "requests are admitted by their bytes against millrace.memory";
pub(super) const FLUSHING: &str = "acknowledged records are on stable storage already (only a topic relaxes that), and checkpoints follow \
                                   the journal";
pub(super) const SOCKETS: &str =
    "the kernel sizes socket buffers, and each core listens with a backlog of 1024";
pub(super) const PURGATORY: &str = "waiting requests are kept without a purgatory";
pub(super) const DIRECTORIES: &str = "there is one data directory";
pub(super) const METADATA: &str = "the metadata log is replaced by a snapshot when it reaches 4 MiB";
