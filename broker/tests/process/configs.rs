//! Settings that are altered while the broker runs: in force at once, and after a restart.

use std::io::{Read, Write};
use std::net::TcpStream;

use protocol::control::messages::describe_configs_request::DescribeConfigsResource;
use protocol::control::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use protocol::control::messages::{
    DescribeConfigsRequest, DescribeConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use protocol::message;

use super::harness::{Broker, Client, Scratch, TOPIC};

const OF_TOPIC: i8 = 2;
const OF_BROKER: i8 = 4;
const OF_GROUP: i8 = 32;

fn set(client: &mut Client, kind: i8, resource: &str, name: &str, value: &str) {
    let config = message!(AlterableConfig { name: name.into(), value: Some(value.into()) });
    let resource = message!(AlterConfigsResource {
        resource_type: kind,
        resource_name: resource.into(),
        configs: vec![config],
    });
    let request = message!(IncrementalAlterConfigsRequest { resources: vec![resource] });
    let response: IncrementalAlterConfigsResponse = client.ask(1, &request);
    let one = &response.responses[0];
    assert_eq!(one.error_code, 0, "{:?}", one.error_message);
}

/// Value and source, as Kafka numbers it.
fn told(client: &mut Client, kind: i8, resource: &str, name: &str) -> (String, i8) {
    let resource = message!(DescribeConfigsResource {
        resource_type: kind,
        resource_name: resource.into(),
        configuration_keys: Some(vec![name.into()]),
    });
    let response: DescribeConfigsResponse =
        client.ask(4, &message!(DescribeConfigsRequest { resources: vec![resource] }));
    let found = &response.results[0].configs[0];
    (found.value.as_deref().unwrap().to_owned(), found.config_source)
}

/// Whether the broker keeps a new connection: what is too much for one address it closes at once.
fn is_let_in(ready: &str) -> bool {
    let address = ready.split_whitespace().find_map(|word| word.strip_prefix("kafka=")).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    // ApiVersions in its version 0: answered, or the connection is closed.
    let asked = stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 255, 255]);
    let mut length = [0; 4];
    asked.and_then(|()| stream.read_exact(&mut length)).is_ok()
}

#[test]
fn altered_settings_are_in_force_at_once_and_after_a_restart() {
    let scratch = Scratch::new();
    let started = ["--set", "node.id=1", "--set", "message.max.bytes=2000"];
    let broker = Broker::start(&scratch.data_dir(), &started);
    let mut client = Client::connect(&broker.ready);
    client.create_topic();
    assert!(client.produce(&[b'x'; 1000]).is_ok());
    set(&mut client, OF_BROKER, "", "message.max.bytes", "500");
    assert_eq!(client.produce_code(&[b'x'; 1000]), 10, "MESSAGE_TOO_LARGE: the topic does not say otherwise");
    set(&mut client, OF_BROKER, "1", "message.max.bytes", "4000");
    assert_eq!(client.produce_code(&[b'x'; 3000]), 0, "what is said of one broker wins");
    set(&mut client, OF_TOPIC, TOPIC, "max.message.bytes", "600");
    assert_eq!(client.produce_code(&[b'x'; 3000]), 10, "what the topic says wins");
    set(&mut client, OF_GROUP, "g", "share.isolation.level", "read_committed");
    assert!(is_let_in(&broker.ready));
    set(&mut client, OF_BROKER, "1", "max.connections.per.ip", "1");
    assert!(!is_let_in(&broker.ready), "one is there already");
    broker.signal(libc::SIGKILL);
    broker.end();

    let broker = Broker::start(&scratch.data_dir(), &started);
    let mut client = Client::connect(&broker.ready);
    assert!(!is_let_in(&broker.ready), "from the start on");
    assert_eq!(told(&mut client, OF_BROKER, "1", "message.max.bytes"), ("4000".into(), 2));
    assert_eq!(told(&mut client, OF_BROKER, "", "message.max.bytes"), ("500".into(), 3));
    assert_eq!(told(&mut client, OF_BROKER, "1", "max.connections.per.ip"), ("1".into(), 2));
    assert_eq!(told(&mut client, OF_TOPIC, TOPIC, "max.message.bytes"), ("600".into(), 1));
    assert_eq!(told(&mut client, OF_GROUP, "g", "share.isolation.level"), ("read_committed".into(), 8));
    assert_eq!(client.produce_code(&[b'x'; 3000]), 10);
    assert_eq!(client.produce_code(&[b'x'; 300]), 0);
}
