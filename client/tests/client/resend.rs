//! Which connection a call goes over, and when it is sent again.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Barrier};

use sealhost_client::blocking::Client;
use sealhost_client::{Call, Error, ProtocolError};
use wire::api::{CreateRequest, KeyRecord, RandomReply, Usage};
use wire::name::KeyName;

use crate::server::{
    Answer, Log, Script, Scripted, Seen, Server, await_end, await_hang_up, directory, give,
    take_request,
};

const RANDOM: &str = r#"{"random":"AA==","provider":"tpm","protection":"hardware"}"#;
const RECORD: &str = r#"{"name":"a","usage":"mac","algorithm":"hmac-sha256","floor":"software","fallback":false,"versions":[]}"#;

/// A call that may be sent twice.
fn random() -> Call<RandomReply> {
    Call::random(1).unwrap()
}

/// The calls that may not.
fn changes() -> Vec<Call<KeyRecord>> {
    let name = KeyName::parse("a").unwrap();
    let create = CreateRequest {
        usage: Usage::Mac,
        algorithm: None,
        providers: None,
        floor: None,
        fallback: None,
        pcrs: None,
    };
    let import = serde_json::from_str(r#"{"usage":"mac","key":"AA=="}"#).unwrap();
    vec![
        Call::create(&name, &create).unwrap(),
        Call::import(&name, &import).unwrap(),
        Call::rotate(&name).unwrap(),
    ]
}

/// Serves one request, so that the client keeps the connection.
fn serve_one(stream: &mut UnixStream, log: &Log) {
    take_request(stream, log);
    give(stream, 200, RANDOM);
}

/// A client with a kept connection, and the scripts that go on with it and those after it.
fn check(
    then: impl FnOnce(&mut UnixStream, &Log) + Send + 'static,
    next: Vec<Script>,
    call: impl FnOnce(&Client),
) -> Log {
    let directory = directory();
    let socket = directory.path().join("s");
    let mut scripts: Vec<Script> = vec![Box::new(move |stream, log| {
        serve_one(stream, log);
        then(stream, log);
    })];
    scripts.extend(next);
    let server = Scripted::start(&socket, scripts);
    let client = Client::new(&socket).unwrap();
    client.send(&random()).unwrap();
    call(&client);
    drop(client);
    server.end()
}

fn socket_in(directory: &tempfile::TempDir) -> PathBuf {
    directory.path().join("s")
}

fn answering(_: &Seen) -> Answer {
    Some((200, RANDOM.to_owned()))
}

#[test]
fn calls_after_each_other_share_a_connection() {
    let directory = directory();
    let server = Server::start(&socket_in(&directory), answering);
    let client = Client::new(socket_in(&directory)).unwrap();
    for _ in 0..5 {
        client.random(1).unwrap();
    }
    assert_eq!((server.log.connections(), server.log.seen().len()), (1, 5));
}

#[test]
fn calls_at_once_have_a_connection_each_and_later_ones_use_them_again() {
    const AT_ONCE: usize = 8;
    let directory = directory();
    let together = Arc::new(Barrier::new(AT_ONCE));
    let server = Server::start(&socket_in(&directory), move |seen| {
        together.wait();
        answering(seen)
    });
    let client = Client::new(socket_in(&directory)).unwrap();
    for _ in 0..2 {
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| client.random(1).unwrap());
            }
        });
    }
    assert_eq!((server.log.connections(), server.log.seen().len()), (AT_ONCE, 2 * AT_ONCE));
}

#[test]
fn every_call_finds_a_host_that_was_restarted() {
    let directory = directory();
    let client = Client::new(socket_in(&directory)).unwrap();
    for change in changes() {
        let server = Server::start(&socket_in(&directory), answering);
        client.random(1).unwrap();
        drop(server);
        let down = client.random(1).unwrap_err();
        assert!(matches!(down, Error::Connect(_)) && down.retryable(), "{down:?}");
        let server = Server::start(&socket_in(&directory), |_| Some((201, RECORD.to_owned())));
        client.send(&change).unwrap();
        assert_eq!(server.log.connections(), 1);
    }
}

#[test]
fn host_that_restarts_between_two_calls_is_not_noticed() {
    let directory = directory();
    let client = Client::new(socket_in(&directory)).unwrap();
    for _ in 0..3 {
        let server = Server::start(&socket_in(&directory), answering);
        client.random(1).unwrap();
        assert_eq!(server.log.seen().len(), 1);
    }
}

