//! The search against a walk over the records.

use model::batch::{BatchBuilder, RecordBatch};
use model::{Offset, TimestampMs};

use super::{BUFFER_BYTES, Search, Step, Wanted};

/// Records of all sizes: many in one buffer, and some that take many buffers.
fn batch() -> Vec<u8> {
    let sizes = [0, 1, 100, BUFFER_BYTES - 30, BUFFER_BYTES, BUFFER_BYTES + 1, 3 * BUFFER_BYTES];
    let mut builder = BatchBuilder::new();
    for number in 0..500_usize {
        let size = if number % 50 == 0 { sizes[number / 50 % sizes.len()] } else { number % 300 };
        // Times go forth and back.
        let time = 1_000_000 + i64::try_from(number * 37 % 400).unwrap();
        builder = builder.value(TimestampMs(time), &vec![b'v'; size]);
    }
    builder.build()
}

/// All steps of a search; hands out three bytes at a time when `slow`.
fn search(payload: &[u8], count: i32, wanted: Wanted, slow: bool) -> std::io::Result<Step> {
    struct Slow(std::io::Cursor<Vec<u8>>);
    impl std::io::Read for Slow {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            let most = out.len().min(3);
            self.0.read(&mut out[..most])
        }
    }
    let cursor = std::io::Cursor::new(payload.to_vec());
    let mut search = if slow {
        Search::new(Box::new(Slow(cursor)), count, wanted)
    } else {
        Search::new(Box::new(cursor), count, wanted)
    };
    loop {
        match search.step()? {
            Step::More => {}
            done => return Ok(done),
        }
    }
}

#[test]
fn it_finds_what_a_walk_over_the_records_finds() {
    let bytes = batch();
    let (batch, _) = RecordBatch::parse(&bytes).unwrap();
    for time in [0, 1_000_000, 1_000_001, 1_000_200, 1_000_399, 1_000_400] {
        for start in [0, 1, 250, 499, 500] {
            let (time, start) = (TimestampMs(time), Offset(start));
            let found = batch.records().map(Result::unwrap).find_map(|record| {
                let (offset, stamp) = (record.offset(&batch), record.timestamp(&batch));
                (stamp >= time && offset >= start).then_some(Step::Found(offset, stamp))
            });
            for slow in [false, true] {
                let step =
                    search(batch.payload(), batch.record_count(), Wanted::new(&batch, time, start), slow);
                assert_eq!(step.unwrap(), found.unwrap_or(Step::None), "{time:?} {start:?}");
            }
        }
    }
}

#[test]
fn records_that_are_none_are_an_error_or_passed_over() {
    let bytes = batch();
    let (batch, _) = RecordBatch::parse(&bytes).unwrap();
    let wanted = Wanted::new(&batch, TimestampMs(i64::MAX), Offset(0));
    let payload = batch.payload();
    for end in [0, 1, 5, 100, 70_000, payload.len() - 1] {
        search(&payload[..end], 500, wanted, false).unwrap_err();
    }
    search(payload, 501, wanted, false).unwrap_err();
    let mut state = 7_u32;
    for _ in 0..300 {
        let mut damaged = payload[..2000].to_vec();
        for _ in 0..4 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            damaged[state as usize % 2000] = state.to_le_bytes()[3];
        }
        // An end, one way or another.
        let _ = search(&damaged, i32::MAX, wanted, false);
    }
}
