//! Subscriptions by regular expression: patterns of RE2, matched in time that is linear in the name and bounded by the
//! size of the pattern. They are looked up a few names at a time, between other work of the core.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use model::TimestampMs;
use regex::bytes::{Regex, RegexBuilder};

use super::super::coordinator::Coordinator;
use super::super::desk::Desk;
use super::super::limits::{
    REGEX_BYTES_PER_APPEND, REGEX_NAMES_PER_STEP, REGEX_PROGRAM_BYTES_MAX, REGEX_REFRESH_MS, TOPIC_NAME_BYTES,
};
use super::super::timers::Timer;
use super::record::{ConsumerRecord, ResolvedRegex};
use super::state::{Draft, State, topics_bytes};
use super::{Turn, Waiting, epochs};
use crate::metadata::Image;

/// Whether a pattern is one, in words for people if not.
pub(super) fn check(pattern: &str) -> Result<(), String> {
    compile(pattern).map(|_| ())
}

/// A pattern that is to match a name as a whole. Names of topics are ASCII, so it is matched byte by byte; `\d` and the
/// like are ASCII in RE2 too.
fn compile(pattern: &str) -> Result<Regex, String> {
    let build = |pattern: &str| {
        RegexBuilder::new(pattern)
            .unicode(false)
            .size_limit(REGEX_PROGRAM_BYTES_MAX)
            .dfa_size_limit(REGEX_PROGRAM_BYTES_MAX)
            .nest_limit(100)
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(bytes) => format!("it takes more than {bytes} bytes"),
                error => error.to_string().lines().last().unwrap_or_default().trim().to_owned(),
            })
    };
    let pattern = unquoted(pattern);
    // Alone first: what is no pattern could become one between brackets.
    build(&pattern)?;
    build(&format!("^(?:{pattern})$"))
}

/// The pattern without `\Q...\E`, which RE2 has and the crate has not: what stands between means itself.
fn unquoted(pattern: &str) -> String {
    let mut rest = pattern;
    let mut out = String::with_capacity(pattern.len());
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        if let Some(quoted) = escape.strip_prefix("\\Q") {
            let (text, behind) = quoted.split_once("\\E").unwrap_or((quoted, ""));
            out.push_str(&regex::escape(text));
            rest = behind;
        } else {
            // The escape and what it escapes.
            let end = escape.char_indices().nth(2).map_or(escape.len(), |(end, _)| end);
            let (pair, behind) = escape.split_at(end);
            out.push_str(pair);
            rest = behind;
        }
    }
    out.push_str(rest);
    out
}

/// Drops what is known of regular expressions that nobody subscribes by any more.
pub(super) fn forget_unused(draft: &mut Draft<'_>) {
    for pattern in draft.state().regexes_unused() {
        draft.push(ConsumerRecord::Regex { pattern, value: None });
    }
}

/// Has the group's regular expressions looked up, if one never was, or if the metadata changed and the last time is a while
/// ago.
pub(super) fn look_up_if_due(turn: &mut Turn<'_>, draft: &Draft<'_>) {
    let state = draft.state();
    if turn.soft.resolving || state.regexes_in_use().len() == 0 {
        return;
    }
    let unresolved = state.regexes_in_use().any(|pattern| state.resolved(pattern).is_none());
    let due = match turn.soft.resolved {
        None => true,
        Some((version, at)) => {
            let rested = turn.desk.now >= at.after_ms(REGEX_REFRESH_MS);
            rested && (unresolved || version != Some(turn.desk.image.applied()))
        }
    };
    if due {
        turn.soft.resolving = true;
        turn.desk.to_look_up.push(Arc::clone(turn.group));
    }
}

/// What regular expressions mean in some metadata: those at least that mean something else now, or some of those.
#[derive(Debug)]
pub(in crate::group) struct Resolved {
    version: u64,
    /// Whether none of those is missing.
    whole: bool,
    topics: BTreeMap<Arc<str>, BTreeSet<String>>,
}

