//! What members say of the records they hold (KIP-932, KIP-1222).

use std::sync::Arc;

use model::{ErrorCode, Offset, Tick};

use super::partition::{SharePartition, StateWrite};
use super::window::{Cell, Kind, Run};

/// What a member says of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AckType {
    /// The log has no record at this offset.
    Gap,
    /// Done.
    Accept,
    /// Somebody else may have it.
    Release,
    /// Nobody should have it again.
    Reject,
    /// It takes longer: the lock begins anew.
    Renew,
}

impl AckType {
    /// Of Kafka's number, if it is one.
    #[must_use]
    pub const fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::Gap),
            1 => Some(Self::Accept),
            2 => Some(Self::Release),
            3 => Some(Self::Reject),
            4 => Some(Self::Renew),
            _ => None,
        }
    }
}

/// What a member says of records that follow one another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AckBatch {
    /// Offset of the first one.
    pub first: Offset,
    /// Offset of the last one.
    pub last: Offset,
    /// One for all, or one for each.
    pub types: Vec<AckType>,
}

impl SharePartition {
    /// Takes what a member says of records. All of it holds, or nothing: then nothing changes.
    ///
    /// `None` when it holds at once; else when the write is durable.
    ///
    /// # Errors
    /// `INVALID_REQUEST` when it makes no sense: batches that are not ascending, or end before they begin, or end behind all
    /// that is in flight; another number of types than one or one for each record. `INVALID_RECORD_STATE` when the member does
    /// not hold a record, because the lock ran out, it was acknowledged before or nothing is in flight, and for a renewal where
    /// the group has none. Records before the start are passed over: they are finished.
    pub fn acknowledge(
        &mut self,
        now: Tick,
        member: &str,
        batches: &[AckBatch],
    ) -> Result<Option<StateWrite>, ErrorCode> {
        self.check(batches)?;
        let mut said: Vec<(Run, AckType)> = Vec::new();
        for batch in batches {
            if batch.last >= self.start() {
                self.held_of(member, batch, &mut said)?;
            }
        }
        let (mut written, mut pieces) = (Vec::new(), Vec::new());
        for (run, what) in said {
            let count = run.cell.count;
            let kind = match what {
                AckType::Renew => {
                    self.renew(run, now);
                    continue;
                }
                AckType::Accept => Kind::Acknowledged,
                AckType::Gap | AckType::Reject => Kind::Archived,
                AckType::Release => self.given_back(count),
            };
            self.settle(run, kind, count, &mut written, &mut pieces);
        }
        Ok((!pieces.is_empty()).then(|| self.write(written, pieces)))
    }

    fn check(&self, batches: &[AckBatch]) -> Result<(), ErrorCode> {
        let mut before = None;
        for batch in batches {
            let records = u64::try_from(batch.last.0.checked_sub(batch.first.0).unwrap_or(-1));
            let types = batch.types.len() as u64;
            let fits = records.is_ok_and(|more| types == 1 || more.checked_add(1) == Some(types));
            let follows = before.is_none_or(|last| last < batch.first);
            if !fits || !follows {
                return Err(ErrorCode::InvalidRequest);
            }
            if batch.last >= self.end() && batch.last >= self.start() {
                let none_in_flight = self.start() == self.end() && batch.first >= self.start();
                return Err(if none_in_flight {
                    ErrorCode::InvalidRecordState
                } else {
                    ErrorCode::InvalidRequest
                });
            }
            before = Some(batch.last);
        }
        Ok(())
    }

    /// Adds what a batch says, in runs of one state and one type, when the member holds all of them.
    fn held_of(
        &self,
        member: &str,
        batch: &AckBatch,
        said: &mut Vec<(Run, AckType)>,
    ) -> Result<(), ErrorCode> {
        let renews = batch.types.contains(&AckType::Renew) && !self.settings.renew_enabled;
        for run in self.window.runs(batch.first, batch.last.next()) {
            if renews || run.cell.kind != Kind::Acquired || !self.locks.is_of(run.cell.lock, member) {
                return Err(ErrorCode::InvalidRecordState);
            }
            if let [one] = batch.types[..] {
                said.push((run, one));
                continue;
            }
            let mut at = run.first;
            while at < run.end {
                let place = usize::try_from(at.0 - batch.first.0).unwrap_or(usize::MAX);
                let rest = batch.types.get(place..).unwrap_or_default();
                let Some(what) = rest.first() else { return Err(ErrorCode::InvalidRequest) };
                let equal = rest.iter().take_while(|other| *other == what).count();
                let equal = (equal as u64).min(run.end.0.abs_diff(at.0));
                let end = Offset(at.0.saturating_add_unsigned(equal));
                said.push((Run { first: at, end, ..run }, *what));
                at = end;
            }
        }
        Ok(())
    }

