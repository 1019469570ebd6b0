//! Requests that wait for an answer, and what a response becomes of: the rules of case M13. Pure:
//! neither time nor network.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::contract::{
    Acknowledgement, Entry, Message, Named, Outcome, Refusal, RequestId, Status,
};
use crate::secret::Draft;
use crate::source::Wanted;

/// Requests that are over and whose ids are still known, so that a late or second answer is told
/// apart from a foreign one.
pub(super) const CLOSED_MAX: usize = 256;

/// The answer to a request.
#[derive(Debug)]
pub(super) struct Answer {
    /// What was delivered for each of the wanted, in order.
    pub(super) drafts: Vec<Vec<Draft>>,
    /// Whether there were secrets that could not be taken.
    pub(super) refused: bool,
}

/// The requests of one source.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    open: BTreeMap<RequestId, Open>,
    closed: VecDeque<(RequestId, Status)>,
}

#[derive(Debug)]
struct Open {
    wanted: Vec<Wanted>,
    answer: oneshot::Sender<Answer>,
}

/// A request that is open until it is answered or this is dropped.
#[derive(Debug)]
pub(super) struct Request {
    requests: Requests,
    pub(super) id: RequestId,
    pub(super) answer: oneshot::Receiver<Answer>,
}

impl Drop for Request {
    fn drop(&mut self) {
        let mut state = self.requests.lock();
        if state.open.remove(&self.id).is_some() {
            state.close(self.id.clone(), Status::Late);
        }
    }
}

impl Requests {
    /// Opens a request; `None` when there is one with this id.
    pub(super) fn open(&self, id: &RequestId, wanted: &[Wanted]) -> Option<Request> {
        let (sender, answer) = oneshot::channel();
        let mut state = self.lock();
        if state.open.contains_key(id) || state.closed(id).is_some() {
            return None;
        }
        state.open.insert(id.clone(), Open { wanted: wanted.to_vec(), answer: sender });
        Some(Request { requests: self.clone(), id: id.clone(), answer })
    }

    /// Takes a response for the request it names.
    pub(super) fn settle(&self, id: RequestId, message: Message<Entry>) -> Acknowledgement {
        let refused =
            |id, status| Acknowledgement { request_id: Some(id), status, secrets: Vec::new() };
        let open = {
            let mut state = self.lock();
            let Some(open) = state.open.remove(&id) else {
                let status = state.closed(&id).unwrap_or(Status::Unknown);
                return refused(id, status);
            };
            state.close(id.clone(), Status::Duplicate);
            open
        };
        let (answer, secrets) = sort(&open.wanted, message.secrets);
        let nothing_usable = answer.refused && answer.drafts.iter().all(Vec::is_empty);
        let status = if nothing_usable { Status::Unusable } else { Status::Accepted };
        if open.answer.send(answer).is_err() {
            return refused(id, Status::Late);
        }
        Acknowledgement { request_id: Some(id), status, secrets }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn close(&mut self, id: RequestId, status: Status) {
        if self.closed.len() >= CLOSED_MAX {
            self.closed.pop_front();
        }
        self.closed.push_back((id, status));
    }

    fn closed(&self, id: &RequestId) -> Option<Status> {
        self.closed.iter().find(|(closed, _)| closed == id).map(|(_, status)| *status)
    }
}

/// Puts each secret to the wish that it fulfills.
fn sort(wanted: &[Wanted], entries: Vec<Entry>) -> (Answer, Vec<(Named, Outcome)>) {
    let mut drafts: Vec<Vec<Draft>> = wanted.iter().map(|_| Vec::new()).collect();
    let mut outcomes = Vec::new();
    let mut refused = false;
    let mut mentioned = BTreeSet::new();
    for Entry { named, draft } in entries {
        let outcome = match draft {
            Err(refusal) => Outcome::Refused(refusal),
            Ok(None) => Outcome::Missing,
            Ok(Some(draft)) => {
                let mut taken = Outcome::Refused(Refusal::NotAskedFor);
                for (wish, drafts) in wanted.iter().zip(&mut drafts) {
                    if fulfills(&draft, wish) {
                        drafts.push(draft.clone());
                        taken = Outcome::Delivered;
                    }
                }
                taken
            }
        };
        refused |= matches!(outcome, Outcome::Refused(_));
        mentioned.extend(named.name.clone());
        outcomes.push((named, outcome));
    }
    let missing = wanted
        .iter()
        .zip(&drafts)
        .filter(|(wish, drafts)| drafts.is_empty() && !mentioned.contains(&wish.name));
    outcomes.extend(missing.map(|(wish, _)| {
        let named = Named { name: Some(wish.name.clone()), version: wish.version.clone() };
        (named, Outcome::Missing)
    }));
    (Answer { drafts, refused }, outcomes)
}

fn fulfills(draft: &Draft, wish: &Wanted) -> bool {
    draft.name == wish.name
        && wish.version.as_ref().is_none_or(|version| *version == draft.stored_version())
}

#[cfg(test)]
mod tests {
    use super::super::contract::decode_update;
    use super::*;

