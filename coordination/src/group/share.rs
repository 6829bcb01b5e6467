//! Share groups beside the others: their machine keeps its groups for itself, and has the log and the time of this one. An id
//! is of one kind of group, whoever comes first.

use model::ErrorCode;

use super::coordinator::Coordinator;
use super::desk::Effect;
use super::reply::{ConsumerHeartbeatReply, GroupState, GroupType, JoinReply, ListedGroup, Reply};
use super::request::Request;
use crate::effects::Effects;
use crate::machine::Machine;
use crate::share::membership as share;

impl Coordinator {
    /// A request about share groups.
    pub(super) fn share_request(&mut self, ticket: u64, request: share::Request) {
        let refusal =
            |group: &str| (ErrorCode::GroupIdNotFound, format!("Group {group} is not a share group."));
        if let share::Request::Describe(groups) = request {
            let one = |group: String| match self.groups.get(group.as_str()) {
                Some(other) if other.durable => {
                    let refused = refusal(&group);
                    (group, Err(refused))
                }
                _ => self.share.describe(group),
            };
            let described = groups.into_iter().map(one).collect();
            self.desk.reply(ticket, Reply::Share(share::Reply::Describe(described)));
            return;
        }
        if let Some(group) = request.group().filter(|group| self.groups.contains_key(&***group)) {
            let refused = share::Reply::refused(&request, refusal(group));
            self.desk.reply(ticket, Reply::Share(refused));
            return;
        }
        self.step_share(share::Input::Request { ticket, wall: self.desk.wall, request });
    }

    /// What a request that is not for share groups is told when its group is one. Committed offsets are asked for as of a group
    /// that nobody knows: it has none.
    pub(super) fn refused_by_share_group(&self, request: &Request) -> Option<Reply> {
        let (group, reply) = match request {
            Request::Join(join) => {
                (&join.group, Reply::Join(JoinReply::error(ErrorCode::InconsistentGroupProtocol, "")))
            }
            Request::OffsetCommit(commit) => {
                (&commit.group, Reply::refused(request, ErrorCode::GroupIdNotFound))
            }
            Request::ConsumerHeartbeat(heartbeat) => {
                let why = format!("Group {} is not a consumer group.", heartbeat.group);
                let reply = ConsumerHeartbeatReply::error(ErrorCode::GroupIdNotFound, why);
                (&heartbeat.group, Reply::ConsumerHeartbeat(reply))
            }
            _ => return None,
        };
        self.share.knows(group).then_some(reply)
    }

    /// The share groups, as they are listed.
    pub(super) fn listed_share_groups(&self) -> impl Iterator<Item = ListedGroup> {
        self.share.groups().map(|(group, has_members)| ListedGroup {
            group: group.to_string(),
            protocol_type: "share".to_owned(),
            state: if has_members { GroupState::Stable } else { GroupState::Empty },
            kind: GroupType::Share,
        })
    }

    /// Topics may have been deleted while nobody asked for this coordinator.
    pub(super) fn drop_missing_share_topics(&mut self) {
        let missing = self.share.missing_topics();
        if !missing.is_empty() {
            self.step_share(share::Input::TopicsDeleted(missing));
        }
    }

    /// Gives the machine of share groups something to decide, and takes over what it wants done.
    pub(super) fn step_share(&mut self, input: share::Input) {
        let mut effects = Effects::new();
        self.share.step(self.desk.now, input, &mut effects);
        for effect in effects.drain() {
            match effect {
                share::Effect::Append { id, records } => self.desk.append_share(id, records),
                share::Effect::Reply { ticket, reply } => self.desk.reply(ticket, Reply::Share(reply)),
                share::Effect::Initialize { group, epoch, partitions } => {
                    self.desk.out.push(Effect::InitializeShares { group, epoch, partitions });
                }
            }
        }
    }
}
