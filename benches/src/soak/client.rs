//! One client: requests of chance, and a comparison of each answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use aws_lc_rs::hmac;
use serde_json::{Value, json};
use tests::{Dice, b64};

use super::line::{Line, post, raw};
use super::report::Report;
use super::{PROVIDERS, Run};

/// Envelopes that a client keeps: from the beginning, and the last ones.
const KEPT: usize = 128;
/// Codes that a fault may bring, with their status (docs/api.md section 3).
const EXPLAINED: [(u16, &str); 3] = [(503, "unavailable"), (504, "timeout"), (429, "busy")];

/// What is known of an envelope.
pub(super) struct Sealed {
    pub(super) provider: &'static str,
    pub(super) envelope: String,
    pub(super) plaintext: String,
    pub(super) context: Value,
}

/// A client, which opens a new connection now and then.
pub(super) struct Client {
    run: Arc<Run>,
    dice: Dice,
    pub(super) sealed: Vec<Sealed>,
    counter: u64,
    pub(super) report: Report,
}

/// An answer that succeeded, or a refusal that a fault explains.
enum Answer {
    Good(Value),
    Refused,
}

impl Client {
    pub(super) fn new(run: Arc<Run>, dice: Dice) -> Self {
        Self { run, dice, sealed: Vec::new(), counter: 0, report: Report::default() }
    }

    /// Makes requests until the run is over.
    pub(super) async fn work(mut self) -> Self {
        let run = Arc::clone(&self.run);
        let mut line = Line::open(&run.socket).await;
        while !run.is_over() {
            if self.dice.below(500) == 0 {
                line = self.go_away(line).await;
            }
            self.step(&mut line).await;
            run.answered.fetch_add(1, Ordering::Relaxed);
        }
        self
    }

    async fn step(&mut self, line: &mut Line) {
        let provider = PROVIDERS[self.dice.below(PROVIDERS.len())];
        match self.dice.below(20) {
            0..=4 => self.seal(line, provider).await,
            5..=10 => self.unseal(line).await,
            11..=15 => self.mac(line, provider).await,
            16 => self.rewrap(line).await,
            17 => self.batch(line, provider).await,
            // An increment waits for the disk twice, and so would be most of the time.
            18 if self.dice.below(5) == 0 => self.raise(line).await,
            18 => self.unseal(line).await,
            _ => self.ask_wrongly(line, provider).await,
        }
    }

    async fn seal(&mut self, line: &mut Line, provider: &'static str) {
        let mut plaintext = vec![0; 1 + self.dice.below(512)];
        aws_lc_rs::rand::fill(&mut plaintext).unwrap();
        let plaintext = b64(plaintext);
        let context = json!({"number": self.dice.below(1000).to_string()});
        let body = json!({"plaintext": plaintext, "context": context});
        let request = post(&format!("/v1/keys/{provider}-seal/seal"), &body);
        if let Answer::Good(reply) = self.ask(line, "seal", provider, &request).await {
            let envelope = reply["sealed"].as_str().unwrap().to_owned();
            let sealed = Sealed { provider, envelope, plaintext, context };
            if self.sealed.len() < KEPT {
                self.sealed.push(sealed);
            } else {
                // The first half stays to the end.
                let place = KEPT / 2 + self.dice.below(KEPT / 2);
                self.sealed[place] = sealed;
            }
        }
    }

    async fn unseal(&mut self, line: &mut Line) {
        let Some(number) = self.some_sealed() else { return };
        let Sealed { provider, envelope, context, .. } = &self.sealed[number];
        let provider = *provider;
        let body = json!({"sealed": envelope, "context": context});
        let request = post(&format!("/v1/keys/{provider}-seal/unseal"), &body);
        if let Answer::Good(reply) = self.ask(line, "unseal", provider, &request).await {
            assert_eq!(reply["plaintext"], self.sealed[number].plaintext, "a wrong plaintext");
        }
    }

    async fn mac(&mut self, line: &mut Line, provider: &'static str) {
        let mut message = [0; 64];
        aws_lc_rs::rand::fill(&mut message).unwrap();
        let body = json!({"message": b64(message), "version": 1});
        let request = post(&format!("/v1/keys/{provider}-mac/mac"), &body);
        if let Answer::Good(reply) = self.ask(line, "mac", provider, &request).await {
            let key = hmac::Key::new(hmac::HMAC_SHA256, provider.as_bytes());
            assert_eq!(reply["mac"], b64(hmac::sign(&key, &message)), "a wrong MAC");
        }
    }

