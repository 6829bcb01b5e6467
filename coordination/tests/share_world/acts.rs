//! What happens to it.

use super::*;

impl World {
    pub fn acquire(&mut self, member: u8, strict: bool, max: u8, reach: u8) {
        let at = self.partition.next_fetch_offset();
        let free = self.records.iter().find(|(_, record)| record.is == Is::Free);
        assert_eq!(at.0, free.map_or(self.end(), |(offset, _)| *offset));
        let read = self.log.iter().filter(|(_, last)| *last >= at.0 && *last >= self.log_start);
        let batches: Vec<LogBatch> = read
            .take(usize::from(reach))
            .map(|(first, last)| LogBatch { first: Offset(*first), last: Offset(*last) })
            .collect();
        let name: Arc<str> = member.to_string().into();
        let mode = if strict { AcquireMode::RecordLimit } else { AcquireMode::BatchOptimized };
        let request =
            Acquire { member: &name, mode, records_max: max.into(), batch_size: 5, fetch_offset: at };
        let before = self.end() - self.start;
        let list = self.partition.acquire(Tick(self.now), &request, &batches);
        let mut taken = 0;
        let deadline = self.deadline();
        for one in &list {
            for offset in one.first.0..=one.last.0 {
                taken += 1;
                assert!(self.in_log(offset) && offset >= self.start, "{offset} is there");
                let new = Record { is: Is::Free, count: 0 };
                let record = self.records.entry(offset).or_insert(new);
                assert_eq!(record.is, Is::Free, "{offset} is nobody's");
                record.count += 1;
                assert_eq!(record.count, one.delivery_count);
                record.is = Is::Held { member, deadline, becoming: None };
                *self.delivered.entry(offset).or_default() += 1;
            }
        }
        assert!(!strict || taken <= u32::from(max));
        // What it says is not in the log is not.
        for held in self.partition.held().filter(|held| held.state == HeldState::Archived) {
            for offset in held.first.0..=held.last.0 {
                let new = Record { is: Is::Free, count: 0 };
                let gone = !self.log.iter().any(|(first, last)| (*first..=*last).contains(&offset));
                let record = self.records.entry(offset).or_insert(new);
                if record.is == Is::Free {
                    assert!(gone, "{offset} was given up and is in the log");
                    record.is = Is::Dead;
                }
            }
        }
        // Those that the start moved over at once.
        for offset in self.start..self.partition.start().0 {
            let gone = !self.in_log(offset);
            let record = self.records.entry(offset).or_insert(Record { is: Is::Free, count: 0 });
            if record.is == Is::Free {
                assert!(gone, "{offset} was passed over and is in the log");
                record.is = Is::Dead;
            }
        }
        self.saw("acquired", taken as usize);
        self.saw("delivered again", list.iter().filter(|one| one.delivery_count > 1).count());
        let grown = self.end() - self.start.max(0);
        if before >= i64::from(SETTINGS.record_locks_max) {
            assert!(grown <= before, "nothing new above the limit");
        }
    }

    /// Who acknowledges what: often somebody what is held.
    pub fn aim(&self, member: u8, first: i64, more: u8, well: bool) -> (u8, i64, i64) {
        let holder = |record: &Record| match record.is {
            Is::Held { member, becoming: None, .. } => Some(member),
            _ => None,
        };
        let mut held = self.records.range(first..).filter_map(|(at, record)| Some((*at, holder(record)?)));
        match held.next().filter(|_| well) {
            Some((first, member)) => {
                let all = held.zip(first + 1..).take_while(|((at, of), next)| at == next && *of == member);
                (member, first, first + i64::try_from(all.take(more.into()).count()).unwrap())
            }
            None => (member, first, first + i64::from(more)),
        }
    }

