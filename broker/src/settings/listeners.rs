//! Where clients connect and what they are told, from Kafka's listener syntax or from `HOST:PORT`.

use std::net::{SocketAddr, ToSocketAddrs};

use super::host::Host;
use super::values::Reader;
use crate::config::{Config, ConfigError};

/// The only security protocol there is so far.
const PLAINTEXT: &str = "PLAINTEXT";
const LISTENERS: &str = "listeners";
const ADVERTISED: &str = "advertised.listeners";
const PROTOCOLS: &str = "listener.security.protocol.map";
const CONTROLLERS: &str = "controller.listener.names";

/// The address clients are told to connect to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Advertised {
    /// A name or an address that clients can reach.
    pub host: String,
    /// Its port; `None` means the one that is listened on.
    pub port: Option<u16>,
}

/// One `NAME://HOST:PORT`, or `HOST:PORT` under the name `PLAINTEXT`.
#[derive(Debug, PartialEq)]
struct Endpoint<'a> {
    name: &'a str,
    host: &'a str,
    port: u16,
}

/// The address of the one listener for clients.
///
/// # Errors
/// When there is none or more than one, it is not PLAINTEXT, or its address cannot be found.
pub fn listen(config: &Config) -> Result<SocketAddr, ConfigError> {
    let Some(endpoint) = client_endpoint(config, LISTENERS)? else {
        return address(config, LISTENERS);
    };
    resolve(endpoint.host, endpoint.port).map_err(|why| config.error(LISTENERS, &why))
}

/// What clients are told: as configured, else where we listen, else the machine's name.
///
/// # Errors
/// When what is configured names no host, or is not PLAINTEXT.
pub fn advertised(config: &Config, listen: SocketAddr, host: &Host) -> Result<Advertised, ConfigError> {
    match client_endpoint(config, ADVERTISED)? {
        Some(Endpoint { host: "" | "0.0.0.0" | "::", .. }) => {
            Err(config.error(ADVERTISED, "wants a host that clients can connect to"))
        }
        Some(Endpoint { host, port, .. }) => {
            Ok(Advertised { host: host.to_owned(), port: (port != 0).then_some(port) })
        }
        None if listen.ip().is_unspecified() => Ok(Advertised { host: host.name.clone(), port: None }),
        None => Ok(Advertised { host: listen.ip().to_string(), port: None }),
    }
}

/// The `HOST:PORT` of `key`, as written or by default.
///
/// # Errors
/// When it is not of that form or the host cannot be found.
pub fn address(config: &Config, key: &str) -> Result<SocketAddr, ConfigError> {
    let text = Reader(config).text(key).unwrap_or_default();
    let endpoint = parse(text).map_err(|why| config.error(key, &why))?;
    resolve(endpoint.host, endpoint.port).map_err(|why| config.error(key, &why))
}

/// The endpoint of `key` that is for clients; none when the key is not given.
fn client_endpoint<'a>(config: &'a Config, key: &str) -> Result<Option<Endpoint<'a>>, ConfigError> {
    let Some(written) = config.get(key).filter(|written| !written.value.is_empty()) else { return Ok(None) };
    let mut found = None;
    for text in written.value.split(',') {
        let endpoint = parse(text).map_err(|why| config.error(key, &why))?;
        // Kafka's sample configuration runs the controller in the same process; that listener is not for clients.
        if list(config, CONTROLLERS).any(|name| name.eq_ignore_ascii_case(endpoint.name)) {
            continue;
        }
        let protocol = protocol(config, endpoint.name);
        if !protocol.eq_ignore_ascii_case(PLAINTEXT) {
            let why = format!("{}: {protocol} is not there yet; listeners are {PLAINTEXT}", endpoint.name);
            return Err(config.error(key, &why));
        }
        if found.replace(endpoint).is_some() {
            return Err(config.error(key, "there is one listener for clients; give one"));
        }
    }
    found.map(Some).ok_or_else(|| config.error(key, "names no listener for clients"))
}

/// The security protocol of a listener: as mapped, else its own name.
fn protocol<'a>(config: &'a Config, name: &'a str) -> &'a str {
    let mapped = list(config, PROTOCOLS).filter_map(|entry| entry.split_once(':'));
    let found = mapped.into_iter().find(|(listener, _)| listener.trim().eq_ignore_ascii_case(name));
    found.map_or(name, |(_, protocol)| protocol.trim())
}

fn list<'a>(config: &'a Config, key: &str) -> impl Iterator<Item = &'a str> {
    let text = config.get(key).map_or("", |written| written.value.as_str());
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

