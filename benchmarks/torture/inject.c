/* Counts the calls with which a process changes files below one folder, and fails, or kills the process, at the n-th.
 *
 *     cc -shared -fPIC -O1 -o inject.so inject.c -ldl       then LD_PRELOAD=inject.so
 *
 * Armed at run time: inject_arm(folder, mode, n, log). Linux. Paths are compared literally, with the working folder
 * or that of a descriptor put before them; symbolic links are not followed. Not seen: what libc does
 * inside itself (the writes of a FILE), and the rename at the end of safetensors' save_file, which Rust asks the kernel
 * for directly; AFTER kills between its write and that rename.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum mode { OFF, COUNT, KILL, TORN, AFTER, FULL, READ_ONLY, BROKEN };
enum kind { CHANGE, GROW }; /* a full disk refuses only what needs room; a + in the log */
enum verdict { GO_ON, HALF, FAIL };

static char folder[PATH_MAX];
static size_t folder_length;
static atomic_int mode = OFF;
static atomic_long target, counted;
static int log_to = -1;

void inject_arm(const char *path, int how, long n, int log) {
    atomic_store(&mode, OFF);
    snprintf(folder, sizeof folder, "%s", path);
    folder_length = strlen(folder);
    atomic_store(&target, n);
    atomic_store(&counted, 0);
    log_to = log;
    atomic_store(&mode, how);
}

long inject_count(void) { return atomic_load(&counted); }

static int below(const char *path) {
    return !strncmp(path, folder, folder_length) && (path[folder_length] == '/' || path[folder_length] == 0);
}

static int name_of(int fd, char *path) {
    char link[40];
    snprintf(link, sizeof link, fd == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
    return length >= 0;
}

/* Take out "//", "." and "..", as they are written. */
static void tidy(char *path) {
    char *to = path, *next = path;
    while (*next) {
        char *part = next + (*next == '/');
        size_t length = strcspn(part, "/");
        next = part + length;
        if (length == 0 || (length == 1 && part[0] == '.')) continue;
        if (length == 2 && part[0] == '.' && part[1] == '.') {
            while (to > path && *--to != '/') continue;
            continue;
        }
        *to++ = '/';
        memmove(to, part, length);
        to += length;
    }
    *to = 0;
}

static void absolute(int at, const char *path, char *whole) {
    char base[PATH_MAX];
    if (path[0] == '/' || !name_of(at, base)) snprintf(whole, PATH_MAX, "%s", path);
    else snprintf(whole, PATH_MAX, "%.2047s/%.2047s", base, path);
    if (whole[0] == '/') tidy(whole);
}

/* Whether a call on these files is let through; "second" may be null. */
static enum verdict gate(const char *call, enum kind kind, const char *path, const char *second) {
    int how = atomic_load(&mode), before = errno;
    if (how == OFF || !(below(path) || (second && below(second)))) return GO_ON;
    if (how == FULL && kind != GROW) return GO_ON;
    long number = atomic_fetch_add(&counted, 1) + 1, n = atomic_load(&target);
    int now = how != COUNT && number == n;
    if (log_to >= 0 && (how == COUNT || now)) {
        char line[2 * PATH_MAX + 64];
        int length = snprintf(line, sizeof line, "%ld %s%s %s%s%s\n", number, call, kind == GROW ? "+" : "",
                              path + (below(path) ? folder_length : 0), second ? " > " : "",
                              second ? second + (below(second) ? folder_length : 0) : "");
        syscall(SYS_write, log_to, line, (size_t)length);
    }
    if (how == KILL && now) syscall(SYS_kill, getpid(), SIGKILL);
    errno = before;
    if ((how == TORN || how == AFTER) && now) return HALF;
    if (how < FULL || number < n) return GO_ON;
    if (how == FULL && now) return HALF; /* a disk fills up in the middle of a write */
    errno = how == FULL ? ENOSPC : how == READ_ONLY ? EROFS : EIO;
    return FAIL;
}

static enum verdict gate_at(const char *call, enum kind kind, int at, const char *path) {
    char whole[PATH_MAX];
    if (atomic_load(&mode) == OFF || !path) return GO_ON;
    absolute(at, path, whole);
    return gate(call, kind, whole, NULL);
}

static enum verdict gate_two(const char *call, enum kind kind, int at, const char *path, int at2, const char *path2) {
    char whole[PATH_MAX], other[PATH_MAX];
    if (atomic_load(&mode) == OFF || !path || !path2) return GO_ON;
    absolute(at, path, whole);
    absolute(at2, path2, other);
    return gate(call, kind, whole, other);
}

static enum verdict gate_fd(const char *call, enum kind kind, int fd) {
    char path[PATH_MAX];
    if (atomic_load(&mode) == OFF || fd == log_to || !name_of(fd, path)) return GO_ON;
    return gate(call, kind, path, NULL);
}

static void die_if_meant(void) {
    int how = atomic_load(&mode);
    if (how == TORN || how == AFTER) syscall(SYS_kill, getpid(), SIGKILL);
}

/* What has no half: dead, or no room. */
static int refused(enum verdict verdict) {
    if (verdict == HALF) die_if_meant();
    if (verdict == HALF) errno = ENOSPC;
    return verdict != GO_ON;
}

/* How much of a write is done that is the last one. */
static size_t part(size_t count) { return atomic_load(&mode) == AFTER ? count : count / 2; }

static ssize_t halved(size_t count, ssize_t done) {
    die_if_meant();
    if (count < 2) { errno = ENOSPC; return -1; }
    return done;
}

static int opened(int at, const char *path, int flags, mode_t permissions) {
    struct stat there;
    int changes = (flags & (O_CREAT | O_TRUNC)) != 0 && path;
    enum kind kind = flags & O_CREAT && path && fstatat(at, path, &there, 0) != 0 ? GROW : CHANGE;
    if (changes && refused(gate_at("open", kind, at, path))) return -1;
    return (int)syscall(SYS_openat, at, path, flags, permissions);
}


#define PERMISSIONS                                                               \
    mode_t permissions = 0;                                                       \
    if (flags & (O_CREAT | O_TMPFILE)) {                                          \
        va_list rest;                                                             \
        va_start(rest, flags);                                                    \
        permissions = va_arg(rest, mode_t);                                       \
        va_end(rest);                                                             \
    }

int open(const char *path, int flags, ...) { PERMISSIONS return opened(AT_FDCWD, path, flags, permissions); }
int open64(const char *path, int flags, ...) { PERMISSIONS return opened(AT_FDCWD, path, flags, permissions); }
int openat(int at, const char *path, int flags, ...) { PERMISSIONS return opened(at, path, flags, permissions); }
int openat64(int at, const char *path, int flags, ...) { PERMISSIONS return opened(at, path, flags, permissions); }
int __open_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }

int creat(const char *path, mode_t permissions) {
    return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, permissions);
}

static FILE *fopened(const char *name, const char *path, const char *how) {
    FILE *(*real)(const char *, const char *) = (FILE * (*)(const char *, const char *)) dlsym(RTLD_NEXT, name);
    if (how[0] != 'r' && refused(gate_at("fopen", GROW, AT_FDCWD, path))) return NULL;
    return real(path, how);
}

FILE *fopen(const char *path, const char *how) { return fopened("fopen", path, how); }
FILE *fopen64(const char *path, const char *how) { return fopened("fopen64", path, how); }

ssize_t write(int fd, const void *bytes, size_t count) {
    enum verdict verdict = gate_fd("write", GROW, fd);
    if (verdict == FAIL) return -1;
    if (verdict == GO_ON) return syscall(SYS_write, fd, bytes, count);
    return halved(count, syscall(SYS_write, fd, bytes, part(count)));
}

static ssize_t pwritten(int fd, const void *bytes, size_t count, off64_t offset) {
    enum verdict verdict = gate_fd("pwrite", GROW, fd);
    if (verdict == FAIL) return -1;
    if (verdict == GO_ON) return syscall(SYS_pwrite64, fd, bytes, count, offset);
    return halved(count, syscall(SYS_pwrite64, fd, bytes, part(count), offset));
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) { return pwritten(fd, bytes, count, offset); }
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) { return pwritten(fd, bytes, count, offset); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
    enum verdict verdict = gate_fd("writev", GROW, fd);
    if (verdict == FAIL) return -1;
    if (verdict == GO_ON) return syscall(SYS_writev, fd, parts, count);
    size_t half = count ? parts[0].iov_len / 2 : 0;
    return halved(half * 2, half ? syscall(SYS_write, fd, parts[0].iov_base, half) : 0);
}

ssize_t sendfile(int to, int from, off_t *offset, size_t count) {
    if (refused(gate_fd("sendfile", GROW, to))) return -1;
    return syscall(SYS_sendfile, to, from, offset, count);
}

