//! What a client makes of a reply that is not as it should be, and of none.

use std::io::Write as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use sealhost_client::blocking::Client;
use sealhost_client::{ConnectReason, Error, ProtocolError};
use wire::code::{Code, Fault, Problem};
use wire::context::EncryptionContext;
use wire::limits::PLAINTEXT_MAX_BYTES;
use wire::name::KeyName;

use crate::server::{
    Log, Scripted, await_end, await_hang_up, directory, give, take_head, take_request,
};

/// One connection that does what the script says, and a client of it.
fn check<T>(
    script: impl FnOnce(&mut UnixStream, &Log) + Send + 'static,
    call: impl FnOnce(Client) -> T,
) -> T {
    let directory = directory();
    let socket = directory.path().join("s");
    let server = Scripted::start(&socket, vec![Box::new(script)]);
    let result = call(Client::new(&socket).unwrap());
    server.end();
    result
}

/// A client whose request is answered with these bytes; the connection then ends.
fn answered(bytes: &'static [u8]) -> Result<String, Error> {
    check(
        |stream, log| {
            take_request(stream, log);
            stream.write_all(bytes).unwrap();
        },
        |client| client.metrics(),
    )
}

fn refused_reply(bytes: &'static [u8], expected: &ProtocolError) {
    match answered(bytes) {
        Err(Error::Protocol(error)) => assert_eq!(&error, expected),
        other => panic!("{other:?}"),
    }
}

fn problem(code: Code) -> String {
    serde_json::to_string(&Problem::new(Fault::new(code, "the detail"), "r-9")).unwrap()
}

fn random_of_one_byte(client: &Client) -> Error {
    client.random(1).unwrap_err()
}

fn name() -> KeyName {
    KeyName::parse("a").unwrap()
}

#[test]
fn every_code_of_a_refusal_is_kept() {
    for code in Code::ALL {
        let error = check(
            move |stream, log| {
                take_request(stream, log);
                give(stream, code.http_status(), &problem(code));
            },
            |client| random_of_one_byte(&client),
        );
        assert_eq!(error.code(), Some(code));
        assert_eq!(error.retryable(), code.retryable());
        assert_eq!((error.request_id(), error.to_string().as_str()), (Some("r-9"), "the detail"));
    }
}

#[test]
fn refusal_says_when_to_try_again() {
    let mut busy = Problem::new(Fault::new(Code::Busy, "full"), "r");
    busy.retry_after_ms = Some(250);
    let error = check(
        move |stream, log| {
            take_request(stream, log);
            give(stream, 429, &serde_json::to_string(&busy).unwrap());
        },
        |client| random_of_one_byte(&client),
    );
    assert_eq!(error.retry_after(), Some(Duration::from_millis(250)));
}

#[test]
fn host_that_refuses_before_it_reads_is_heard() {
    let error = check(
        |stream, _| give(stream, 429, &problem(Code::Busy)),
        |client| random_of_one_byte(&client),
    );
    assert_eq!(error.code(), Some(Code::Busy), "{error:?}");
}

#[test]
fn host_that_stops_reading_a_long_body_is_heard() {
    let error = check(
        |stream, _| {
            take_head(stream);
            give(stream, 413, &problem(Code::TooLarge));
            await_hang_up(stream);
        },
        |client| {
            let plaintext = vec![0; PLAINTEXT_MAX_BYTES];
            client.seal(&name(), &plaintext, &EncryptionContext::default()).unwrap_err()
        },
    );
    assert_eq!(error.code(), Some(Code::TooLarge), "{error:?}");
}

#[test]
fn connection_that_is_closed_at_once_is_no_connection() {
    // The request may be taken by the socket before the server closes it.
    let error = check(|_, _| {}, |client| random_of_one_byte(&client));
    assert!(matches!(error, Error::Connect(_) | Error::Unanswered { .. }), "{error:?}");
    assert!(error.retryable());
}

#[test]
fn error_without_a_problem_document_is_named_by_its_status() {
    refused_reply(
        b"HTTP/1.1 502 X\r\nContent-Length: 4\r\n\r\noops",
        &ProtocolError::Status { status: 502 },
    );
}

#[test]
fn problem_of_another_status_is_not_believed() {
    let error = check(
        |stream, log| {
            take_request(stream, log);
            give(stream, 500, &problem(Code::Denied));
        },
        |client| random_of_one_byte(&client),
    );
    assert!(matches!(error, Error::Protocol(ProtocolError::Status { status: 500 })));
}

#[test]
fn reply_that_is_cut_off_is_truncated() {
    for bytes in [
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc".as_slice(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
    ] {
        refused_reply(bytes, &ProtocolError::Truncated);
    }
}

#[test]
fn reply_with_bytes_after_it_is_refused() {
    refused_reply(
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcde",
        &ProtocolError::TrailingBytes,
    );
}

#[test]
fn reply_that_is_not_http_is_refused() {
    refused_reply(b"SSH-2.0-OpenSSH_9.2\r\n", &ProtocolError::Head("the version"));
}