fn parse(text: &str) -> Result<Endpoint<'_>, String> {
    let text = text.trim();
    let (name, rest) = text.split_once("://").unwrap_or((PLAINTEXT, text));
    let wrong = || format!("{text}: wants HOST:PORT");
    let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.strip_suffix(']').ok_or_else(wrong)?,
        // Two colons without brackets: which of them begins the port?
        None if host.contains(':') => return Err(format!("{text}: an IPv6 address stands in brackets")),
        None => host,
    };
    Ok(Endpoint { name, host, port: port.parse().map_err(|_| wrong())? })
}

fn resolve(host: &str, port: u16) -> Result<SocketAddr, String> {
    // As in Kafka, no host means every interface.
    let host = if host.is_empty() { "0.0.0.0" } else { host };
    let mut addresses =
        (host, port).to_socket_addrs().map_err(|error| format!("cannot find {host}: {error}"))?;
    addresses.next().ok_or_else(|| format!("{host} has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(sets: &[&str]) -> Config {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        Config::gather(None, &sets, vec![]).unwrap()
    }

    fn host() -> Host {
        Host { memory_bytes: 1, cpus: vec![0], name: "machine".into() }
    }

    fn heard(sets: &[&str]) -> Result<String, String> {
        listen(&config(sets)).map(|address| address.to_string()).map_err(|error| error.0)
    }

    fn told(sets: &[&str]) -> Result<Advertised, String> {
        let config = config(sets);
        let listen = listen(&config).map_err(|error| error.0)?;
        advertised(&config, listen, &host()).map_err(|error| error.0)
    }

    #[test]
    fn both_spellings_are_read() {
        assert_eq!(heard(&[]).unwrap(), "127.0.0.1:9092");
        assert_eq!(heard(&["listeners=127.0.0.1:0"]).unwrap(), "127.0.0.1:0");
        assert_eq!(heard(&["listeners=PLAINTEXT://127.0.0.1:7"]).unwrap(), "127.0.0.1:7");
        assert_eq!(heard(&["listeners=PLAINTEXT://:9092"]).unwrap(), "0.0.0.0:9092");
        assert_eq!(heard(&["listeners=[::1]:9092"]).unwrap(), "[::1]:9092");
    }

    #[test]
    fn wrong_addresses_are_refused() {
        for wrong in ["9092", "127.0.0.1", "127.0.0.1:port", "127.0.0.1:65536", "::1:9092", "[::1:9092"] {
            assert!(heard(&[&format!("listeners={wrong}")]).is_err(), "{wrong}");
        }
        assert!(
            heard(&[
                "listeners=PLAINTEXT://:1,INSIDE://:2",
                "listener.security.protocol.map=INSIDE:PLAINTEXT"
            ])
            .is_err()
        );
    }

    #[test]
    fn a_controllers_listener_is_left_out() {
        let sample =
            ["listeners=PLAINTEXT://:9092,CONTROLLER://:9093", "controller.listener.names=CONTROLLER"];
        assert_eq!(heard(&sample).unwrap(), "0.0.0.0:9092");
        assert!(heard(&["listeners=CONTROLLER://:9093", "controller.listener.names=CONTROLLER"]).is_err());
    }

    #[test]
    fn only_plaintext_is_served() {
        assert!(heard(&["listeners=SASL_SSL://:9092"]).unwrap_err().contains("SASL_SSL is not there yet"));
        let mapped = |protocol: &str| format!("listener.security.protocol.map=OUT:{protocol},IN:SSL");
        assert_eq!(heard(&["listeners=OUT://127.0.0.1:1", &mapped("PLAINTEXT")]).unwrap(), "127.0.0.1:1");
        assert!(heard(&["listeners=OUT://127.0.0.1:1", &mapped("SSL")]).is_err());
    }

    #[test]
    fn clients_are_told_where_to_connect() {
        let advertised = |host: &str, port| Advertised { host: host.into(), port };
        assert_eq!(told(&[]).unwrap(), advertised("127.0.0.1", None));
        assert_eq!(told(&["listeners=PLAINTEXT://:9092"]).unwrap(), advertised("machine", None));
        let sets = ["listeners=:9092", "advertised.listeners=broker.example:19092"];
        assert_eq!(told(&sets).unwrap(), advertised("broker.example", Some(19092)));
        assert!(told(&["advertised.listeners=PLAINTEXT://:9092"]).is_err());
    }
}
