//! DescribeUserScramCredentials: nobody has any.

use model::ErrorCode;
use net::service::Reply;
use protocol::control::messages::describe_user_scram_credentials_response::DescribeUserScramCredentialsResult;
use protocol::control::messages::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
};
use protocol::{RequestHeader, Text, message};

use super::{distinct, reply};

/// Answers a DescribeUserScramCredentials request. One that names nobody asks about all users who have credentials.
pub fn handle(header: &RequestHeader, request: DescribeUserScramCredentialsRequest) -> Reply {
    let users = distinct(request.users.unwrap_or_default(), |user| user.name.clone());
    let results = users.into_iter().map(|(name, once)| {
        let (code, text) = match once {
            Some(_) => (
                ErrorCode::ResourceNotFound,
                format!("Attempt to describe a user credential that does not exist: {name}"),
            ),
            None => (
                ErrorCode::DuplicateResource,
                format!(
                    "Cannot describe SCRAM credentials for the same user twice in a single request: {name}"
                ),
            ),
        };
        message!(DescribeUserScramCredentialsResult {
            user: name,
            error_code: code.code(),
            error_message: Some(Text::from(text.as_str())),
        })
    });
    let response = message!(DescribeUserScramCredentialsResponse { results: results.collect() });
    reply(header, &response)
}

#[cfg(test)]
mod tests {
    use protocol::control::messages::describe_user_scram_credentials_request::UserName;

    use super::*;
    use crate::service::harness::Client;

    #[test]
    fn nobody_has_credentials() {
        let client = Client::new();
        let ask = |names: Option<&[&str]>| {
            let users = names
                .map(|names| names.iter().map(|name| message!(UserName { name: (*name).into() })).collect());
            let request = message!(DescribeUserScramCredentialsRequest { users: users });
            let response: DescribeUserScramCredentialsResponse = client.ask(0, &request);
            assert_eq!(response.error_code, 0);
            let told = response.results.iter().map(|one| (one.user.to_string(), one.error_code));
            told.collect::<Vec<_>>()
        };
        assert_eq!((ask(None), ask(Some(&[]))), (vec![], vec![]));
        assert_eq!(ask(Some(&["a", "b", "a"])), [("a".to_owned(), 92), ("b".to_owned(), 91)]);
    }
}
