//! One member's connection to whom coordinates its group.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use protocol::control::RequestResponsePair;
use protocol::control::messages::FindCoordinatorRequest;
use protocol::{ApiKey, Text, message};

use super::refuse;
use crate::cluster::resolve;
use crate::core::Core;
use crate::link::{Link, PATIENCE};

/// First version of FindCoordinator with a list of keys.
const KEYS_SINCE: i16 = 4;

/// See the module.
#[derive(Debug)]
pub struct Coordinator {
    pub core: Rc<Core>,
    pub group: Text,
    /// Members ask different brokers first.
    turn: usize,
    link: Option<Link>,
}

/// The question who coordinates `group`, in this version.
pub fn find_request(group: &Text, version: i16) -> FindCoordinatorRequest {
    if version >= KEYS_SINCE {
        message!(FindCoordinatorRequest { coordinator_keys: vec![group.clone()] })
    } else {
        message!(FindCoordinatorRequest { key: group.clone() })
    }
}

impl Coordinator {
    /// Not connected.
    pub fn new(core: &Rc<Core>, group: &str, turn: usize) -> Self {
        Self { core: Rc::clone(core), group: group.into(), turn, link: None }
    }

    /// Whether there is a connection on which nothing is outstanding.
    pub const fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    /// Gives up the connection, with an answer outstanding that nobody will read.
    pub fn disconnect(&mut self) {
        self.link = None;
    }

    /// Asks it.
    pub async fn ask<M: RequestResponsePair>(
        &self,
        key: ApiKey,
        request: &M,
        patience: Duration,
    ) -> io::Result<M::Response> {
        let link = self.link.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        self.ask_on(link, key, request, patience).await
    }

    async fn ask_on<M: RequestResponsePair>(
        &self,
        link: &Link,
        key: ApiKey,
        request: &M,
        patience: Duration,
    ) -> io::Result<M::Response> {
        let versions = self.core.cluster.borrow().versions.clone();
        let response = link.call(&self.core.step.plan.client_id, &versions, key, request, patience).await?;
        self.core.found.borrow_mut().requests += 1;
        Ok(response)
    }

    /// The version of an API that both sides speak.
    pub fn version(&self, key: ApiKey) -> io::Result<i16> {
        self.core.cluster.borrow().versions.of(key).map_err(io::Error::other)
    }

    /// Connects to whom coordinates the group.
    pub async fn connect(&mut self) -> io::Result<()> {
        self.link = None;
        let any = Link::connect(self.core.any_broker(self.turn)?).await?;
        let request = find_request(&self.group, self.version(ApiKey::FindCoordinator)?);
        let found = self.ask_on(&any, ApiKey::FindCoordinator, &request, PATIENCE).await?;
        let (code, host, port) = match found.coordinators.first() {
            Some(one) => (one.error_code, &one.host, one.port),
            None => (found.error_code, &found.host, found.port),
        };
        refuse(code)?;
        let address = resolve(&format!("{host}:{port}")).map_err(io::Error::other)?;
        self.link = Some(Link::connect(address).await?);
        Ok(())
    }
}
