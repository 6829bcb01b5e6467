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
}

/// Groups by the consumer protocol (KIP-848): served at level 1, refused at level 0.
pub const GROUP_VERSION: &str = "group.version";

/// Share groups (KIP-932): served at level 1, refused at level 0.
pub const SHARE_VERSION: &str = "share.version";

/// Every feature that this broker has, by name.
///
/// `metadata.version` 30 is what Kafka 4.3 calls 4.3-IV0, and stands for what clients see of the metadata. It cannot be lowered, because
/// the formats at rest are ours and know no other level.
pub const FEATURES: &[Feature] = &[
    Feature { name: GROUP_VERSION, min: 0, max: 1, default: 1 },
    Feature { name: "metadata.version", min: 30, max: 30, default: 30 },
    Feature { name: SHARE_VERSION, min: 0, max: 1, default: 1 },
];

/// Kafka's other features. None of them is here, and one can be told so: level 0 is what they have.
const ABSENT: [&str; 4] =
    ["eligible.leader.replicas.version", "kraft.version", "streams.version", "transaction.version"];

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
    let beyond = |(name, level): &(&str, i16)| match features.iter().find(|row| row.name == *name) {
        Some(row) => !(row.min..=row.max).contains(level),
        None => *level != 0,
    };
    let (name, level) = image.chosen_levels().find(beyond)?;
    let known = match features.iter().find(|row| row.name == name) {
        Some(row) if row.min == row.max => format!("has level {} only", row.min),
        Some(row) => format!("has levels {} to {}", row.min, row.max),
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
        // Where there is one level, nobody chooses: a record of it would be one that the release before cannot read.
        let known = features.iter().any(|row| row.name == wanted.name && row.min < row.max);
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
    let row = features.iter().find(|row| row.name == name);
    match row {
        None if level == 0 && ABSENT.contains(&name.as_str()) => return Ok(()),
        None if level == 0 => return refuse(&format!("Feature {name} not found.")),
        None => return refuse(&format!("Local controller {node} does not support this feature.")),
        Some(row) if level < row.min || row.max < level => {
            let range =
                if row.min == row.max { row.min.to_string() } else { format!("{}-{}", row.min, row.max) };
            return refuse(&format!("Local controller {node} only supports versions {range}"));
        }
        Some(_) => {}
    }
    let now = image.feature_level_among(features, name);
    match direction {
        Direction::Up if level < now => refuse(
            "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.",
        ),
        Direction::Down | Direction::DownUnsafely if level > now => {
            refuse("Can't downgrade to a newer version.")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &[Feature] = &[
        Feature { name: "a.version", min: 0, max: 2, default: 1 },
        Feature { name: "b.version", min: 3, max: 3, default: 3 },
    ];

    fn wanted(name: &str, level: i16, direction: Option<Direction>) -> FeatureUpdate {
        FeatureUpdate { name: name.to_owned(), level, direction }
    }

    fn refusal(image: &Image, name: &str, level: i16, direction: Option<Direction>) -> String {
        update(image, TWO, 7, &[wanted(name, level, direction)]).unwrap_err().message
    }

    #[test]
    fn levels_go_where_they_may() {
        let mut image = Image::default();
        assert_eq!(image.feature_level_among(TWO, "a.version"), 1);
        let up = update(&image, TWO, 7, &[wanted("a.version", 2, Some(Direction::Up))]).unwrap();
        assert_eq!(up, [Record::FeatureLevelChanged { name: "a.version".into(), level: 2 }]);
        image.apply(1, &up[0]);
        assert_eq!(image.feature_level_among(TWO, "a.version"), 2);
        assert_eq!(update(&image, TWO, 7, &[wanted("a.version", 2, Some(Direction::Up))]), Ok(vec![]));
        assert!(refusal(&image, "a.version", 0, Some(Direction::Up)).contains("upgrade type to either safe"));
        let down = update(&image, TWO, 7, &[wanted("a.version", 0, Some(Direction::Down))]).unwrap();
        image.apply(2, &down[0]);
        assert_eq!(image.feature_level_among(TWO, "a.version"), 0, "chosen, so not the default");
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
        assert!(update(&image, TWO, 7, &both).is_err());
        assert_eq!(
            update(&image, TWO, 7, &[wanted("streams.version", 0, Some(Direction::Down))]),
            Ok(vec![])
        );
        assert!(
            refusal(&image, "c.version", 0, Some(Direction::Down)).ends_with("Feature c.version not found.")
        );
    }

    #[test]
    fn what_a_newer_release_chose_is_noticed() {
        let told = |name: &str, level| {
            let mut image = Image::default();
            image.apply(1, &Record::FeatureLevelChanged { name: name.into(), level });
            unsupported(&image, TWO)
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
