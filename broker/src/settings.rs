//! What is meant: every setting parsed, checked against the machine and derived once, before anything starts.

mod groups;
pub mod host;
pub mod listeners;
mod memory;
pub mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use coordination::group::GroupSettings;
use coordination::metadata::{BrokerConfig, Overrides, TopicDefaults};
use coordination::share::store::StoreSettings;
use model::BrokerId;
use model::limits::MemoryPlan;
use net::limits::ConnectionLimits;
use storage::disk::failing::Failures;

use crate::api::coordinator::InternalTopic;
use crate::config::{Config, ConfigError, keys};
use host::Host;
use listeners::Advertised;
use values::Reader;

/// Where data goes when nobody says.
pub const DATA_DIR: &str = "millrace-data";

/// The settings of a broker.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Directory of all data.
    pub data_dir: PathBuf,
    /// Where recordings of the disk go, for tests of power cuts.
    pub disk_record: Option<PathBuf>,
    /// Operations of the disk that fail, for tests of that.
    pub disk_failures: Option<Arc<Failures>>,
    /// `node.id`, when configured; else the data directory's.
    pub node_id: Option<BrokerId>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// Where clients connect; port 0 picks a free one.
    pub listen: SocketAddr,
    /// What clients are told.
    pub advertised: Advertised,
    /// Where the admin endpoint listens; port 0 picks a free one.
    pub admin: SocketAddr,
    /// The CPU of each core, in order.
    pub cpus: Vec<usize>,
    /// How the memory of one core is divided.
    pub memory: MemoryPlan,
    /// How long an idle core looks for work before it sleeps.
    pub spin: Duration,
    /// What connections may take, cut to what the memory can serve.
    pub connections: ConnectionLimits,
    /// `num.partitions`.
    pub partitions_default: u32,
    /// `auto.create.topics.enable`.
    pub auto_create_topics: bool,
    /// `delete.topic.enable`.
    pub delete_topics: bool,
    /// `fetch.max.bytes`.
    pub fetch_bytes_max: u32,
    /// `telemetry.max.bytes`.
    pub telemetry_bytes_max: usize,
    /// `max.incremental.fetch.session.cache.slots`.
    pub fetch_sessions_max: usize,
    /// What group coordinators obey.
    pub groups: GroupSettings,
    /// What their topic is made with.
    pub offsets_topic: InternalTopic,
    /// What share coordinators obey.
    pub share_states: StoreSettings,
    /// What their topic is made with.
    pub share_state_topic: InternalTopic,
    /// `group.share.max.share.sessions`, of each core.
    pub share_sessions_max: usize,
    /// `log.retention.check.interval.ms`.
    pub retention_check: Duration,
    /// `max.request.partition.size.limit`: partitions in one answer to DescribeTopicPartitions.
    pub described_partitions_max: u32,
    /// What was configured, each value as its row took it. Secrets and what nobody knows are without their values.
    pub written: Overrides,
    /// Sentences for the log at start: what was cut or reduced, and why.
    pub notes: Vec<String>,
}

impl Settings {
    /// What `config` means on `host`.
    ///
    /// # Errors
    /// A sentence that names the key, the value and where it stands.
    pub fn new(config: &Config, host: &Host) -> Result<Self, ConfigError> {
        let read = Reader(config);
        let mut notes = Vec::new();
        let (cpus, memory) = memory::cores_and_memory(config, host, &mut notes)?;
        let written = written(config);
        let topics = TopicDefaults::of(&BrokerConfig::new(BrokerId(0), written.clone()));
        let connections = memory::connections(&read, &memory, cpus.len(), &mut notes)?;
        memory::note_batches(&topics, &memory, cpus.len(), &mut notes);
        let listen = listeners::listen(config)?;
        let (groups, offsets_topic) = groups::groups(config)?;
        let (share_states, share_state_topic) = groups::share_states(config)?;
        Ok(Self {
            data_dir: data_dir(config)?,
            disk_failures: disk_failures(config)?,
            disk_record: read.text(keys::DISK_RECORD).map(PathBuf::from),
            node_id: node_id(config)?,
            rack: read.text("broker.rack").map(str::to_owned),
            advertised: listeners::advertised(config, listen, host)?,
            listen,
            admin: listeners::address(config, keys::ADMIN_LISTENER)?,
            cpus,
            memory,
            spin: Duration::from_micros(read.number(keys::SPIN)?),
            connections,
            partitions_default: read.number("num.partitions")?,
            auto_create_topics: read.boolean("auto.create.topics.enable"),
            delete_topics: read.boolean("delete.topic.enable"),
            fetch_bytes_max: read.number("fetch.max.bytes")?,
            telemetry_bytes_max: read.number("telemetry.max.bytes")?,
            fetch_sessions_max: read.number("max.incremental.fetch.session.cache.slots")?,
            groups,
            offsets_topic,
            share_states,
            share_state_topic,
            share_sessions_max: read.number("group.share.max.share.sessions")?,
            retention_check: Duration::from_millis(read.number("log.retention.check.interval.ms")?),
            described_partitions_max: read.number("max.request.partition.size.limit")?,
            written,
            notes,
        })
    }