#[test]
fn call_that_was_taken_and_not_answered_is_sent_once_more() {
    let log = check(take_request, vec![Box::new(serve_one)], |client| {
        drop(client.send(&random()).unwrap())
    });
    assert_eq!((log.connections(), log.seen().len()), (2, 3));
}

#[test]
fn call_is_not_sent_a_third_time() {
    let log = check(take_request, vec![Box::new(take_request)], |client| {
        let error = client.send(&random()).unwrap_err();
        assert!(matches!(error, Error::Unanswered { is_change: false }), "{error:?}");
        assert!(error.retryable());
    });
    assert_eq!((log.connections(), log.seen().len()), (2, 3));
}

#[test]
fn change_of_a_key_that_was_taken_and_not_answered_is_not_sent_again() {
    for change in changes() {
        let log = check(take_request, vec![], |client| {
            let error = client.send(&change).unwrap_err();
            assert!(matches!(error, Error::Unanswered { is_change: true }), "{error:?}");
            assert!(!error.retryable());
        });
        assert_eq!(log.seen().len(), 2, "{change:?}");
    }
}

#[test]
fn destroy_that_was_taken_and_not_answered_is_not_sent_again() {
    let log = check(take_request, vec![], |client| {
        let error = client.destroy(&KeyName::parse("a").unwrap()).unwrap_err();
        assert!(matches!(error, Error::Unanswered { is_change: true }), "{error:?}");
    });
    assert_eq!(log.seen().last().unwrap().line, "DELETE /v1/keys/a?confirm=a");
}

#[test]
fn change_of_a_key_of_which_nothing_was_taken_is_sent_on_a_new_connection() {
    for change in changes() {
        let served: Script = Box::new(|stream, log| {
            take_request(stream, log);
            give(stream, 201, RECORD);
        });
        let (told, tells) = std::sync::mpsc::channel();
        let log = check(
            // Nothing can be written any more, and nothing shows it beforehand.
            move |stream, _| {
                stream.shutdown(Shutdown::Read).unwrap();
                told.send(()).unwrap();
                await_hang_up(stream);
            },
            vec![served],
            |client| {
                tells.recv().unwrap();
                client.send(&change).unwrap();
            },
        );
        assert_eq!((log.connections(), log.seen().len()), (2, 2), "{change:?}");
    }
}

#[test]
fn call_on_a_new_connection_that_is_not_answered_is_not_sent_again() {
    let directory = directory();
    let server = Scripted::start(&socket_in(&directory), vec![Box::new(take_request)]);
    let error = Client::new(socket_in(&directory)).unwrap().random(1).unwrap_err();
    assert!(matches!(error, Error::Unanswered { is_change: false }), "{error:?}");
    assert_eq!(server.end().seen().len(), 1);
}

#[test]
fn call_of_which_a_part_of_the_reply_came_is_not_sent_again() {
    let log = check(
        |stream, log| {
            take_request(stream, log);
            std::io::Write::write_all(stream, b"HTTP/1.1 200 O").unwrap();
        },
        vec![],
        |client| {
            let error = client.send(&random()).unwrap_err();
            assert!(matches!(error, Error::Protocol(ProtocolError::Truncated)), "{error:?}");
        },
    );
    assert_eq!(log.seen().len(), 2);
}

#[test]
fn connection_that_the_host_will_close_is_not_kept() {
    let directory = directory();
    let closing: Script = Box::new(|stream, log| {
        take_request(stream, log);
        let head = format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            RANDOM.len()
        );
        std::io::Write::write_all(stream, format!("{head}{RANDOM}").as_bytes()).unwrap();
        await_end(stream);
    });
    let server = Scripted::start(&socket_in(&directory), vec![closing, Box::new(serve_one)]);
    let client = Client::new(socket_in(&directory)).unwrap();
    client.random(1).unwrap();
    client.random(1).unwrap();
    assert_eq!(server.end().connections(), 2);
}

#[test]
fn connection_on_which_the_host_speaks_unasked_is_not_used_again() {
    let (kept, is_kept) = std::sync::mpsc::channel();
    let (told, tells) = std::sync::mpsc::channel();
    let log = check(
        move |stream, _| {
            is_kept.recv().unwrap();
            give(stream, 200, RANDOM);
            told.send(()).unwrap();
            await_hang_up(stream);
        },
        vec![Box::new(serve_one)],
        |client| {
            kept.send(()).unwrap();
            tells.recv().unwrap();
            client.send(&random()).unwrap();
        },
    );
    assert_eq!((log.connections(), log.seen().len()), (2, 2));
}
