//! One task per log that does what clients, retention and replication may do to it, checking as it goes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use model::batch::header;
use model::{LeaderEpoch, Offset, TopicPartition};
use storage::disk::Disk;
use storage::disk::memory::MemoryDisk;
use storage::disk::random::Random;
use storage::{CompactionLimits, LogRef, ReadLimits, Store, StoreError};

use crate::derived::Tally;
use crate::drawn::{build, is_compacted, is_relaxed, settings};
use crate::keyed;
use crate::oracle::{Batch, Oracle};

pub type TestStore = Store<MemoryDisk, Tally>;
pub type TestLog = LogRef<MemoryDisk, Tally>;

/// What the workers of one boot share.
pub struct Boot {
    pub disk: MemoryDisk,
    pub stores: Vec<Rc<TestStore>>,
    pub oracle: Rc<RefCell<Oracle>>,
    pub epoch: LeaderEpoch,
    /// Largest append that is tried.
    pub append_max: u64,
    /// Says what it does.
    pub loud: bool,
    /// Segments that compaction replaced.
    pub replaced: Cell<u64>,
}

impl Boot {
    pub fn store(&self, id: TopicPartition) -> &Rc<TestStore> {
        let at = (usize::from(id.topic.0[0]) + id.partition as usize) % self.stores.len();
        &self.stores[at]
    }

    fn is_live(&self, id: TopicPartition) -> bool {
        self.oracle.borrow().is_live(id)
    }
}

/// What each choice does.
const NAMES: [&str; 27] = [
    "append",
    "append",
    "append",
    "append",
    "append",
    "append",
    "append",
    "append",
    "append",
    "append",
    "append",
    "append",
    "read",
    "read",
    "read",
    "read",
    "move start",
    "retain",
    "truncate",
    "rest",
    "rest",
    "check",
    "sleep",
    "sleep",
    "compact",
    "compact",
    "compact",
];

/// Works on one log until its topic is deleted or `ops` are done.
pub async fn work(boot: Rc<Boot>, id: TopicPartition, mut random: Random, ops: u64) {
    let settings = settings(id, &mut random);
    for _ in 0..ops {
        let store = Rc::clone(boot.store(id));
        if !boot.is_live(id) {
            return;
        }
        let log = store.log(id);
        let choice = random.below(27);
        if boot.loud {
            eprintln!(
                "[step {}] {id}: {} of {}..{}",
                boot.disk.simulation().steps(),
                NAMES[usize::try_from(choice).expect("small")],
                log.log_start(),
                log.end()
            );
        }
        let done = match store.load(&log, &settings).await {
            Ok(()) => one(&boot, &store, &log, choice, &mut random).await,
            Err(error) => Err(error),
        };
        match done {
            Err(StoreError::Deleted) if !boot.is_live(id) => return,
            done => done.unwrap_or_else(|error| panic!("{id}: operation {choice}: {error}")),
        }
    }
}

async fn one(
    boot: &Rc<Boot>,
    store: &Rc<TestStore>,
    log: &TestLog,
    choice: u64,
    random: &mut Random,
) -> Result<(), StoreError> {
    match choice {
        0..12 => append(boot, store, log, random).await,
        12..16 => read(boot, store, log, random).await,
        16 => move_start(boot, store, log, random).await,
        17 => retain(boot, store, log).await,
        18 => truncate(boot, store, log, random).await,
        19 | 20 => {
            let rested = store.put_to_rest(log).await;
            rested.map(|_| ()).map_err(|error| StoreError::Damaged(error.to_string()))
        }
        21 => check_whole(boot, store, log).await,
        24.. if is_compacted(log.id) => {
            boot.oracle.borrow_mut().line(log.id).compacted = true;
            let key_bytes = random.between(0, 8000);
            store.set_compaction_speed(if random.one_in(2) { 100 << 20 } else { u64::MAX });
            let batch_bytes_max = if random.one_in(4) { 20_000 } else { 16 << 20 };
            let limits = CompactionLimits { key_bytes, batch_bytes_max };
            let passing = compact(Rc::clone(boot), Rc::clone(store), Rc::clone(log), limits);
            if random.one_in(2) {
                boot.disk.spawn(passing);
            } else {
                passing.await;
            }
            Ok(())
        }
        _ => {
            boot.disk.sleep(Duration::from_micros(random.below(30_000))).await;
            Ok(())
        }
    }
}

/// Passes until all is compacted, or the log changes.
async fn compact(boot: Rc<Boot>, store: Rc<TestStore>, log: TestLog, limits: CompactionLimits) {
    loop {
        let done = match store.compact(&log, limits, boot.disk.now_ms()).await {
            Ok(done) => done,
            Err(StoreError::Deleted) => return,
            Err(error) => panic!("{}: compaction: {error}", log.id),
        };
        boot.replaced.set(boot.replaced.get() + done.replaced as u64);
        if !done.unfinished || done.abandoned {
            return;
        }
    }
}

