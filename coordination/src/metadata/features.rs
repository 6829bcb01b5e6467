//! Feature levels (KIP-584, KIP-1022): which protocols and formats are in use in the whole cluster. A feature joins the table with
//! what it stands for.

use model::ErrorCode;

use super::delta::Record;
use super::image::Image;
use super::topics::Refusal;

/// A feature that this broker has, and in which levels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Feature {
    /// Kafka's name.
    pub name: &'static str,
    /// First level that it can work in; 0 is without the feature.
    pub min: i16,
    /// Last level.
    pub max: i16,
    /// The level while nobody chose one.
    pub default: i16,
    /// Whether it may be chosen.
    pub choice: Choice,
}

/// Whether the level of a feature may be chosen, and how a lower one is refused if not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// Any level of the range.
    Free,
    /// It has its default for good. So has `metadata.version` in Kafka 4.3, where the last level brought new kinds of records.
    LosesMetadata,
    /// It has its default for good, as `kraft.version` in Kafka, which only ever goes up.
    OnlyUp,
}

impl Feature {
    /// First and last level that it can be at.
    const fn reachable(&self) -> (i16, i16) {
        match self.choice {
            Choice::Free => (self.min, self.max),
            Choice::LosesMetadata | Choice::OnlyUp => (self.default, self.default),
        }
    }
}

/// What eligible leader replicas (KIP-966) ask of `min.insync.replicas`: asked at level 1. The replicas themselves are the one that there is.
pub const ELIGIBLE_LEADER_REPLICAS_VERSION: &str = "eligible.leader.replicas.version";

/// Groups by the consumer protocol (KIP-848): served at level 1, refused at level 0.
pub const GROUP_VERSION: &str = "group.version";

/// Share groups (KIP-932): served at level 1, refused at level 0.
pub const SHARE_VERSION: &str = "share.version";

/// Every feature that this broker has, by name.
///
/// `metadata.version` 30 is what Kafka 4.3 calls 4.3-IV0, and stands for what clients see of the metadata. Its range is Kafka's, none of
/// whose other levels can be reached from 30; the formats at rest are ours and know no other level either. `kraft.version` 1 says that voters are
/// known with their directories (KIP-853), which the one voter is.
pub const FEATURES: &[Feature] = &[
    Feature { name: ELIGIBLE_LEADER_REPLICAS_VERSION, min: 0, max: 1, default: 1, choice: Choice::Free },
    Feature { name: GROUP_VERSION, min: 0, max: 1, default: 1, choice: Choice::Free },
    Feature { name: "kraft.version", min: 0, max: 1, default: 1, choice: Choice::OnlyUp },
    Feature { name: "metadata.version", min: 7, max: 30, default: 30, choice: Choice::LosesMetadata },
    Feature { name: SHARE_VERSION, min: 0, max: 1, default: 1, choice: Choice::Free },
];

/// Kafka's other features. They stand for what is not here, and clients would rely on it: a producer that is told of `transaction.version` 2
/// leaves requests away. So the broker says that it does not know them, as an older Kafka does; only level 0 is taken, which they have.
const ABSENT: [&str; 2] = ["streams.version", "transaction.version"];

/// Where a level may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Not down.
    Up,
    /// Not up; nothing may be lost.
    Down,
    /// Not up.
    DownUnsafely,
}

/// A level that somebody wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeatureUpdate {
    /// Of which feature.
    pub name: String,
    /// The level; 0 is without the feature.
    pub level: i16,
    /// Where it may go; `None` is what Kafka does not know.
    pub direction: Option<Direction>,
}

/// The first level that somebody chose and this release does not have: a newer one wrote it, and means something by it.
#[must_use]
pub fn unsupported(image: &Image, features: &[Feature]) -> Option<String> {
    let has = |name: &str| features.iter().find(|row| row.name == name).map(Feature::reachable);
    let beyond = |(name, level): &(&str, i16)| match has(name) {
        Some((first, last)) => !(first..=last).contains(level),
        None => *level != 0,
    };
    let (name, level) = image.chosen_levels().find(beyond)?;
    let known = match has(name) {
        Some((first, last)) if first == last => format!("has level {first} only"),
        Some((first, last)) => format!("has levels {first} to {last}"),
        None => "does not have it".to_owned(),
    };
    Some(format!("{name} is at level {level}, and this release {known}"))
}

