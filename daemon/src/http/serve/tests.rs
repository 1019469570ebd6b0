//! A dialect of few words on a real socket: what serving adds to it.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::{Either, Full};
use hyper::body::{Body, Bytes, Frame};
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use wire::code::Fault;
use wire::limits::BODY_MAX_BYTES;

use super::*;
use crate::clock::Clock;
use crate::http::{HEAD_MAX_FIELDS, response};
use crate::limit::{Limits, TURNED_AWAY};
use crate::shutdown::{self, ShutdownTrigger};

/// Answers a path with the body that came, `/denied` before the body, and `/events` with what the
/// test sends, for as long as it sends.
#[derive(Clone, Debug)]
struct Echo {
    events: Arc<tokio::sync::Mutex<Option<mpsc::Receiver<&'static str>>>>,
    unreadable: mpsc::UnboundedSender<u32>,
}

/// Events of a stream, as they come.
struct Events(mpsc::Receiver<&'static str>);

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let event = self.0.poll_recv(context);
        event.map(|event| event.map(|text| Ok(Frame::data(Bytes::from(text)))))
    }
}

type Reply = Response<Either<Full<Bytes>, Events>>;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain");

fn text(status: u16, text: impl Into<Bytes>) -> Reply {
    let status = StatusCode::from_u16(status).unwrap();
    response(status, TEXT, Either::Left(Full::new(text.into())), "id")
}

impl Dialect for Echo {
    type Admitted = Parts;
    type Body = Either<Full<Bytes>, Events>;

    async fn admit(&self, _caller: &Arc<Caller>, head: &Parts) -> Result<Parts, Reply> {
        if head.uri.path() == "/denied" { Err(text(403, "denied")) } else { Ok(head.clone()) }
    }

    async fn answer(&self, caller: &Arc<Caller>, head: Parts, body: Result<Bytes, Fault>) -> Reply {
        let _place = caller.permit.request().unwrap();
        match (body, head.uri.path()) {
            (Err(fault), _) => text(fault.code.http_status(), fault.detail),
            (Ok(_), "/events") => {
                let events = self.events.lock().await.take().unwrap();
                response(StatusCode::OK, TEXT, Either::Right(Events(events)), "id")
            }
            (Ok(body), _) if head.method == Method::POST => text(200, body),
            (Ok(_), path) => text(200, path.to_owned()),
        }
    }

    fn turn_away(&self, _principal: &Principal, busy: Busy) -> Reply {
        text(429, busy.to_string())
    }

    fn unreadable(&self, principal: &Principal) {
        self.unreadable.send(principal.uid()).unwrap();
    }
}

/// A daemon that serves the dialect until it is told to stop.
struct Daemon {
    dir: TempDir,
    events: mpsc::Sender<&'static str>,
    unreadable: mpsc::UnboundedReceiver<u32>,
    trigger: ShutdownTrigger,
    served: tokio::task::JoinHandle<()>,
}

impl Daemon {
    fn start(timeouts: Timeouts, limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("s")).unwrap();
        let (events, receiver) = mpsc::channel(1);
        let (sender, unreadable) = mpsc::unbounded_channel();
        let receiver = Arc::new(tokio::sync::Mutex::new(Some(receiver)));
        let echo = Echo { events: receiver, unreadable: sender };
        let (shutdown, trigger) = shutdown::channel();
        let serving =
            serve(listener, echo, Limiter::new(limits, Clock::system()), timeouts, shutdown);
        Self { dir, events, unreadable, trigger, served: tokio::spawn(serving) }
    }

    async fn send(&self, bytes: impl AsRef<[u8]>) -> UnixStream {
        let mut stream = UnixStream::connect(self.dir.path().join("s")).await.unwrap();
        stream.write_all(bytes.as_ref()).await.unwrap();
        stream
    }
}

