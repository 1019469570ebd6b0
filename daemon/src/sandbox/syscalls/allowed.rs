//! Which calls there are. In the spirit of systemd's `@system-service`, without what no service of
//! this project and no module needs: tracing, keys, namespaces, mounts, BPF, performance counters,
//! io_uring, userfaultfd, kernel modules, clocks, swap, quotas, System V objects.

use libc as c;

/// The calls that are known. What is not here does not exist for the process.
pub(super) const CALLS: &[i64] = &[
    // Files and directories.
    c::SYS_openat,
    c::SYS_openat2,
    c::SYS_close,
    c::SYS_close_range,
    c::SYS_read,
    c::SYS_write,
    c::SYS_readv,
    c::SYS_writev,
    c::SYS_pread64,
    c::SYS_pwrite64,
    c::SYS_preadv,
    c::SYS_pwritev,
    c::SYS_preadv2,
    c::SYS_pwritev2,
    c::SYS_lseek,
    c::SYS_sendfile,
    c::SYS_splice,
    c::SYS_tee,
    c::SYS_vmsplice,
    c::SYS_copy_file_range,
    c::SYS_fstat,
    c::SYS_newfstatat,
    c::SYS_statx,
    c::SYS_statfs,
    c::SYS_fstatfs,
    c::SYS_getdents64,
    c::SYS_getcwd,
    c::SYS_chdir,
    c::SYS_fchdir,
    c::SYS_faccessat,
    c::SYS_faccessat2,
    c::SYS_readlinkat,
    c::SYS_mkdirat,
    c::SYS_mknodat,
    c::SYS_unlinkat,
    c::SYS_renameat2,
    c::SYS_linkat,
    c::SYS_symlinkat,
    c::SYS_truncate,
    c::SYS_ftruncate,
    c::SYS_fallocate,
    c::SYS_fadvise64,
    c::SYS_readahead,
    c::SYS_fsync,
    c::SYS_fdatasync,
    c::SYS_sync_file_range,
    c::SYS_syncfs,
    c::SYS_flock,
    c::SYS_fcntl,
    c::SYS_ioctl,
    c::SYS_dup,
    c::SYS_dup3,
    c::SYS_pipe2,
    c::SYS_umask,
    c::SYS_utimensat,
    c::SYS_fchmod,
    c::SYS_fchmodat,
    c::SYS_fchown,
    c::SYS_fchownat,
    c::SYS_getxattr,
    c::SYS_lgetxattr,
    c::SYS_fgetxattr,
    c::SYS_listxattr,
    c::SYS_llistxattr,
    c::SYS_flistxattr,
    c::SYS_inotify_init1,
    c::SYS_inotify_add_watch,
    c::SYS_inotify_rm_watch,
    c::SYS_memfd_create,
    c::SYS_memfd_secret,
    // Memory.
    c::SYS_brk,
    c::SYS_mmap,
    c::SYS_munmap,
    c::SYS_mremap,
    c::SYS_mprotect,
    c::SYS_pkey_alloc,
    c::SYS_pkey_free,
    c::SYS_pkey_mprotect,
    c::SYS_madvise,
    c::SYS_mincore,
    c::SYS_msync,
    c::SYS_mlock,
    c::SYS_mlock2,
    c::SYS_munlock,
    c::SYS_mlockall,
    c::SYS_munlockall,
    c::SYS_membarrier,
    c::SYS_get_mempolicy,
    c::SYS_mseal,
    // Threads, and waiting.
    c::SYS_clone,
    c::SYS_set_tid_address,
    c::SYS_set_robust_list,
    c::SYS_get_robust_list,
    c::SYS_rseq,
    c::SYS_futex,
    c::SYS_futex_waitv,
    c::SYS_gettid,
    c::SYS_sched_yield,
    c::SYS_sched_getaffinity,
    c::SYS_sched_setaffinity,
    c::SYS_sched_getparam,
    c::SYS_sched_setparam,
    c::SYS_sched_getscheduler,
    c::SYS_sched_setscheduler,
    c::SYS_sched_getattr,
    c::SYS_sched_get_priority_max,
    c::SYS_sched_get_priority_min,
    c::SYS_sched_rr_get_interval,
    c::SYS_getpriority,
    c::SYS_setpriority,
    c::SYS_getcpu,
    c::SYS_ppoll,
    c::SYS_pselect6,
    c::SYS_epoll_create1,
    c::SYS_epoll_ctl,
    c::SYS_epoll_pwait,
    c::SYS_epoll_pwait2,
    c::SYS_eventfd2,
    c::SYS_timerfd_create,
    c::SYS_timerfd_settime,
    c::SYS_timerfd_gettime,
    c::SYS_timer_create,
    c::SYS_timer_settime,
    c::SYS_timer_gettime,
    c::SYS_timer_getoverrun,
    c::SYS_timer_delete,
    c::SYS_getitimer,
    c::SYS_setitimer,
    c::SYS_nanosleep,
    c::SYS_clock_nanosleep,
    c::SYS_clock_gettime,
    c::SYS_clock_getres,
    c::SYS_gettimeofday,
    c::SYS_restart_syscall,
    // Signals.
    c::SYS_rt_sigaction,
    c::SYS_rt_sigprocmask,
    c::SYS_rt_sigreturn,
    c::SYS_rt_sigpending,
    c::SYS_rt_sigsuspend,
    c::SYS_rt_sigtimedwait,
    c::SYS_sigaltstack,
    c::SYS_signalfd4,
    c::SYS_kill,
    c::SYS_tgkill,
    // The process itself.
    c::SYS_exit,
    c::SYS_exit_group,
    c::SYS_getpid,
    c::SYS_getppid,
    c::SYS_getpgid,
    c::SYS_getsid,
    c::SYS_getuid,
    c::SYS_geteuid,
    c::SYS_getresuid,
    c::SYS_getgid,
    c::SYS_getegid,
    c::SYS_getresgid,
    c::SYS_getgroups,
    c::SYS_capget,
    c::SYS_capset,
    c::SYS_prctl,
    c::SYS_prlimit64,
    c::SYS_getrusage,
    c::SYS_times,
    c::SYS_uname,
    c::SYS_sysinfo,
    c::SYS_getrandom,
    // Programs.
    c::SYS_execve,
    c::SYS_execveat,
    c::SYS_wait4,
    c::SYS_waitid,
    c::SYS_setpgid,
    c::SYS_setsid,
    c::SYS_pidfd_open,
    c::SYS_pidfd_send_signal,
    // Sockets.
    c::SYS_socket,
    c::SYS_socketpair,
    c::SYS_bind,
    c::SYS_listen,
    c::SYS_accept,
    c::SYS_accept4,
    c::SYS_connect,
    c::SYS_getsockname,
    c::SYS_getpeername,
    c::SYS_getsockopt,
    c::SYS_setsockopt,
    c::SYS_sendto,
    c::SYS_sendmsg,
    c::SYS_sendmmsg,
    c::SYS_recvfrom,
    c::SYS_recvmsg,
    c::SYS_recvmmsg,
    c::SYS_shutdown,
    // A narrower sandbox.
    c::SYS_seccomp,
    c::SYS_landlock_create_ruleset,
    c::SYS_landlock_add_rule,
    c::SYS_landlock_restrict_self,
    // Those that newer machines no longer have.
    #[cfg(target_arch = "x86_64")]
    c::SYS_arch_prctl,
    #[cfg(target_arch = "x86_64")]
    c::SYS_open,
    #[cfg(target_arch = "x86_64")]
    c::SYS_creat,
    #[cfg(target_arch = "x86_64")]
    c::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    c::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    c::SYS_access,
    #[cfg(target_arch = "x86_64")]
    c::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    c::SYS_getdents,
    #[cfg(target_arch = "x86_64")]
    c::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    c::SYS_rmdir,
    #[cfg(target_arch = "x86_64")]
    c::SYS_mknod,
    #[cfg(target_arch = "x86_64")]
    c::SYS_unlink,
    #[cfg(target_arch = "x86_64")]
    c::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    c::SYS_renameat,
    #[cfg(target_arch = "x86_64")]
    c::SYS_link,
    #[cfg(target_arch = "x86_64")]
    c::SYS_symlink,
    #[cfg(target_arch = "x86_64")]
    c::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    c::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    c::SYS_lchown,
    #[cfg(target_arch = "x86_64")]
    c::SYS_utime,
    #[cfg(target_arch = "x86_64")]
    c::SYS_utimes,
    #[cfg(target_arch = "x86_64")]
    c::SYS_futimesat,
    #[cfg(target_arch = "x86_64")]
    c::SYS_dup2,
    #[cfg(target_arch = "x86_64")]
    c::SYS_pipe,
    #[cfg(target_arch = "x86_64")]
    c::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    c::SYS_select,
    #[cfg(target_arch = "x86_64")]
    c::SYS_epoll_create,
    #[cfg(target_arch = "x86_64")]
    c::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    c::SYS_eventfd,
    #[cfg(target_arch = "x86_64")]
    c::SYS_signalfd,
    #[cfg(target_arch = "x86_64")]
    c::SYS_inotify_init,
    #[cfg(target_arch = "x86_64")]
    c::SYS_alarm,
    #[cfg(target_arch = "x86_64")]
    c::SYS_pause,
    #[cfg(target_arch = "x86_64")]
    c::SYS_time,
    #[cfg(target_arch = "x86_64")]
    c::SYS_getpgrp,
    #[cfg(target_arch = "x86_64")]
    c::SYS_getrlimit,
    #[cfg(target_arch = "x86_64")]
    c::SYS_setrlimit,
    #[cfg(target_arch = "x86_64")]
    c::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    c::SYS_vfork,
];

