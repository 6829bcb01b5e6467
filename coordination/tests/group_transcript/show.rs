//! How records and replies look in a transcript.

use std::fmt::Write as _;

use coordination::group::{JoinReply, Record, Reply, TopicVerdict};

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
                        let part = String::from_utf8_lossy(&member.assignment).into_owned();
                        format!("{}:{part}", self.name(&member.member_id))
                    })
                    .collect();
                let generation = value.generation;
                format!("{group} gen={generation} {protocol} leader={leader} [{}]", members.join(" "))
            }
        }
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
                format!("sync {:?}", String::from_utf8_lossy(&sync.assignment))
            }
            Reply::Sync(sync) => format!("sync {}", sync.error.name()),
            Reply::Heartbeat(error) => format!("heartbeat {}", error.name()),
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
                    let found = if one.found { "" } else { " (not found)" };
                    write!(out, " {}:{}{found} [{}]", one.group, one.state.name(), members.join(" "))
                        .unwrap();
                }
                out
            }
            Reply::Delete(groups) => {
                let groups = groups.iter().map(|(group, error)| format!(" {group}:{}", error.name()));
                format!("delete{}", groups.collect::<String>())
            }
        }
    }
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
