//! Answers to what is refused, and to what failed on its way to the log.

use model::ErrorCode;

use super::super::request::{CommitTopic, Request};
use super::{
    ConsumerHeartbeatReply, DescribedConsumerGroup, DescribedGroup, JoinReply, LeaveReply, OffsetDeleteReply,
    OffsetFetchReply, Reply, SyncReply, TopicVerdict,
};
use crate::share::membership as share;

impl Reply {
    /// `request` refused as a whole: what the driver says too while the coordinator is elsewhere, or loading.
    #[must_use]
    pub fn refused(request: &Request, error: ErrorCode) -> Self {
        match request {
            Request::Join(join) => Self::Join(JoinReply::error(error, &join.member_id)),
            Request::Sync(_) => Self::Sync(SyncReply::error(error)),
            Request::Heartbeat(_) => Self::Heartbeat(error),
            Request::Leave(_) => Self::Leave(LeaveReply { error, members: Vec::new() }),
            Request::OffsetCommit(commit) => {
                let verdict = |topic: &CommitTopic| TopicVerdict {
                    topic: topic.name.clone(),
                    topic_id: topic.topic_id,
                    partitions: topic.partitions.iter().map(|one| (one.partition, error)).collect(),
                };
                Self::OffsetCommit(commit.topics.iter().map(verdict).collect())
            }
            Request::OffsetFetch(_) => Self::OffsetFetch(OffsetFetchReply { error, topics: Vec::new() }),
            Request::OffsetDelete(_) => Self::OffsetDelete(OffsetDeleteReply { error, topics: Vec::new() }),
            Request::List(_) => Self::List(Err(error)),
            Request::Describe(groups) => {
                Self::Describe(groups.iter().map(|group| DescribedGroup::unknown(group, error)).collect())
            }
            Request::Delete(groups) => {
                Self::Delete(groups.iter().map(|group| (group.clone(), error)).collect())
            }
            Request::ConsumerHeartbeat(_) => {
                Self::ConsumerHeartbeat(ConsumerHeartbeatReply::error(error, ""))
            }
            Request::ConsumerDescribe(groups) => {
                let one = |group: &String| DescribedConsumerGroup::unknown(group, error, String::new());
                Self::ConsumerDescribe(groups.iter().map(one).collect())
            }
            Request::Share(request) => Self::Share(share::Reply::refused(request, (error, String::new()))),
        }
    }

    /// This reply, a failure of the append it waited for now. What was refused anyway stays as it is.
    pub(in crate::group) fn failed(self, error: ErrorCode) -> Self {
        let mark = |mut topics: Vec<TopicVerdict>| {
            let verdicts = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
            verdicts.filter(|(_, verdict)| verdict.is_ok()).for_each(|(_, verdict)| *verdict = error);
            topics
        };
        match self {
            Self::OffsetCommit(topics) => Self::OffsetCommit(mark(topics)),
            Self::OffsetDelete(_) => Self::OffsetDelete(OffsetDeleteReply { error, topics: Vec::new() }),
            Self::Leave(_) => Self::Leave(LeaveReply { error, members: Vec::new() }),
            Self::ConsumerHeartbeat(reply) if reply.refused.is_none() => {
                Self::ConsumerHeartbeat(ConsumerHeartbeatReply::error(error, ""))
            }
            Self::Join(reply) if reply.error.is_ok() => Self::Join(JoinReply::error(error, &reply.member_id)),
            Self::Sync(reply) if reply.error.is_ok() => Self::Sync(SyncReply::error(error)),
            Self::Heartbeat(ErrorCode::None) => Self::Heartbeat(error),
            other => other,
        }
    }
}
