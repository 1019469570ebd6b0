//! System calls, by two seccomp filters.
//!
//! The first knows the calls that programs are made of and answers `ENOSYS` to every other, so
//! that a library takes its next best way, as on an older kernel. The second refuses, with
//! `EPERM`, what is asked of a known call but is none of a service's business. The kernel runs no
//! filter for calls that both let pass whatever their arguments, which are nearly all.

mod allowed;

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use super::{Level, Network, Sandbox, SandboxError, Unix};

/// Rules by the number of the call; a call without rules is met whatever its arguments.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Enters the filters.
pub(super) fn restrict(sandbox: &Sandbox) -> Result<Level, SandboxError> {
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else { return Ok(Level::None) };
    let failed = |error: seccompiler::Error| SandboxError::new("seccomp", error);
    let failed_to_compile = |error: seccompiler::BackendError| failed(error.into());
    let known: Rules = allowed::CALLS.iter().map(|&number| (number, Vec::new())).collect();
    let refused = refused(sandbox).map_err(failed_to_compile)?;
    let (pass, refuse) = (SeccompAction::Allow, SeccompAction::Errno(errno(libc::EPERM)));
    let unknown = SeccompAction::Errno(errno(libc::ENOSYS));
    let known = SeccompFilter::new(known, unknown, pass.clone(), arch);
    let refused = SeccompFilter::new(refused, pass, refuse, arch);
    let mut level = Level::None;
    for (filter, with_it) in [(known, Level::Partial), (refused, Level::Full)] {
        let program = filter.and_then(BpfProgram::try_from).map_err(failed_to_compile)?;
        if let Err(error) = seccompiler::apply_filter(&program) {
            tracing::warn!(%error, "the kernel, or a filter that is there already, takes no filter");
            return Ok(level);
        }
        level = with_it;
    }
    Ok(if is_in_force() { level } else { Level::None })
}

/// Asks the kernel for what is refused in every sandbox.
fn is_in_force() -> bool {
    let nowhere = c"/proc/self/none";
    let asked = rustix::process::chroot(nowhere);
    asked.err() == Some(rustix::io::Errno::PERM)
}

fn errno(number: i32) -> u32 {
    number.unsigned_abs()
}

type Compiled<T> = Result<T, seccompiler::BackendError>;

/// What is refused of the calls that are known, and the calls that are refused with `EPERM`.
fn refused(sandbox: &Sandbox) -> Compiled<Rules> {
    let mut rules: Rules = allowed::REFUSED.iter().map(|&number| (number, Vec::new())).collect();
    let own = rustix::process::getpid().as_raw_nonzero().get();
    if !sandbox.programs {
        rules.extend(allowed::PROGRAMS.iter().map(|&number| (number, Vec::new())));
        rules.insert(libc::SYS_kill, vec![only(is_not(0, own)?)?]);
        rules.insert(libc::SYS_tgkill, vec![only(is_not(0, own)?)?]);
    }
    if !sandbox.administers {
        rules.extend(allowed::OWNERSHIP.iter().map(|&number| (number, Vec::new())));
    }
    if sandbox.limits.memory_bytes.is_some() {
        // Shared memory without a file does not count against the limit.
        rules.insert(libc::SYS_memfd_create, Vec::new());
        let shared = has(3, libc::MAP_SHARED | libc::MAP_ANONYMOUS)?;
        rules.insert(libc::SYS_mmap, vec![only(shared)?]);
    }
    rules.insert(libc::SYS_clone, clone(sandbox)?);
    rules.insert(libc::SYS_socket, sockets(sandbox)?);
    // Nobody else's limits.
    rules.insert(libc::SYS_prlimit64, vec![only(is_not(0, 0)?)?]);
    // Not visible to others again.
    let dumpable = condition(0, SeccompCmpOp::Eq, libc::PR_SET_DUMPABLE)?;
    rules.insert(libc::SYS_prctl, vec![SeccompRule::new(vec![dumpable, is_not(1, 0)?])?]);
    // No keystrokes into somebody's terminal.
    let typed = KEYSTROKES.map(|request| only(condition(1, SeccompCmpOp::Eq, request)?));
    rules.insert(libc::SYS_ioctl, typed.into_iter().collect::<Compiled<_>>()?);
    Ok(rules)
}