async fn append(
    boot: &Rc<Boot>,
    store: &Rc<TestStore>,
    log: &TestLog,
    random: &mut Random,
) -> Result<(), StoreError> {
    let mut ticket = 0;
    for _ in 0..random.between(1, 6) {
        let now_ms = boot.disk.now_ms();
        let ((built, mut records), end) = {
            let mut oracle = boot.oracle.borrow_mut();
            let line = oracle.line(log.id);
            let built = build(boot, log.id, random, now_ms, &mut line.sequences);
            (built, line.end())
        };
        let batch = Bytes::from(built.clone());
        // Such an append is synced by itself, and a log that acknowledges what is written should lose something now and then.
        let placed = match random.one_in(if is_relaxed(log.id) { 60 } else { 6 }) {
            true => store.append_large(log, batch, boot.epoch, now_ms).await?,
            false => store.append(log, batch, boot.epoch, now_ms)?,
        };
        assert_eq!(placed.base, end, "{}: offsets follow each other", log.id);
        let mut bytes = built;
        header::set_base_offset(&mut bytes, placed.base);
        header::set_leader_epoch(&mut bytes, boot.epoch);
        for record in &mut records {
            record.offset += placed.base.0;
        }
        let batch = Batch { base: placed.base, end: placed.end, bytes, records };
        boot.oracle.borrow_mut().line(log.id).add(batch, boot.epoch);
        ticket = placed.ticket;
    }
    if random.one_in(2) {
        let end = log.end();
        if is_relaxed(log.id) {
            store.written(ticket).await;
            acknowledged(boot, log, end);
        }
        store.durable(ticket).await;
        acknowledged(boot, log, end);
        if boot.is_live(log.id) {
            let mut oracle = boot.oracle.borrow_mut();
            let line = oracle.line(log.id);
            line.synced = line.synced.max(end);
        }
    }
    Ok(())
}

fn acknowledged(boot: &Boot, log: &TestLog, end: Offset) {
    if boot.is_live(log.id) {
        assert!(log.durable_end() >= end, "{}: a ticket is reached when the end may be read", log.id);
        let mut oracle = boot.oracle.borrow_mut();
        let line = oracle.line(log.id);
        line.acked = line.acked.max(end);
    }
}

async fn read(
    boot: &Rc<Boot>,
    store: &Rc<TestStore>,
    log: &TestLog,
    random: &mut Random,
) -> Result<(), StoreError> {
    let (start, end) = (log.log_start(), log.durable_end());
    let span = u64::try_from(end.0 - start.0).expect("the start is at most the end");
    let from = Offset(start.0 + i64::try_from(random.below(span + 1)).expect("small"));
    let bytes_max = usize::try_from(random.between(1, 300_000)).expect("small");
    let mut next = read_at(boot, store, log, from, bytes_max).await?;
    // Some go on where they stopped, as consumers do.
    let mut more = if random.one_in(4) { 4 } else { 0 };
    while more > 0 && next < log.durable_end() && next >= log.log_start() {
        next = read_at(boot, store, log, next, bytes_max).await?;
        more -= 1;
    }
    Ok(())
}

/// Reads and checks; the offset to go on from.
async fn read_at(
    boot: &Rc<Boot>,
    store: &Rc<TestStore>,
    log: &TestLog,
    from: Offset,
    bytes_max: usize,
) -> Result<Offset, StoreError> {
    let generation = boot.oracle.borrow_mut().line(log.id).generation;
    let end = log.durable_end();
    let pieces = match store.read(log, from, ReadLimits::bytes(bytes_max)).await {
        Err(StoreError::OutOfRange) if from < log.log_start() => return Ok(from),
        pieces => pieces?,
    };
    let mut oracle = boot.oracle.borrow_mut();
    let line = oracle.line(log.id);
    if line.generation != generation {
        return Ok(from);
    }
    let bytes = pieces.iter().map(storage::Piece::bytes).collect::<Vec<_>>().concat();
    if line.compacted {
        line.check_read(log.id, from, &bytes, log.durable_end());
        let batches = keyed::read(&bytes);
        let largest = batches.first().map_or(0, |(batch, _)| batch.size_bytes());
        assert!(bytes.len() <= bytes_max.max(largest), "{}: {} bytes", log.id, bytes.len());
        let next = batches.last().map(|(batch, _)| batch.last_offset().next());
        let found = batches.iter().flat_map(|(_, records)| records).map(|record| record.offset).collect();
        // Where there is nothing to read, nothing may be missing up to the end.
        line.check_complete(log.id, from..next.unwrap_or(end), &found);
        return Ok(next.unwrap_or(from));
    }
    assert_eq!(bytes.is_empty(), from >= end, "{}: read {} bytes at {from}, end {end}", log.id, bytes.len());
    if bytes.is_empty() {
        return Ok(from);
    }
    line.check_read(log.id, from, &bytes, log.durable_end());
    let first = line.holding(from).expect("checked");
    let mut used = 0;
    let last = line.batches[first..].iter().find(|batch| {
        used += batch.bytes.len();
        used == bytes.len()
    });
    let most = bytes_max.max(line.batches[first].bytes.len());
    assert!(bytes.len() <= most, "{}: {} bytes where {bytes_max} were asked for", log.id, bytes.len());
    Ok(last.expect("whole batches").end)
}

