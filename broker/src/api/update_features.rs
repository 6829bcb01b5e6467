//! UpdateFeatures: all of the levels or none; answered when they are durable.

use std::collections::BTreeMap;

use coordination::metadata::Command;
use coordination::metadata::features::{Direction, FeatureUpdate};
use net::service::Reply;
use protocol::control::messages::update_features_response::UpdatableFeatureResult;
use protocol::control::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use protocol::{RequestHeader, Text, message};

use super::reply;
use crate::cluster::propose;
use crate::service::Broker;

/// Last version that answers for each feature by itself.
const EACH_UNTIL: i16 = 1;

/// Answers an UpdateFeatures request.
pub async fn handle(broker: &Broker, header: &RequestHeader, request: UpdateFeaturesRequest) -> Reply {
    // Of a feature that is named twice the last level counts, as in Kafka.
    let mut updates = BTreeMap::new();
    for update in &request.feature_updates {
        let direction = match update.upgrade_type {
            1 => Some(Direction::Up),
            2 => Some(Direction::Down),
            3 => Some(Direction::DownUnsafely),
            _ => None,
        };
        let wanted =
            FeatureUpdate { name: update.feature.to_string(), level: update.max_version_level, direction };
        updates.insert(wanted.name.clone(), wanted);
    }
    let command = Command::UpdateFeatures {
        updates: updates.into_values().collect(),
        validate_only: request.validate_only,
    };
    let mut response = message!(UpdateFeaturesResponse { error_message: None });
    match propose(&*broker.cluster, command).await {
        Ok(_) if header.api_version <= EACH_UNTIL => {
            let result = |name: Text| {
                message!(UpdatableFeatureResult { feature: name, error_message: Some("NONE".into()) })
            };
            let names = request.feature_updates.into_iter().map(|update| update.feature);
            response.results = names.map(result).collect();
        }
        Ok(_) => {}
        Err(refusal) => {
            let why = &refusal.message;
            let text =
                format!("The update failed for all features since the following feature had an error: {why}");
            response.error_code = refusal.code.code();
            response.error_message = Some(Text::from(text.as_str()));
        }
    }
    reply(header, &response)
}

#[cfg(test)]
mod tests {
    use model::ErrorCode;
    use protocol::control::messages::update_features_request::FeatureUpdateKey;
    use protocol::control::messages::{ApiVersionsRequest, ApiVersionsResponse};

    use super::*;
    use crate::service::harness::Client;

    fn ask(client: &Client, version: i16, name: &str, level: i16) -> UpdateFeaturesResponse {
        let update = message!(FeatureUpdateKey { feature: name.into(), max_version_level: level });
        client.ask(version, &message!(UpdateFeaturesRequest { feature_updates: vec![update] }))
    }

    #[test]
    fn a_level_is_what_this_broker_has() {
        let client = Client::new();
        for version in 0..=2 {
            let done = ask(&client, version, "metadata.version", 30);
            assert_eq!((done.error_code, done.results.len()), (0, usize::from(version <= EACH_UNTIL)));
            for (name, level) in [("metadata.version", 31), ("metadata.version", -1), ("nothing.version", 1)]
            {
                let refused = ask(&client, version, name, level);
                assert_eq!(refused.error_code, ErrorCode::InvalidUpdateVersion.code(), "{name} {level}");
            }
        }
    }

    #[test]
    fn api_versions_tells_levels_and_ranges() {
        let client = Client::new();
        for version in 0..=4 {
            let mut request = ApiVersionsRequest::default();
            if version >= 3 {
                request.client_software_name = "test".into();
                request.client_software_version = "1".into();
            }
            let told: ApiVersionsResponse = client.ask(version, &request);
            let supported: Vec<_> = told
                .supported_features
                .iter()
                .map(|one| (&*one.name, one.min_version, one.max_version))
                .collect();
            let finalized: Vec<_> = told
                .finalized_features
                .iter()
                .map(|one| (&*one.name, one.min_version_level, one.max_version_level))
                .collect();
            if version < 3 {
                assert_eq!((supported.len(), finalized.len()), (0, 0));
            } else {
                // A range that begins at 0 is more than clients of version 3 can read.
                let all = [
                    ("eligible.leader.replicas.version", 0, 1),
                    ("group.version", 0, 1),
                    ("kraft.version", 0, 1),
                    ("metadata.version", 7, 30),
                    ("share.version", 0, 1),
                ];
                assert_eq!(supported, if version == 3 { &all[3..4] } else { &all[..] });
                assert_eq!(finalized, all.map(|(name, _, level)| (name, level, level)));
                assert!(told.finalized_features_epoch > 0);
            }
        }
    }
}
