//! Many connections, and no handles for more.

use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::beside::Scene;
use super::harness::{Broker, Client, Scratch, files_below};

/// Connections of this process beside those a test opens.
const HANDLES_BESIDE: u64 = 500;

/// The soft limit of this process raised to the hard one; that one.
fn handles() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` outlives both calls.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
    limit.rlim_max
}

/// One of many connections: from an address of its own for every ten thousand, which have ports of their own.
fn one_of_many(broker: &Broker, number: usize) -> TcpStream {
    let address = broker.ready.split_whitespace().find_map(|word| word.strip_prefix("kafka=")).unwrap();
    let address: std::net::SocketAddr = address.parse().unwrap();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let last = u8::try_from(2 + number / 10_000).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, last], 0)).into()).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.into()
}

#[test]
fn ten_thousand_idle_connections_cost_little() {
    const CONNECTIONS: usize = 10_000;
    let allowed = handles();
    if allowed < CONNECTIONS as u64 + HANDLES_BESIDE {
        eprintln!("skipped: {allowed} open files are allowed and this needs more than {CONNECTIONS}");
        return;
    }
    let scene = Scene::new(&[]);
    let idle: Vec<_> = (0..CONNECTIONS).map(|number| one_of_many(&scene.broker, number)).collect();
    while scene.broker.metric("millrace_connections{core=\"0\"}") < CONNECTIONS as u64 {
        scene.bystander.goes_on();
    }
    scene.client().end_offset();
    drop(idle);
    scene.end();
}

#[test]
fn a_storm_of_connections_passes() {
    const CONNECTIONS: usize = 20_000;
    let scene = Scene::new(&[]);
    for number in 0..CONNECTIONS {
        let stream = one_of_many(&scene.broker, number);
        // Every other one is reset, so that it leaves nothing behind on either side.
        let linger = (number % 2 == 0).then_some(Duration::ZERO);
        Socket::from(stream).set_linger(linger).unwrap();
        if number % 1000 == 0 {
            scene.bystander.goes_on();
        }
    }
    // It has seen the end of all of them: the client beside and whoever asks are left.
    while scene.broker.metric("millrace_connections{core=\"0\"}") > 1 {
        scene.bystander.goes_on();
    }
    scene.end();
}

#[test]
fn started_with_few_file_handles_it_serves_as_many_as_they_allow() {
    const HANDLES: u32 = 300;
    let scene = Scene::with_handles(HANDLES);
    // More than there are handles for: the kernel completes them.
    let mut clients: Vec<Client> = (0..HANDLES + 100).map(|_| scene.client()).collect();
    scene.broker.wait_for_log("connections cannot be accepted");
    for _ in 0..5 {
        scene.bystander.goes_on();
        clients[0].end_offset();
        clients[0].produce(b"by one that was there before").unwrap();
    }
    // Those that are served go, and those that waited come.
    drop(clients.drain(..350));
    for client in &mut clients {
        client.end_offset();
    }
    let log = scene.end();
    // Not for each: whoever waited takes the place of one that left, and it may be full for a moment again.
    assert!((1..20).contains(&log.matches("connections cannot be accepted").count()), "{log}");
    assert!(log.contains("connections are accepted again"), "{log}");
}

/// Waits until the journal makes no more files: it makes the next one before it needs it.
fn await_journal(scratch: &Scratch) {
    let mut files = (usize::MAX, Vec::new());
    while files.0 != files.1.len() {
        files.0 = files.1.len();
        std::thread::sleep(Duration::from_millis(700));
        files.1.clear();
        files_below(Path::new(&scratch.data_dir()), &mut files.1);
    }
}

#[test]
fn without_file_handles_it_waits_for_some() {
    let scratch = Scratch::new();
    let broker = Broker::start(&scratch.data_dir(), &[]);
    let mut client = Client::connect(&broker.ready);
    client.create_topic();
    client.produce(b"the log is in memory").unwrap();
    await_journal(&scratch);
    let before = broker.limit(libc::RLIMIT_NOFILE, 0);
    // The kernel completes them, and the broker cannot take them.
    let mut waiting: Vec<Client> = (0..100).map(|_| Client::connect(&broker.ready)).collect();
    broker.wait_for_log("connections cannot be accepted");
    for _ in 0..10 {
        client.end_offset();
        std::thread::sleep(Duration::from_millis(50));
    }
    broker.limit(libc::RLIMIT_NOFILE, before);
    for client in &mut waiting {
        client.end_offset();
    }
    client.produce(b"as before").unwrap();
    broker.signal(libc::SIGTERM);
    let (code, _, log) = broker.end();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(log.matches("connections cannot be accepted").count(), 1, "said once: {log}");
    assert_eq!(log.matches("connections are accepted again").count(), 1, "{log}");
}