    pub fn acknowledge(&mut self, member: u8, first: i8, more: u8, types: &[u8]) {
        let first = self.start + i64::from(first);
        let (member, first, last) = self.aim(member, first, more, !types.len().is_multiple_of(3));
        let more = last - first;
        let code =
            |index: usize| AckType::from_code(i8::try_from(types[index % types.len()]).unwrap()).unwrap();
        let count = if types.len() == 1 { 1 } else { usize::try_from(more).unwrap() + 1 };
        let said: Vec<AckType> = (0..count).map(code).collect();
        let batch = AckBatch { first: Offset(first), last: Offset(last), types: said.clone() };
        let result = self.partition.acknowledge(Tick(self.now), &member.to_string(), &[batch]);
        if last >= self.end() && last >= self.start {
            let none_in_flight = self.records.is_empty() && first >= self.start;
            let code = if none_in_flight { ErrorCode::InvalidRecordState } else { ErrorCode::InvalidRequest };
            assert_eq!(result, Err(code));
            return;
        }
        let range = first.max(self.start)..=last;
        let holds = |record: &Record| matches!(record.is, Is::Held { member: of, becoming: None, .. } if of == member);
        if range.clone().any(|offset| !holds(&self.records[&offset])) {
            assert_eq!(result, Err(ErrorCode::InvalidRecordState));
            self.saw("refused", 1);
            return;
        }
        let mut becoming = Becoming::new();
        let renewed = self.deadline();
        for offset in range {
            let what = if said.len() == 1 { said[0] } else { said[usize::try_from(offset - first).unwrap()] };
            let record = self.records.get_mut(&offset).unwrap();
            let Is::Held { deadline, becoming: next, .. } = &mut record.is else { unreachable!() };
            let is = match what {
                AckType::Renew => {
                    *deadline = renewed;
                    continue;
                }
                AckType::Accept => Is::Done,
                AckType::Gap | AckType::Reject => Is::Dead,
                AckType::Release if record.count >= SETTINGS.delivery_count_limit => Is::Dead,
                AckType::Release => Is::Free,
            };
            *next = Some(state_of(is));
            becoming.push((offset, Record { is, count: record.count }));
        }
        let write = result.unwrap();
        assert_eq!(write.is_some(), !becoming.is_empty());
        self.saw("acknowledged", becoming.len());
        self.writes.extend(write.map(|write| (write, becoming)));
    }

    pub fn release(&mut self, member: u8) {
        let mut becoming = Becoming::new();
        for (offset, record) in &mut self.records {
            if let Is::Held { member: of, becoming: next @ None, .. } = &mut record.is
                && *of == member
            {
                let over = record.count >= SETTINGS.delivery_count_limit;
                let (state, is) = if over {
                    (DeliveryState::Archived, Is::Dead)
                } else {
                    (DeliveryState::Available, Is::Free)
                };
                *next = Some(state);
                becoming.push((*offset, Record { is, count: record.count }));
            }
        }
        let write = self.partition.release(&member.to_string());
        assert_eq!(write.is_some(), !becoming.is_empty());
        self.writes.extend(write.map(|write| (write, becoming)));
    }

    pub fn land(&mut self, ok: bool) {
        let Some((write, becoming)) = self.writes.pop_front() else { return };
        if ok {
            self.kept.apply(&StateUpdate {
                snapshot_epoch: 0,
                leader_epoch: write.leader_epoch,
                start: write.start,
                delivery_complete_count: write.delivery_complete_count,
                batches: write.batches,
            });
        }
        let result = if ok { Ok(()) } else { Err(ErrorCode::CoordinatorNotAvailable) };
        self.partition.landed(write.id, result);
        self.saw(if ok { "written" } else { "taken back" }, becoming.len());
        for (offset, next) in becoming {
            let Some(record) = self.records.get_mut(&offset) else { continue };
            if ok {
                *record = next;
            } else if let Is::Held { becoming, .. } = &mut record.is {
                *becoming = None;
            }
        }
        if !ok {
            self.wait(0);
        }
    }

    pub fn wait(&mut self, ms: u64) {
        self.now += ms;
        while self.partition.next_deadline().is_some_and(|due| due.0 <= self.now) {
            let write = self.partition.expire(Tick(self.now));
            self.writes.extend(write.map(|write| (write, Becoming::new())));
        }
        let (mut expired, mut given_up) = (0, 0);
        for record in self.records.values_mut() {
            if let Is::Held { deadline, becoming: None, .. } = record.is
                && deadline <= self.now
            {
                let over = record.count >= SETTINGS.delivery_count_limit;
                record.is = if over { Is::Dead } else { Is::Free };
                expired += 1;
                given_up += usize::from(over);
            }
        }
        self.saw("expired", expired);
        self.saw("given up", given_up);
    }

    pub fn restart(&mut self) {
        self.writes.clear();
        let start = self.kept.start.max(Offset(self.log_start));
        self.partition = SharePartition::new(SETTINGS, LeaderEpoch(1), &self.kept, start);
        self.start = start.0;
        self.records.clear();
        for batch in &self.kept.batches {
            let is = match batch.state {
                DeliveryState::Available => Is::Free,
                DeliveryState::Acknowledged => Is::Done,
                DeliveryState::Archived => Is::Dead,
            };
            for offset in batch.first.0.max(self.start)..=batch.last.0 {
                self.records.insert(offset, Record { is, count: batch.delivery_count });
            }
        }
        for offset in self.start..self.end() {
            self.records.entry(offset).or_insert(Record { is: Is::Free, count: 0 });
        }
        self.saw("kept over a start", self.records.len());
    }
}
