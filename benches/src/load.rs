//! Load over the socket: so many connections, each with one request under way.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::Value;
use tests::Sealhost;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// What a load came to.
pub(crate) struct Measured {
    pub(crate) per_second: f64,
    pub(crate) p50_us: u64,
    pub(crate) p50_ns: u64,
    pub(crate) p99_us: u64,
    /// CPU time of each process for each request, in the order in which they were named.
    pub(crate) cpu_us: Vec<f64>,
}

/// A request as it goes over the socket.
pub(crate) struct Request(Arc<[u8]>);

impl Request {
    pub(crate) fn get(target: &str) -> Self {
        Self(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes().into())
    }

    pub(crate) fn post(target: &str, body: &Value) -> Self {
        let body = body.to_string();
        let length = body.len();
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
        );
        Self((head + &body).into_bytes().into())
    }
}

/// Loads a host: its CPU time first, then that of each worker.
pub(crate) fn run(
    host: &Sealhost,
    target: &str,
    body: &Value,
    connections: usize,
    time: Duration,
) -> Measured {
    let pids = [vec![host.pid()], host.workers()].concat();
    run_on(&host.socket(), &pids, &Request::post(target, body), connections, time)
}

/// Sends one request again and again over each connection, and checks that each succeeds.
pub(crate) fn run_on(
    socket: &Path,
    pids: &[u32],
    Request(request): &Request,
    connections: usize,
    time: Duration,
) -> Measured {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    // A moment of load that is not counted: caches, first connections.
    let _warm = runtime.block_on(send_all(socket, request, connections, time / 8));
    let before: Vec<_> = pids.iter().copied().map(cpu_of).collect();
    let started = Instant::now();
    let latencies = runtime.block_on(send_all(socket, request, connections, time));
    let elapsed = started.elapsed().as_secs_f64();
    let requests = f64::from(u32::try_from(latencies.len()).unwrap());
    let spent = |(pid, before): (&u32, f64)| (cpu_of(*pid) - before) * 1e6 / requests;
    Measured {
        per_second: requests / elapsed,
        p50_us: latencies.value_at_quantile(0.5) / 1000,
        p50_ns: latencies.value_at_quantile(0.5),
        p99_us: latencies.value_at_quantile(0.99) / 1000,
        cpu_us: pids.iter().zip(before).map(spent).collect(),
    }
}

/// What a user got who may be refused.
pub(crate) struct Flooded {
    pub(crate) per_second: f64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) refused: u64,
}

impl Flooded {
    pub(crate) fn line(&self) -> String {
        format!("{} {} {} {}", self.per_second, self.p50_us, self.p99_us, self.refused)
    }

    pub(crate) fn from_line(line: &str) -> Self {
        let mut words = line.split(' ');
        let mut next = || words.next().unwrap_or_else(|| panic!("not figures: {line:?}"));
        Self {
            per_second: next().parse().unwrap(),
            p50_us: next().parse().unwrap(),
            p99_us: next().parse().unwrap(),
            refused: next().parse().unwrap(),
        }
    }
}

/// As [`run_on`], on the thread that asks: of the requests that were not refused.
pub(crate) fn flood(
    socket: &Path,
    Request(request): &Request,
    connections: usize,
    time: Duration,
) -> Flooded {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let refused = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let latencies = runtime.block_on(async {
        let clients: Vec<_> = (0..connections)
            .map(|_| {
                let (socket, request) = (socket.to_owned(), Arc::clone(request));
                let (refused, stop) = (Arc::clone(&refused), Arc::clone(&stop));
                tokio::spawn(async move {
                    let mut latencies = Histogram::new(3).unwrap();
                    while !stop.load(Ordering::Relaxed) {
                        press(&socket, &request, &stop, &refused, &mut latencies).await;
                    }
                    latencies
                })
            })
            .collect();
        tokio::time::sleep(time).await;
        stop.store(true, Ordering::Relaxed);
        let mut all = Histogram::<u64>::new(3).unwrap();
        for client in clients {
            all.add(client.await.unwrap()).unwrap();
        }
        all
    });
    let answered = f64::from(u32::try_from(latencies.len()).unwrap());
    Flooded {
        per_second: answered / time.as_secs_f64(),
        p50_us: latencies.value_at_quantile(0.5) / 1000,
        p99_us: latencies.value_at_quantile(0.99) / 1000,
        refused: refused.load(Ordering::Relaxed),
    }
}

