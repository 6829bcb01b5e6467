//! How cores and memory are divided, and which settings that cuts: whoever wrote them learns at start.

use std::time::Duration;

use coordination::metadata::{Overrides, TopicDefaults, TopicSettings};
use model::limits::{BATCH_BYTES_MAX, BUDGET_BYTES_MIN, MEMORY_PER_CORE_MIN, MemoryPlan};
use net::budget::Budget;
use net::limits::ConnectionLimits;

use super::host::Host;
use super::values::{self, Reader};
use crate::config::{Config, ConfigError, keys};

/// Default memory budget: this part of the machine...
const MEMORY_PART: u64 = 4;
/// ...but no more than this.
const MEMORY_DEFAULT_MAX: u64 = 1 << 30;

/// Which CPUs, and how much memory for each.
pub(super) fn cores_and_memory(
    config: &Config,
    host: &Host,
    notes: &mut Vec<String>,
) -> Result<(Vec<usize>, MemoryPlan), ConfigError> {
    let read = Reader(config);
    let memory = match read.text(keys::MEMORY) {
        Some(text) => values::size(text).map_err(|why| config.error(keys::MEMORY, &why))?,
        None => (host.memory_bytes / MEMORY_PART).min(MEMORY_DEFAULT_MAX),
    };
    let allowed = host.cpus.len();
    let affordable = usize::try_from(memory / MEMORY_PER_CORE_MIN).unwrap_or(usize::MAX);
    let cores = match read.text(keys::CORES) {
        None | Some("auto") => {
            if affordable < allowed && affordable > 0 {
                notes.push(format!(
                    "{affordable} of {allowed} cores are used: {} have room for no more; --memory gives more",
                    values::shown(memory)
                ));
            }
            allowed.min(affordable.max(1))
        }
        Some(_) => match read.number(keys::CORES)? {
            0 => return Err(config.error(keys::CORES, "at least one core is needed")),
            cores => cores,
        },
    };
    if cores > allowed {
        return Err(config.error(keys::CORES, &format!("this process may run on {allowed} CPUs")));
    }
    let plan = MemoryPlan::new(memory, cores as u64).ok_or_else(|| {
        let least = values::shown(MEMORY_PER_CORE_MIN * cores as u64);
        config.error(
            keys::MEMORY,
            &format!("{} are too little for {cores} cores: at least {least}", values::shown(memory)),
        )
    })?;
    Ok((host.cpus.iter().copied().take(cores).collect(), plan))
}

/// What connections may take, cut to what the memory of a core serves.
pub(super) fn connections(
    read: &Reader<'_>,
    memory: &MemoryPlan,
    cores: usize,
    notes: &mut Vec<String>,
) -> Result<ConnectionLimits, ConfigError> {
    let budget = usize::try_from(memory.requests).unwrap_or(usize::MAX).max(BUDGET_BYTES_MIN);
    let wanted = read.number("socket.request.max.bytes")?;
    let request_bytes_max = Budget::request_bytes_max(budget, wanted);
    if request_bytes_max < wanted {
        let (wanted, most) = (wanted as u64, request_bytes_max as u64);
        // Half of a core's memory for requests, which is a quarter of its share.
        notes.push(cut("socket.request.max.bytes", wanted, most, Some(8 * wanted * cores as u64)));
    }
    // A negative time keeps idle connections for ever.
    let idle: i64 = read.number("connections.max.idle.ms")?;
    Ok(ConnectionLimits {
        request_bytes_max,
        idle: u64::try_from(idle).ok().map(Duration::from_millis),
        answer_bytes_max: memory.other_answers(),
        // How many there may be changes while it runs, and stands in the metadata.
        ..ConnectionLimits::default()
    })
}

/// A batch that memory has no room for is refused when it comes; whoever configured it learns at start.
pub(super) fn note_batches(
    topics: &TopicDefaults,
    memory: &MemoryPlan,
    cores: usize,
    notes: &mut Vec<String>,
) {
    let settings = TopicSettings::resolve(topics, &Overrides::new());
    let (wanted, most) = (u64::from(settings.max_message_bytes), memory.batch_bytes_max());
    if wanted > most {
        let lifted = (wanted <= BATCH_BYTES_MAX).then(|| 8 * wanted * cores as u64);
        notes.push(cut("message.max.bytes", wanted, most, lifted));
    }
}

/// One line: which setting, what it says, what holds, and how much memory lifts that, when any does.
fn cut(key: &str, wanted: u64, most: u64, lifted_by: Option<u64>) -> String {
    let remedy = lifted_by.map_or_else(
        || "more is never served".to_owned(),
        |memory| format!("--memory {}MiB lifts it", memory.div_ceil(1 << 20)),
    );
    format!("{key}={wanted} is cut to {most} by the memory of one core; {remedy}")
}