/// Regular expressions were looked up: those that mean something else now are stored.
pub(super) fn resolved(turn: &mut Turn<'_>, draft: &mut Draft<'_>, resolved: Resolved) {
    turn.soft.resolving = false;
    turn.soft.resolved = Some((resolved.whole.then_some(resolved.version), turn.desk.now));
    let version = i64::try_from(resolved.version).unwrap_or(i64::MAX);
    let time = TimestampMs(turn.desk.wall.0);
    let mut changed = false;
    for (pattern, topics) in resolved.topics {
        let state = draft.state();
        let same = state.resolved(&pattern).is_some_and(|known| known.topics == topics);
        if state.regex_users(&pattern) > 0 && !same {
            let value = Some(Arc::new(ResolvedRegex { topics, version, time }));
            draft.push(ConsumerRecord::Regex { pattern, value });
            changed = true;
        }
    }
    epochs::renew_epoch(turn, draft, changed);
}

/// Looks up regular expressions of one group after the other.
#[derive(Debug, Default)]
pub(in crate::group) struct Resolver {
    waiting: VecDeque<Arc<str>>,
    job: Option<Job>,
    /// A timer for the next slice is set.
    scheduled: bool,
}

#[derive(Debug)]
struct Job {
    group: Arc<str>,
    version: u64,
    names: Vec<Arc<str>>,
    /// Still to be looked up; the last is at work, in `compiled`.
    patterns: Vec<Arc<str>>,
    compiled: Option<Regex>,
    at: usize,
    matched: BTreeSet<String>,
    matched_bytes: u64,
    /// What the names take that the pattern at work meant before.
    known_bytes: u64,
    /// What means something else than before, what its names take, and how much more that is.
    topics: BTreeMap<Arc<str>, BTreeSet<String>>,
    bytes: u64,
    more_bytes: u64,
    /// There was no memory for all.
    short: bool,
}

impl Job {
    fn new(group: Arc<str>, state: &State, image: &Image) -> Self {
        Self {
            group,
            version: image.applied(),
            names: image.topics().map(|topic| Arc::clone(&topic.name)).collect(),
            patterns: state.regexes_in_use().cloned().collect(),
            compiled: None,
            at: 0,
            matched: BTreeSet::new(),
            matched_bytes: 0,
            known_bytes: 0,
            topics: BTreeMap::new(),
            bytes: 0,
            more_bytes: 0,
            short: false,
        }
    }

    /// A few names more; whether nothing is left, or as much is found as goes into one append. A pattern that means more than
    /// there is memory for is passed over.
    fn step(&mut self, state: Option<&State>, desk: &Desk) -> bool {
        let Some(pattern) = self.patterns.last() else { return true };
        if self.compiled.is_none() && self.at == 0 {
            let known = state.and_then(|state| state.resolved(pattern));
            self.known_bytes = known.map_or(0, |known| topics_bytes(&known.topics));
            // It was compiled when a member brought it. A log may hold anything: what is no pattern means no topic.
            self.compiled = compile(pattern).ok();
        }
        let end = (self.at + REGEX_NAMES_PER_STEP).min(self.names.len());
        if let Some(compiled) = &self.compiled {
            let names = self.names.get(self.at..end).unwrap_or_default();
            for name in names.iter().filter(|name| compiled.is_match(name.as_bytes())) {
                self.matched_bytes += (TOPIC_NAME_BYTES + name.len()) as u64;
                self.matched.insert(name.to_string());
            }
            self.at = end;
        } else {
            self.at = self.names.len();
        }
        let more = self.more_bytes + self.matched_bytes.saturating_sub(self.known_bytes);
        let fits = more == 0 || desk.affords(more);
        if !fits || self.at >= self.names.len() {
            self.finish_pattern(state, fits);
        }
        self.patterns.is_empty() || self.bytes >= REGEX_BYTES_PER_APPEND
    }

