//! Turns of connections that end while they have one or wait for one.

use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::task::{Wake, Waker};

use super::super::{ConnectionPermit, Limiter, Limits};
use super::*;
use crate::clock::Clock;

/// A connection of the first user that becomes ready behind as many as may go on at once, all of
/// which have a turn that they have not begun; and whether it was woken.
struct Queue {
    first: Vec<Connection>,
    last: Connection,
    woken: Arc<Flag>,
    held: (Limiter, Vec<ConnectionPermit>),
}

type Connection = Pin<Box<dyn Future<Output = ()>>>;

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Queue {
    fn new() -> Self {
        let limiter = Limiter::new(Limits::default(), Clock::system());
        let mut permits = vec![limiter.connection(2).unwrap()];
        permits.extend((0..=at_once()).map(|_| limiter.connection(1).unwrap()));
        let of_user = permits.iter().skip(1);
        let mut first: Vec<_> =
            of_user.map(|permit| Box::pin(permit.turns().take(async {})) as Connection).collect();
        let last = first.pop().unwrap();
        let held = (limiter, permits);
        let mut queue = Self { first, last, woken: Arc::default(), held };
        for connection in &mut queue.first {
            let mut context = Context::from_waker(Waker::noop());
            assert!(connection.as_mut().poll(&mut context).is_pending());
        }
        assert!(queue.poll_last().is_pending());
        assert!(!queue.woken.0.load(Ordering::Relaxed), "it does not wait");
        queue
    }

    fn poll_last(&mut self) -> Poll<()> {
        let waker = Waker::from(Arc::clone(&self.woken));
        self.last.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

#[test]
fn turn_of_a_connection_that_ends_before_it_begins_goes_to_the_next() {
    let mut queue = Queue::new();
    queue.first.pop();
    assert!(queue.woken.0.load(Ordering::Relaxed));
    assert!(queue.poll_last().is_ready());
}

#[test]
fn turn_of_a_connection_that_ends_in_the_queue_goes_to_the_one_behind_it() {
    let mut queue = Queue::new();
    let (_, permits) = &queue.held;
    let mut behind = Box::pin(permits[1].turns().take(async {}));
    let mut context = Context::from_waker(Waker::noop());
    assert!(behind.as_mut().poll(&mut context).is_pending());
    // The turn is the one's that waits by now; it ends without having taken it.
    queue.first.pop();
    queue.last = Box::pin(async {});
    assert!(behind.as_mut().poll(&mut context).is_ready());
}