/// ioctl_tty(2): `TIOCSTI`, `TIOCLINUX`.
const KEYSTROKES: [i32; 2] = [0x5412, 0x541c];

/// No namespaces; without programs nothing but threads.
fn clone(sandbox: &Sandbox) -> Compiled<Vec<SeccompRule>> {
    const NAMESPACES: [i32; 7] = [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
    ];
    let new = NAMESPACES.iter().map(|&new| only(has(CLONE_FLAGS, new)?));
    let mut rules = new.collect::<Compiled<Vec<_>>>()?;
    if !sandbox.programs {
        let thread = SeccompCmpOp::MaskedEq(u64::from(libc::CLONE_THREAD.cast_unsigned()));
        rules.push(only(condition(CLONE_FLAGS, thread, 0)?)?);
    }
    Ok(rules)
}

/// clone(2), "C library/kernel differences": its place on the machines that are known here.
const CLONE_FLAGS: u8 = 0;

/// Families and, for the internet's, kinds and transports of sockets.
fn sockets(sandbox: &Sandbox) -> Compiled<Vec<SeccompRule>> {
    let internet = [libc::AF_INET, libc::AF_INET6];
    let mut families = Vec::new();
    if sandbox.unix != Unix::None {
        families.push(libc::AF_UNIX);
    }
    if sandbox.network != Network::None {
        families.extend(internet);
    }
    if matches!(sandbox.network, Network::Named(_) | Network::Any) {
        // Which addresses this machine has decides the order of those of a name.
        families.push(libc::AF_NETLINK);
    }
    if families.is_empty() {
        return Ok(Vec::new());
    }
    let mut rules = vec![SeccompRule::new(none_of(0, &families)?)?];
    let kinds = match sandbox.network {
        Network::None | Network::Any => return Ok(rules),
        Network::Tcp(_) => &[libc::SOCK_STREAM][..],
        Network::Named(_) => &[libc::SOCK_STREAM, libc::SOCK_DGRAM],
    };
    let options = [0, libc::SOCK_CLOEXEC, libc::SOCK_NONBLOCK];
    let options = [options.as_slice(), &[libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK]].concat();
    let kinds: Vec<_> =
        kinds.iter().flat_map(|kind| options.iter().map(move |option| kind | option)).collect();
    // Other transports, such as MPTCP, are no TCP to Landlock.
    let transports = [0, libc::IPPROTO_TCP, libc::IPPROTO_UDP];
    for family in internet {
        let family = condition(0, SeccompCmpOp::Eq, family)?;
        for others in [none_of(1, &kinds)?, none_of(2, &transports)?] {
            rules.push(SeccompRule::new([vec![family.clone()], others].concat())?);
        }
    }
    Ok(rules)
}

fn condition(argument: u8, operation: SeccompCmpOp, value: i32) -> Compiled<SeccompCondition> {
    // Every argument that is looked at is a C int, or flags of which only the low half is used.
    let length = SeccompCmpArgLen::Dword;
    SeccompCondition::new(argument, length, operation, u64::from(value.cast_unsigned()))
}

fn is_not(argument: u8, value: i32) -> Compiled<SeccompCondition> {
    condition(argument, SeccompCmpOp::Ne, value)
}

/// All of these bits are set.
fn has(argument: u8, bits: i32) -> Compiled<SeccompCondition> {
    condition(argument, SeccompCmpOp::MaskedEq(u64::from(bits.cast_unsigned())), bits)
}

fn none_of(argument: u8, values: &[i32]) -> Compiled<Vec<SeccompCondition>> {
    values.iter().map(|&value| is_not(argument, value)).collect()
}

/// A rule that is met when one condition is.
fn only(condition: SeccompCondition) -> Compiled<SeccompRule> {
    SeccompRule::new(vec![condition])
}