async fn move_start(
    boot: &Rc<Boot>,
    store: &Rc<TestStore>,
    log: &TestLog,
    random: &mut Random,
) -> Result<(), StoreError> {
    let (start, end) = (log.log_start(), log.durable_end());
    let to = Offset(
        start.0
            + i64::try_from(random.below(u64::try_from(end.0 - start.0).expect("ordered") + 1))
                .expect("small"),
    );
    let asked = |boot: &Boot| {
        let mut oracle = boot.oracle.borrow_mut();
        let line = oracle.line(log.id);
        line.start_asked = line.start_asked.max(to);
    };
    asked(boot);
    store.set_log_start(log, to).await?;
    {
        let mut oracle = boot.oracle.borrow_mut();
        let line = oracle.line(log.id);
        line.start = line.start.max(to);
    }
    if random.one_in(2) {
        store.trim(log).await.map_err(|error| StoreError::Damaged(error.to_string()))?;
    }
    Ok(())
}

async fn retain(boot: &Rc<Boot>, store: &Rc<TestStore>, log: &TestLog) -> Result<(), StoreError> {
    boot.oracle.borrow_mut().line(log.id).start_asked = log.durable_end();
    store.retain(log, boot.disk.now_ms()).await?;
    if boot.is_live(log.id) {
        let mut oracle = boot.oracle.borrow_mut();
        let line = oracle.line(log.id);
        assert!(log.log_start() >= line.start);
        (line.start, line.start_asked) = (log.log_start(), log.log_start());
    }
    Ok(())
}

async fn truncate(
    boot: &Rc<Boot>,
    store: &Rc<TestStore>,
    log: &TestLog,
    random: &mut Random,
) -> Result<(), StoreError> {
    let end = log.end();
    let oldest = store.segments(log).first().map_or(Offset::ZERO, |segment| segment.0);
    let to = Offset(
        oldest.0
            + i64::try_from(random.below(u64::try_from(end.0 - oldest.0).expect("ordered") + 2))
                .expect("small"),
    );
    let expected = {
        let mut oracle = boot.oracle.borrow_mut();
        let line = oracle.line(log.id);
        let expected = if to >= end {
            end
        } else if to <= line.start {
            oldest
        } else {
            line.holding(to).map_or(end, |at| line.batches[at].base)
        };
        // The batch that held it may be gone.
        let within = line.compacted && to > line.start && to < end;
        line.cut_asked = Some([expected, if within { to } else { expected }]);
        line.cut_asked
    };
    let cut = store.truncate(log, to).await?;
    assert!(
        expected.is_some_and(|expected| expected.contains(&cut)),
        "{}: truncation to {to} of a log that ended at {end} left {cut}, not {expected:?}",
        log.id
    );
    let expected = cut;
    let mut oracle = boot.oracle.borrow_mut();
    let line = oracle.line(log.id);
    line.acked = expected;
    line.cut(expected);
    assert_eq!(
        (log.end(), log.durable_end(), log.log_start()),
        (expected, expected, line.start),
        "{}",
        log.id
    );
    Ok(())
}

/// Everything about a loaded log that can be compared.
pub async fn check_whole(boot: &Rc<Boot>, store: &Rc<TestStore>, log: &TestLog) -> Result<(), StoreError> {
    let id = log.id;
    {
        let mut oracle = boot.oracle.borrow_mut();
        let line = oracle.line(id);
        assert_eq!(log.end(), line.end(), "{id}: the end");
        let derived = log.with_derived(storage::derived::Derived::snapshot);
        let epochs = derived.as_ref().map(|derived| derived.epochs.clone());
        assert_eq!(epochs.as_ref(), Some(&line.epochs), "{id}: leader epochs");
        if !line.vague {
            assert_eq!(derived, Some(line.derived()), "{id}: derived state");
        }
        let segments = store.segments(log);
        assert!(
            segments.first().is_some_and(|segment| segment.0 <= line.start),
            "{id}: holds its first record"
        );
        assert!(segments.windows(2).all(|pair| pair[0].0 < pair[1].0), "{id}: segments are in order");
        for (base, ..) in segments.iter().filter(|_| !line.compacted) {
            assert!(line.is_boundary(*base), "{id}: segment {base} begins within a batch");
        }
    }
    let mut at = log.log_start();
    loop {
        let next = read_at(boot, store, log, at, 200_000).await?;
        if next == at {
            return Ok(());
        }
        at = next;
    }
}
