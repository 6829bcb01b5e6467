//! What eligible leader replicas (KIP-966) ask of `min.insync.replicas`: one number for all brokers, always written down. A replica is
//! eligible by having what that many replicas have, so brokers must agree on it, and a changed file of one of them must not change it.

use model::{BrokerId, ErrorCode};

use super::alter::Changes;
use super::configs::ConfigChange;
use super::delta::{Record, Resource};
use super::features::ELIGIBLE_LEADER_REPLICAS_VERSION;
use super::image::Image;
use super::topics::Refusal;
use crate::settings::broker;

const SETTING: &str = "min.insync.replicas";

fn asked(image: &Image) -> bool {
    image.feature_level(ELIGIBLE_LEADER_REPLICAS_VERSION) > 0
}

/// What leads to a state as it must be; nothing where it is so already.
#[must_use]
pub fn settled(image: &Image) -> Vec<Record> {
    if !asked(image) {
        return Vec::new();
    }
    let config = image.broker();
    let change = |resource, value| Record::ConfigChanged { resource, key: SETTING.to_owned(), value };
    let mut records = Vec::new();
    if !config.altered(None).contains_key(SETTING) {
        let default = || broker::named(SETTING).and_then(|setting| setting.default);
        let started = config.started().get(SETTING).map(String::as_str).or_else(default);
        records.extend(started.map(|value| change(Resource::Brokers, Some(value.to_owned()))));
    }
    let single = config.of_single_brokers().filter(|(_, set)| set.contains_key(SETTING));
    records.extend(single.map(|(node, _)| change(Resource::Broker(node), None)));
    records
}

/// Judges changes to the settings of one broker, or of all.
///
/// # Errors
/// `INVALID_CONFIG` in Kafka's words.
pub fn check(image: &Image, node: Option<BrokerId>, changes: &Changes) -> Result<(), Refusal> {
    if !asked(image) {
        return Ok(());
    }
    let now = image.broker().altered(node).contains_key(SETTING);
    // A change counts also where nothing would be different, as in Kafka.
    let (named, removed) = match changes {
        Changes::Some(changes) => {
            let change = changes.iter().find(|(name, _)| name == SETTING).map(|(_, change)| change);
            (change.is_some(), matches!(change, Some(ConfigChange::Delete)))
        }
        Changes::All(wanted) => (now || wanted.contains_key(SETTING), now && !wanted.contains_key(SETTING)),
    };
    let refuse = |why: &str| Err(Refusal::new(ErrorCode::InvalidConfig, why));
    match node {
        Some(_) if named => {
            refuse("Broker-level min.insync.replicas cannot be altered while ELR is enabled.")
        }
        None if removed => {
            refuse("Cluster-level min.insync.replicas cannot be removed while ELR is enabled.")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{BrokerConfig, Overrides};

    const NODE: Option<BrokerId> = Some(BrokerId(1));

    fn started(value: Option<&str>) -> Image {
        let set = value.map(|value| (SETTING.to_owned(), value.to_owned()));
        Image::new(BrokerConfig::new(BrokerId(1), set.into_iter().collect()))
    }

    fn at_level(image: &mut Image, level: i16) {
        let name = ELIGIBLE_LEADER_REPLICAS_VERSION.to_owned();
        image.apply(image.applied() + 1, &Record::FeatureLevelChanged { name, level });
    }

    fn set(image: &mut Image, resource: Resource, value: &str) {
        let (key, value) = (SETTING.to_owned(), Some(value.to_owned()));
        image.apply(image.applied() + 1, &Record::ConfigChanged { resource, key, value });
    }

    #[test]
    fn the_number_is_written_down_for_all_and_for_nobody_else() {
        let change = |resource, value: Option<&str>| Record::ConfigChanged {
            resource,
            key: SETTING.to_owned(),
            value: value.map(str::to_owned),
        };
        assert_eq!(settled(&started(None)), [change(Resource::Brokers, Some("1"))]);
        let mut image = started(Some("2"));
        set(&mut image, Resource::Broker(BrokerId(1)), "3");
        let wanted = [change(Resource::Brokers, Some("2")), change(Resource::Broker(BrokerId(1)), None)];
        assert_eq!(settled(&image), wanted);
        at_level(&mut image, 0);
        assert!(settled(&image).is_empty());
        at_level(&mut image, 1);
        for record in wanted {
            image.apply(image.applied() + 1, &record);
        }
        assert!(settled(&image).is_empty());
    }

    #[test]
    fn who_is_asked_is_told_in_kafkas_words() {
        let mut image = started(None);
        set(&mut image, Resource::Brokers, "1");
        let one = |change: ConfigChange| Changes::Some(vec![(SETTING.to_owned(), change)]);
        let all = |value: Option<&str>| {
            let set = value.map(|value| (SETTING.to_owned(), value.to_owned()));
            Changes::All(set.into_iter().collect::<Overrides>())
        };
        let raised = ConfigChange::Set("2".to_owned());
        let told = |image: &Image, node, changes: &Changes| {
            check(image, node, changes).err().map(|refusal| (refusal.code, refusal.message))
        };
        let refused = |why: &str| Some((ErrorCode::InvalidConfig, why.to_owned()));
        let altered = refused("Broker-level min.insync.replicas cannot be altered while ELR is enabled.");
        let removed = refused("Cluster-level min.insync.replicas cannot be removed while ELR is enabled.");
        for changes in [one(raised.clone()), one(ConfigChange::Delete), all(Some("1"))] {
            assert_eq!(told(&image, NODE, &changes), altered, "{changes:?}");
        }
        assert_eq!(told(&image, NODE, &all(None)), None);
        for changes in [one(ConfigChange::Delete), all(None)] {
            assert_eq!(told(&image, None, &changes), removed, "{changes:?}");
        }
        for changes in [one(raised), all(Some("2")), Changes::Some(Vec::new())] {
            assert_eq!(told(&image, None, &changes), None, "{changes:?}");
        }
        at_level(&mut image, 0);
        assert_eq!(told(&image, NODE, &all(Some("1"))), None);
        assert_eq!(told(&image, None, &one(ConfigChange::Delete)), None);
    }
}
