//! Who gets the next turn, and who is told that there is none.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use super::*;

const ALONE: Account = Account::User(1);
const OTHER: Account = Account::User(2);

fn queue(at_device: usize, ahead: usize) -> Queue {
    let long = Duration::from_secs(3600);
    let deadlines = Deadlines {
        open: long,
        queue: long,
        generate: long,
        mac: long,
        queue_length: 6,
        queue_length_per_uid: 4,
    };
    Queue::new(at_device, ahead, deadlines)
}

/// Has the accounts ask one after the other, and says how the last one's first poll ends: a turn,
/// nothing yet, or an error. Those before keep what they have.
async fn last_of(queue: &Queue, accounts: &[Account]) -> Option<Result<(), CallError>> {
    let mut asked: Vec<_> = accounts.iter().map(|it| Box::pin(queue.turn(*it))).collect();
    let mut kept = Vec::new();
    let mut last = None;
    for ask in &mut asked {
        let polled = poll_fn(|context| Poll::Ready(ask.as_mut().poll(context))).await;
        last = match polled {
            Poll::Ready(Ok(turn)) => {
                kept.push(turn);
                Some(Ok(()))
            }
            Poll::Ready(Err(error)) => Some(Err(error)),
            Poll::Pending => None,
        };
    }
    last
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

#[track_caller]
fn check(
    (at_device, ahead): (usize, usize),
    accounts: &[Account],
    last: Option<Result<(), CallError>>,
) {
    run(async move { assert_eq!(last_of(&queue(at_device, ahead), accounts).await, last) });
}

#[test]
fn user_who_is_alone_has_the_device_and_calls_ahead_and_then_waits() {
    check((1, 1), &[ALONE; 2], Some(Ok(())));
    check((1, 1), &[ALONE; 3], None);
}

#[test]
fn user_in_company_has_nothing_ahead() {
    check((1, 1), &[ALONE, OTHER], None);
    check((4, 4), &[ALONE, OTHER], Some(Ok(())));
    check((4, 4), &[ALONE, OTHER, ALONE], None);
}

#[test]
fn user_in_company_has_no_more_than_a_quarter_of_the_device() {
    check((8, 8), &[OTHER, ALONE, ALONE], Some(Ok(())));
    check((8, 8), &[OTHER, ALONE, ALONE, ALONE], None);
    check((8, 8), &[OTHER, ALONE, ALONE, ALONE, Account::Host], Some(Ok(())));
}

#[test]
fn calls_of_one_user_at_the_limit_wait_and_one_more_is_busy() {
    check((1, 0), &[ALONE; 5], None);
    check((1, 0), &[ALONE; 6], Some(Err(CallError::Busy)));
}

#[test]
fn calls_of_all_at_the_limit_wait_and_one_more_is_busy() {
    let full = [ALONE, ALONE, ALONE, ALONE, ALONE, OTHER, OTHER];
    check((1, 0), &full, None);
    check((1, 0), &[&full[..], &[OTHER]].concat(), Some(Err(CallError::Busy)));
    check((1, 0), &[&full[..], &[Account::Host]].concat(), Some(Err(CallError::Busy)));
}

#[test]
fn users_take_turns_however_many_calls_each_has_waiting() {
    run(async {
        let queue = queue(1, 0);
        let first = queue.turn(ALONE).await.unwrap();
        let order = Mutex::new(Vec::new());
        let ask = |account| {
            let (queue, order) = (&queue, &order);
            async move {
                let _turn = queue.turn(account).await.unwrap();
                order.lock().unwrap().push(account);
            }
        };
        let begin = async move {
            tokio::task::yield_now().await;
            drop(first);
        };
        tokio::join!(ask(ALONE), ask(ALONE), ask(ALONE), ask(OTHER), ask(OTHER), begin);
        assert_eq!(order.into_inner().unwrap(), [OTHER, ALONE, OTHER, ALONE, ALONE]);
    });
}

#[test]
fn one_who_comes_now_and_then_is_not_behind_one_who_has_just_had_the_device() {
    run(async {
        let queue = queue(1, 0);
        let first = queue.turn(ALONE).await.unwrap();
        let order = Mutex::new(Vec::new());
        let ask = |account| {
            let (queue, order) = (&queue, &order);
            async move {
                let turn = queue.turn(account).await.unwrap();
                order.lock().unwrap().push(account);
                turn
            }
        };
        // It stands in line while the first of its calls has the device; then somebody comes.
        let mut next = pin!(ask(ALONE));
        assert!(poll_fn(|context| Poll::Ready(next.as_mut().poll(context).is_pending())).await);
        let begin = async move {
            tokio::task::yield_now().await;
            drop(first);
        };
        let other = async { drop(ask(OTHER).await) };
        let next = async { drop(next.await) };
        tokio::join!(other, next, begin);
        assert_eq!(*order.lock().unwrap(), [OTHER, ALONE]);
    });
}

#[test]
fn call_whose_caller_left_keeps_no_place_and_no_turn() {
    run(async {
        let queue = queue(1, 0);
        let held = queue.turn(ALONE).await.unwrap();
        {
            let mut left = pin!(queue.turn(ALONE));
            let polled = poll_fn(|context| Poll::Ready(left.as_mut().poll(context))).await;
            assert!(polled.is_pending());
            assert_eq!(queue.waiting(), 1);
        }
        assert_eq!(queue.waiting(), 0);
        {
            let mut left = pin!(queue.turn(ALONE));
            let polled = poll_fn(|context| Poll::Ready(left.as_mut().poll(context))).await;
            assert!(polled.is_pending());
            // It has its turn now, and nobody to take it.
            drop(held);
        }
        let _again = queue.turn(OTHER).await.unwrap();
        assert_eq!(queue.waiting(), 0);
    });
}

#[test]
fn those_who_wait_for_a_closed_instance_are_told() {
    run(async {
        let queue = queue(1, 0);
        let _held = queue.turn(ALONE).await.unwrap();
        let close = async {
            tokio::task::yield_now().await;
            queue.close();
        };
        let (waiting, ()) = tokio::join!(queue.turn(ALONE), close);
        assert!(waiting.is_err_and(|error| error.is_gone()));
        assert!(queue.turn(ALONE).await.is_err_and(|error| error.is_gone()));
    });
}

#[test]
fn call_that_waits_too_long_is_busy_and_gives_its_place_up() {
    run(async {
        let mut deadlines = queue(1, 0).0.deadlines;
        deadlines.queue = Duration::from_millis(10);
        let queue = Queue::new(1, 0, deadlines);
        let _held = queue.turn(ALONE).await.unwrap();
        assert!(matches!(queue.turn(ALONE).await, Err(CallError::Busy)));
        assert_eq!(queue.waiting(), 0);
    });
}
