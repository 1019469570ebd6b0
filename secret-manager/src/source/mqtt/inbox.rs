//! What becomes of a message that came: whom it is for, what it is answered with, and when it is
//! acknowledged to the broker.

use tokio::sync::mpsc;
use tracing::{info, warn};
use wire::secrets::Date;

use super::Policy;
use super::contract::{
    Acknowledgement, Entry, Fault, Message as Decoded, Named, Outcome, RequestId, Status,
    acknowledgement, decode_delete, decode_update,
};
use super::packet::Message;
use super::requests::Requests;
use super::topics::{Caller, Incoming, Profile};
use crate::clock::StoreClock;
use crate::source::Delivery;
use crate::store::Written;

/// Deliveries that may wait to be stored; more are answered `busy`.
pub const DELIVERIES_WAITING_MAX: usize = 16;

/// What the link sends: a message, and then the receipt of the one that it answers.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) receipt: Option<Receipt>,
}

/// What the broker is to be told about a message that it delivered: that it need not again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Receipt {
    /// The number of the connection on which the message came; ids mean nothing on another.
    pub(super) connection: u64,
    pub(super) packet_id: u16,
}

/// What is done with a message.
#[derive(Debug)]
pub(super) enum Taken {
    /// It is answered, and then acknowledged to the broker.
    Answered(Outgoing),
    /// Whoever stores it will answer.
    Held,
    /// It is only acknowledged to the broker.
    Ignored,
}

/// Where messages go.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) label: String,
    pub(super) profile: Profile,
    pub(super) policy: Policy,
    pub(super) clock: StoreClock,
    pub(super) requests: Requests,
    pub(super) deliveries: mpsc::Sender<Push>,
    pub(super) outbox: mpsc::WeakSender<Outgoing>,
}

/// Something that the cloud wants stored or deleted without having been asked.
#[derive(Debug)]
pub struct Push {
    /// What to store and delete.
    pub delivery: Delivery,
    /// Tells the cloud what came of it.
    pub ticket: Ticket,
}

/// The acknowledgement of a [`Push`], to the cloud and to the broker.
///
/// One that is dropped without [`Ticket::done`] says that it failed. A broker that hears nothing
/// at all before the connection ends delivers the message again.
#[derive(Debug)]
pub struct Ticket {
    profile: Profile,
    caller: Caller,
    /// What is said of each secret when all goes well.
    answer: Acknowledgement,
    receipt: Option<Receipt>,
    outbox: mpsc::WeakSender<Outgoing>,
    done: bool,
}

impl Ticket {
    /// Says that the delivery is carried out, and what became of each of its secrets, in order.
    pub fn done(mut self, written: &[Written]) {
        self.done = true;
        let outcomes = self.answer.secrets.iter_mut().map(|(_, outcome)| outcome);
        let stored = outcomes.filter(|outcome| **outcome == Outcome::Stored);
        for (outcome, written) in stored.zip(written) {
            *outcome = match written {
                Written::Stored => Outcome::Stored,
                Written::Outdated => Outcome::Outdated,
            };
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.done {
            self.answer.status = Status::Failed;
            for (_, outcome) in &mut self.answer.secrets {
                if matches!(outcome, Outcome::Stored | Outcome::Deleted) {
                    *outcome = Outcome::Failed;
                }
            }
        }
        let Some(outbox) = self.outbox.upgrade() else { return };
        let topic = self.profile.acknowledgement(&self.caller, self.answer.status);
        let payload = acknowledgement(&self.answer);
        if outbox.try_send(Outgoing { topic, payload, receipt: self.receipt }).is_err() {
            // The broker has no receipt, and delivers again to the next connection.
            warn!("an acknowledgement is lost, because too many wait to be sent");
        }
    }
}

impl Inbox {
    /// Takes a message.
    pub(super) fn take(&self, message: &Message, receipt: Option<Receipt>) -> Taken {
        let incoming = self.profile.incoming(&message.topic);
        // A message that the broker keeps for whoever subscribes comes again with every
        // connection, whatever happened since.
        if message.retained {
            warn!(source = self.label, "a retained message is ignored; remove it at the broker");
            return Taken::Ignored;
        }
        match incoming {
            Incoming::Update(caller) => self.update(message, caller, receipt),
            Incoming::Delete(caller) => self.delete(message, caller, receipt),
            Incoming::Other(caller) => self.refuse(&caller, Status::NoSuchMethod, None, receipt),
            Incoming::Reported { accepted: true } => Taken::Ignored,
            Incoming::Reported { accepted: false } => {
                warn!(source = self.label, "the hub refused a status report");
                Taken::Ignored
            }
            Incoming::Foreign => {
                warn!(source = self.label, "a message on a foreign topic is ignored");
                Taken::Ignored
            }
        }
    }

