//! Each limit at its number, and one past it.

use super::*;

const SMALL: Limits = Limits {
    connections: 3,
    connections_per_uid: 2,
    in_flight: 3,
    in_flight_per_uid: 2,
    rate_per_uid: None,
    burst_per_uid: None,
    body_bytes: 30,
    body_bytes_per_uid: 20,
};

fn limiter(limits: Limits) -> Limiter {
    Limiter::new(limits, Clock::system())
}

/// Opens connections of these users one after the other, and compares the last answer.
#[track_caller]
fn check_connections(users: &[u32], last: Result<(), Busy>) {
    let limiter = limiter(SMALL);
    let mut answers: Vec<_> = users.iter().map(|uid| limiter.connection(*uid)).collect();
    let found = answers.pop().unwrap();
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(found.map(drop), last);
}

#[test]
fn connections_of_a_user_at_the_limit_are_taken() {
    check_connections(&[1, 1], Ok(()));
}

#[test]
fn connection_of_a_user_past_the_limit_is_busy() {
    check_connections(&[1, 1, 1], Err(Busy::ConnectionsOfUser(2)));
}

#[test]
fn connections_of_all_at_the_limit_are_taken() {
    check_connections(&[1, 1, 2], Ok(()));
}

#[test]
fn connection_of_all_past_the_limit_is_busy() {
    check_connections(&[1, 1, 2, 3], Err(Busy::Connections(3)));
}

#[test]
fn connection_closed_makes_room_and_its_user_is_forgotten() {
    let limiter = limiter(SMALL);
    let first = limiter.connection(1).unwrap();
    let second = limiter.connection(1).unwrap();
    drop(first);
    assert!(limiter.connection(1).is_ok());
    drop(second);
    assert!(limiter.0.connections.lock().unwrap().users.is_empty());
    assert_eq!(limiter.0.connections.lock().unwrap().all, 0);
}

#[test]
fn requests_at_the_users_limit_are_taken_and_one_more_is_busy() {
    let limiter = limiter(SMALL);
    let (one, two) = (limiter.connection(1).unwrap(), limiter.connection(1).unwrap());
    let _first = one.request().unwrap();
    let second = two.request().unwrap();
    assert_eq!(one.request().map(drop), Err(Busy::InFlightOfUser(2)));
    drop(second);
    assert!(one.request().is_ok());
}

#[test]
fn requests_at_the_limit_of_all_are_taken_and_one_more_is_busy() {
    let limiter = limiter(SMALL);
    let (one, two) = (limiter.connection(1).unwrap(), limiter.connection(2).unwrap());
    let _held = [one.request().unwrap(), one.request().unwrap()];
    let third = two.request().unwrap();
    assert_eq!(two.request().map(drop), Err(Busy::InFlight(3)));
    drop(third);
    assert!(two.request().is_ok(), "a refused request kept its place");
}

#[test]
fn request_that_outlives_its_connection_still_counts() {
    let limiter = limiter(SMALL);
    let connection = limiter.connection(1).unwrap();
    let _held = [connection.request().unwrap(), connection.request().unwrap()];
    drop(connection);
    let again = limiter.connection(1).unwrap();
    assert_eq!(again.request().map(drop), Err(Busy::InFlightOfUser(2)));
}