    /// Brings an envelope to the active version, which a rotation may just have made.
    async fn rewrap(&mut self, line: &mut Line) {
        let Some(number) = self.some_sealed() else { return };
        let Sealed { provider, envelope, .. } = &self.sealed[number];
        let provider = *provider;
        let body = json!({"sealed": envelope});
        let request = post(&format!("/v1/keys/{provider}-seal/rewrap"), &body);
        if let Answer::Good(reply) = self.ask(line, "rewrap", provider, &request).await {
            reply["sealed"].as_str().unwrap().clone_into(&mut self.sealed[number].envelope);
        }
    }

    /// Opens four at once, one of them with another context; each item has its own outcome.
    async fn batch(&mut self, line: &mut Line, provider: &'static str) {
        let own: Vec<_> = self.sealed.iter().filter(|it| it.provider == provider).take(4).collect();
        let mut items: Vec<_> =
            own.iter().map(|it| json!({"sealed": it.envelope, "context": it.context})).collect();
        let Some(first) = items.first_mut() else { return };
        first["context"] = json!({"number": "another"});
        let expected: Vec<_> = own.iter().map(|it| it.plaintext.clone()).collect();
        let request = post(&format!("/v1/keys/{provider}-seal/unseal"), &json!({"items": items}));
        let before = self.run.windows.look(provider);
        if let Answer::Good(reply) = self.ask(line, "unseal 4", provider, &request).await {
            let explained = self.run.windows.was_open(provider, before);
            for (number, item) in reply["items"].as_array().unwrap().iter().enumerate() {
                let code = item["error"]["code"].as_str();
                let refused = explained && EXPLAINED.iter().any(|(_, it)| Some(*it) == code);
                match number {
                    0 => assert!(refused || code == Some("integrity"), "{item}"),
                    _ if refused => {}
                    _ => assert_eq!(item["plaintext"], expected[number], "a wrong plaintext"),
                }
            }
        }
    }

    async fn raise(&mut self, line: &mut Line) {
        let request = post("/v1/counters/soak/increment", &json!({}));
        if let Answer::Good(reply) = self.ask(line, "increment", "soft", &request).await {
            let value = reply["value"].as_u64().unwrap();
            assert!(value > self.counter, "the counter stepped back to {value}");
            self.counter = value;
        }
    }

    /// Requests that are refused whatever state the provider is in, each with its own code.
    async fn ask_wrongly(&mut self, line: &mut Line, provider: &'static str) {
        let seal = format!("/v1/keys/{provider}-seal/seal");
        let mac = format!("/v1/keys/{provider}-mac/mac");
        let (request, expected) = match self.dice.below(4) {
            0 => (raw("POST", &seal, b"{\"plaintext\":"), (400, "malformed")),
            1 => (post("/v1/keys/nobody/seal", &json!({"plaintext": ""})), (404, "not_found")),
            2 => (post(&mac, &json!({"message": "", "version": 9999})), (404, "not_found")),
            _ => (post(&seal, &json!({"message": ""})), (400, "malformed")),
        };
        let begun = Instant::now();
        let (status, said) = line.ask(&request).await;
        assert_eq!((status, said["code"].as_str().unwrap()), expected, "{said}");
        self.report.refused("wrong request", "none", begun.elapsed(), expected.1);
    }

    /// Goes away in the middle of a request, or before its answer, and comes again.
    async fn go_away(&mut self, line: Line) -> Line {
        let provider = PROVIDERS[self.dice.below(PROVIDERS.len())];
        let body = json!({"plaintext": b64([7; 300])});
        let request = post(&format!("/v1/keys/{provider}-seal/seal"), &body);
        let length = 1 + self.dice.below(request.len());
        line.abandon(&request[..length]).await;
        self.report.gone_away += 1;
        Line::open(&self.run.socket).await
    }

    async fn ask(
        &mut self,
        line: &mut Line,
        operation: &'static str,
        provider: &'static str,
        request: &[u8],
    ) -> Answer {
        let before = self.run.windows.look(provider);
        let begun = Instant::now();
        let (status, said) = line.ask(request).await;
        let elapsed = begun.elapsed();
        let in_a_fault = self.run.windows.was_open(provider, before);
        if status == 200 {
            self.report.answered(operation, provider, elapsed, in_a_fault);
            return Answer::Good(said);
        }
        let code = said["code"].as_str().unwrap_or_default();
        let explained = EXPLAINED.iter().find(|it| **it == (status, code));
        let Some((_, code)) = explained.filter(|_| in_a_fault) else {
            panic!("{operation} on {provider}, in a fault: {in_a_fault}: {said}");
        };
        self.report.refused(operation, provider, elapsed, code);
        Answer::Refused
    }

    fn some_sealed(&mut self) -> Option<usize> {
        let count = self.sealed.len();
        (count > 0).then(|| self.dice.below(count))
    }
}
