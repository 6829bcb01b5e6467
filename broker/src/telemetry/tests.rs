//! From pushes to text.

use std::io::Write;

use coordination::metadata::Record;
use coordination::metadata::delta::Resource;

use super::otlp::tests::{attribute, float, integer, message, metric};
use super::*;

const MONOTONIC: [u8; 2] = [3 << 3, 1];

fn image() -> Image {
    let mut image = Image::default();
    for (index, (key, value)) in [("metrics", "*"), ("interval.ms", "1000")].into_iter().enumerate() {
        let resource = Resource::ClientMetrics("s".into());
        image.apply(
            index as u64 + 1,
            &Record::ConfigChanged { resource, key: key.into(), value: Some(value.into()) },
        );
    }
    image
}

fn client(byte: u8) -> Client {
    Client {
        instance: [byte; 16],
        instance_text: format!("instance-{byte}"),
        id: "app \"1\"".into(),
        software_name: String::new(),
        software_version: String::new(),
        address: String::new(),
        port: String::new(),
    }
}

fn push(telemetry: &Telemetry, at: u64, client: &Client, codec: i8, bytes: Vec<u8>) -> Result<(), ErrorCode> {
    let told = telemetry.ask(&image(), Tick(at), client)?;
    let push = Push { subscription: told.subscription, terminating: false, codec, bytes: bytes.len() };
    telemetry.push(&image(), Tick(at), client, push, &bytes.into())
}

fn produced(sent: i64, rate: f64) -> Vec<u8> {
    let metrics = [
        metric("org.apache.kafka.producer.record.send.total", 7, &[MONOTONIC.to_vec(), integer(sent)]),
        metric(
            "org.apache.kafka.producer.record.send.rate",
            5,
            &[float(rate, &[attribute(7, "node-id", "1")])],
        ),
    ];
    message(&[attribute(1, "client_rack", "r\n1")], &metrics)
}

#[test]
fn pushes_become_text_by_metric() {
    let telemetry = Telemetry::new(1000);
    assert_eq!(push(&telemetry, 0, &client(1), 0, produced(7, f64::NAN)), Ok(()));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&produced(9, 0.5)).unwrap();
    assert_eq!(push(&telemetry, 1, &client(2), 1, gzip.finish().unwrap()), Ok(()));
    let labels = |node: &str, client: u8| {
        let known = format!("client_instance_id=\"instance-{client}\",client_rack=\"r\\n1\"{node}");
        format!("{{client_id=\"app \\\"1\\\"\",{known}}}")
    };
    let (rate, sent) =
        ("org_apache_kafka_producer_record_send_rate", "org_apache_kafka_producer_record_send");
    let of_node = ",node_id=\"1\"";
    let text = telemetry.text(Tick(2));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[2], "millrace_telemetry_clients 2");
    let expected = [
        format!("# TYPE {sent} counter"),
        format!("{sent}_total{} 7", labels("", 1)),
        format!("{sent}_total{} 9", labels("", 2)),
        format!("# TYPE {rate} gauge"),
        format!("{rate}{} NaN", labels(of_node, 1)),
        format!("{rate}{} 0.5", labels(of_node, 2)),
        "# EOF".to_owned(),
    ];
    let mut told = lines[6..].to_vec();
    // Clients come in no order.
    told[1..3].sort_unstable();
    told[4..6].sort_unstable();
    assert_eq!(told, expected);
}

#[test]
fn what_a_client_pushed_goes_with_its_connection() {
    let telemetry = Telemetry::new(1000);
    let connected = telemetry.connected([1; 16]);
    push(&telemetry, 0, &client(1), 0, produced(7, 1.0)).unwrap();
    assert!(telemetry.text(Tick(1)).contains("instance-1"));
    drop(connected);
    let text = telemetry.text(Tick(1));
    assert!(!text.contains("instance-1") && text.contains("millrace_telemetry_clients 0\n"), "{text}");
}

#[test]
fn a_push_that_cannot_be_read_is_an_invalid_record() {
    let telemetry = Telemetry::new(1 << 20);
    let invalid = Err(ErrorCode::InvalidRecord);
    assert_eq!(push(&telemetry, 0, &client(1), 0, b"nonsense".to_vec()), invalid);
    assert_eq!(push(&telemetry, 0, &client(2), 1, b"nonsense".to_vec()), invalid);
    // A bomb.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for _ in 0..9 {
        gzip.write_all(&[0; 1 << 20]).unwrap();
    }
    assert_eq!(push(&telemetry, 0, &client(3), 1, gzip.finish().unwrap()), invalid);
    // Much text of few bytes: every point has all of what its client says of itself.
    let points = vec![integer(1); 10_000];
    let large = message(&[attribute(1, "k", &"v".repeat(1000))], &[metric("m", 5, &points)]);
    assert!(large.len() < 200_000);
    assert_eq!(push(&telemetry, 0, &client(4), 0, large), invalid);
    assert_eq!(push(&telemetry, 0, &client(5), 0, vec![0; (1 << 20) + 1]), Err(ErrorCode::TelemetryTooLarge));
    assert!(!telemetry.text(Tick(0)).contains("instance-"));
}