#[test]
fn places_taken_by_many_threads_never_exceed_the_limit() {
    let limits = Limits { in_flight: 5, in_flight_per_uid: 5, ..Limits::default() };
    let limiter = limiter(limits);
    let most = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let connection = limiter.connection(1).unwrap();
                for _ in 0..10_000 {
                    if let Ok(_permit) = connection.request() {
                        let now = limiter.0.in_flight.load(Ordering::Relaxed);
                        most.fetch_max(now, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert!((1..=5).contains(&most.load(Ordering::Relaxed)));
    assert_eq!(limiter.0.in_flight.load(Ordering::Relaxed), 0);
}

/// Takes bodies of these lengths, of these users, and compares the last answer.
#[track_caller]
fn check_bodies(bodies: &[(u32, usize)], last: Result<(), Busy>) {
    let limiter = limiter(SMALL);
    let permits: Vec<_> = bodies.iter().map(|(uid, _)| limiter.connection(*uid).unwrap()).collect();
    let mut held: Vec<_> = permits.iter().map(ConnectionPermit::body).collect();
    let mut answers = Vec::new();
    for (body, (_, bytes)) in held.iter_mut().zip(bodies) {
        answers.push(body.grow(*bytes));
    }
    assert_eq!(answers.pop().unwrap(), last);
    assert!(answers.iter().all(Result::is_ok));
    drop(held);
    assert_eq!(limiter.0.body_bytes.load(Ordering::Relaxed), 0);
    assert!(permits.iter().all(|it| it.of_user.body_bytes.load(Ordering::Relaxed) == 0));
}

#[test]
fn bodies_of_a_user_at_the_limit_are_taken_and_one_byte_more_is_busy() {
    check_bodies(&[(1, 12), (1, 8)], Ok(()));
    check_bodies(&[(1, 12), (1, 9)], Err(Busy::BodyOfUser(12)));
}

#[test]
fn bodies_of_all_at_the_limit_are_taken_and_one_byte_more_is_busy() {
    check_bodies(&[(1, 20), (2, 10)], Ok(()));
    check_bodies(&[(1, 20), (2, 11)], Err(Busy::Body(20)));
}

#[test]
fn rate_is_kept_over_connections_and_users_have_each_their_own() {
    let rate = NonZeroU32::new(2);
    let (clock, hand) = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
    let limits = Limits { rate_per_uid: rate, ..SMALL };
    let limiter = Limiter::new(limits, clock);
    let asks = |uid| limiter.connection(uid).unwrap().begin();
    assert_eq!([asks(1), asks(1)], [Ok(()), Ok(())]);
    assert_eq!(asks(1), Err(Busy::RateOfUser(rate.unwrap())));
    assert_eq!(asks(2), Ok(()));
    hand.advance(std::time::Duration::from_millis(500));
    assert_eq!(asks(1), Ok(()));
    assert_eq!(asks(1), Err(Busy::RateOfUser(rate.unwrap())));
}

#[test]
fn users_who_left_are_forgotten_when_their_rate_is_theirs_again() {
    let (clock, hand) = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
    let limits = Limits { rate_per_uid: NonZeroU32::new(1), ..SMALL };
    let limiter = Limiter::new(limits, clock);
    let many = u32::try_from(REMEMBERED).unwrap() + 1;
    for uid in 0..many {
        limiter.connection(uid).unwrap().begin().unwrap();
    }
    let remembered = || limiter.0.connections.lock().unwrap().users.len();
    assert_eq!(remembered(), usize::try_from(many).unwrap());
    hand.advance(std::time::Duration::from_secs(1));
    let _one = limiter.connection(many).unwrap();
    assert_eq!(remembered(), 1);
}

#[test]
fn those_turned_away_at_the_limit_have_a_place_and_one_more_has_none() {
    let limiter = limiter(SMALL);
    let mut held: Vec<_> = (0..TURNED_AWAY).map(|_| limiter.turn_away().unwrap()).collect();
    assert!(limiter.turn_away().is_none());
    held.pop();
    assert!(limiter.turn_away().is_some());
}

/// Where the connection of a user that becomes ready last stands, behind 500 of another's.
fn place_of_the_last(turns: impl Fn(&ConnectionPermit) -> Option<Turns>) -> Option<usize> {
    let limiter = Limiter::new(Limits::default(), Clock::system());
    let greedy = (0..500).map(|_| limiter.connection(1).unwrap());
    let permits: Vec<_> = greedy.chain([limiter.connection(2).unwrap()]).collect();
    let order = Arc::new(Mutex::new(Vec::new()));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut connections = tokio::task::JoinSet::new();
        for permit in permits {
            let (turns, order) = (turns(&permit), Arc::clone(&order));
            let connection = async move {
                let permit = permit;
                order.lock().unwrap().push(permit.uid);
            };
            connections.spawn(async {
                match turns {
                    Some(turns) => turns.take(connection).await,
                    None => connection.await,
                }
            });
        }
        connections.join_all().await;
    });
    let order = order.lock().unwrap();
    assert_eq!(order.len(), 501);
    order.iter().position(|uid| *uid == 2)
}

#[test]
fn connection_of_one_user_does_not_stand_behind_all_of_another() {
    let place = place_of_the_last(|permit| Some(permit.turns())).unwrap();
    assert!(place <= 4 * turns::at_once(), "it was served as number {place}");
    assert_eq!(place_of_the_last(|_| None), Some(500), "without turns");
}
