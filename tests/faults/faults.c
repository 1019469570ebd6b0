/*
 * Makes the storage of one process fail, for tests: preloaded into a daemon, it has the kernel
 * stop the process at each call that changes files (seccomp(2), SECCOMP_RET_TRAP), and there, in
 * the signal handler, either lets the call through or fails it. So it sees what goes through the
 * C library and what a program asks of the kernel directly.
 *
 * A file named by FAULTS_CONTROL is mapped and says which call fails and how; a test writes it
 * while the daemon runs (tests/src/faults.rs has the other side). Calls on files below one
 * directory are counted, the n-th fails.
 *
 * The filter outlives exec and the handler does not, so that a daemon with children cannot be
 * tested with this.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef __x86_64__
#error "registers and call numbers are those of x86-64"
#endif

enum kind { WRITES = 1, SYNCS = 2, RENAMES = 4, TRUNCATES = 8, CREATES = 16, UNLINKS = 32 };

/* Above all error numbers: how a write fails without one. */
enum how { SHORT = 0x10000, LOST = 0x10001 };

/* The control file, byte by byte as tests/src/faults.rs writes it. */
struct control {
    _Atomic uint32_t kinds; /* which calls count; none while this is zero */
    uint32_t first;         /* the number of the first that fails, from 1 */
    uint32_t last;          /* the number of the last that fails */
    uint32_t how;           /* an error number, SHORT or LOST */
    _Atomic uint32_t seen;  /* calls counted since it was armed */
    _Atomic uint32_t fired; /* calls that failed */
    _Atomic uint32_t lost;  /* whether a write was lost: so are all after it, and syncs fail */
    _Atomic uint32_t loaded; /* whether this library is in the process */
    char below[PATH_MAX];   /* the directory or file, as a prefix of paths */
    char loser[PATH_MAX];   /* the file that lost a write */
};

static struct control *control;

/* The one place from which the filter lets every call through. */
extern char call_begin[] __attribute__((visibility("hidden")));
extern char call_end[] __attribute__((visibility("hidden")));
long call(long number, long a, long b, long c, long d, long e, long f)
    __attribute__((visibility("hidden")));
__asm__(".text\n"
        ".hidden call\n"
        ".type call, @function\n"
        "call:\n"
        "    movq %rdi, %rax\n"
        "    movq %rsi, %rdi\n"
        "    movq %rdx, %rsi\n"
        "    movq %rcx, %rdx\n"
        "    movq %r8, %r10\n"
        "    movq %r9, %r8\n"
        "    movq 8(%rsp), %r9\n"
        ".hidden call_begin\n"
        "call_begin:\n"
        "    syscall\n"
        ".hidden call_end\n"
        "call_end:\n"
        "    ret\n"
        ".size call, . - call\n");

static enum kind kind_of(long number, long flags)
{
    switch (number) {
    case SYS_write: case SYS_pwrite64: case SYS_writev: case SYS_pwritev: case SYS_pwritev2:
        return WRITES;
    case SYS_fsync: case SYS_fdatasync:
        return SYNCS;
    case SYS_rename: case SYS_renameat: case SYS_renameat2:
        return RENAMES;
    case SYS_ftruncate: case SYS_fallocate:
        return TRUNCATES;
    case SYS_openat: case SYS_open:
        return flags & O_CREAT ? CREATES : 0;
    case SYS_unlink: case SYS_unlinkat:
        return UNLINKS;
    }
    return 0;
}

/* The path that a call is about: of a descriptor, or of a name below a directory. */
static int path_of(long descriptor, const char *name, char *path)
{
    char link[64] = "/proc/self/fd/";
    size_t length = 0;
    if (name && name[0] == '/')
        return strlen(name) < PATH_MAX ? (strcpy(path, name), 1) : 0;
    if (descriptor == AT_FDCWD) {
        strcpy(link, "/proc/self/cwd");
    } else {
        char digits[24], *digit = digits + sizeof digits - 1;
        *digit = 0;
        do *--digit = (char)('0' + descriptor % 10); while (descriptor /= 10);
        strcat(link, digit);
    }
    long got = call(SYS_readlink, (long)link, (long)path, PATH_MAX - 1, 0, 0, 0);
    if (got < 0)
        return 0;
    length = (size_t)got;
    path[length] = 0;
    if (name && length + 1 + strlen(name) < PATH_MAX) {
        path[length] = '/';
        strcpy(path + length + 1, name);
    }
    return 1;
}

