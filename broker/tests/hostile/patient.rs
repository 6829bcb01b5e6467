//! Clients that ask for very much, again and again, and are willing to wait for it.

use std::net::Shutdown;
use std::thread;

use super::beside::Scene;
use super::wire::{Fetch, Wish};

/// Nothing is ever written to it.
const QUIET: &str = "quiet";
/// A fetch of so many takes some eight MiB while it waits. One of them and those that were read behind it would be half a GiB.
const WISHES: usize = 20_000;
const CLIENTS: usize = 6;

#[test]
fn fetches_that_wait_take_no_more_than_requests_may() {
    let scene = Scene::new(&[]);
    assert_eq!(scene.client().create(QUIET, 1), 0);
    let wishes = vec![Wish::default(); WISHES];
    let fetch =
        Fetch { wait_ms: i32::MAX, bytes_min: i32::MAX, topic: QUIET, wishes, ..Fetch::default() }.frame();
    let clients: Vec<_> = (0..CLIENTS).map(|_| scene.client()).collect();
    let sockets: Vec<_> = clients.iter().map(|client| client.0.try_clone().unwrap()).collect();
    thread::scope(|scope| {
        for mut client in clients {
            let fetch = &fetch;
            scope.spawn(move || while client.send(fetch).is_ok() {});
        }
        scene.broker.wait_for_log("others wait for their memory");
        scene.bystander.goes_on();
        scene.check_memory();
        // Those for whom there was room wait on.
        sockets.iter().for_each(|socket| drop(socket.shutdown(Shutdown::Both)));
    });
    scene.end();
}
