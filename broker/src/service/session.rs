//! What a connection is to the handlers.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use net::service::Peer;

use super::Broker;
use crate::api::shares::ShareConnection;
use crate::telemetry::{Connected, Telemetry};

/// State of one connection.
#[derive(Debug)]
pub struct Session {
    /// Its ends.
    pub peer: Peer,
    /// Name and version of the client's software, once it said so.
    pub software: RefCell<Option<(String, String)>>,
    /// The client, once it spoke of its metrics.
    telemetry: RefCell<Option<Connected>>,
    /// Its share sessions, once it opened one: they end with it.
    shares: RefCell<Option<ShareConnection>>,
}

impl Session {
    pub(super) const fn new(peer: Peer) -> Self {
        Self { peer, software: RefCell::new(None), telemetry: RefCell::new(None), shares: RefCell::new(None) }
    }

    /// The client of this connection goes by this id as long as it does.
    pub fn is_client(&self, telemetry: &Arc<Telemetry>, instance: [u8; 16]) {
        let mut known = self.telemetry.borrow_mut();
        if known.as_ref().is_none_or(|known| known.instance != instance) {
            *known = Some(telemetry.connected(instance));
        }
    }

    /// The name by which share sessions of this connection go.
    pub fn share_connection(&self, broker: &Rc<Broker>) -> u64 {
        self.shares.borrow_mut().get_or_insert_with(|| ShareConnection::new(Rc::clone(broker))).id()
    }
}
