//! Our side of the broker: a source, and a chain of stores over it.

use std::sync::Arc;
use std::time::Duration;

use daemon::clock::Clock;
use secret_manager::lifecycle::Patience;
use secret_manager::{
    Broker, Chain, ChainBuilder, Freshness, GetError, LinkState, MemoryBounds, MemoryStore,
    MqttOptions, MqttSource, NoPassword, Policy, Profile, Push, Query, Source, StoreClock, Wanted,
    draw,
};
use swtpm_fixtures::Mosquitto;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::cloud::DEVICE;

const PATIENCE: Duration = Duration::from_secs(60);
const BOUNDS: MemoryBounds = MemoryBounds { entries: 100, bytes: 1_000_000, ttl: None };
pub(crate) const ALL: Policy = Policy { unsolicited_updates: true, deletes: true };

pub(crate) struct Device {
    pub(crate) source: Arc<MqttSource>,
    pub(crate) pushes: mpsc::Receiver<Push>,
    pub(crate) chain: Chain,
    pub(crate) base: Arc<MemoryStore>,
    pub(crate) cache: Arc<MemoryStore>,
}

/// How a device reaches a broker by its socket. It waits long for answers, and not for brokers.
pub(crate) fn options(broker: &Mosquitto) -> MqttOptions {
    MqttOptions {
        label: "cloud".to_owned(),
        profile: Profile::plain(DEVICE).unwrap(),
        broker: Broker::Unix(broker.socket()),
        user: None,
        credentials: Arc::new(NoPassword),
        policy: ALL,
        patience: Patience {
            timeout: PATIENCE,
            attempts: 1,
            first_pause: Duration::from_millis(10),
            longest_pause: Duration::from_millis(20),
        },
        keep_alive: Duration::from_secs(60),
        clock: StoreClock::new(Clock::system()),
        draw,
    }
}

/// A device that asks three times, and is quick to despair of an answer.
pub(crate) fn hasty(broker: &Mosquitto) -> MqttOptions {
    let options = options(broker);
    let timeout = Duration::from_millis(150);
    MqttOptions { patience: Patience { timeout, attempts: 3, ..options.patience }, ..options }
}

impl Device {
    /// Starts, and waits for the connection.
    pub(crate) async fn start(options: MqttOptions) -> Self {
        let device = Self::start_anyway(options);
        device.link(|state| *state == LinkState::Up).await;
        device
    }

    pub(crate) fn start_anyway(options: MqttOptions) -> Self {
        let clock = options.clock.clone();
        let (source, pushes) = MqttSource::start(options);
        let source = Arc::new(source);
        let base = Arc::new(MemoryStore::base("base", BOUNDS, clock.clone()));
        let cache = Arc::new(MemoryStore::cache("cache", BOUNDS, clock.clone()));
        let behind: Arc<dyn Source> = Arc::<MqttSource>::clone(&source);
        let chain = ChainBuilder::new(Arc::<MemoryStore>::clone(&base), clock)
            .in_front(Arc::<MemoryStore>::clone(&cache))
            .source(behind);
        Self { source, pushes, chain: chain.build().unwrap(), base, cache }
    }

    /// Waits until the connection is as wanted.
    pub(crate) async fn link(&self, wanted: impl FnMut(&LinkState) -> bool) -> LinkState {
        let mut link = self.source.link();
        timeout(PATIENCE, link.wait_for(wanted)).await.unwrap().unwrap().clone()
    }

    pub(crate) async fn get(&self, name: &str, freshness: Freshness) -> Result<String, GetError> {
        let query = Query { name: name.parse().unwrap(), version: None, at: None };
        let got = self.chain.get(&query, freshness).await?;
        Ok(String::from_utf8(got.secret.value.as_bytes().to_vec()).unwrap())
    }

    pub(crate) async fn push(&mut self) -> Push {
        timeout(PATIENCE, self.pushes.recv()).await.unwrap().unwrap()
    }

    /// Carries out the next push, as the daemon does.
    pub(crate) async fn carry_out(&mut self) {
        let Push { delivery, ticket } = self.push().await;
        let by = "source:cloud".parse().unwrap();
        ticket.done(&self.chain.deliver(delivery, &by).await.unwrap());
    }
}

pub(crate) fn wanted(names: &[&str]) -> Vec<Wanted> {
    names.iter().map(|name| Wanted { name: name.parse().unwrap(), version: None }).collect()
}