/// Reads until the text has come.
async fn read_until(stream: &mut UnixStream, text: &str) -> String {
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(text) {
        assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0, "{text:?} did not come: {seen:?}");
    }
    String::from_utf8(seen).unwrap()
}

/// Reads what comes; a daemon that has not read all of a request resets the connection at last.
async fn read_to_end(mut stream: UnixStream) -> String {
    let mut seen = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut seen).await {}
    String::from_utf8(seen).unwrap()
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

/// Sends one request with short patience, and compares the status and the end of the answer.
#[track_caller]
fn check(request: &str, status: u16, end: &str) {
    run(async {
        let short = Duration::from_millis(50);
        let timeouts = Timeouts { head: short, body: short, write: short, drain: short };
        let daemon = Daemon::start(timeouts, Limits::default());
        let reply = read_to_end(daemon.send(request).await).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{reply:?}");
        assert!(reply.ends_with(end), "{reply:?}");
    });
}

#[test]
fn request_is_answered_by_the_dialect() {
    check("GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200, "\r\n\r\n/a");
    let post = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody";
    check(post, 200, "\r\n\r\nbody");
}

#[test]
fn refused_request_is_answered_before_its_body_comes() {
    check("POST /denied HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n", 403, "denied");
}

#[test]
fn body_slower_than_its_timeout_is_malformed() {
    let slow = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nx";
    check(slow, 400, "body came too slowly");
}

#[test]
fn head_slower_than_its_timeout_ends_the_connection() {
    run(async {
        let head = Duration::from_millis(50);
        let timeouts = Timeouts { head, ..Timeouts::default() };
        let daemon = Daemon::start(timeouts, Limits::default());
        for cut in ["", "GET /a HT"] {
            let reply = read_to_end(daemon.send(cut).await).await;
            assert!(!reply.contains("200"), "{reply:?}");
        }
    });
}

#[test]
fn connection_past_the_limit_is_turned_away() {
    run(async {
        let limits = Limits { connections: 1, ..Limits::default() };
        let daemon = Daemon::start(Timeouts::default(), limits);
        let mut first = daemon.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n").await;
        read_until(&mut first, "/a").await;
        let second = daemon.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let reply = read_to_end(second).await;
        assert!(reply.starts_with("HTTP/1.1 429 "), "{reply:?}");
    });
}

#[test]
fn connection_past_those_that_are_turned_away_is_told_in_few_words() {
    run(async {
        let limits = Limits { connections: 1, ..Limits::default() };
        let daemon = Daemon::start(Timeouts::default(), limits);
        let mut first = daemon.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n").await;
        read_until(&mut first, "/a").await;
        let mut silent = Vec::new();
        for _ in 0..TURNED_AWAY {
            silent.push(daemon.send("").await);
        }
        let reply = read_to_end(daemon.send("").await).await;
        assert!(reply.starts_with("HTTP/1.1 429 "), "{reply:?}");
        assert!(reply.contains("\r\nRetry-After: 1\r\n"), "{reply:?}");
        // Those before it may say nothing for a second only.
        for silent in silent {
            assert!(!read_to_end(silent).await.contains("200"));
        }
    });
}

#[test]
fn request_past_the_rate_is_turned_away_and_its_connection_goes_on() {
    run(async {
        let one = std::num::NonZeroU32::MIN;
        let limits = Limits { rate_per_uid: Some(one), ..Limits::default() };
        let daemon = Daemon::start(Timeouts::default(), limits);
        let mut stream = daemon.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n").await;
        read_until(&mut stream, "/a").await;
        stream.write_all(b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        read_until(&mut stream, "more than 1 requests a second").await;
        let again = "GET /c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        while !read_to_end(daemon.send(again).await).await.ends_with("/c") {}
    });
}

/// Sends bodies of which each but the last is cut off before its last byte; compares the status
/// of the last one.
#[track_caller]
fn check_bodies(lengths: &[usize], chunked: bool, status: &str) {
    run(async {
        let room = 2 * BODY_MAX_BYTES;
        let limits = Limits { body_bytes: room, body_bytes_per_uid: room, ..Limits::default() };
        let daemon = Daemon::start(Timeouts::default(), limits);
        let mut held = Vec::new();
        let (last, first) = lengths.split_last().unwrap();
        for length in first {
            let head = format!("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n");
            let mut stream = daemon.send(head + "Expect: 100-continue\r\n\r\n").await;
            read_until(&mut stream, "100 Continue").await;
            held.push(stream);
        }
        let head = "POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
        let body = "x".repeat(*last);
        let request = match chunked {
            true => {
                format!("{head}Transfer-Encoding: chunked\r\n\r\n{last:x}\r\n{body}\r\n0\r\n\r\n")
            }
            false => format!("{head}Content-Length: {last}\r\n\r\n{body}"),
        };
        let mut stream = UnixStream::connect(daemon.dir.path().join("s")).await.unwrap();
        // It is answered before its end where there is no room.
        let _cut = stream.write_all(request.as_bytes()).await;
        let reply = read_to_end(stream).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{reply:.200}");
        drop(held);
    });
}

#[test]
fn bodies_that_fill_the_room_are_read_and_one_byte_more_is_busy() {
    let half = BODY_MAX_BYTES;
    check_bodies(&[half, half], false, "200");
    check_bodies(&[half, half - 1, 1], false, "200");
    check_bodies(&[half, half - 1, 2], false, "429");
    check_bodies(&[half, half - 1, 1], true, "200");
    check_bodies(&[half, half - 1, 2], true, "429");
}

#[test]
fn body_in_many_pieces_is_put_together() {
    let body: String = (0..200).map(|_| "1\r\nx\r\n").collect();
    let post = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked";
    check(&format!("{post}\r\n\r\n{body}0\r\n\r\n"), 200, &"x".repeat(200));
}

/// A reply that no socket's buffer holds.
const LONG: usize = 2 * 1024 * 1024;

#[test]
fn reply_that_nobody_reads_ends_the_connection() {
    run(async {
        let timeouts = Timeouts { write: Duration::from_millis(50), ..Timeouts::default() };
        let daemon = Daemon::start(timeouts, Limits::default());
        let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {LONG}\r\n\r\n");
        let mut stream = daemon.send(head + &"x".repeat(LONG)).await;
        // What it sends now is refused once the connection is gone.
        while stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let reply = read_to_end(stream).await;
        assert!(reply.starts_with("HTTP/1.1 200 ") && reply.len() < LONG, "{}", reply.len());
    });
}

#[test]
fn reply_that_is_read_slowly_but_in_time_is_whole() {
    run(async {
        let timeouts = Timeouts { write: Duration::from_secs(60), ..Timeouts::default() };
        let daemon = Daemon::start(timeouts, Limits::default());
        let head = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length:";
        let mut stream = daemon.send(format!("{head} {LONG}\r\n\r\n{}", "x".repeat(LONG))).await;
        let mut seen = Vec::new();
        let mut some = vec![0; 64 * 1024];
        loop {
            let read = stream.read(&mut some).await.unwrap();
            if read == 0 {
                break;
            }
            seen.extend_from_slice(&some[..read]);
            tokio::task::yield_now().await;
        }
        assert!(seen.len() > LONG);
    });
}

/// Sends bytes, and compares who is told to have sent what is not HTTP.
#[track_caller]
fn check_unreadable(bytes: &str, told: bool) {
    run(async {
        let timeouts = Timeouts { head: Duration::from_millis(50), ..Timeouts::default() };
        let mut daemon = Daemon::start(timeouts, Limits::default());
        let _answer = read_to_end(daemon.send(bytes).await).await;
        daemon.trigger.request();
        daemon.served.await.unwrap();
        let found = daemon.unreadable.recv().await;
        assert_eq!(found, told.then(|| nix::unistd::geteuid().as_raw()), "{bytes:.20}");
        assert_eq!(daemon.unreadable.recv().await, None);
    });
}

#[test]
fn bytes_that_are_not_http_are_told_once() {
    check_unreadable("\x16\x03\x01\r\n\r\n", true);
    check_unreadable("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", true);
    check_unreadable("GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", true);
    check_unreadable("GET / HTTP/1.1\r\nHost: x\r\n\r\n\x00\r\n\r\n", true);
}

#[test]
fn request_or_the_beginning_of_one_is_not_told() {
    check_unreadable("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", false);
    check_unreadable("GET / HT", false);
    check_unreadable("", false);
}

#[test]
fn head_at_its_limit_is_read_and_one_byte_more_is_not() {
    let of = |bytes: usize| {
        let start = "GET / HTTP/1.1\r\nConnection: close\r\nX: ";
        format!("{start}{}\r\n\r\n", "x".repeat(bytes - start.len() - 4))
    };
    check_unreadable(&of(HEAD_MAX_BYTES), false);
    check_unreadable(&of(HEAD_MAX_BYTES + 1), true);
}

#[test]
fn head_of_as_many_fields_as_the_limit_is_read_and_of_one_more_is_not() {
    let of = |fields: usize| {
        let more: String = (1..fields).map(|n| format!("X{n}: x\r\n")).collect();
        format!("GET / HTTP/1.1\r\nConnection: close\r\n{more}\r\n")
    };
    check_unreadable(&of(HEAD_MAX_FIELDS), false);
    check_unreadable(&of(HEAD_MAX_FIELDS + 1), true);
}

#[test]
fn stream_is_sent_event_by_event() {
    run(async {
        let daemon = Daemon::start(Timeouts::default(), Limits::default());
        let mut stream = daemon.send("GET /events HTTP/1.1\r\nHost: x\r\n\r\n").await;
        read_until(&mut stream, "\r\n\r\n").await;
        for event in ["data: one\n\n", "data: two\n\n"] {
            daemon.events.send(event).await.unwrap();
            // The next one is not sent before this one has come.
            read_until(&mut stream, event).await;
        }
    });
}

#[test]
fn stream_ends_when_its_reader_is_gone() {
    run(async {
        let daemon = Daemon::start(Timeouts::default(), Limits::default());
        let mut stream = daemon.send("GET /events HTTP/1.1\r\nHost: x\r\n\r\n").await;
        read_until(&mut stream, "\r\n\r\n").await;
        drop(stream);
        daemon.events.closed().await;
    });
}

#[test]
fn end_waits_for_a_request_in_flight_and_not_for_an_idle_connection() {
    run(async {
        let daemon = Daemon::start(Timeouts::default(), Limits::default());
        let mut idle = daemon.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n").await;
        read_until(&mut idle, "/a").await;
        let mut flying = daemon.send("GET /events HTTP/1.1\r\nHost: x\r\n\r\n").await;
        read_until(&mut flying, "\r\n\r\n").await;
        daemon.trigger.request();
        assert_eq!(read_to_end(idle).await, "");
        daemon.events.send("last").await.unwrap();
        drop(daemon.events);
        assert!(read_to_end(flying).await.contains("last"));
        daemon.served.await.unwrap();
    });
}

#[test]
fn request_in_flight_longer_than_the_drain_is_cut() {
    run(async {
        let drain = Duration::from_millis(50);
        let timeouts = Timeouts { drain, ..Timeouts::default() };
        let daemon = Daemon::start(timeouts, Limits::default());
        let mut events = daemon.send("GET /events HTTP/1.1\r\nHost: x\r\n\r\n").await;
        read_until(&mut events, "\r\n\r\n").await;
        daemon.trigger.request();
        daemon.served.await.unwrap();
        assert_eq!(read_to_end(events).await, "", "a whole stream ends with an empty chunk");
        assert!(daemon.events.is_closed());
    });
}
