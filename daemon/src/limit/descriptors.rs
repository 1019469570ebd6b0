//! How many connections the files that this process may have open leave room for.

use rustix::process::{Resource, getrlimit};

use super::{Limits, TURNED_AWAY};

/// Kept for what is no connection: audit, registry, workers and their starting, listeners, and
/// looking at who connects.
const OWN: usize = 64;

/// As [`within`], of this process.
pub(super) fn fit(limits: Limits) -> Limits {
    let most = getrlimit(Resource::Nofile).current;
    let most = most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    let fitting = within(limits, most);
    if fitting.connections < limits.connections {
        tracing::warn!(
            descriptors = most,
            configured = limits.connections,
            connections = fitting.connections,
            "fewer connections than [limits] connections has; raise the service's LimitNOFILE="
        );
    }
    fitting
}

/// Lowers the number of connections to what so many descriptors leave room for, at least to a
/// half of them; one user keeps at most two thirds of a lowered number.
fn within(limits: Limits, descriptors: usize) -> Limits {
    let reserved = (OWN + TURNED_AWAY).min(descriptors / 2);
    let most = (descriptors - reserved).max(1);
    if limits.connections <= most {
        return limits;
    }
    let share = most.saturating_mul(2).div_ceil(3);
    let connections_per_uid = limits.connections_per_uid.min(share);
    Limits { connections: most, connections_per_uid, ..limits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(descriptors: usize, connections: usize, per_uid: usize) {
        let found = within(Limits::default(), descriptors);
        assert_eq!((found.connections, found.connections_per_uid), (connections, per_uid));
    }

    #[test]
    fn defaults_fit_the_descriptors_of_a_service() {
        check(1024, 768, 512);
        check(usize::MAX, 768, 512);
    }

    #[test]
    fn connections_at_the_descriptors_are_kept_and_one_more_is_not() {
        check(896, 768, 512);
        check(895, 767, 512);
        check(256, 128, 86);
    }

    #[test]
    fn few_descriptors_leave_half_of_them() {
        check(100, 50, 34);
        check(1, 1, 1);
    }
}