    fn finish_pattern(&mut self, state: Option<&State>, fits: bool) {
        let (topics, bytes) = (std::mem::take(&mut self.matched), std::mem::take(&mut self.matched_bytes));
        (self.compiled, self.at) = (None, 0);
        let Some(pattern) = self.patterns.pop() else { return };
        let known = state.and_then(|state| state.resolved(&pattern));
        if !fits {
            self.short = true;
        } else if known.is_none_or(|known| known.topics != topics) {
            self.topics.insert(pattern, topics);
            self.bytes += bytes;
            self.more_bytes += bytes.saturating_sub(self.known_bytes);
        }
    }
}

impl Coordinator {
    /// Takes in groups whose regular expressions are to be looked up.
    pub(in crate::group) fn resolve_soon(&mut self) {
        self.resolver.waiting.extend(self.desk.to_look_up.drain(..));
        self.schedule_slice();
    }

    fn schedule_slice(&mut self) {
        let work = self.resolver.job.is_some() || !self.resolver.waiting.is_empty();
        if work && !self.resolver.scheduled {
            self.resolver.scheduled = true;
            self.desk.timers.schedule(self.desk.now, Timer::Resolve);
        }
    }

    /// A slice of looking up.
    pub(in crate::group) fn resolve(&mut self) {
        self.resolver.scheduled = false;
        if self.resolver.job.is_none() {
            self.resolver.job = self.next_job();
        }
        let (groups, desk) = (&self.groups, &self.desk);
        let finished = self.resolver.job.as_mut().is_some_and(|job| {
            let consumer = groups.get(&job.group).and_then(|group| group.consumer.as_ref());
            job.step(consumer.map(|consumer| &consumer.state), desk)
        });
        if finished && let Some(job) = self.resolver.job.take() {
            let whole = job.patterns.is_empty() && !job.short;
            let resolved = Resolved { version: job.version, whole, topics: job.topics };
            self.enqueue(&job.group, Waiting::Resolved(resolved));
        }
        self.schedule_slice();
    }

    fn next_job(&mut self) -> Option<Job> {
        while let Some(id) = self.resolver.waiting.pop_front() {
            if let Some(consumer) = self.groups.get(&id).and_then(|group| group.consumer.as_ref()) {
                return Some(Job::new(id, &consumer.state, &self.desk.image));
            }
        }
        None
    }

    /// Forgets what is being looked up.
    pub(in crate::group) fn stop_resolving(&mut self) {
        self.resolver = Resolver::default();
        self.desk.to_look_up.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        compile(pattern).unwrap().is_match(name.as_bytes())
    }

    #[test]
    fn a_pattern_matches_the_whole_name() {
        assert!(matches("orders-.*", "orders-1") && !matches("orders-.*", "my-orders-1"));
        assert!(matches("a|ab", "ab") && !matches("a|ab", "abc"));
        assert!(matches(r"t\d+", "t15") && matches("(?i)ORDERS", "orders"));
        assert!(matches("", "") && !matches("", "a"));
    }

    #[test]
    fn what_is_quoted_means_itself() {
        assert!(matches(r"\Qa.b\E.*", "a.bc") && !matches(r"\Qa.b\E.*", "axbc"));
        assert!(matches(r"\\Qx", r"\Qx") && matches(r"\Qa+", "a+"));
    }

    #[test]
    fn what_is_no_pattern_or_too_much_is_refused() {
        for pattern in ["(", "a)|(b", "[z-a]", "*", r"\", "(?x)a #b"] {
            assert!(check(pattern).is_err(), "{pattern}");
        }
        assert!(check("(?:a{1000}){1000}").unwrap_err().contains("bytes"));
    }

    #[test]
    fn no_pattern_takes_long() {
        let name = "a".repeat(249);
        assert!(!matches("(a*)*b", &name) && !matches("(a|aa)+$b?c", &name));
    }
}
