//! How records and replies look in a transcript.

use std::fmt::Write as _;

use coordination::group::consumer::partitions::each;
use coordination::group::consumer::{ConsumerRecord, CurrentValue, Held, Partitions};
use coordination::group::{
    ConsumerHeartbeatReply, DescribedConsumerGroup, JoinReply, Record, Reply, TopicVerdict,
};
use model::TopicId;

use super::{EPOCH_MS, World};

impl World {
    pub(super) fn show_record(&mut self, record: &Record) -> String {
        match record {
            Record::Offset { group, topic, partition, value: None } => {
                format!("{group} {topic}/{partition} gone")
            }
            Record::Offset { group, topic, partition, value: Some(value) } => {
                let expires =
                    value.expire_time.map_or_else(String::new, |at| format!(" until +{}", at.0 - EPOCH_MS));
                format!("{group} {topic}/{partition} = {}{expires}", value.offset)
            }
            Record::Group { group, value: None } => format!("{group} gone"),
            Record::Group { group, value: Some(value) } => {
                let leader = self.name(value.leader.as_deref().unwrap_or_default());
                let protocol = value.protocol.as_deref().unwrap_or("-");
                let members: Vec<String> = value
                    .members
                    .iter()
                    .map(|member| {
                        let part = match std::str::from_utf8(&member.assignment) {
                            Ok(text) if !text.contains('\0') => text.to_owned(),
                            _ => format!(
                                "{:?}",
                                String::from_utf8_lossy(&member.assignment).replace('\u{fffd}', "~")
                            ),
                        };
                        format!("{}:{part}", self.name(&member.member_id))
                    })
                    .collect();
                let generation = value.generation;
                format!("{group} gen={generation} {protocol} leader={leader} [{}]", members.join(" "))
            }
            Record::Consumer { group, change } => format!("{group} {}", self.show_change(change)),
            Record::Share(record) => format!("{} {record:?}", record.group()),
        }
    }

    fn show_change(&mut self, change: &ConsumerRecord) -> String {
        match change {
            ConsumerRecord::Epoch(None) => "gone".into(),
            ConsumerRecord::Epoch(Some(value)) => {
                let topics = if value.metadata_hash == 0 { "none" } else { "some" };
                format!("epoch={} topics={topics}", value.epoch)
            }
            ConsumerRecord::TargetEpoch(None) => "targets gone".into(),
            ConsumerRecord::TargetEpoch(Some(value)) => format!("targets epoch={}", value.epoch),
            ConsumerRecord::Member { member, value } => {
                let name = self.name(member);
                let Some(value) = value else { return format!("member {name} gone") };
                let topics: Vec<&str> = value.topics.iter().map(String::as_str).collect();
                let regex = value.regex.as_ref().map_or_else(String::new, |regex| format!(" regex={regex}"));
                let instance =
                    value.instance_id.as_ref().map_or_else(String::new, |id| format!(" instance={id}"));
                let classic = if value.classic.is_some() { " classic" } else { "" };
                format!("member {name} topics={}{regex}{instance}{classic}", topics.join("+"))
            }
            ConsumerRecord::Target { member, value } => match value {
                Some(target) => format!("target {} {}", self.name(member), show_partitions(target)),
                None => format!("target {} gone", self.name(member)),
            },
            ConsumerRecord::Current { member, value } => match value {
                Some(current) => format!("current {} {}", self.name(member), show_current(current)),
                None => format!("current {} gone", self.name(member)),
            },
            ConsumerRecord::Regex { pattern, value } => match value {
                Some(resolved) => {
                    let topics: Vec<&str> = resolved.topics.iter().map(String::as_str).collect();
                    format!("regex {pattern} = {}", topics.join("+"))
                }
                None => format!("regex {pattern} gone"),
            },
        }
    }

    fn show_beat(&mut self, beat: &ConsumerHeartbeatReply) -> String {
        if let Some((error, why)) = &beat.refused {
            return format!("beat {} {why}", error.name());
        }
        let me = self.name(beat.member_id.as_deref().unwrap_or_default());
        let told =
            beat.assignment.as_ref().map_or_else(String::new, |told| format!(" {}", show_partitions(told)));
        format!("beat {me} epoch={}{told}", beat.epoch)
    }

    fn show_consumer_group(&mut self, group: &DescribedConsumerGroup) -> String {
        if let Some((error, why)) = &group.refused {
            return format!(" {}:{} {why}", group.group, error.name());
        }
        let members: Vec<String> = group
            .members
            .iter()
            .map(|member| {
                let (assigned, target) = (show_partitions(&member.assigned), show_partitions(&member.target));
                format!("{}@{}:{assigned}>{target}", self.name(&member.member_id), member.epoch)
            })
            .collect();
        let (state, epoch) = (group.state.name(), group.epoch);
        format!(
            " {}:{state} epoch={epoch}/{} {} [{}]",
            group.group,
            group.target_epoch,
            group.assignor,
            members.join(" ")
        )
    }

    fn show_join(&mut self, join: &JoinReply) -> String {
        let me = self.name(&join.member_id);
        if !join.error.is_ok() {
            return format!("join {me} {}", join.error.name());
        }
        let leader = self.name(&join.leader);
        let members: Vec<String> = join.members.iter().map(|member| self.name(&member.member_id)).collect();
        let members = if members.is_empty() { String::new() } else { format!(" [{}]", members.join(" ")) };
        let skip = if join.skip_assignment { " skip" } else { "" };
        let protocol = join.protocol.as_deref().unwrap_or("-");
        format!("join {me} gen={} {protocol} leader={leader}{members}{skip}", join.generation)
    }

