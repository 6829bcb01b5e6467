//! Requests that begin and do not end.

use std::io::Write;

use super::beside::Scene;
use super::harness::front;

#[test]
fn unfinished_large_frames_keep_nobody_from_getting_on() {
    let scene = Scene::new(&[]);
    let mut holders: Vec<_> = (0..64).map(|_| scene.client()).collect();
    for holder in &mut holders {
        holder.0.write_all(&(15_i32 << 20).to_be_bytes()).unwrap();
        holder.0.set_write_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
        // It is taken as far as there is memory.
        let _ = holder.0.write_all(&vec![0; 2 << 20]);
        scene.bystander.goes_on();
    }
    scene.bystander.goes_on();
    scene.check_memory();
    drop(holders);
    scene.end();
}

/// A receive buffer takes 64 KiB and is given back when it is empty: each of these leaves a byte in its own.
#[test]
fn the_first_byte_of_a_frame_keeps_no_buffer() {
    let scene = Scene::new(&[]);
    // What is behind the fields of a request is passed over, so this is one small answer.
    let mut request = front(18, 0);
    request.resize((64 << 10) - 8, 0);
    let length = i32::try_from(request.len()).unwrap().to_be_bytes();
    let bytes = [&length[..], &request, &[0]].concat();
    let mut holders: Vec<_> = (0..3000).map(|_| scene.client()).collect();
    for holder in &mut holders {
        holder.0.write_all(&bytes).unwrap();
        holder.receive().unwrap();
    }
    scene.check_memory();
    drop(holders);
    scene.end();
}
