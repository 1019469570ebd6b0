//! Two servers on real Unix sockets: one made of hyper that answers as it is told, and one that
//! does to each connection what a script says, byte by byte.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustix::event::{PollFd, PollFlags};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::task::JoinSet;

/// What a request said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) body: String,
}

/// How many connections came, and what over them.
#[derive(Clone, Default)]
pub(crate) struct Log {
    connections: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Log {
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

pub(crate) fn directory() -> TempDir {
    tempfile::Builder::new().prefix("sealhost-client-").tempdir().unwrap()
}

/// A server made of hyper. Dropping it closes its connections and removes its socket.
pub(crate) struct Server {
    pub(crate) log: Log,
    socket: PathBuf,
    thread: Option<(tokio::sync::oneshot::Sender<()>, JoinHandle<()>)>,
}

/// Status and body, or no answer at all.
pub(crate) type Answer = Option<(u16, String)>;

impl Server {
    /// Listens on `socket` in a thread of its own and answers by `answer`, which may block.
    pub(crate) fn start(
        socket: &Path,
        answer: impl Fn(&Seen) -> Answer + Clone + Send + Sync + 'static,
    ) -> Self {
        let listener = StdListener::bind(socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        let log = Log::default();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let of_thread = log.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                tokio::select! {
                    () = accept(listener, of_thread, answer) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { log, socket: socket.to_owned(), thread: Some((stop, thread)) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let (stop, thread) = self.thread.take().unwrap();
        let _gone = stop.send(());
        thread.join().unwrap();
        std::fs::remove_file(&self.socket).unwrap();
    }
}

async fn accept(
    listener: StdListener,
    log: Log,
    answer: impl Fn(&Seen) -> Answer + Clone + Send + Sync + 'static,
) {
    let listener = UnixListener::from_std(listener).unwrap();
    let mut tasks = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        log.connections.fetch_add(1, Ordering::SeqCst);
        let (log, answer) = (log.clone(), answer.clone());
        let service = service_fn(move |request| reply(request, log.clone(), answer.clone()));
        tasks.spawn(
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service),
        );
    }
}

async fn reply(
    request: Request<Incoming>,
    log: Log,
    answer: impl Fn(&Seen) -> Answer + Send + 'static,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let line = format!("{} {}", request.method(), request.uri());
    let body = request.into_body().collect().await?.to_bytes();
    let seen = Seen { line, body: String::from_utf8(body.to_vec()).unwrap() };
    log.seen.lock().unwrap().push(seen.clone());
    let answered = tokio::task::spawn_blocking(move || answer(&seen)).await.unwrap();
    let Some((status, body)) = answered else { return std::future::pending().await };
    let reply = Response::builder().status(status).header("X-Request-Id", "r-7");
    Ok(reply.body(Full::from(body)).unwrap())
}

/// What to do to one connection.
pub(crate) type Script = Box<dyn FnOnce(&mut StdStream, &Log) + Send>;

/// Does to the first connection what the first script says, and so on. The socket is gone when
/// the last script ended.
pub(crate) struct Scripted {
    pub(crate) log: Log,
    thread: JoinHandle<()>,
}

impl Scripted {
    pub(crate) fn start(socket: &Path, scripts: Vec<Script>) -> Self {
        let listener = StdListener::bind(socket).unwrap();
        let log = Log::default();
        let of_thread = log.clone();
        let thread = std::thread::spawn(move || {
            for script in scripts {
                let (mut stream, _) = listener.accept().unwrap();
                of_thread.connections.fetch_add(1, Ordering::SeqCst);
                script(&mut stream, &of_thread);
            }
        });
        Self { log, thread }
    }

    /// Waits for the last script. Fails when one of them did.
    pub(crate) fn end(self) -> Log {
        self.thread.join().unwrap();
        self.log
    }
}

/// Reads one request and notes it.
pub(crate) fn take_request(stream: &mut StdStream, log: &Log) {
    let head = take_head(stream);
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).unwrap();
    let line = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
    log.seen.lock().unwrap().push(Seen { line, body: String::from_utf8(body).unwrap() });
}

/// Reads the head of one request.
pub(crate) fn take_head(stream: &mut StdStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Writes a reply.
pub(crate) fn give(stream: &mut StdStream, status: u16, body: &str) {
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
}

/// Waits until the client closes the connection.
pub(crate) fn await_end(stream: &mut StdStream) {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
}

/// Waits until the client closes the connection, whatever it sent.
pub(crate) fn await_hang_up(stream: &StdStream) {
    let mut polled = [PollFd::new(stream, PollFlags::empty())];
    while !polled[0].revents().contains(PollFlags::HUP) {
        rustix::event::poll(&mut polled, None).unwrap();
    }
}