    /// Memory that all executors pin, in bytes: the arena and two sets of rings as large.
    #[must_use]
    pub fn pinned_bytes(&self) -> u64 {
        3 * self.memory.io_memory * self.cpus.len() as u64
    }

    /// Memory of all cores together, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.memory.total() * self.cpus.len() as u64
    }
}

fn written(config: &Config) -> Overrides {
    let told = |(key, value): (&str, &str)| {
        let value = if keys::is_told(key) { value } else { "" };
        (key.to_owned(), value.to_owned())
    };
    config.pairs().map(told).collect()
}

fn disk_failures(config: &Config) -> Result<Option<Arc<Failures>>, ConfigError> {
    let Some(text) = Reader(config).text(keys::DISK_FAIL) else { return Ok(None) };
    let failures = Failures::parse(text).map_err(|why| config.error(keys::DISK_FAIL, &why))?;
    Ok(Some(Arc::new(failures)))
}

fn data_dir(config: &Config) -> Result<PathBuf, ConfigError> {
    let key = if config.get("log.dirs").is_some() { "log.dirs" } else { "log.dir" };
    let Some(written) = config.get(key) else { return Ok(PathBuf::from(DATA_DIR)) };
    match written.value.as_str() {
        "" => Err(config.error(key, "wants a directory")),
        // A flag names one directory, whatever its name.
        value if value.contains(',') && !matches!(written.origin, crate::config::Origin::Flag(_)) => {
            Err(config.error(key, "there is one data directory; give one"))
        }
        value => Ok(PathBuf::from(value)),
    }
}

