//! The worker process: one plugin, one device, one packet socket on standard input.
//!
//! As many threads as the device takes at once each receive a call, make it, and send the answer;
//! the kernel hands packets out.
//!
//! When the host closes its end, or dies, each thread finishes its call, so that a module is not
//! cut off while it writes to its token, and the worker ends. A call that takes longer than the
//! grace is cut off.

use std::io::{self, Stdin};
use std::process::ExitCode;
use std::time::Duration;

use daemon::sandbox::Reached;
use provider_core::call::Instance;
use provider_core::{ErrorKind, ProviderError};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::process::Signal;
use zeroize::{Zeroize, Zeroizing};

use super::message::{self, Asked, PACKET_MAX_BYTES};
use super::opening::{self, OpenFailure, Opening};
use super::perform;
use super::spawner::GRACE;

/// Runs this process as a worker until its socket is closed.
#[must_use]
pub fn run() -> ExitCode {
    // The program's file is named differently where it is started by way of /proc.
    let _unnamed = rustix::thread::set_name(c"sealhost-worker");
    let hardened = daemon::harden::harden();
    if !(hardened.umask && hardened.no_core_file && hardened.not_dumpable) {
        tracing::error!(%hardened, "worker cannot be hardened");
        return ExitCode::FAILURE;
    }
    let socket = io::stdin();
    match serve(&socket) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "worker ends");
            ExitCode::FAILURE
        }
    }
}

/// Gives up what the worker is not left.
fn enter(asked: &Asked) -> Result<Option<Reached>, OpenFailure> {
    let refused =
        |detail: String| OpenFailure::from(ProviderError::new(ErrorKind::Unsupported, detail));
    let Some(sandbox) = &asked.sandbox else {
        let set = asked.limits.set();
        set.map_err(|error| refused(error.to_string()))?;
        return Ok(None);
    };
    let reached = sandbox.enter().map_err(|error| {
        refused(format!("{error}; level = \"off\" in [provider.sandbox] goes without"))
    })?;
    let missing = sandbox.missing(&reached);
    if asked.required && !missing.is_empty() {
        return Err(refused(format!(
            "the kernel cannot confine the worker wholly (missing: {}), and [provider.sandbox] \
             level requires it",
            missing.join(", ")
        )));
    }
    Ok(Some(reached))
}

/// Waits until the host has closed its end of the socket, as the kernel does for it when it dies,
/// and kills this process if it has not ended in time after that.
fn end_with_host() {
    let socket = io::stdin();
    let mut polled = [PollFd::new(&socket, PollFlags::RDHUP)];
    while let Err(Errno::INTR) = poll(&mut polled, None) {}
    // The host, when it lives, is first to lose patience, and says so in the log.
    std::thread::sleep(GRACE + Duration::from_millis(500));
    // Without exit handlers: a module's may hang as its call does.
    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
}

fn serve(socket: &Stdin) -> io::Result<()> {
    let mut buffer = Zeroizing::new(vec![0; PACKET_MAX_BYTES]);
    let Some(length) = receive(socket, &mut buffer)? else { return Ok(()) };
    let asked = message::decode_question(buffer.get(..length).unwrap_or_default());
    buffer.zeroize();
    let asked = asked.map_err(io::Error::other)?;
    let parent = rustix::process::getppid().map(|parent| parent.as_raw_nonzero().get());
    if parent != Some(asked.parent) {
        return Err(io::Error::other("the host is gone"));
    }
    // Before the plugin is loaded, which runs its code, and while this is the only thread.
    let entered = enter(&asked);
    std::thread::Builder::new().name("watch".into()).spawn(end_with_host)?;

    let Some(open) = &asked.open else {
        let needs =
            entered.and_then(|_reached| opening::ask(&asked.plugin, asked.sha256, &asked.settings));
        let packet = message::encode_needs(&needs).map_err(io::Error::other)?;
        send(socket, &packet, SendFlags::NOSIGNAL)?;
        return Ok(());
    };
    let opened = entered.and_then(|reached| {
        let opening = Opening {
            plugin: &asked.plugin,
            sha256: asked.sha256,
            settings: &asked.settings,
            secrets: &open.secrets,
            known: open.known.as_ref(),
            refused: &open.refused,
        };
        let mut opened = opening::open(&opening)?;
        opened.description.sandbox = reached;
        Ok(opened)
    });
    drop(asked);
    wire::burn_stack();
    let (instance, reply) = match opened {
        Ok(opened) => {
            let concurrency = opened.description.info.concurrency;
            (Some((opened.instance, concurrency)), Ok(opened.description))
        }
        Err(failure) => (None, Err(failure)),
    };
    let packet = message::encode_opened(&reply).map_err(io::Error::other)?;
    send(socket, &packet, SendFlags::NOSIGNAL)?;
    let Some((instance, concurrency)) = instance else { return Ok(()) };

    std::thread::scope(|scope| {
        for _ in 1..concurrency {
            scope.spawn(|| serve_calls(socket, &instance));
        }
        serve_calls(socket, &instance)
    })
}

/// Answers calls until the host closes the socket.
fn serve_calls(socket: &Stdin, instance: &Instance) -> io::Result<()> {
    let mut buffer = Zeroizing::new(vec![0; PACKET_MAX_BYTES]);
    while let Some(length) = receive(socket, &mut buffer)? {
        let packet = buffer.get_mut(..length).unwrap_or_default();
        let decoded = message::decode_call(packet);
        packet.zeroize();
        let (number, call) = decoded.map_err(io::Error::other)?;
        let answer = perform(instance, &call);
        let packet = message::encode_answer(number, &answer).or_else(|_malformed| {
            let error = ProviderError::new(ErrorKind::Internal, "the answer is too long");
            message::encode_answer(number, &Err(error))
        });
        let packet = Zeroizing::new(packet.map_err(io::Error::other)?);
        match send(socket, &packet, SendFlags::NOSIGNAL) {
            Ok(_) => {}
            Err(Errno::PIPE | Errno::CONNRESET) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        // The answer passed through frames of plugin and boundary below this one.
        wire::burn_stack();
    }
    Ok(())
}

/// Receives one packet; `None` when the host closed its end.
fn receive(socket: &Stdin, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        match recv(socket, &mut *buffer, RecvFlags::empty()) {
            Ok((0, _)) | Err(Errno::CONNRESET) => return Ok(None),
            Ok((length, _)) => return Ok(Some(length)),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
