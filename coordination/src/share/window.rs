//! The records of a share partition that are in flight, as runs of equal state.
//!
//! A run costs some 40 bytes however many records it has: a million records in turn accepted and not are a million
//! runs, which is the worst, and take tens of megabytes.

use std::collections::BTreeMap;
use std::ops::Bound::Excluded;

use model::Offset;

/// What a record is, beside how often it was delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Anybody may have it.
    Available,
    /// Somebody has it.
    Acquired,
    /// Somebody has it, and that it is given back is being written.
    Releasing,
    /// Somebody has it, and that it is accepted is being written.
    Accepting,
    /// Somebody has it, and that it is given up is being written.
    Archiving,
    /// Done.
    Acknowledged,
    /// Given up.
    Archived,
}

impl Kind {
    /// Nothing will become of it any more.
    pub const fn finished(self) -> bool {
        matches!(self, Self::Acknowledged | Self::Archived)
    }
}

/// The state of one record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cell {
    /// Whose it is; 0 when it is nobody's.
    pub lock: u32,
    /// How often it was delivered, the present time included.
    pub count: u16,
    pub kind: Kind,
}

impl Cell {
    /// Nobody's.
    pub const fn free(kind: Kind, count: u16) -> Self {
        Self { lock: 0, count, kind }
    }
}

/// Records of equal state, from `first` to before `end`; never none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Run {
    pub first: Offset,
    pub end: Offset,
    pub cell: Cell,
}

impl Run {
    pub const fn records(&self) -> u64 {
        self.end.0.abs_diff(self.first.0)
    }
}

/// Runs without a gap from `start` to before `end`.
#[derive(Debug)]
pub(super) struct Window {
    /// By their first offset; each goes on to the next one, the last to `end`. Neighbours differ.
    runs: BTreeMap<Offset, Cell>,
    start: Offset,
    end: Offset,
}

impl Window {
    pub const fn new(start: Offset) -> Self {
        Self { runs: BTreeMap::new(), start, end: start }
    }

    pub const fn start(&self) -> Offset {
        self.start
    }

    pub const fn end(&self) -> Offset {
        self.end
    }

    pub const fn records(&self) -> u64 {
        self.end.0.abs_diff(self.start.0)
    }

    pub fn runs_len(&self) -> usize {
        self.runs.len()
    }

    /// The runs from `from` to before `to`, cut to that.
    pub fn runs(&self, from: Offset, to: Offset) -> impl Iterator<Item = Run> + '_ {
        let (from, to) = (from.max(self.start), to.min(self.end));
        let low = self.runs.range(..=from).next_back().map_or(from, |(first, _)| *first);
        let (low, to) = if from < to { (low, to) } else { (from, from) };
        let mut rest = self.runs.range(low..to).peekable();
        std::iter::from_fn(move || {
            let (&first, &cell) = rest.next()?;
            let end = rest.peek().map_or(to, |(next, _)| **next);
            Some(Run { first: first.max(from), end, cell })
        })
    }

    /// Makes `cell` what is from `first` to before `end`: some of what is there.
    pub fn set(&mut self, first: Offset, end: Offset, cell: Cell) {
        assert!(self.start <= first && first < end && end <= self.end, "{first} to {end} is in the window");
        self.split(first);
        self.split(end);
        while let Some(inner) = self.runs.range((Excluded(first), Excluded(end))).next().map(|(at, _)| *at) {
            self.runs.remove(&inner);
        }
        self.runs.insert(first, cell);
        self.join(end);
        self.join(first);
    }

    /// Adds records at the end, up to before `end`.
    pub fn push(&mut self, end: Offset, cell: Cell) {
        assert!(self.end < end, "the end moves forward");
        let first = std::mem::replace(&mut self.end, end);
        self.runs.insert(first, cell);
        self.join(first);
    }

    /// Drops what is before `start`; all, when that is past the end.
    pub fn trim(&mut self, start: Offset) {
        if start <= self.start {
            return;
        }
        self.split(start);
        while let Some(first) = self.runs.first_entry().filter(|first| *first.key() < start) {
            first.remove();
        }
        self.start = start;
        self.end = self.end.max(start);
    }

    /// Makes a run begin at `at`.
    fn split(&mut self, at: Offset) {
        if at <= self.start || at >= self.end || self.runs.contains_key(&at) {
            return;
        }
        if let Some(cell) = self.runs.range(..at).next_back().map(|(_, cell)| *cell) {
            self.runs.insert(at, cell);
        }
    }

    /// Makes one run of those that meet at `at`, if they are equal.
    fn join(&mut self, at: Offset) {
        let Some(cell) = self.runs.get(&at) else { return };
        if self.runs.range(..at).next_back().is_some_and(|(_, before)| before == cell) {
            self.runs.remove(&at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(count: u16) -> Cell {
        Cell::free(Kind::Available, count)
    }

    fn shown(window: &Window, from: i64, to: i64) -> Vec<(i64, i64, u16)> {
        window.runs(Offset(from), Offset(to)).map(|run| (run.first.0, run.end.0, run.cell.count)).collect()
    }

    fn window() -> Window {
        let mut window = Window::new(Offset(10));
        window.push(Offset(20), cell(0));
        window
    }

    #[test]
    fn equal_neighbours_are_one_run() {
        let mut window = window();
        window.set(Offset(12), Offset(14), cell(1));
        window.set(Offset(14), Offset(16), cell(1));
        assert_eq!(shown(&window, 0, 99), [(10, 12, 0), (12, 16, 1), (16, 20, 0)]);
        window.set(Offset(11), Offset(17), cell(0));
        assert_eq!(shown(&window, 0, 99), [(10, 20, 0)]);
        window.push(Offset(25), cell(0));
        window.push(Offset(26), cell(2));
        assert_eq!(shown(&window, 19, 99), [(19, 25, 0), (25, 26, 2)]);
        assert_eq!((window.runs_len(), window.records()), (2, 16));
    }

    #[test]
    fn runs_are_cut_to_what_is_asked_for() {
        let mut window = window();
        window.set(Offset(15), Offset(20), cell(3));
        assert_eq!(shown(&window, 12, 16), [(12, 15, 0), (15, 16, 3)]);
        for (from, to) in [(16, 16), (17, 12), (0, 10), (20, 30), (99, 3)] {
            assert_eq!(shown(&window, from, to), [], "{from} {to}");
        }
        assert_eq!(shown(&Window::new(Offset(5)), 0, 9), []);
    }

    #[test]
    fn the_start_moves_forward_only() {
        let mut window = window();
        window.trim(Offset(3));
        window.trim(Offset(14));
        assert_eq!((window.start(), shown(&window, 0, 99)), (Offset(14), vec![(14, 20, 0)]));
        window.trim(Offset(30));
        assert_eq!((window.start(), window.end(), window.runs_len()), (Offset(30), Offset(30), 0));
        window.push(Offset(31), cell(1));
        assert_eq!(shown(&window, 0, 99), [(30, 31, 1)]);
    }
}
