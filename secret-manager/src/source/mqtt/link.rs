//! The connection to the broker: made, kept, made again, ended. One task; what it knows outlives
//! each connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{
    ConnAck, Connect, ConnectReturnCode, Login, Packet, PubAck, Publish, Subscribe,
    SubscribeFilter, SubscribeReasonCode,
};
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tracing::{info, warn};
use zeroize::Zeroize;

use super::MqttOptions;
use super::broker::{ConnectError, Stream};
use super::credentials::CredentialsError;
use super::inbox::{Inbox, Outgoing, Receipt, Taken};
use super::packet::{Message, PacketError, PacketReader, Received, write_packet};

/// Messages that the broker has not acknowledged yet; more wait.
const UNACKNOWLEDGED_MAX: usize = 64;
/// How long the broker may take for the whole of a connection's beginning.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
/// How long one packet may take to be written.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// Whether there is a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// There is none, and why.
    Down(String),
    /// There is one, and the broker sends us what we subscribed to.
    Up,
}

/// Why a connection is over, or was not made.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error(transparent)]
    Packet(#[from] PacketError),
    #[error("the broker did not let us in within {} s", CONNECT_LIMIT.as_secs())]
    Slow,
    #[error("the broker did not take a packet within {} s", WRITE_LIMIT.as_secs())]
    Stuck,
    #[error("the broker does not answer pings")]
    Silent,
    #[error("{0}")]
    Refused(&'static str),
    #[error("the broker refuses a subscription; allow the device its topics there")]
    Subscription,
    #[error("the broker sent a packet that does not belong there")]
    Unexpected,
}

type Reader = PacketReader<ReadHalf<Box<dyn Stream>>>;
type Writer = WriteHalf<Box<dyn Stream>>;

/// Everything about the connection.
pub(super) struct Link {
    pub(super) options: Arc<MqttOptions>,
    pub(super) inbox: Inbox,
    pub(super) outbox: mpsc::Receiver<Outgoing>,
    pub(super) state: watch::Sender<LinkState>,
    /// True, or without a sender, when it is to end.
    pub(super) stop: watch::Receiver<bool>,
    pub(super) sent: Sent,
}

/// What was sent and is not acknowledged, by packet id.
#[derive(Debug, Default)]
pub(super) struct Sent {
    messages: BTreeMap<u16, Publish>,
    last_id: u16,
    connection: u64,
}

impl Sent {
    /// An id that is not in use. There are more ids than messages are kept.
    fn id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.messages.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }
}

impl Link {
    /// Connects, again and again, until it is to end.
    pub(super) async fn run(mut self) {
        let label = self.options.label.clone();
        let patience = self.options.patience;
        let mut stop = self.stop.clone();
        let mut failures = 0_u32;
        loop {
            let begun = Instant::now();
            let Err(error) = self.connection().await else { break };
            warn!(source = label, "no connection to the broker: {error}");
            self.state.send_replace(LinkState::Down(error.to_string()));
            if begun.elapsed() > patience.longest_pause {
                failures = 0;
            }
            failures = failures.saturating_add(1);
            let pause = patience.pause(failures, self.options.jitter());
            if timeout(pause, stopped(&mut stop)).await.is_ok() {
                break;
            }
        }
        self.state.send_replace(LinkState::Down("it was stopped".to_owned()));
        info!(source = label, "the connection to the broker is stopped");
    }

    /// One connection, to its end; `Ok` when that was wanted.
    async fn connection(&mut self) -> Result<(), LinkError> {
        let mut stop = self.stop.clone();
        let (mut reader, mut writer) = tokio::select! {
            () = stopped(&mut stop) => return Ok(()),
            connected = timeout(CONNECT_LIMIT, self.connect()) => {
                connected.map_err(|_elapsed| LinkError::Slow)??
            }
        };
        self.sent.connection = self.sent.connection.wrapping_add(1);
        let filters = self.options.profile.subscriptions().into_iter();
        let filters = filters.map(|topic| SubscribeFilter::new(topic, QoS::AtLeastOnce));
        let mut subscribe = Subscribe::new_many(filters);
        subscribe.pkid = self.sent.id();
        write(&mut writer, &Packet::Subscribe(subscribe)).await?;

        let keep_alive = self.options.keep_alive;
        let mut pings = interval_at(Instant::now() + keep_alive, keep_alive);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pinged = false;
        let mut subscribed = false;
        loop {
            let room = subscribed && self.sent.messages.len() < UNACKNOWLEDGED_MAX;
            tokio::select! {
                () = stopped(&mut stop) => return self.leave(&mut writer).await,
                received = reader.next() => match received? {
                    Received::Message(message) => self.receive(&mut writer, &message).await?,
                    Received::Other(packet) => match answer_to_us(&packet)? {
                        ToUs::Pong => pinged = false,
                        ToUs::Acknowledged(id) => drop(self.sent.messages.remove(&id)),
                        ToUs::Subscribed => {
                            subscribed = true;
                            self.send_again(&mut writer).await?;
                            info!(source = self.options.label, "connected to the broker");
                            self.state.send_replace(LinkState::Up);
                        }
                    },
                },
                _ = pings.tick() => {
                    if pinged {
                        return Err(LinkError::Silent);
                    }
                    pinged = true;
                    write(&mut writer, &Packet::PingReq).await?;
                }
                outgoing = self.outbox.recv(), if room => match outgoing {
                    Some(outgoing) => self.send(&mut writer, outgoing).await?,
                    None => return self.leave(&mut writer).await,
                },
            }
        }
    }