    fn id(text: &str) -> RequestId {
        RequestId::parse(text).unwrap()
    }

    fn wanted(names: &[(&str, Option<&str>)]) -> Vec<Wanted> {
        let wanted = names.iter().map(|(name, version)| Wanted {
            name: name.parse().unwrap(),
            version: version.map(|version| version.parse().unwrap()),
        });
        wanted.collect()
    }

    fn settle(requests: &Requests, request: &str, secrets: &str) -> Acknowledgement {
        let message = format!(r#"{{"Secrets":{secrets}}}"#);
        requests.settle(id(request), decode_update(message.as_bytes()).unwrap())
    }

    /// Asks, answers, and compares what is acknowledged and how much came for each wish.
    #[track_caller]
    fn check(
        names: &[(&str, Option<&str>)],
        secrets: &str,
        status: Status,
        outcomes: &[Outcome],
        counts: &[usize],
    ) {
        let requests = Requests::default();
        let mut request = requests.open(&id("r"), &wanted(names)).unwrap();
        let answered = settle(&requests, "r", secrets);
        assert_eq!(answered.status, status);
        let found: Vec<_> = answered.secrets.into_iter().map(|(_, outcome)| outcome).collect();
        assert_eq!(found, outcomes);
        let drafts = request.answer.try_recv().unwrap().drafts;
        assert_eq!(drafts.iter().map(Vec::len).collect::<Vec<_>>(), counts);
    }

    #[test]
    fn m15_three_names_of_which_one_is_absent_are_two_delivered_and_one_missing() {
        check(
            &[("a", None), ("b", None), ("c", None)],
            r#"[{"Name":"c","Value":"3"},{"Name":"a","Value":"1"}]"#,
            Status::Accepted,
            &[Outcome::Delivered, Outcome::Delivered, Outcome::Missing],
            &[1, 0, 1],
        );
    }

    #[test]
    fn m15_name_with_a_null_value_is_missing() {
        check(
            &[("a", None)],
            r#"[{"Name":"a","Value":null}]"#,
            Status::Accepted,
            &[Outcome::Missing],
            &[0],
        );
    }

    #[test]
    fn all_versions_of_a_name_come_for_one_wish() {
        check(
            &[("a", None)],
            r#"[{"Name":"a","Version":"1","Value":"x"},{"Name":"a","Version":"2","Value":"y"}]"#,
            Status::Accepted,
            &[Outcome::Delivered; 2],
            &[2],
        );
    }

    #[test]
    fn secret_that_was_not_asked_for_is_refused() {
        let refused = Outcome::Refused(Refusal::NotAskedFor);
        check(
            &[("a", None)],
            r#"[{"Name":"a","Value":"x"},{"Name":"b","Value":"y"}]"#,
            Status::Accepted,
            &[Outcome::Delivered, refused],
            &[1],
        );
        check(
            &[("a", Some("v1"))],
            r#"[{"Name":"a","Version":"v2","Value":"x"}]"#,
            Status::Unusable,
            &[refused],
            &[0],
        );
    }

    #[test]
    fn m13_unknown_request_is_refused() {
        assert_eq!(settle(&Requests::default(), "r", "[]").status, Status::Unknown);
    }

    #[test]
    fn m13_second_answer_is_refused_and_changes_nothing() {
        let requests = Requests::default();
        let mut request = requests.open(&id("r"), &wanted(&[("a", None)])).unwrap();
        settle(&requests, "r", r#"[{"Name":"a","Value":"first"}]"#);
        let second = settle(&requests, "r", r#"[{"Name":"a","Value":"second"}]"#);
        assert_eq!(second.status, Status::Duplicate);
        let answer = request.answer.try_recv().unwrap();
        assert_eq!(answer.drafts[0][0].value.as_bytes(), b"first");
    }

    #[test]
    fn m13_answer_after_the_time_out_is_refused() {
        let requests = Requests::default();
        drop(requests.open(&id("r"), &wanted(&[("a", None)])).unwrap());
        let late = settle(&requests, "r", r#"[{"Name":"a","Value":"x"}]"#);
        assert_eq!(late.status, Status::Late);
        assert!(late.secrets.is_empty());
    }

    #[test]
    fn id_of_an_open_or_recent_request_is_not_taken_again() {
        let requests = Requests::default();
        let request = requests.open(&id("r"), &[]).unwrap();
        assert!(requests.open(&id("r"), &[]).is_none());
        drop(request);
        assert!(requests.open(&id("r"), &[]).is_none());
    }

    #[test]
    fn closed_request_at_limit_is_known_and_one_past_it_forgotten() {
        let requests = Requests::default();
        let close = |text: &str| drop(requests.open(&id(text), &[]).unwrap());
        close("first");
        (1..CLOSED_MAX).for_each(|n| close(&format!("r{n}")));
        assert_eq!(settle(&requests, "first", "[]").status, Status::Late);
        close("last");
        assert_eq!(settle(&requests, "first", "[]").status, Status::Unknown);
    }
}