static int is_ours(long number, const long *a, char *path)
{
    switch (number) {
    case SYS_open: case SYS_unlink: case SYS_rename:
        return path_of(AT_FDCWD, (const char *)a[0], path);
    case SYS_openat: case SYS_unlinkat: case SYS_renameat: case SYS_renameat2:
        return path_of((int)a[0], (const char *)a[1], path);
    default:
        return path_of((int)a[0], NULL, path);
    }
}

static long short_write(long number, const long *a)
{
    if (number == SYS_write || number == SYS_pwrite64)
        return call(number, a[0], a[1], a[2] / 2, a[3], a[4], a[5]);
    struct iovec half = *(const struct iovec *)a[1];
    half.iov_len /= 2;
    return call(number, a[0], (long)&half, 1, a[3], a[4], a[5]);
}

static long all_bytes(long number, const long *a)
{
    if (number == SYS_write || number == SYS_pwrite64)
        return a[2];
    long all = 0;
    for (long each = 0; each < a[2]; each++)
        all += (long)((const struct iovec *)a[1])[each].iov_len;
    return all;
}

static long decide(long number, const long *a)
{
    uint32_t kinds = atomic_load(&control->kinds);
    long flags = number == SYS_openat ? a[2] : number == SYS_open ? a[1] : 0;
    enum kind kind = kind_of(number, flags);
    char path[PATH_MAX];
    int lost = (kind == SYNCS || kind == WRITES) && atomic_load(&control->lost);
    if (((kinds & kind) || lost) && is_ours(number, a, path)
        && strncmp(path, control->below, strlen(control->below)) == 0) {
        if (lost && strcmp(path, control->loser) == 0)
            return kind == SYNCS ? -EIO : all_bytes(number, a);
        if (!(kinds & kind))
            return call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
        uint32_t seen = atomic_fetch_add(&control->seen, 1) + 1;
        if (seen >= control->first && seen <= control->last) {
            atomic_fetch_add(&control->fired, 1);
            if (kind == WRITES && control->how == SHORT)
                return short_write(number, a);
            if (kind == WRITES && control->how == LOST) {
                strcpy(control->loser, path);
                atomic_store(&control->lost, 1);
                return all_bytes(number, a);
            }
            return -(long)control->how;
        }
    }
    return call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static void trapped(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    int before = errno;
    const long a[6] = {registers[REG_RDI], registers[REG_RSI], registers[REG_RDX],
                       registers[REG_R10], registers[REG_R8], registers[REG_R9]};
    registers[REG_RAX] = decide(info->si_syscall, a);
    errno = before;
}

/* Traps the calls of kind_of, but from the one place above. */
static int filter(void)
{
    static const long trapped_calls[] = {
        SYS_write, SYS_pwrite64, SYS_writev, SYS_pwritev, SYS_pwritev2, SYS_fsync, SYS_fdatasync,
        SYS_rename, SYS_renameat, SYS_renameat2, SYS_ftruncate, SYS_fallocate, SYS_openat,
        SYS_open, SYS_unlink, SYS_unlinkat,
    };
    enum { CALLS = sizeof trapped_calls / sizeof *trapped_calls };
    struct sock_filter program[CALLS + 8];
    /* The address that the kernel reports is that of the instruction after the call. */
    uint64_t from = (uint64_t)(uintptr_t)call_end;
    unsigned at = 0;
    const unsigned ip = offsetof(struct seccomp_data, instruction_pointer);
    program[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ip);
    program[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)from, 0, 2);
    program[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ip + 4);
    program[at++] = (struct sock_filter)BPF_JUMP(
        BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(from >> 32), CALLS + 1, 0);
    program[at++] = (struct sock_filter)BPF_STMT(
        BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (unsigned each = 0; each < CALLS; each++)
        program[at++] = (struct sock_filter)BPF_JUMP(
            BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)trapped_calls[each], CALLS - each, 0);
    program[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    program[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
    struct sock_fprog whole = {(unsigned short)at, program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return -1;
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &whole);
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("FAULTS_CONTROL");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0)
        abort();
    control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO | SA_NODEFER};
    if (control == MAP_FAILED || sigaction(SIGSYS, &action, NULL) || filter())
        abort();
    atomic_store(&control->loaded, 1);
}