fn node_id(config: &Config) -> Result<Option<BrokerId>, ConfigError> {
    let id = |key| config.get(key).and_then(|written| written.value.parse().ok());
    let node: Option<i32> = id("node.id");
    // -1 is Kafka's "not set" of the older key.
    let broker = id("broker.id").filter(|id| *id >= 0);
    match (node, broker) {
        (Some(node), Some(broker)) if node != broker => {
            Err(config.error("broker.id", "differs from node.id; give one of them"))
        }
        (node, broker) => Ok(node.or(broker).map(BrokerId)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host { memory_bytes: 8 << 30, cpus: vec![2, 3, 5, 7], name: "machine".into() }
    }

    fn settings(sets: &[&str]) -> Result<Settings, String> {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        let config = Config::gather(None, &sets, vec![]).map_err(|error| error.0)?;
        Settings::new(&config, &host()).map_err(|error| error.0)
    }

    #[test]
    fn nothing_given_means_what_the_manual_says() {
        let settings = settings(&[]).unwrap();
        assert_eq!(settings.data_dir, PathBuf::from("millrace-data"));
        assert_eq!(settings.listen.to_string(), "127.0.0.1:9092");
        assert_eq!(settings.admin.to_string(), "127.0.0.1:9644");
        assert_eq!(settings.cpus, [2, 3, 5, 7]);
        assert_eq!(settings.memory_bytes(), 1 << 30, "a quarter of 8 GiB is above the cap");
        assert_eq!(settings.partitions_default, 1);
        assert!(settings.auto_create_topics && settings.delete_topics);
        assert_eq!(settings.connections.idle, Some(Duration::from_secs(600)));
        assert_eq!(settings.node_id, None);
    }

    #[test]
    fn memory_and_cores_are_judged_together() {
        let small = Host { memory_bytes: 1 << 30, ..host() };
        let derived = Settings::new(&Config::default(), &small).unwrap();
        assert_eq!(derived.memory_bytes(), 256 << 20, "a quarter");
        let tiny = Host { memory_bytes: 512 << 20, ..host() };
        let derived = Settings::new(&Config::default(), &tiny).unwrap();
        assert_eq!(derived.cpus, [2, 3], "128 MiB have room for two");
        assert!(derived.notes[0].starts_with("2 of 4 cores"), "{:?}", derived.notes);
        assert_eq!(settings(&["millrace.cores=2", "millrace.memory=1GiB"]).unwrap().memory_bytes(), 1 << 30);
        assert!(settings(&["millrace.cores=5"]).unwrap_err().contains("4 CPUs"));
        assert!(settings(&["millrace.cores=0"]).is_err());
        let error = settings(&["millrace.cores=4", "millrace.memory=128MiB"]).unwrap_err();
        assert!(error.contains("at least 256 MiB"), "{error}");
        assert!(settings(&["millrace.memory=1MiB"]).unwrap_err().contains("at least 64 MiB"));
    }

    #[test]
    fn what_memory_cannot_serve_is_cut_and_said() {
        let cut =
            settings(&["millrace.cores=1", "millrace.memory=64MiB", "message.max.bytes=50000000"]).unwrap();
        assert!(cut.connections.request_bytes_max < 100 << 20);
        let notes = cut.notes.join("\n");
        assert!(
            notes.contains("socket.request.max.bytes=104857600 is cut to 8388608 by the memory of one core; --memory 800MiB")
                && notes.contains("message.max.bytes=50000000 is cut to 8388608 by the memory of one core; --memory 382MiB"),
            "{notes}"
        );
        let enough = settings(&["millrace.cores=1", "millrace.memory=800MiB"]).unwrap();
        assert_eq!(enough.notes, Vec::<String>::new(), "what the note says is enough");
        let budget = usize::try_from(cut.memory.requests).unwrap();
        assert!(cut.connections.request_bytes_max <= budget / 2);
    }

    #[test]
    fn topic_defaults_have_kafkas_precedence() {
        let resolve = |sets: &[&str]| {
            coordination::metadata::TopicSettings::resolve(
                &TopicDefaults::of(&BrokerConfig::new(BrokerId(1), settings(sets).unwrap().written)),
                &coordination::metadata::Overrides::new(),
            )
        };
        let retention = resolve(&["log.retention.hours=1", "log.retention.ms=5", "log.retention.minutes=2"]);
        assert_eq!(retention.retention_ms, Some(5));
        assert_eq!(resolve(&["log.segment.bytes=1048576"]).segment_bytes, 1 << 20);
        assert!(settings(&["log.segment.bytes=small"]).unwrap_err().starts_with("log.segment.bytes"));
        assert!(settings(&["authorizer.class.name=Acls"]).unwrap_err().contains("not implemented"));
    }

    /// What Kafka 4 ships as `server.properties` for a broker and controller in one.
    const KAFKAS_SAMPLE: &str = "process.roles=broker,controller\nnode.id=1\n\
        controller.quorum.bootstrap.servers=localhost:9093\n\
        listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\ninter.broker.listener.name=PLAINTEXT\n\
        advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n\
        controller.listener.names=CONTROLLER\n\
        listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL\n\
        num.network.threads=3\nnum.io.threads=8\nsocket.send.buffer.bytes=102400\nsocket.receive.buffer.bytes=102400\n\
        socket.request.max.bytes=104857600\nlog.dirs=/tmp/kraft-combined-logs\nnum.partitions=1\n\
        num.recovery.threads.per.data.dir=2\noffsets.topic.replication.factor=1\n\
        share.coordinator.state.topic.replication.factor=1\nshare.coordinator.state.topic.min.isr=1\n\
        transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\nlog.retention.hours=168\n\
        log.segment.bytes=1073741824\nlog.retention.check.interval.ms=300000\n";

    #[test]
    fn kafkas_sample_is_taken_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("server.properties");
        std::fs::write(&file, KAFKAS_SAMPLE).unwrap();
        let config = Config::gather(Some(&file), &[], vec![]).unwrap();
        let settings = Settings::new(&config, &host()).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:9092");
        assert_eq!(settings.advertised, Advertised { host: "localhost".into(), port: Some(9092) });
        assert_eq!(settings.data_dir, PathBuf::from("/tmp/kraft-combined-logs"));
        assert_eq!((settings.node_id, settings.partitions_default), (Some(BrokerId(1)), 1));
        assert_eq!(config.warnings().len(), 13, "{:#?}", config.warnings());
    }

    #[test]
    fn values_out_of_range_name_key_value_and_place() {
        let error = settings(&["num.partitions=0"]).unwrap_err();
        assert_eq!(error, "num.partitions=0 (--set): Value must be at least 1");
        assert!(settings(&["auto.create.topics.enable=yes"]).unwrap_err().contains("either true or false"));
        assert!(settings(&["fetch.max.bytes=x"]).is_err());
        assert_eq!(settings(&["connections.max.idle.ms=-1"]).unwrap().connections.idle, None);
    }

    #[test]
    fn ids_and_directories() {
        assert_eq!(settings(&["node.id=3", "broker.id=3"]).unwrap().node_id, Some(BrokerId(3)));
        assert_eq!(settings(&["broker.id=-1"]).unwrap().node_id, None);
        assert!(settings(&["node.id=3", "broker.id=4"]).is_err());
        assert_eq!(settings(&["log.dir=/a", "log.dirs=/b"]).unwrap().data_dir, PathBuf::from("/b"));
        assert!(settings(&["log.dirs=/a,/b"]).unwrap_err().contains("one data directory"));
    }

    #[test]
    fn secrets_are_not_kept() {
        let sets = ["node.id=3", "ssl.key.password=secret", "num.io.threads=8", "rsm.config.key=secret"];
        let settings = settings(&sets).unwrap();
        assert!(!format!("{settings:?}").contains("secret"));
        assert_eq!(
            (settings.written["node.id"].as_str(), settings.written["num.io.threads"].as_str()),
            ("3", "8")
        );
    }

    #[test]
    fn writing_a_default_changes_nothing() {
        let nothing = format!("{:?}", settings(&[]).unwrap());
        for setting in coordination::settings::broker::all().filter(|setting| !setting.hidden) {
            let Some(default) = setting.default else { continue };
            let mut derived = settings(&[&format!("{}={default}", setting.name)]).unwrap();
            derived.written.clear();
            assert_eq!(format!("{derived:?}"), nothing, "{}", setting.name);
        }
    }

    #[test]
    fn settings_of_share_groups_fit_each_other() {
        assert_eq!(
            settings(&["group.share.max.share.sessions=199"]).unwrap_err(),
            "group.share.max.share.sessions=199 (--set): group.share.max.share.sessions must be greater than or equal \
             to group.share.max.size"
        );
        let interval = "share.coordinator.state.topic.prune.interval.ms";
        let often = settings(&[&format!("{interval}=500"), "share.coordinator.write.timeout.ms=7"]).unwrap();
        assert_eq!((often.share_states.prune_interval_ms, often.share_states.write_timeout_ms), (500, 7));
        assert!(settings(&[&format!("{interval}=0")]).unwrap_err().contains("Value must be at least 1"));
    }

    #[test]
    fn every_value_has_a_type_with_an_effect_or_without() {
        for wrong in ["num.io.threads=many", "ssl.client.auth=maybe", "log.cleaner.threads=-1"] {
            let error = settings(&[wrong]).unwrap_err();
            assert!(error.starts_with(&format!("{wrong} (--set): ")), "{error}");
        }
    }

    #[test]
    fn a_wish_for_protection_is_never_passed_over() {
        assert!(settings(&["authorizer.class.name=x.Y"]).unwrap_err().contains("access control"));
        assert!(settings(&["authorizer.class.name="]).is_ok());
    }
}
