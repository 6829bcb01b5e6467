//! UnregisterBroker: there is one broker, and it runs.

use model::ErrorCode;
use net::service::Reply;
use protocol::control::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};
use protocol::{RequestHeader, Text, message};

use super::reply;
use crate::service::Broker;

/// Answers an UnregisterBroker request.
pub fn handle(broker: &Broker, header: &RequestHeader, request: &UnregisterBrokerRequest) -> Reply {
    let id = request.broker_id;
    let (code, text) = if id == broker.settings.node.0 {
        (ErrorCode::InvalidRequest, format!("Broker ID {id} is the only one of this cluster and runs"))
    } else {
        (ErrorCode::BrokerIdNotRegistered, format!("Broker ID {id} is not currently registered"))
    };
    let response = message!(UnregisterBrokerResponse {
        error_code: code.code(),
        error_message: Some(Text::from(text.as_str())),
    });
    reply(header, &response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::harness::Client;

    #[test]
    fn nobody_can_be_unregistered() {
        let client = Client::new();
        let ask = |id| {
            let response: UnregisterBrokerResponse =
                client.ask(0, &message!(UnregisterBrokerRequest { broker_id: id }));
            response.error_code
        };
        assert_eq!((ask(1), ask(2)), (ErrorCode::InvalidRequest.code(), 102));
    }
}