    fn renew(&mut self, run: Run, now: Tick) {
        let Some(lock) = self.locks.get(run.cell.lock) else { return };
        let member = Arc::clone(&lock.member);
        self.locks.unlock(run.cell.lock, run.records());
        let lock = self.locks.lock(&member, now, self.settings.lock_duration_ms, run.first, run.end);
        self.window.set(run.first, run.end, Cell { lock, ..run.cell });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::share::acquire::{Acquire, AcquireMode};
    use crate::share::settings::ShareSettings;
    use crate::share::state::DeliveryState;
    use crate::share::testing::{batches, fresh, shown, state};

    /// `a` holds 0 to 9, `b` 10 to 19.
    fn held() -> SharePartition {
        let mut partition = fresh(ShareSettings::default(), 0);
        for (member, first) in [("a", 0), ("b", 10)] {
            take(&mut partition, member, 0, &[(first, first + 9)]);
        }
        partition
    }

    fn take(partition: &mut SharePartition, member: &str, now: u64, log: &[(i64, i64)]) {
        let member: Arc<str> = member.into();
        let fetch_offset = partition.next_fetch_offset();
        let mode = AcquireMode::BatchOptimized;
        let request = Acquire { member: &member, mode, records_max: 100, batch_size: 100, fetch_offset };
        partition.acquire(Tick(now), &request, &batches(log));
    }

    fn said(first: i64, last: i64, codes: &[i8]) -> AckBatch {
        let types = codes.iter().map(|code| AckType::from_code(*code).unwrap()).collect();
        AckBatch { first: Offset(first), last: Offset(last), types }
    }

    #[test]
    fn each_type_does_what_it_says_when_it_is_durable() {
        let mut partition = held();
        let batch = said(0, 5, &[1, 0, 2, 3, 4, 1]);
        let write = partition.acknowledge(Tick(7), "a", &[batch]).unwrap().unwrap();
        assert_eq!((write.id, write.start, write.delivery_complete_count), (0, Offset(0), 4));
        assert_eq!((write.state_epoch, write.leader_epoch.0), (1, 4));
        let told: Vec<_> = write.batches.iter().map(|one| (one.first.0, one.last.0, one.state)).collect();
        use DeliveryState::{Acknowledged, Archived, Available};
        assert_eq!(
            told,
            [
                (0, 0, Acknowledged),
                (1, 1, Archived),
                (2, 2, Available),
                (3, 3, Archived),
                (5, 5, Acknowledged)
            ]
        );
        assert_eq!(shown(&partition)[0], "0-0 a>Acknowledged 1");
        assert_eq!(partition.next_fetch_offset(), Offset(20), "not free before that is durable");
        partition.landed(0, Ok(()));
        let lines =
            ["2-2 available 1", "3-3 archived 1", "4-4 a 1", "5-5 acknowledged 1", "6-9 a 1", "10-19 b 1"];
        assert_eq!(shown(&partition), lines);
        assert_eq!((partition.start(), partition.next_fetch_offset()), (Offset(2), Offset(2)));
        assert_eq!(partition.delivery_complete_count(), 2);
    }

    #[test]
    fn a_failed_write_gives_the_records_back_to_their_member() {
        let mut partition = held();
        let write = partition.acknowledge(Tick(7), "a", &[said(0, 9, &[1])]).unwrap().unwrap();
        let again = partition.acknowledge(Tick(7), "a", &[said(3, 3, &[1])]);
        assert_eq!(again, Err(ErrorCode::InvalidRecordState), "it is being written");
        partition.landed(write.id, Err(ErrorCode::CoordinatorNotAvailable));
        assert_eq!(shown(&partition), ["0-9 a 1", "10-19 b 1"]);
        assert_eq!(partition.delivery_complete_count(), 0);
        let write = partition.acknowledge(Tick(7), "a", &[said(0, 9, &[1])]).unwrap().unwrap();
        // The lock runs out meanwhile.
        let expired = partition.expire(Tick(30_000)).unwrap();
        assert_eq!(expired.batches.len(), 1, "those of b");
        partition.landed(write.id, Err(ErrorCode::CoordinatorNotAvailable));
        assert_eq!(partition.next_deadline(), Some(Tick(30_000)));
        partition.expire(Tick(30_001)).unwrap();
        assert_eq!(shown(&partition), ["0-19 available 1"]);
    }

    #[test]
    fn a_renewal_begins_the_lock_anew_and_writes_nothing() {
        let mut partition = held();
        assert_eq!(partition.acknowledge(Tick(20_000), "a", &[said(2, 4, &[4])]), Ok(None));
        partition.expire(Tick(30_000));
        assert_eq!(shown(&partition), ["0-1 available 1", "2-4 a 1", "5-19 available 1"]);
        partition.expire(Tick(50_000));
        assert_eq!(shown(&partition), ["0-19 available 1"]);
        let settings = ShareSettings { renew_enabled: false, ..ShareSettings::default() };
        partition.set_settings(settings);
        take(&mut partition, "a", 0, &[(0, 19)]);
        let refused = partition.acknowledge(Tick(0), "a", &[said(0, 1, &[4])]);
        assert_eq!(refused, Err(ErrorCode::InvalidRecordState));
    }

    #[test]
    fn what_makes_no_sense_or_is_not_held_changes_nothing() {
        let mut partition = held();
        let before = shown(&partition);
        let mut code = |batches: &[AckBatch]| partition.acknowledge(Tick(0), "a", batches).unwrap_err();
        for senseless in [
            vec![said(3, 2, &[1])],
            vec![said(0, 2, &[1, 1])],
            vec![said(0, 2, &[])],
            vec![said(4, 5, &[1]), said(0, 1, &[1])],
            vec![said(0, 4, &[1]), said(4, 5, &[1])],
            vec![said(5, 20, &[1])],
            vec![said(i64::MIN, i64::MAX, &[1])],
        ] {
            assert_eq!(code(&senseless), ErrorCode::InvalidRequest, "{senseless:?}");
        }
        assert_eq!(code(&[said(0, 1, &[1]), said(9, 10, &[1])]), ErrorCode::InvalidRecordState);
        assert_eq!(code(&[said(20, 21, &[1])]), ErrorCode::InvalidRequest);
        assert_eq!(code(&[said(i64::MAX, i64::MAX, &[1])]), ErrorCode::InvalidRequest);
        assert_eq!(shown(&partition), before);
        assert_eq!(partition.acknowledge(Tick(0), "a", &[]), Ok(None));
    }

    #[test]
    fn records_before_the_start_are_passed_over() {
        let mut partition = held();
        partition.log_start_moved(Offset(4));
        assert_eq!(partition.acknowledge(Tick(0), "a", &[said(0, 3, &[1])]), Ok(None));
        let write = partition.acknowledge(Tick(0), "a", &[said(0, 9, &[1])]).unwrap().unwrap();
        assert_eq!((write.start, write.batches[0].first), (Offset(4), Offset(4)));
        partition.log_start_moved(Offset(15));
        partition.landed(write.id, Ok(()));
        assert_eq!(shown(&partition), ["15-19 b 1"]);
        assert_eq!(partition.delivery_complete_count(), 0);
        partition.log_start_moved(Offset(40));
        assert_eq!(
            (partition.start(), partition.end(), partition.next_deadline()),
            (Offset(40), Offset(40), None)
        );
        let refused = partition.acknowledge(Tick(0), "a", &[said(45, 49, &[1])]);
        assert_eq!(refused, Err(ErrorCode::InvalidRecordState), "nothing is in flight");
    }

    #[test]
    fn a_record_is_given_up_after_its_last_delivery() {
        let settings = ShareSettings { delivery_count_limit: 2, ..ShareSettings::default() };
        let mut partition = fresh(settings, 0);
        for round in 0..2 {
            take(&mut partition, "a", 0, &[(0, 9)]);
            let write = partition.acknowledge(Tick(0), "a", &[said(0, 9, &[2])]).unwrap().unwrap();
            partition.landed(write.id, Ok(()));
            assert_eq!(partition.start(), Offset(10 * round), "{round}");
        }
        assert!(shown(&partition).is_empty());
    }

    #[test]
    fn a_session_that_ends_gives_back_what_was_delivered() {
        let mut partition = held();
        let write = partition.release("a").unwrap();
        partition.landed(write.id, Ok(()));
        assert_eq!(shown(&partition), ["0-9 available 1", "10-19 b 1"]);
        assert_eq!(partition.release("a"), None);
    }

    #[test]
    fn a_start_knows_what_was_written_and_no_more() {
        let mut partition = held();
        let mut kept = state(0);
        let write = partition.acknowledge(Tick(0), "b", &[said(10, 13, &[1])]).unwrap().unwrap();
        kept.batches.extend(&write.batches);
        let write = partition.acknowledge(Tick(0), "b", &[said(16, 19, &[2])]).unwrap().unwrap();
        kept.batches.extend(&write.batches);
        let again = SharePartition::new(ShareSettings::default(), model::LeaderEpoch(5), &kept, Offset(0));
        let lines = ["0-9 available 0", "10-13 acknowledged 1", "14-15 available 0", "16-19 available 1"];
        assert_eq!(shown(&again), lines);
        assert_eq!(again.delivery_complete_count(), 4);
        let later = SharePartition::new(ShareSettings::default(), model::LeaderEpoch(5), &kept, Offset(12));
        assert_eq!(shown(&later)[0], "14-15 available 0");
    }
}
