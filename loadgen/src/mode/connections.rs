//! Connections that do little: each is opened on a schedule, asks for something small now and then, or reads slowly.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use protocol::ApiKey;
use protocol::control::messages::{ApiVersionsRequest, MetadataRequest};
use protocol::message;

use crate::clock::Ns;
use crate::core::{Core, Probe};
use crate::link::{Link, PATIENCE};
use crate::plan::Idle;
use crate::report::{Interval, Measure};
use crate::run;
use crate::units::{real, whole};

/// Before a connection that broke is opened again.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a connection looks whether the run has ended.
const LOOK: Ns = 200_000_000;
/// A slow reader reads so many times a second.
const SIPS: usize = 10;

#[derive(Debug)]
struct State {
    open: Cell<u64>,
    begun: Cell<u64>,
}

#[derive(Debug)]
struct StateProbe(Rc<State>);

impl Probe for StateProbe {
    fn report(&self, _now: Ns, found: &mut Interval, intended: &mut u64) {
        *found.gauges.entry("connections open").or_default() += self.0.open.get();
        *intended += self.0.begun.get();
    }
}

/// Starts this core's connections.
pub fn begin(core: &Rc<Core>) {
    let Some(idle) = core.step.plan.idle.clone() else { return };
    let state = Rc::new(State { open: Cell::new(0), begun: Cell::new(0) });
    core.probe(StateProbe(Rc::clone(&state)));
    for number in (0..idle.connections).filter(|number| *number as usize % core.step.plan.cores == core.index)
    {
        let (own, idle, state) = (Rc::clone(core), idle.clone(), Rc::clone(&state));
        core.spawn(async move { hold(&own, &idle, &state, number).await });
    }
}

async fn hold(core: &Core, idle: &Idle, state: &State, number: u32) {
    let mut intended = whole(real(u64::from(number)) / idle.rate * 1e9).unwrap_or(0);
    core.sleep_until(intended.min(core.step.plan.end())).await;
    while !is_over(core) {
        state.begun.set(state.begun.get() + 1);
        let ended = live(core, idle, state, number, intended).await;
        if let Err(error) = ended {
            core.broken(&error);
            run::sleep(PAUSE).await;
        }
        intended = core.clock().now();
    }
}

fn is_over(core: &Core) -> bool {
    core.clock().now() >= core.step.plan.end()
}

async fn live(core: &Core, idle: &Idle, state: &State, number: u32, intended: Ns) -> io::Result<()> {
    let link = Link::connect(core.any_broker(number as usize)?).await?;
    small(core, &link).await?;
    let took = core.clock().now().saturating_sub(intended);
    core.found.borrow_mut().record_n(Measure::Connect, took / 1000, 1);
    state.open.set(state.open.get() + 1);
    let ended = stay(core, idle, &link).await;
    state.open.set(state.open.get() - 1);
    ended
}

async fn stay(core: &Core, idle: &Idle, link: &Link) -> io::Result<()> {
    let mut ask_at = core.clock().now() + idle.every;
    while !is_over(core) {
        if idle.every == 0 || core.clock().now() < ask_at {
            let next = if idle.every == 0 { Ns::MAX } else { ask_at };
            core.sleep_until(next.min(core.clock().now() + LOOK)).await;
            continue;
        }
        match idle.slow {
            Some(rate) => slow(core, link, rate).await?,
            None => small(core, link).await?,
        }
        core.found.borrow_mut().requests += 1;
        ask_at = core.clock().now() + idle.every;
    }
    Ok(())
}

async fn small(core: &Core, link: &Link) -> io::Result<()> {
    let request = message!(ApiVersionsRequest {
        client_software_name: "millrace-loadgen".into(),
        client_software_version: env!("CARGO_PKG_VERSION").into(),
    });
    let versions = core.cluster.borrow().versions.clone();
    link.call(&core.step.plan.client_id, &versions, ApiKey::ApiVersions, &request, PATIENCE).await.map(drop)
}

/// Asks for all metadata and takes the answer in sips.
async fn slow(core: &Core, link: &Link, rate: usize) -> io::Result<()> {
    let version = core.cluster.borrow().versions.of(ApiKey::Metadata).map_err(io::Error::other)?;
    link.ask(&core.step.plan.client_id, version, &message!(MetadataRequest { topics: None })).await?;
    let (mut buffer, mut length, mut left) = (BytesMut::new(), Vec::new(), None);
    while !is_over(core) && left != Some(0) {
        let most = match left {
            None => 4 - length.len(),
            Some(left) => left.min((rate / SIPS).max(1)),
        };
        let read = link.skip(&mut buffer, most).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        left = match left {
            None => {
                length.extend_from_slice(&buffer);
                length.first_chunk().map(|length| u32::from_be_bytes(*length) as usize)
            }
            Some(left) => Some(left - read),
        };
        run::sleep(Duration::from_millis(1000 / SIPS as u64)).await;
    }
    Ok(())
}