/// Sends on one connection until it is refused or told to stop.
async fn press(
    socket: &Path,
    request: &[u8],
    stop: &AtomicBool,
    refused: &AtomicU64,
    latencies: &mut Histogram<u64>,
) {
    let Ok(mut stream) = UnixStream::connect(socket).await else {
        refused.fetch_add(1, Ordering::Relaxed);
        return tokio::task::yield_now().await;
    };
    let mut buffer = Vec::with_capacity(8192);
    while !stop.load(Ordering::Relaxed) {
        let started = Instant::now();
        let sent = stream.write_all(request).await;
        buffer.clear();
        while !is_complete(&buffer) {
            if sent.is_err() || stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                refused.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        match buffer.get(9..12).unwrap_or_default() {
            b"200" => {
                latencies.record(u64::try_from(started.elapsed().as_nanos()).unwrap()).unwrap();
            }
            b"429" => {
                refused.fetch_add(1, Ordering::Relaxed);
            }
            _ => panic!("{}", String::from_utf8_lossy(&buffer)),
        }
    }
}

/// Latencies in nanoseconds.
async fn send_all(
    socket: &Path,
    request: &Arc<[u8]>,
    connections: usize,
    time: Duration,
) -> Histogram<u64> {
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..connections)
        .map(|_| tokio::spawn(send(socket.to_owned(), Arc::clone(request), Arc::clone(&stop))))
        .collect();
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    let mut all = Histogram::new(3).unwrap();
    for client in clients {
        all.add(client.await.unwrap()).unwrap();
    }
    all
}

async fn send(socket: PathBuf, request: Arc<[u8]>, stop: Arc<AtomicBool>) -> Histogram<u64> {
    let mut latencies = Histogram::new(3).unwrap();
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let mut buffer = Vec::with_capacity(8192);
    while !stop.load(Ordering::Relaxed) {
        let started = Instant::now();
        stream.write_all(&request).await.unwrap();
        buffer.clear();
        while !is_complete(&buffer) {
            assert_ne!(stream.read_buf(&mut buffer).await.unwrap(), 0, "the host hung up");
        }
        let status = buffer.get(9..12).unwrap_or_default();
        assert_eq!(status, b"200", "{}", String::from_utf8_lossy(&buffer));
        latencies.record(u64::try_from(started.elapsed().as_nanos()).unwrap()).unwrap();
    }
    latencies
}

/// Whether a reply has come, to the end of its body.
pub(crate) fn is_complete(reply: &[u8]) -> bool {
    let Some(end) = reply.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = std::str::from_utf8(reply.get(..end).unwrap_or_default()).unwrap_or_default();
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok());
    length.is_some_and(|length| reply.len() >= end + 4 + length)
}

/// Clock ticks a second in `/proc`; the kernel's ABI fixes it (sysconf(3), `_SC_CLK_TCK`).
const TICKS: f64 = 100.0;

/// CPU seconds of a process so far, of threads that have ended too.
fn cpu_of(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The program's name, in parentheses, may hold blanks. User and system time are the 14th and
    // 15th field of all, proc(5).
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / TICKS
}

/// Resident memory of a process.
pub(crate) fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Resident memory of the host and its workers.
pub(crate) fn resident(host: &Sealhost) -> String {
    let workers: Vec<_> = host.workers().into_iter().map(resident_kib).collect();
    let host = resident_kib(host.pid());
    let together = host + workers.iter().sum::<u64>();
    format!("host {host} KiB, workers {workers:?} KiB, together {} MiB", together / 1024)
}

/// What the machine was doing besides.
pub(crate) fn machine() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} cores, load average {}", load.trim())
}
