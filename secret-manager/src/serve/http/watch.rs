//! Changes as a stream of server-sent events: one event a change, with its name but never its
//! value, and a comment every 15 seconds, by which either side learns that the other is gone.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use daemon::shutdown::Shutdown;
use hyper::body::{Body, Bytes, Frame};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::serve::request::Watch;

const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Events that are on their way to a slow reader; the rest waits with the chain.
const UNDER_WAY: usize = 16;

/// The body of the response.
pub(crate) struct Events(mpsc::Receiver<Bytes>);

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}

impl Events {
    /// The events of a watch, until its reader goes away or the daemon is asked to stop.
    pub(super) fn of(watch: Watch, shutdown: Shutdown) -> Self {
        let (sender, receiver) = mpsc::channel(UNDER_WAY);
        tokio::spawn(tell(watch, shutdown, sender));
        Self(receiver)
    }
}

/// # Spec
/// WHATWG HTML, section 9.2 "Server-sent events".
async fn tell(mut watch: Watch, mut shutdown: Shutdown, to: mpsc::Sender<Bytes>) {
    let mut keep_alive = interval(KEEP_ALIVE);
    keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // The first tick comes at once, so that the reader knows when its watch begins.
        let event = tokio::select! {
            change = watch.changes.recv() => match change {
                Ok(change) if !(watch.may_know)(&change) => continue,
                Ok(change) => match serde_json::to_string(&change) {
                    Ok(text) => format!("event: change\ndata: {text}\n\n"),
                    Err(_unencodable) => return,
                },
                Err(RecvError::Lagged(missed)) => {
                    format!("event: missed\ndata: {{\"changes\":{missed}}}\n\n")
                }
                Err(RecvError::Closed) => return,
            },
            _ = keep_alive.tick() => ": here\n\n".to_owned(),
            () = shutdown.requested() => return,
            () = to.closed() => return,
        };
        if to.send(event.into()).await.is_err() {
            return;
        }
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}