ssize_t sendfile64(int to, int from, off64_t *offset, size_t count) {
    if (refused(gate_fd("sendfile", GROW, to))) return -1;
    return syscall(SYS_sendfile, to, from, offset, count);
}

ssize_t copy_file_range(int from, off64_t *start, int to, off64_t *at, size_t count, unsigned flags) {
    if (refused(gate_fd("copy_file_range", GROW, to))) return -1;
    return syscall(SYS_copy_file_range, from, start, to, at, count, flags);
}

static int resized(int fd, off64_t length) {
    struct stat now;
    enum kind kind = fstat(fd, &now) == 0 && length <= now.st_size ? CHANGE : GROW;
    if (refused(gate_fd("ftruncate", kind, fd))) return -1;
    return (int)syscall(SYS_ftruncate, fd, length);
}

int ftruncate(int fd, off_t length) { return resized(fd, length); }
int ftruncate64(int fd, off64_t length) { return resized(fd, length); }

int truncate(const char *path, off_t length) {
    if (refused(gate_at("truncate", CHANGE, AT_FDCWD, path))) return -1;
    return (int)syscall(SYS_truncate, path, length);
}

static int allocated(int fd, int how, off64_t offset, off64_t length) {
    if (refused(gate_fd("fallocate", GROW, fd))) return -1;
    return (int)syscall(SYS_fallocate, fd, how, offset, length);
}

int fallocate(int fd, int how, off_t offset, off_t length) { return allocated(fd, how, offset, length); }
int fallocate64(int fd, int how, off64_t offset, off64_t length) { return allocated(fd, how, offset, length); }
int posix_fallocate(int fd, off_t at, off_t length) { return allocated(fd, 0, at, length) ? errno : 0; }
int posix_fallocate64(int fd, off64_t at, off64_t length) { return allocated(fd, 0, at, length) ? errno : 0; }

/* name, kind, parameters, where, path, system call */
#define ONE(name, kind, parameters, at, path, ...)                                \
    int name parameters {                                                         \
        if (refused(gate_at(#name, kind, at, path))) return -1;                   \
        return (int)syscall(__VA_ARGS__);                                         \
    }
#define FD(name)                                                                  \
    int name(int fd) {                                                            \
        if (refused(gate_fd(#name, CHANGE, fd))) return -1;                       \
        return (int)syscall(SYS_##name, fd);                                      \
    }
#define TWO(name, kind, parameters, at, path, at2, path2, ...)                    \
    int name parameters {                                                         \
        if (refused(gate_two(#name, kind, at, path, at2, path2))) return -1;      \
        return (int)syscall(__VA_ARGS__);                                         \
    }

FD(fsync)
FD(fdatasync)
ONE(unlink, CHANGE, (const char *path), AT_FDCWD, path, SYS_unlinkat, AT_FDCWD, path, 0)
ONE(rmdir, CHANGE, (const char *path), AT_FDCWD, path, SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR)
ONE(unlinkat, CHANGE, (int at, const char *path, int flags), at, path, SYS_unlinkat, at, path, flags)
ONE(mkdir, GROW, (const char *path, mode_t m), AT_FDCWD, path, SYS_mkdirat, AT_FDCWD, path, m)
ONE(mkdirat, GROW, (int at, const char *path, mode_t m), at, path, SYS_mkdirat, at, path, m)
ONE(symlink, GROW, (const char *to, const char *path), AT_FDCWD, path, SYS_symlinkat, to, AT_FDCWD, path)
ONE(symlinkat, GROW, (const char *to, int at, const char *path), at, path, SYS_symlinkat, to, at, path)
TWO(rename, CHANGE, (const char *a, const char *b), AT_FDCWD, a, AT_FDCWD, b, SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, 0)
TWO(renameat, CHANGE, (int x, const char *a, int y, const char *b), x, a, y, b, SYS_renameat2, x, a, y, b, 0)
TWO(renameat2, CHANGE, (int x, const char *a, int y, const char *b, unsigned flags), x, a, y, b, SYS_renameat2, x, a, y,
    b, flags)
TWO(link, GROW, (const char *a, const char *b), AT_FDCWD, a, AT_FDCWD, b, SYS_linkat, AT_FDCWD, a, AT_FDCWD, b, 0)
TWO(linkat, GROW, (int x, const char *a, int y, const char *b, int flags), x, a, y, b, SYS_linkat, x, a, y, b, flags)