/// Calls of which it is better to say that they are refused than that they do not exist.
pub(super) const REFUSED: &[i64] = &[
    c::SYS_ptrace,
    c::SYS_process_vm_readv,
    c::SYS_process_vm_writev,
    c::SYS_process_madvise,
    c::SYS_pidfd_getfd,
    c::SYS_kcmp,
    c::SYS_tkill,
    c::SYS_rt_sigqueueinfo,
    c::SYS_rt_tgsigqueueinfo,
    c::SYS_chroot,
    c::SYS_pivot_root,
    c::SYS_mount,
    c::SYS_umount2,
    c::SYS_unshare,
    c::SYS_setns,
    c::SYS_setuid,
    c::SYS_setgid,
    c::SYS_setreuid,
    c::SYS_setregid,
    c::SYS_setresuid,
    c::SYS_setresgid,
    c::SYS_setfsuid,
    c::SYS_setfsgid,
    c::SYS_setgroups,
    c::SYS_bpf,
    c::SYS_perf_event_open,
    c::SYS_userfaultfd,
    c::SYS_add_key,
    c::SYS_request_key,
    c::SYS_keyctl,
    c::SYS_init_module,
    c::SYS_finit_module,
    c::SYS_delete_module,
    c::SYS_kexec_load,
    c::SYS_reboot,
    c::SYS_settimeofday,
    c::SYS_clock_settime,
    c::SYS_open_by_handle_at,
];

/// What only who starts programs needs.
pub(super) const PROGRAMS: &[i64] = &[
    c::SYS_execve,
    c::SYS_execveat,
    c::SYS_setpgid,
    c::SYS_setsid,
    c::SYS_pidfd_open,
    c::SYS_pidfd_send_signal,
    #[cfg(target_arch = "x86_64")]
    c::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    c::SYS_vfork,
];

/// Owners and modes by path, which Landlock does not control; those of files that are open stay.
pub(super) const OWNERSHIP: &[i64] = &[
    c::SYS_fchmodat,
    c::SYS_fchownat,
    #[cfg(target_arch = "x86_64")]
    c::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    c::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    c::SYS_lchown,
];
