//! Reads the body of a request, within a length, a time, and the room that there is for bodies.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Incoming};
use tokio::time::timeout;
use wire::code::{Code, Fault};
use wire::limits::BODY_MAX_BYTES;

use crate::limit::{BodyPermit, Busy};

/// What is wrong with a body that came slower than it may.
pub const BODY_TOO_SLOW: &str = "body came too slowly";

/// Why there is no body.
#[derive(Debug)]
pub(super) enum Unread {
    /// It is not one that is read.
    Fault(Fault),
    /// There is no room for it now.
    Busy(Busy),
}

/// Reads a body; what is read of it is counted by `room` for as long as that lives.
///
/// A body that says how long it is has all its room before it is read.
pub(super) async fn read(
    body: Incoming,
    patience: Duration,
    room: &mut BodyPermit,
) -> Result<Bytes, Unread> {
    match timeout(patience, collect(body, room)).await {
        Ok(read) => read,
        Err(_elapsed) => Err(malformed(BODY_TOO_SLOW)),
    }
}

fn malformed(detail: &'static str) -> Unread {
    Unread::Fault(Fault::new(Code::Malformed, detail))
}

async fn collect(mut body: Incoming, room: &mut BodyPermit) -> Result<Bytes, Unread> {
    let said = body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
    if let Some(bytes) = said.filter(|bytes| *bytes <= BODY_MAX_BYTES) {
        room.grow(bytes).map_err(Unread::Busy)?;
    }
    let mut first = Bytes::new();
    // Frames are copied together: kept as they came, a body of one byte each would take many
    // times its length.
    let mut whole = Vec::new();
    let mut length = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_broken| malformed("body was cut short"))?;
        // Trailers say nothing to us.
        let Ok(data) = frame.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length > BODY_MAX_BYTES {
            let detail = format!("body exceeds limit of {BODY_MAX_BYTES}");
            return Err(Unread::Fault(Fault::new(Code::TooLarge, detail)));
        }
        if said.is_none() {
            room.grow(data.len()).map_err(Unread::Busy)?;
        }
        if length == data.len() {
            first = data;
            continue;
        }
        if whole.is_empty() {
            whole.reserve_exact(said.unwrap_or_default());
            whole.extend_from_slice(&first);
            first = Bytes::new();
        }
        whole.extend_from_slice(&data);
    }
    Ok(if whole.is_empty() { first } else { whole.into() })
}