    fn update(&self, message: &Message, caller: Caller, receipt: Option<Receipt>) -> Taken {
        let decoded = match whole(message).and_then(decode_update) {
            Ok(decoded) => decoded,
            Err(fault) => return self.refuse(&caller, fault.into(), None, receipt),
        };
        match decoded.request_id.clone() {
            Some(id) => {
                let answer = self.requests.settle(id, decoded);
                self.answer(&caller, &answer, receipt)
            }
            None if self.policy.unsolicited_updates => {
                let (delivery, secrets) = delivery(decoded, self.clock.now().date);
                self.push(caller, None, delivery, secrets, receipt)
            }
            None => self.refuse(&caller, Status::Unasked, None, receipt),
        }
    }

    fn delete(&self, message: &Message, caller: Caller, receipt: Option<Receipt>) -> Taken {
        let decoded = match whole(message).and_then(decode_delete) {
            Ok(decoded) => decoded,
            Err(fault) => return self.refuse(&caller, fault.into(), None, receipt),
        };
        if !self.policy.deletes {
            return self.refuse(&caller, Status::Unasked, decoded.request_id, receipt);
        }
        let mut outcomes = Vec::new();
        let mut removals = Vec::new();
        for secret in decoded.secrets {
            match secret {
                Ok(removal) => {
                    let (name, version) = (Some(removal.name.clone()), removal.version.clone());
                    outcomes.push((Named { name, version }, Outcome::Deleted));
                    removals.push(removal);
                }
                Err((named, refusal)) => outcomes.push((named, Outcome::Refused(refusal))),
            }
        }
        let issued = issued(decoded.created, self.clock.now().date);
        let delivery = Delivery { issued, secrets: Vec::new(), removals };
        self.push(caller, decoded.request_id, delivery, outcomes, receipt)
    }

    /// Hands a delivery to whoever stores it.
    fn push(
        &self,
        caller: Caller,
        request_id: Option<RequestId>,
        delivery: Delivery,
        secrets: Vec<(Named, Outcome)>,
        receipt: Option<Receipt>,
    ) -> Taken {
        if delivery.secrets.is_empty() && delivery.removals.is_empty() {
            let answer = Acknowledgement { request_id, status: Status::Unusable, secrets };
            return self.answer(&caller, &answer, receipt);
        }
        let room = match self.deliveries.try_reserve() {
            Ok(room) => room,
            Err(mpsc::error::TrySendError::Full(())) => {
                return self.refuse(&caller, Status::Busy, request_id, receipt);
            }
            Err(mpsc::error::TrySendError::Closed(())) => {
                return self.refuse(&caller, Status::Failed, request_id, receipt);
            }
        };
        let ticket = Ticket {
            profile: self.profile.clone(),
            caller,
            answer: Acknowledgement { request_id, status: Status::Accepted, secrets },
            receipt,
            outbox: self.outbox.clone(),
            done: false,
        };
        room.send(Push { delivery, ticket });
        Taken::Held
    }

    fn refuse(
        &self,
        caller: &Caller,
        status: Status,
        request_id: Option<RequestId>,
        receipt: Option<Receipt>,
    ) -> Taken {
        let answer = Acknowledgement { request_id, status, secrets: Vec::new() };
        self.answer(caller, &answer, receipt)
    }

    fn answer(&self, caller: &Caller, answer: &Acknowledgement, receipt: Option<Receipt>) -> Taken {
        let refused =
            answer.secrets.iter().filter(|(_, it)| matches!(it, Outcome::Refused(_))).count();
        match answer.status.reason() {
            Some(reason) => warn!(source = self.label, refused, "a message is refused: {reason}"),
            None => info!(source = self.label, refused, "a response is taken"),
        }
        let topic = self.profile.acknowledgement(caller, answer.status);
        Taken::Answered(Outgoing { topic, payload: acknowledgement(answer), receipt })
    }
}

fn whole(message: &Message) -> Result<&[u8], Fault> {
    if message.cut { Err(Fault::TooLarge) } else { Ok(message.payload.as_bytes()) }
}

fn delivery(decoded: Decoded<Entry>, now: Date) -> (Delivery, Vec<(Named, Outcome)>) {
    let mut outcomes = Vec::new();
    let mut secrets = Vec::new();
    for Entry { named, draft } in decoded.secrets {
        let outcome = match draft {
            Ok(Some(draft)) => {
                secrets.push(draft);
                Outcome::Stored
            }
            Ok(None) => Outcome::Missing,
            Err(refusal) => Outcome::Refused(refusal),
        };
        outcomes.push((named, outcome));
    }
    let issued = issued(decoded.created, now);
    (Delivery { issued, secrets, removals: Vec::new() }, outcomes)
}

/// When the cloud said so: never later than now, or it would outlive a deletion to come.
fn issued(created: Option<Date>, now: Date) -> Date {
    created.map_or(now, |created| created.min(now))
}