/// A reply whose head has this length.
fn head_of(bytes: usize) -> Result<String, Error> {
    let start = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Filler: ";
    let head = format!("{start}{}\r\n\r\n", "x".repeat(bytes - start.len() - 4));
    check(
        move |stream, log| {
            take_request(stream, log);
            stream.write_all(head.as_bytes()).unwrap();
        },
        |client| client.metrics(),
    )
}

#[test]
fn head_at_limit_is_read() {
    assert_eq!(head_of(8192).unwrap(), "");
}

#[test]
fn head_one_past_limit_is_too_large() {
    let error = head_of(8193).unwrap_err();
    assert!(
        matches!(error, Error::Protocol(ProtocolError::HeadTooLarge { limit: 8192 })),
        "{error:?}"
    );
}

#[test]
fn body_at_limit_is_read() {
    let text = check(
        |stream, log| {
            take_request(stream, log);
            give(stream, 200, "0123456789");
        },
        |client| client.reply_limit_bytes(10).metrics(),
    );
    assert_eq!(text.unwrap(), "0123456789");
}

#[test]
fn body_one_past_limit_is_too_large() {
    let error = check(
        |stream, log| {
            take_request(stream, log);
            give(stream, 200, "0123456789");
        },
        |client| client.reply_limit_bytes(9).metrics().unwrap_err(),
    );
    let expected = ProtocolError::TooLarge { bytes: 10, limit: 9 };
    assert!(matches!(error, Error::Protocol(error) if error == expected));
}

#[test]
fn reply_of_another_form_is_refused_and_not_repeated() {
    let error = check(
        |stream, log| {
            take_request(stream, log);
            give(stream, 200, r#"{"random":"marker"}"#);
        },
        |client| random_of_one_byte(&client),
    );
    assert!(matches!(error, Error::Protocol(ProtocolError::Body { line: 1, .. })), "{error:?}");
    assert!(!format!("{error:?} {error}").contains("marker"));
}

#[test]
fn batch_with_another_number_of_results_is_refused() {
    let error = check(
        |stream, log| {
            take_request(stream, log);
            let failed = problem(Code::Integrity);
            give(stream, 200, &format!(r#"{{"items":[{{"error":{failed}}}]}}"#));
        },
        |client| {
            let item = || serde_json::from_str(r#"{"message":""}"#).unwrap();
            client.mac_batch(&name(), &[item(), item()]).unwrap_err()
        },
    );
    assert!(matches!(error, Error::Protocol(ProtocolError::Body { .. })), "{error:?}");
}

#[test]
fn host_that_does_not_reply_is_a_timeout_and_its_connection_is_not_used_again() {
    let error = check(
        |stream, log| {
            take_request(stream, log);
            await_end(stream);
        },
        |client| random_of_one_byte(&client.timeout(Duration::from_millis(50))),
    );
    assert!(matches!(error, Error::Timeout { .. }) && error.retryable(), "{error:?}");
}

#[test]
fn socket_that_is_not_there_is_no_connection() {
    let directory = directory();
    let error = random_of_one_byte(&Client::new(directory.path().join("none")).unwrap());
    let Error::Connect(error) = error else { panic!("{error:?}") };
    assert!(matches!(error.reason, ConnectReason::Io(e) if e.raw_os_error() == Some(2)));
}

#[test]
fn server_of_another_user_gets_nothing() {
    let directory = directory();
    let socket = directory.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let ours = rustix::process::geteuid().as_raw();
    let client = Client::new(&socket).unwrap().expect_server_uid(ours + 1);
    let error = random_of_one_byte(&client);
    let Error::Connect(error) = error else { panic!("{error:?}") };
    assert!(matches!(error.reason, ConnectReason::UnexpectedServer { uid } if uid == ours));
    drop(client);
    await_end(&mut listener.accept().unwrap().0);
}

#[test]
fn server_of_the_expected_user_is_spoken_to() {
    let ours = rustix::process::geteuid().as_raw();
    let text = check(
        |stream, log| {
            take_request(stream, log);
            give(stream, 200, "up 1\n");
        },
        |client| client.expect_server_uid(ours).metrics(),
    );
    assert_eq!(text.unwrap(), "up 1\n");
}

#[test]
fn plaintext_at_limit_is_sent() {
    let error = check(
        |stream, log| {
            take_request(stream, log);
            give(stream, 403, &problem(Code::Denied));
        },
        |client| {
            let plaintext = vec![0; PLAINTEXT_MAX_BYTES];
            client.seal(&name(), &plaintext, &EncryptionContext::default()).unwrap_err()
        },
    );
    assert_eq!(error.code(), Some(Code::Denied), "{error:?}");
}

#[test]
fn plaintext_one_past_limit_is_not_sent() {
    let client = Client::new("/nonexistent").unwrap();
    let plaintext = vec![0; PLAINTEXT_MAX_BYTES + 1];
    let error = client.seal(&name(), &plaintext, &EncryptionContext::default()).unwrap_err();
    assert!(matches!(error, Error::Limit(_)) && error.code() == Some(Code::TooLarge));
}