    pub(super) fn show(&mut self, reply: &Reply) -> String {
        match reply {
            Reply::Join(join) => self.show_join(join),
            Reply::Sync(sync) if sync.error.is_ok() => {
                format!("sync {:?}", String::from_utf8_lossy(&sync.assignment).replace('\u{fffd}', "~"))
            }
            Reply::Sync(sync) => format!("sync {}", sync.error.name()),
            Reply::Heartbeat(error) => format!("heartbeat {}", error.name()),
            Reply::Share(reply) => format!("share {reply:?}"),
            Reply::Leave(leave) => {
                let mut out = format!("leave {}", leave.error.name());
                for member in &leave.members {
                    let name = self.name(&member.member_id);
                    let instance = member.instance_id.as_deref().unwrap_or_default();
                    write!(out, " {name}{instance}:{}", member.error.name()).unwrap();
                }
                out
            }
            Reply::OffsetCommit(topics) => format!("commit{}", verdicts(topics)),
            Reply::OffsetDelete(delete) => {
                format!("offset-delete {}{}", delete.error.name(), verdicts(&delete.topics))
            }
            Reply::OffsetFetch(fetch) => {
                let mut out = String::from("fetch");
                if !fetch.error.is_ok() {
                    write!(out, " {}", fetch.error.name()).unwrap();
                }
                for topic in &fetch.topics {
                    for one in &topic.partitions {
                        write!(out, " {}/{}@{}", topic.topic, one.partition, one.offset).unwrap();
                        if !one.metadata.is_empty() {
                            write!(out, "@{}", one.metadata).unwrap();
                        }
                    }
                }
                out
            }
            Reply::List(Err(error)) => format!("list {}", error.name()),
            Reply::List(Ok(groups)) => {
                let groups = groups
                    .iter()
                    .map(|one| format!(" {}:{}:{}", one.group, one.state.name(), one.protocol_type));
                format!("list{}", groups.collect::<String>())
            }
            Reply::Describe(groups) => {
                let mut out = String::from("describe");
                for one in groups {
                    let members: Vec<String> =
                        one.members.iter().map(|member| self.name(&member.member_id)).collect();
                    let found = if one.missing.is_none() { "" } else { " (not found)" };
                    write!(out, " {}:{}{found} [{}]", one.group, one.state.name(), members.join(" "))
                        .unwrap();
                }
                out
            }
            Reply::Delete(groups) => {
                let groups = groups.iter().map(|(group, error)| format!(" {group}:{}", error.name()));
                format!("delete{}", groups.collect::<String>())
            }
            Reply::ConsumerHeartbeat(beat) => self.show_beat(beat),
            Reply::ConsumerDescribe(groups) => {
                let groups: String = groups.iter().map(|group| self.show_consumer_group(group)).collect();
                format!("consumer-describe{groups}")
            }
        }
    }
}

fn topic_name(id: TopicId) -> String {
    String::from_utf8_lossy(&id.0).trim_end_matches('\0').to_owned()
}

/// `orders:0,1+audit:3`, or `-` for none.
fn show_partitions(partitions: &Partitions) -> String {
    let topic = |(id, partitions): (&TopicId, &std::collections::BTreeSet<i32>)| {
        let partitions: Vec<String> = partitions.iter().map(i32::to_string).collect();
        format!("{}:{}", topic_name(*id), partitions.join(","))
    };
    debug_assert!(each(partitions).next().is_some() || partitions.is_empty());
    if partitions.is_empty() {
        "-".into()
    } else {
        partitions.iter().map(topic).collect::<Vec<_>>().join("+")
    }
}

/// Partitions with the epochs since when they are held.
fn show_held(held: &Held) -> String {
    let one =
        |(topic, partition, epoch): (TopicId, i32, i32)| format!("{}:{partition}@{epoch}", topic_name(topic));
    if held.is_empty() { "-".into() } else { held.iter().map(one).collect::<Vec<_>>().join("+") }
}

fn show_current(current: &CurrentValue) -> String {
    let CurrentValue { epoch, previous_epoch, state, assigned, revoking } = current;
    let revoking =
        if revoking.is_empty() { String::new() } else { format!(" revoking {}", show_held(revoking)) };
    format!("epoch={epoch}<{previous_epoch} {state:?} {}{revoking}", show_held(assigned))
}

fn verdicts(topics: &[TopicVerdict]) -> String {
    let each = topics.iter().flat_map(|topic| topic.partitions.iter().map(move |one| (&topic.topic, one)));
    each.map(|(topic, (partition, error))| format!(" {topic}/{partition}:{}", error.name())).collect()
}

/// The lines that differ, to read in a terminal.
pub fn difference(expected: &str, actual: &str) -> String {
    let mut out = String::new();
    let (mut wanted, mut got) = (expected.lines(), actual.lines());
    for number in 1.. {
        match (wanted.next(), got.next()) {
            (None, None) => break,
            (wanted, got) if wanted == got => {}
            (wanted, got) => {
                writeln!(out, "{number}: - {}\n{number}: + {}", wanted.unwrap_or(""), got.unwrap_or(""))
                    .unwrap();
            }
        }
    }
    out
}
