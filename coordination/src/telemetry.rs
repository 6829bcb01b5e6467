//! Telemetry of clients (KIP-714): which metrics each is asked for, and whether what it sends is taken.

pub mod instances;
pub mod subscriptions;

/// What a client is known by; subscriptions choose by it. Texts as the client or its connection say them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Client {
    /// The id that it has for as long as it lives, as bytes...
    pub instance: [u8; 16],
    /// ...and as Kafka writes it.
    pub instance_text: String,
    /// What it calls itself.
    pub id: String,
    /// The name of its software.
    pub software_name: String,
    /// The version of its software.
    pub software_version: String,
    /// Where it connects from.
    pub address: String,
    /// Where it connects from.
    pub port: String,
}

impl Client {
    /// What it says under a name of [`crate::settings::client_metrics::MATCHED`], by place in that list.
    fn known_by(&self, place: usize) -> &str {
        match place {
            0 => &self.instance_text,
            1 => &self.id,
            2 => &self.software_name,
            3 => &self.software_version,
            4 => &self.address,
            _ => &self.port,
        }
    }
}
