//! AlterUserScramCredentials: refused, since nobody could log in with them.

use std::collections::BTreeMap;

use model::ErrorCode;
use net::service::Reply;
use protocol::control::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use protocol::control::messages::{AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse};
use protocol::{RequestHeader, Text, message};

use super::reply;

/// SCRAM-SHA-256 and SCRAM-SHA-512 with the fewest iterations that each may have.
const MECHANISMS: [(i8, i32); 2] = [(1, 4096), (2, 4096)];
const ITERATIONS_MAX: i32 = 16384;

type Fault = (ErrorCode, &'static str);

const TWICE: Fault =
    (ErrorCode::DuplicateResource, "A user credential cannot be altered twice in the same request");
const NOT_THERE: Fault =
    (ErrorCode::ResourceNotFound, "Attempt to delete a user credential that does not exist");
const REFUSED: Fault = (
    ErrorCode::UnsupportedSaslMechanism,
    "SASL is not implemented by this broker: credentials would be of no use",
);

/// Answers an AlterUserScramCredentials request. What is wrong in it is told first, as Kafka does.
pub fn handle(header: &RequestHeader, request: AlterUserScramCredentialsRequest) -> Reply {
    let deletions = request.deletions.into_iter().map(|one| {
        let fault = check(&one.name, one.mechanism).err().unwrap_or(NOT_THERE);
        (one.name, fault)
    });
    let upsertions = request.upsertions.into_iter().map(|one| {
        let judged = check(&one.name, one.mechanism).and_then(|least| match one.iterations {
            few if few < least => Err((ErrorCode::UnacceptableCredential, "Too few iterations")),
            many if many > ITERATIONS_MAX => Err((ErrorCode::UnacceptableCredential, "Too many iterations")),
            _ => Ok(()),
        });
        (one.name, judged.err().unwrap_or(REFUSED))
    });
    // Kafka keeps the first fault of a user. A credential that could be set is none yet, so the next one is the second.
    let mut users: BTreeMap<Text, Fault> = BTreeMap::new();
    for (name, fault) in deletions.chain(upsertions) {
        users
            .entry(name)
            .and_modify(|known| {
                if *known == REFUSED {
                    *known = TWICE
                }
            })
            .or_insert(fault);
    }
    let results = users.into_iter().map(|(user, (code, text))| {
        message!(AlterUserScramCredentialsResult {
            user: user,
            error_code: code.code(),
            error_message: Some(text.into()),
        })
    });
    reply(header, &message!(AlterUserScramCredentialsResponse { results: results.collect() }))
}

/// The fewest iterations.
fn check(user: &str, mechanism: i8) -> Result<i32, Fault> {
    if user.is_empty() {
        return Err((ErrorCode::UnacceptableCredential, "Username must not be empty"));
    }
    let known = MECHANISMS.iter().find(|(number, _)| *number == mechanism);
    known.map(|(_, least)| *least).ok_or((ErrorCode::UnsupportedSaslMechanism, "Unknown SCRAM mechanism"))
}

#[cfg(test)]
mod tests {
    use protocol::control::messages::alter_user_scram_credentials_request::{
        ScramCredentialDeletion, ScramCredentialUpsertion,
    };

    use super::*;
    use crate::service::harness::Client;

    #[test]
    fn no_credential_is_taken_and_the_fault_in_a_request_is_told_first() {
        let client = Client::new();
        let set = |name: &str, mechanism, iterations| {
            message!(ScramCredentialUpsertion {
                name: name.into(),
                mechanism: mechanism,
                iterations: iterations
            })
        };
        let delete = |name: &str| message!(ScramCredentialDeletion { name: name.into(), mechanism: 1 });
        let upsertions = vec![
            set("a", 1, 4096),
            set("b", 1, 1),
            set("c", 2, 99_999),
            set("d", 3, 4096),
            set("e", 1, 4096),
            set("e", 2, 4096),
        ];
        let request = message!(AlterUserScramCredentialsRequest {
            upsertions: upsertions,
            deletions: vec![delete("f"), delete("")],
        });
        let response: AlterUserScramCredentialsResponse = client.ask(0, &request);
        let told: Vec<_> = response.results.iter().map(|one| (&*one.user, one.error_code)).collect();
        assert_eq!(told, [("", 93), ("a", 33), ("b", 93), ("c", 93), ("d", 33), ("e", 92), ("f", 91)]);
    }
}
