//! Clients that never read their answers.

use super::beside::Scene;

/// Fills the log with more than the broker keeps in memory: what is asked for comes from the disk.
fn fill(scene: &Scene, mib: usize) {
    let mut client = scene.client();
    let value = vec![b'v'; 900_000];
    for _ in 0..mib {
        client.produce(&value).unwrap();
    }
}

#[test]

fn clients_that_never_read_hold_no_more_than_their_share() {
    let scene = Scene::new(&[]);
    fill(&scene, 60);
    let mut deaf: Vec<_> = (0..12).map(|_| scene.client()).collect();
    deaf.iter_mut().for_each(|client| client.fetch_without_listening(64));
    // They are closed, so that others get memory.
    scene.broker.wait_for_log("it does not take its answers, and others wait for their memory");
    scene.bystander.goes_on();
    scene.check_memory();
    drop(deaf);
    scene.end();
}