/// Judges levels, all of them or none.
///
/// # Errors
/// `INVALID_UPDATE_VERSION` in Kafka's words for the first that may not be.
pub fn update(
    image: &Image,
    features: &[Feature],
    node: i32,
    updates: &[FeatureUpdate],
) -> Result<Vec<Record>, Refusal> {
    let mut records = Vec::new();
    for wanted in updates {
        judge(image, features, node, wanted)?;
        // Where nobody can choose, a record would be one that the release before cannot read.
        let known = features.iter().any(|row| row.name == wanted.name && row.choice == Choice::Free);
        if known && image.chosen_level(&wanted.name) != Some(wanted.level) {
            records.push(Record::FeatureLevelChanged { name: wanted.name.clone(), level: wanted.level });
        }
    }
    Ok(records)
}

fn judge(image: &Image, features: &[Feature], node: i32, wanted: &FeatureUpdate) -> Result<(), Refusal> {
    let (name, level) = (&wanted.name, wanted.level);
    let refuse = |why: &str| {
        let text = format!("Invalid update version {level} for feature {name}. {why}");
        Err(Refusal::new(ErrorCode::InvalidUpdateVersion, text))
    };
    let Some(direction) = wanted.direction else {
        return refuse("The controller does not support the given upgrade type.");
    };
    if level < 0 {
        return refuse("A feature version cannot be less than 0.");
    }
    let row = match features.iter().find(|row| row.name == name) {
        None if level == 0 && ABSENT.contains(&name.as_str()) => return Ok(()),
        None if level == 0 => return refuse(&format!("Feature {name} not found.")),
        None => return refuse(&format!("Local controller {node} does not support this feature.")),
        Some(row) => row,
    };
    if level < row.min || row.max < level {
        let range = if row.min == row.max { row.min.to_string() } else { format!("{}-{}", row.min, row.max) };
        return refuse(&format!("Local controller {node} only supports versions {range}"));
    }
    let now = image.feature_level_among(features, name);
    match direction {
        Direction::Up if level < now => refuse(
            "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.",
        ),
        Direction::Down | Direction::DownUnsafely if level > now => {
            refuse("Can't downgrade to a newer version.")
        }
        _ if level == now => Ok(()),
        _ => match row.choice {
            Choice::Free => Ok(()),
            Choice::OnlyUp => refuse("Can't downgrade the version of this feature."),
            Choice::LosesMetadata => Err(loses_metadata(name, now, level, direction)),
        },
    }
}