    /// Says who we are, and is let in.
    async fn connect(&self) -> Result<(Reader, Writer), LinkError> {
        let options = &self.options;
        let password = options.credentials.password().await?;
        let stream = options.broker.connect().await?;
        let (read, mut writer) = tokio::io::split(stream);
        let mut reader = PacketReader::new(read);
        let mut connect = Connect::new(options.profile.client_id());
        // The broker keeps what comes for us while we are away.
        connect.clean_session = false;
        connect.keep_alive = u16::try_from(options.keep_alive.as_secs()).unwrap_or(u16::MAX);
        let user = options.profile.user().or_else(|| options.user.clone());
        connect.login = match (user, password) {
            (None, None) => None,
            (Some(username), password) => {
                let password = password.map(|it| it.as_str().to_owned()).unwrap_or_default();
                Some(Login { username, password })
            }
            // MQTT 3.1.1, [MQTT-3.1.2-22].
            (None, Some(_)) => {
                return Err(LinkError::Refused("a password needs a user name; set the user"));
            }
        };
        let connect = WithPassword(Packet::Connect(connect));
        write_packet(&mut writer, &connect.0).await?;
        drop(connect);
        match reader.next().await? {
            Received::Other(Packet::ConnAck(ConnAck { code, .. })) => admission(code)?,
            Received::Other(_) | Received::Message(_) => return Err(LinkError::Unexpected),
        }
        Ok((reader, writer))
    }

    async fn receive(&self, writer: &mut Writer, message: &Message) -> Result<(), LinkError> {
        let connection = self.sent.connection;
        let receipt = message.packet_id.map(|packet_id| Receipt { connection, packet_id });
        match self.inbox.take(message, receipt) {
            // By the same way as the answers of others, so that no order is lost.
            Taken::Answered(outgoing) => {
                let lost = match self.inbox.outbox.upgrade() {
                    Some(outbox) => outbox.try_send(outgoing).is_err(),
                    None => true,
                };
                if lost {
                    warn!(source = self.options.label, "an acknowledgement is lost");
                }
                Ok(())
            }
            Taken::Held => Ok(()),
            Taken::Ignored => self.receipt(writer, receipt).await,
        }
    }

    async fn send(&mut self, writer: &mut Writer, outgoing: Outgoing) -> Result<(), LinkError> {
        let Outgoing { topic, payload, receipt } = outgoing;
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, payload);
        publish.pkid = self.sent.id();
        // Noted before it is written: a connection that ends meanwhile does not lose it.
        self.sent.messages.insert(publish.pkid, publish.clone());
        write(writer, &Packet::Publish(publish)).await?;
        self.receipt(writer, receipt).await
    }

    /// Sends what still waits, and takes leave.
    async fn leave(&mut self, writer: &mut Writer) -> Result<(), LinkError> {
        while let Ok(outgoing) = self.outbox.try_recv() {
            self.send(writer, outgoing).await?;
        }
        write(writer, &Packet::Disconnect).await
    }

    /// Sends again what the last connection left without an acknowledgement.
    async fn send_again(&mut self, writer: &mut Writer) -> Result<(), LinkError> {
        for publish in self.sent.messages.values_mut() {
            publish.dup = true;
            write(writer, &Packet::Publish(publish.clone())).await?;
        }
        Ok(())
    }

    async fn receipt(
        &self,
        writer: &mut Writer,
        receipt: Option<Receipt>,
    ) -> Result<(), LinkError> {
        match receipt {
            Some(Receipt { connection, packet_id }) if connection == self.sent.connection => {
                write(writer, &Packet::PubAck(PubAck::new(packet_id))).await
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Waits until the link is to end, or nobody is left to say so.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// A packet whose password is wiped with it.
struct WithPassword(Packet);

impl Drop for WithPassword {
    fn drop(&mut self) {
        if let Packet::Connect(Connect { login: Some(login), .. }) = &mut self.0 {
            login.password.zeroize();
        }
    }
}

async fn write(writer: &mut Writer, packet: &Packet) -> Result<(), LinkError> {
    let written = timeout(WRITE_LIMIT, write_packet(writer, packet)).await;
    Ok(written.map_err(|_elapsed| LinkError::Stuck)??)
}

/// What a packet says about one of ours.
enum ToUs {
    Pong,
    Acknowledged(u16),
    Subscribed,
}

fn answer_to_us(packet: &Packet) -> Result<ToUs, LinkError> {
    match packet {
        Packet::PingResp => Ok(ToUs::Pong),
        Packet::PubAck(acknowledgement) => Ok(ToUs::Acknowledged(acknowledgement.pkid)),
        Packet::SubAck(answer) if answer.return_codes.contains(&SubscribeReasonCode::Failure) => {
            Err(LinkError::Subscription)
        }
        Packet::SubAck(_) => Ok(ToUs::Subscribed),
        Packet::Connect(_)
        | Packet::ConnAck(_)
        | Packet::Publish(_)
        | Packet::PubRec(_)
        | Packet::PubRel(_)
        | Packet::PubComp(_)
        | Packet::Subscribe(_)
        | Packet::Unsubscribe(_)
        | Packet::UnsubAck(_)
        | Packet::PingReq
        | Packet::Disconnect => Err(LinkError::Unexpected),
    }
}

/// MQTT 3.1.1 section 3.2.2.3.
const fn admission(code: ConnectReturnCode) -> Result<(), LinkError> {
    Err(LinkError::Refused(match code {
        ConnectReturnCode::Success => return Ok(()),
        ConnectReturnCode::RefusedProtocolVersion => "the broker does not speak MQTT 3.1.1",
        ConnectReturnCode::BadClientId => "the broker refuses the client id",
        ConnectReturnCode::ServiceUnavailable => "the broker is there, and its service is not",
        ConnectReturnCode::BadUserNamePassword => "the broker refuses user name or password",
        ConnectReturnCode::NotAuthorized => "the broker does not let this device in",
    }))
}
