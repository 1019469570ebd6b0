//! A directory: looked at every now and then for deliveries that nobody asked for.

use std::sync::Arc;
use std::time::Duration;

use daemon::shutdown::Shutdown;
use tokio::time::{MissedTickBehavior, interval};
use wire::secrets::{Author, Date};

use crate::chain::Chain;
use crate::source::directory::DirectorySource;

/// Takes in what is put into the directory without being asked for.
pub(in crate::serve) async fn take_in(
    chain: Chain,
    source: Arc<DirectorySource>,
    by: Author,
    poll: Duration,
    mut shutdown: Shutdown,
) {
    let mut last = Date::MIN;
    let mut every = interval(poll);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = every.tick() => last = take_in_later(&chain, &source, &by, last).await,
            () = shutdown.requested() => return,
        }
    }
}

/// Takes in deliveries later than `last`, and tells the latest that was taken.
async fn take_in_later(
    chain: &Chain,
    source: &Arc<DirectorySource>,
    by: &Author,
    last: Date,
) -> Date {
    let reading = Arc::clone(source);
    let read = tokio::task::spawn_blocking(move || reading.deliveries()).await;
    let mut deliveries = match read {
        Ok(Ok(deliveries)) => deliveries,
        Ok(Err(error)) => {
            tracing::warn!(%error, "deliveries are not taken in");
            return last;
        }
        Err(error) => {
            tracing::error!(%error, "reading deliveries panicked; please report");
            return last;
        }
    };
    deliveries.sort_by_key(|delivery| delivery.issued);
    let mut taken = last;
    for delivery in deliveries.into_iter().filter(|delivery| delivery.issued > last) {
        let issued = delivery.issued;
        if let Err(error) = chain.deliver(delivery, by).await {
            tracing::warn!(%error, "a delivery is not taken in, and is tried again");
            return taken;
        }
        taken = issued;
    }
    taken
}