fn loses_metadata(name: &str, now: i16, level: i16, direction: Direction) -> Refusal {
    let why = match direction {
        Direction::DownUnsafely => "Unsafe metadata downgrade is not supported in this version.",
        Direction::Up | Direction::Down => {
            "Refusing to perform the requested downgrade because it might delete metadata information."
        }
    };
    let text = format!("Unsupported {name} downgrade from {now} to {level}. {why}");
    Refusal::new(ErrorCode::InvalidUpdateVersion, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: &[Feature] = &[
        Feature { name: "a.version", min: 0, max: 2, default: 1, choice: Choice::Free },
        Feature { name: "b.version", min: 3, max: 3, default: 3, choice: Choice::Free },
        Feature { name: "metadata.version", min: 1, max: 5, default: 5, choice: Choice::LosesMetadata },
        Feature { name: "up.version", min: 0, max: 1, default: 1, choice: Choice::OnlyUp },
    ];

    fn wanted(name: &str, level: i16, direction: Option<Direction>) -> FeatureUpdate {
        FeatureUpdate { name: name.to_owned(), level, direction }
    }

    fn refusal(image: &Image, name: &str, level: i16, direction: Option<Direction>) -> String {
        update(image, SOME, 7, &[wanted(name, level, direction)]).unwrap_err().message
    }

    #[test]
    fn levels_go_where_they_may() {
        let mut image = Image::default();
        assert_eq!(image.feature_level_among(SOME, "a.version"), 1);
        let up = update(&image, SOME, 7, &[wanted("a.version", 2, Some(Direction::Up))]).unwrap();
        assert_eq!(up, [Record::FeatureLevelChanged { name: "a.version".into(), level: 2 }]);
        image.apply(1, &up[0]);
        assert_eq!(image.feature_level_among(SOME, "a.version"), 2);
        assert_eq!(update(&image, SOME, 7, &[wanted("a.version", 2, Some(Direction::Up))]), Ok(vec![]));
        assert!(refusal(&image, "a.version", 0, Some(Direction::Up)).contains("upgrade type to either safe"));
        let down = update(&image, SOME, 7, &[wanted("a.version", 0, Some(Direction::Down))]).unwrap();
        image.apply(2, &down[0]);
        assert_eq!(image.feature_level_among(SOME, "a.version"), 0, "chosen, so not the default");
        assert!(refusal(&image, "a.version", 1, Some(Direction::Down)).contains("to a newer version"));
        let rebuilt = image.to_records();
        assert!(rebuilt.contains(&down[0]), "{rebuilt:?}");
    }

    #[test]
    fn what_cannot_be_is_refused_in_kafkas_words_and_nothing_of_it_happens() {
        let image = Image::default();
        assert_eq!(
            refusal(&image, "b.version", 2, Some(Direction::Down)),
            "Invalid update version 2 for feature b.version. Local controller 7 only supports versions 3"
        );
        assert!(refusal(&image, "a.version", 3, Some(Direction::Up)).ends_with("only supports versions 0-2"));
        assert!(
            refusal(&image, "c.version", 1, Some(Direction::Up)).ends_with("does not support this feature.")
        );
        assert!(refusal(&image, "a.version", -1, Some(Direction::Up)).ends_with("cannot be less than 0."));
        assert!(refusal(&image, "a.version", 1, None).ends_with("the given upgrade type."));
        let both = [wanted("a.version", 2, Some(Direction::Up)), wanted("c.version", 1, Some(Direction::Up))];
        assert!(update(&image, SOME, 7, &both).is_err());
        assert_eq!(
            update(&image, SOME, 7, &[wanted("streams.version", 0, Some(Direction::Down))]),
            Ok(vec![])
        );
        assert!(
            refusal(&image, "c.version", 0, Some(Direction::Down)).ends_with("Feature c.version not found.")
        );
    }

    #[test]
    fn what_has_one_level_of_many_is_refused_in_kafkas_words() {
        let image = Image::default();
        for (direction, why) in [
            (
                Direction::Up,
                "Invalid update version 4 for feature metadata.version. Can't downgrade the version of this feature without \
                 setting the upgrade type to either safe or unsafe downgrade.",
            ),
            (
                Direction::Down,
                "Unsupported metadata.version downgrade from 5 to 4. Refusing to perform the requested downgrade because it \
                 might delete metadata information.",
            ),
            (
                Direction::DownUnsafely,
                "Unsupported metadata.version downgrade from 5 to 4. Unsafe metadata downgrade is not supported in this version.",
            ),
        ] {
            assert_eq!(refusal(&image, "metadata.version", 4, Some(direction)), why);
            // The level that it has may be chosen, and makes no record.
            for (name, level) in [("metadata.version", 5), ("up.version", 1)] {
                assert_eq!(update(&image, SOME, 7, &[wanted(name, level, Some(direction))]), Ok(vec![]));
            }
        }
        assert!(
            refusal(&image, "metadata.version", 0, Some(Direction::Down))
                .ends_with("only supports versions 1-5")
        );
        for direction in [Direction::Down, Direction::DownUnsafely] {
            assert_eq!(
                refusal(&image, "up.version", 0, Some(direction)),
                "Invalid update version 0 for feature up.version. Can't downgrade the version of this feature."
            );
        }
        assert!(
            refusal(&image, "up.version", 0, Some(Direction::Up)).contains("upgrade type to either safe")
        );
    }

    #[test]
    fn what_a_newer_release_chose_is_noticed() {
        let told = |name: &str, level| {
            let mut image = Image::default();
            image.apply(1, &Record::FeatureLevelChanged { name: name.into(), level });
            unsupported(&image, SOME)
        };
        assert_eq!((told("a.version", 2), told("b.version", 3), told("c.version", 0)), (None, None, None));
        assert_eq!(
            told("a.version", 3).as_deref(),
            Some("a.version is at level 3, and this release has levels 0 to 2")
        );
        assert_eq!(
            told("b.version", 4).as_deref(),
            Some("b.version is at level 4, and this release has level 3 only")
        );
        assert_eq!(
            told("c.version", 1).as_deref(),
            Some("c.version is at level 1, and this release does not have it")
        );
        assert_eq!(
            told("metadata.version", 4).as_deref(),
            Some("metadata.version is at level 4, and this release has level 5 only")
        );
    }

    #[test]
    fn the_table_is_sane() {
        assert!(FEATURES.iter().all(|row| !ABSENT.contains(&row.name)));
        assert!(FEATURES.windows(2).all(|pair| pair[0].name < pair[1].name));
        for row in FEATURES {
            assert!(0 <= row.min && row.min <= row.default && row.default <= row.max, "{}", row.name);
        }
    }
}
