//! The smallest daemon: tells each caller who it is, and how the daemon is protected.
//!
//! Takes the path of its socket as the only argument, or a socket from systemd.

use std::error::Error;
use std::path::PathBuf;

use daemon::listener::{Activated, Endpoint};
use daemon::peer::Peer;
use daemon::{harden, listener, notify, peer, shutdown};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

fn main() -> Result<(), Box<dyn Error>> {
    let activated = Activated::from_env()?;
    let hardening = harden::harden();
    let path = PathBuf::from(std::env::args_os().nth(1).ok_or("give the path of the socket")?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(activated, path, &hardening.to_string()))
}

async fn serve(
    mut activated: Activated,
    path: PathBuf,
    hardening: &str,
) -> Result<(), Box<dyn Error>> {
    let (mut shutdown, _trigger, mut reloads) = shutdown::listen()?;
    let endpoint = Endpoint { path, mode: 0o666, group: None };
    let (listener, _file) = listener::open(&mut activated, "whoami", &endpoint)?;
    tokio::spawn(notify::feed_watchdog());
    notify::ready(hardening);
    loop {
        tokio::select! {
            () = shutdown.requested() => break,
            () = reloads.next() => {
                notify::reloading();
                notify::ready("reloaded");
            }
            accepted = listener.accept() => answer(accepted?.0).await?,
        }
    }
    notify::stopping();
    Ok(())
}

async fn answer(mut stream: UnixStream) -> Result<(), Box<dyn Error>> {
    let line = match Peer::of(&stream).map_err(peer::AuthnError::from).and_then(peer::authenticate)
    {
        Ok(caller) => format!("uid {} gid {}\n", caller.uid(), caller.gid()),
        Err(error) => format!("{error}\n"),
    };
    // A caller that hangs up early is no fault of the daemon.
    let _hung_up = stream.write_all(line.as_bytes()).await;
    Ok(())
}
