/* Tries whatever a worker must not do, once while it is loaded and once in each MAC of a mac key,
 * and says on standard error what it could do. Its settings are texts without a leading slash, so
 * that they do not look like paths: `state` (a directory of the host's with a file `victim`),
 * `elsewhere` (a directory anybody may write) and `port` (a TCP port that somebody listens on). */

#define _GNU_SOURCE

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "provider.h"

static char state[256], elsewhere[256], port[16];

static void say(const char *when, const char *what, bool worked) {
    fprintf(stderr, "%s: %s: %s\n", when, what, worked ? "WORKED" : "refused");
}

static bool reads(const char *path) {
    char byte;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    bool worked = file >= 0 && read(file, &byte, 1) == 1;
    if (file >= 0) {
        close(file);
    }
    return worked;
}

/* The beginning of a file that only who may trace the process can open. */
static bool reads_of_host(const char *name) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)getppid(), name);
    return reads(path);
}

static bool opens_memory_of_host(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", (int)getppid());
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        close(file);
    }
    return file >= 0;
}

static bool lists(const char *path) {
    DIR *directory = opendir(path);
    if (directory == NULL) {
        return false;
    }
    closedir(directory);
    return true;
}

static bool creates(const char *directory) {
    char path[300];
    snprintf(path, sizeof path, "%s/planted", directory);
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0) {
        return false;
    }
    close(file);
    unlink(path);
    return true;
}

static bool connects(int kind) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int end = socket(AF_INET, kind | SOCK_CLOEXEC, 0);
    bool worked = end >= 0 && connect(end, (struct sockaddr *)&address, sizeof address) == 0;
    if (end >= 0) {
        close(end);
    }
    return worked;
}

static bool makes_socket(int family, int kind) {
    int end = socket(family, kind | SOCK_CLOEXEC, 0);
    if (end >= 0) {
        close(end);
    }
    return end >= 0;
}

static bool runs_a_program(void) {
    pid_t child = fork();
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", "exit 7", (char *)NULL);
        _exit(1);
    }
    int status = 0;
    return child > 0 && waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 7;
}

static bool traces_host(void) {
    /* The tracer is this thread; the trace ends with it, or here. */
    return ptrace(PTRACE_SEIZE, getppid(), NULL, NULL) == 0;
}

static void *tracer(void *worked) {
    *(bool *)worked = traces_host();
    return NULL;
}

static bool traces(void) {
    bool worked = false;
    pthread_t thread;
    if (pthread_create(&thread, NULL, tracer, &worked) != 0) {
        say("fault", "no thread", true);
        return false;
    }
    pthread_join(thread, NULL);
    return worked;
}

static bool reads_memory_of_host(void) {
    char here[8];
    /* Whatever stands at this address of ours is at no address of the host's, but being allowed to
     * look fails in another way than being refused. */
    struct iovec ours = {here, sizeof here}, theirs = {(void *)4096, sizeof here};
    ssize_t got = process_vm_readv(getppid(), &ours, 1, &theirs, 1, 0);
    return got > 0 || errno == EFAULT;
}

static bool is_dumpable(void) {
    bool worked = prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0;
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    return worked;
}

static bool shares_memory(void) {
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory != MAP_FAILED) {
        munmap(memory, 4096);
    }
    return memory != MAP_FAILED;
}

static bool leaves_its_namespace(void) {
    return unshare(CLONE_NEWUTS) == 0;
}

static void try_all(const char *when) {
    char victim[300];
    snprintf(victim, sizeof victim, "%s/victim", state);
    say(when, "read the passwords of the system", reads("/etc/shadow"));
    say(when, "read the memory of the host by file", opens_memory_of_host());
    say(when, "read the environment of the host", reads_of_host("environ"));
    say(when, "read the map of the host", reads_of_host("maps"));
    say(when, "read the memory of the host by call", reads_memory_of_host());
    say(when, "trace the host", traces());
    say(when, "signal the host", kill(getppid(), 0) == 0);
    say(when, "signal the group", kill(0, 0) == 0);
    say(when, "signal a thread of the host",
        syscall(SYS_tgkill, getppid(), getppid(), 0) == 0);
    say(when, "run a program", runs_a_program());
    say(when, "make a TCP socket", makes_socket(AF_INET, SOCK_STREAM));
    say(when, "make a UDP socket", makes_socket(AF_INET, SOCK_DGRAM));
    say(when, "make a Unix socket", makes_socket(AF_UNIX, SOCK_STREAM));
    say(when, "make a netlink socket", makes_socket(AF_NETLINK, SOCK_RAW));
    say(when, "become dumpable", is_dumpable());
    say(when, "share memory", shares_memory());
    say(when, "leave its namespace", leaves_its_namespace());
    if (state[0] == '\0') {
        return;
    }
    say(when, "list the state of the host", lists(state));
    say(when, "read a file of the host", reads(victim));
    say(when, "write to the state of the host", creates(state));
    say(when, "open the state of the host to all", chmod(state, 0700) == 0);
    say(when, "truncate a file of the host", truncate(victim, 1) == 0);
    char other[310];
    snprintf(other, sizeof other, "%s2", victim);
    bool renamed = rename(victim, other) == 0;
    say(when, "rename a file of the host", renamed);
    if (renamed) {
        rename(other, victim);
    }
    say(when, "write elsewhere", creates(elsewhere));
    say(when, "connect to a port", connects(SOCK_STREAM));
}

__attribute__((constructor)) static void loaded(void) {
    try_all("loading");
}

static void keep(char *to, size_t capacity, const char *prefix, const sealhost_parameter *from) {
    if (from != NULL) {
        snprintf(to, capacity, "%s%.*s", prefix, (int)from->value_len, (const char *)from->value);
    }
}

static int32_t open_device(const sealhost_parameter *settings, size_t settings_count,
                           const sealhost_parameter *secrets, size_t secrets_count,
                           const uint8_t *identity, size_t identity_len,
                           uint8_t *identity_out, size_t *identity_out_len,
                           sealhost_instance **instance_out) {
    keep(state, sizeof state, "/", setting(settings, settings_count, "state"));
    keep(elsewhere, sizeof elsewhere, "/", setting(settings, settings_count, "elsewhere"));
    keep(port, sizeof port, "", setting(settings, settings_count, "port"));
    return good_open(NULL, 0, secrets, secrets_count, identity, identity_len, identity_out,
                     identity_out_len, instance_out);
}

static int32_t mac(sealhost_instance *instance, const sealhost_key_ref *key,
                   const uint8_t *input, size_t input_len, uint8_t *mac_out) {
    if (key->usage == SEALHOST_USAGE_MAC && input_len == 3) {
        try_all("working");
    }
    return good_mac(instance, key, input, input_len, mac_out);
}

/* Asks for everything. */
static int32_t needs(const sealhost_parameter *settings, size_t settings_count,
                     uint8_t *text_out, size_t *text_out_len) {
    const sealhost_parameter *asked = setting(settings, settings_count, "needs");
    if (asked == NULL) {
        *text_out_len = 0;
        return OK;
    }
    memcpy(text_out, asked->value, asked->value_len);
    *text_out_len = asked->value_len;
    return OK;
}

EXPORT(.open = open_device, .mac = mac, .needs = needs)
