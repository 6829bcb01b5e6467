//! ConsumerGroupDescribe.

use std::sync::Arc;

use model::ErrorCode;

use super::super::coordinator::Coordinator;
use super::super::desk::Desk;
use super::super::reply::{DescribedConsumer, DescribedConsumerGroup, Reply};
use super::assignor::Assignor;
use super::state::{Member, State};

impl Coordinator {
    pub(in crate::group) fn consumer_describe(&mut self, ticket: u64, groups: &[String]) {
        let one = |id: &String| {
            let missing = |why| DescribedConsumerGroup::unknown(id, ErrorCode::GroupIdNotFound, why);
            match self.groups.get(id.as_str()).filter(|group| group.durable) {
                None if self.share.knows(id) => missing(format!("Group {id} is not a consumer group.")),
                None => missing(format!("Group {id} not found.")),
                Some(group) => match &group.consumer {
                    None => missing(format!("Group {id} is not a consumer group.")),
                    Some(consumer) => described(id, &consumer.state, &self.desk),
                },
            }
        };
        let reply = Reply::ConsumerDescribe(groups.iter().map(one).collect());
        self.desk.reply(ticket, reply);
    }
}

fn described(id: &str, state: &State, desk: &Desk) -> DescribedConsumerGroup {
    let default = desk.settings.consumer.assignors.first().copied().unwrap_or(Assignor::Uniform);
    DescribedConsumerGroup {
        group: id.to_owned(),
        refused: None,
        state: state.phase(),
        epoch: state.epoch,
        target_epoch: state.target_epoch,
        assignor: state.preferred_assignor().unwrap_or_else(|| default.name()).to_owned(),
        members: state.members().iter().map(|(id, member)| described_member(id, member, state)).collect(),
    }
}

fn described_member(id: &Arc<str>, member: &Member, state: &State) -> DescribedConsumer {
    let metadata = &member.metadata;
    DescribedConsumer {
        member_id: id.to_string(),
        instance_id: metadata.instance_id.clone(),
        rack_id: metadata.rack_id.clone(),
        epoch: member.current.epoch,
        client_id: metadata.client_id.clone(),
        client_host: metadata.client_host.clone(),
        topics: metadata.topics.clone(),
        regex: metadata.regex.clone().unwrap_or_default(),
        assigned: member.current.assigned.partitions(),
        target: state.target(id).clone(),
        classic: member.uses_classic(),
    }
}
