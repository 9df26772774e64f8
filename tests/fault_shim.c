/* A disk that fails and a wall clock that is set as they are told: preloaded into a daemon, they stand before what
   writes and syncs data.mdb, and before what reads the time.

   The file that FAULT_CONTROL names says what happens, and may change at any time: "fail CALL ERRNO", "short CALL" (a
   half of it is written), "hold CALL" (it waits before the call while that stands there) and "after CALL" (it does the
   call, and waits then). CALL is write (pages), meta (the page that makes a commit), or sync. Each call adds a line to
   the file FAULT_LOG: its name, what was done, and the errno.

   The file that FAULT_CLOCK names holds the seconds that the wall clock is ahead. The steady clocks are the system's. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define META_MOST_BYTES 4096 /* a commit's meta record is smaller than a page */
#define LOOK_US 2000

/* What a file says; "" where there is none. */
static void read_text(const char *path, char *text, size_t size) {
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t got = fd < 0 ? 0 : read(fd, text, size - 1);
    if (fd >= 0)
        close(fd);
    text[got > 0 ? got : 0] = 0;
}

static int is_data(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    static const char name[] = "/data.mdb";
    size_t wanted = sizeof name - 1;
    return size >= (ssize_t)wanted && memcmp(path + size - wanted, name, wanted) == 0;
}

/* What is to happen to this call: the word that stands before its name, and the number behind it. */
static int read_order(const char *call, char *word, size_t size) {
    char text[128], found[32] = "", of[32] = "";
    int number = 0;
    word[0] = 0;
    read_text(getenv("FAULT_CONTROL"), text, sizeof text);
    if (sscanf(text, "%31s %31s %d", found, of, &number) >= 2 && strcmp(of, call) == 0)
        snprintf(word, size, "%s", found);
    return number;
}

static void wait_while(const char *call, const char *order) {
    char word[32];
    do {
        usleep(LOOK_US);
        read_order(call, word, sizeof word);
    } while (strcmp(word, order) == 0);
}

static void note(const char *call, const char *what, int error) {
    char line[64];
    const char *path = getenv("FAULT_LOG");
    int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    if (fd < 0)
        return;
    int size = snprintf(line, sizeof line, "%s %s %d\n", call, what, error);
    syscall(SYS_write, fd, line, (size_t)size);
    close(fd);
}

/* Returns the errno to fail with, -1 for a call that is to be cut short, or 0. */
static int before(const char *call) {
    char word[32];
    int number = read_order(call, word, sizeof word);
    if (strcmp(word, "hold") == 0) {
        note(call, "hold", 0);
        wait_while(call, "hold");
        number = read_order(call, word, sizeof word);
    }
    if (strcmp(word, "fail") == 0)
        return number;
    return strcmp(word, "short") == 0 ? -1 : 0;
}

static ssize_t after(const char *call, ssize_t result) {
    int error = result < 0 ? errno : 0;
    char word[32];
    read_order(call, word, sizeof word);
    note(call, strcmp(word, "after") == 0 ? "after" : "done", error);
    if (strcmp(word, "after") == 0)
        wait_while(call, "after");
    errno = error;
    return result;
}

static ssize_t refuse(const char *call, int error) {
    note(call, "fail", error);
    errno = error;
    return -1;
}

ssize_t pwrite(int fd, const void *buffer, size_t size, off_t offset) {
    static ssize_t (*real)(int, const void *, size_t, off_t);
    if (!real)
        real = (ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite");
    if (!is_data(fd))
        return real(fd, buffer, size, offset);
    const char *call = size < META_MOST_BYTES ? "meta" : "write";
    int error = before(call);
    if (error > 0)
        return refuse(call, error);
    return after(call, real(fd, buffer, error < 0 ? size / 2 : size, offset));
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    static ssize_t (*real)(int, const struct iovec *, int);
    if (!real)
        real = (ssize_t (*)(int, const struct iovec *, int))dlsym(RTLD_NEXT, "writev");
    if (!is_data(fd))
        return real(fd, parts, count);
    int error = before("write");
    if (error > 0)
        return refuse("write", error);
    return after("write", real(fd, parts, error < 0 ? (count + 1) / 2 : count));
}

static int sync_file(int fd, const char *name) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    if (!is_data(fd))
        return real(fd);
    int error = before("sync");
    if (error > 0)
        return (int)refuse("sync", error);
    return (int)after("sync", real(fd));
}

int fdatasync(int fd) { return sync_file(fd, "fdatasync"); }

int fsync(int fd) { return sync_file(fd, "fsync"); }

static int read_clock(clockid_t clock, struct timespec *now) {
    char text[32];
    int before = errno;
    if (syscall(SYS_clock_gettime, clock, now) != 0)
        return -1;
    if (clock == CLOCK_REALTIME) {
        read_text(getenv("FAULT_CLOCK"), text, sizeof text);
        now->tv_sec += atol(text);
        errno = before;
    }
    return 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) { return read_clock(clock, now); }

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec found;
    (void)zone;
    read_clock(CLOCK_REALTIME, &found);
    now->tv_sec = found.tv_sec;
    now->tv_usec = found.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec found;
    read_clock(CLOCK_REALTIME, &found);
    if (now)
        *now = found.tv_sec;
    return found.tv_sec;
}
