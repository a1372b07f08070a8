/*
 * wan: a bad link at native speed.  Carries Ethernet frames between two ends; on their way it loses, doubles and delays
 * them, and lets them overtake each other.
 *
 *   wan END END [NAME=VALUE]...
 *
 * An END is TAP@PID, a persistent tap interface in the network namespace of a process, or the number of a connected stream
 * socket that carries QEMU's framing (a 4-byte big-endian length, then the Ethernet frame).  What there is to choose:
 *
 *   loss=0 dup=0             the chance of each frame to be lost, or to arrive twice
 *   mark=0                   that of each IPv4 packet that is ECN-capable to be marked (RFC 3168)
 *   delay_ms=0 jitter_ms=0   one way, and up to so much more, evenly spread: frames overtake each other
 *   rate_mbit=0 queue_kb=0   megabits a second, and the drop-tail queue in front of them; 0: no limit
 *   seed=1                   the same frames in the same order meet the same fate
 *
 * Both directions suffer alike, each by a generator of its own.  Prints "ready" when it carries; ends with 0 at SIGTERM or
 * when a stream is closed, with what became of the frames of each direction; with 1 and a line on an error.
 *
 * A frame is due at a time, and waits in a heap of its direction until then.  A stream that is full makes frames late, and
 * does not stop the other direction.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEADER 4
#define LARGEST_FRAME 69632          /* QEMU's NET_BUFSIZE: 68 KiB */
#define STREAM_BUFFER (1 << 20)      /* of each direction of a stream */
#define UNDER_WAY 65536              /* frames of one direction; more are lost: 50 ms of 15 Gbit/s */
#define BATCH 64                     /* frames from a tap, before the other end has its turn */
#define MILLISECOND 1000000.0
#define SECOND 1000000000LL

static double loss, dup_chance, mark_chance, delay_ms, jitter_ms, rate_mbit, queue_kb, seed = 1;
static const struct { const char *name; double *value; } OPTIONS[] = {
    {"loss", &loss}, {"dup", &dup_chance}, {"mark", &mark_chance}, {"delay_ms", &delay_ms}, {"jitter_ms", &jitter_ms},
    {"rate_mbit", &rate_mbit}, {"queue_kb", &queue_kb}, {"seed", &seed},
};

struct frame {
    int64_t due;    /* nanoseconds */
    uint64_t order; /* among frames that are due at once */
    uint32_t size;
    uint8_t *bytes;
};

struct end {
    int fd, is_stream;
    uint8_t *in, *out; /* streams alone: what has come and is not whole, what could not be sent yet */
    size_t in_held, out_held, out_at;
};

struct way {
    const char *name;
    struct end *from, *to;
    struct frame *heap; /* the earliest first */
    int held;
    uint64_t random, order;
    int64_t idle_at; /* when the last bit so far has left a link with a rate */
    long carried, lost, doubled, overflowed, marked;
};

static volatile sig_atomic_t ended;

static void die(const char *what)
{
    fprintf(stderr, "wan: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void on_signal(int number)
{
    (void)number;
    ended = 1;
}

static int64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

/* From 0 to 1 (splitmix64: Steele, Lea, Flood 2014). */
static double draw(struct way *way)
{
    uint64_t mixed = way->random += 0x9e3779b97f4a7c15;
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111eb;
    return ((mixed ^ mixed >> 31) >> 11) * 0x1p-53;
}

/* ---------------------------------------------------------------------------------------------- the heap of a direction */

static int is_before(const struct frame *one, const struct frame *other)
{
    return one->due != other->due ? one->due < other->due : one->order < other->order;
}

static void push(struct way *way, struct frame frame)
{
    int at = way->held++;
    for (; at && is_before(&frame, &way->heap[(at - 1) / 2]); at = (at - 1) / 2)
        way->heap[at] = way->heap[(at - 1) / 2];
    way->heap[at] = frame;
}

static struct frame pop(struct way *way)
{
    struct frame first = way->heap[0], last = way->heap[--way->held];
    int at = 0, child;
    while ((child = 2 * at + 1) < way->held) {
        if (child + 1 < way->held && is_before(&way->heap[child + 1], &way->heap[child]))
            child++;
        if (!is_before(&way->heap[child], &last))
            break;
        way->heap[at] = way->heap[child];
        at = child;
    }
    way->heap[at] = last;
    return first;
}

/* ---------------------------------------------------------------------------------------------------- what befalls frames */

/* When the last bit of a frame leaves, or -1 where the queue is full. */
static int64_t leave(struct way *way, uint32_t size, int64_t now)
{
    if (rate_mbit <= 0)
        return now;
    int64_t begin = way->idle_at > now ? way->idle_at : now;
    if (queue_kb > 0 && (begin - now) * rate_mbit / 8000 + size > queue_kb * 1024)
        return -1;
    return way->idle_at = begin + (int64_t)(size * 8000 / rate_mbit);
}

/* As a congested router does, where the sender takes part; the header's sum follows (RFC 1624). */
static int mark(uint8_t *bytes, uint32_t size)
{
    if (size < 34 || bytes[12] != 0x08 || bytes[13] != 0x00 || !(bytes[15] & 3))
        return 0;
    uint32_t sum = (uint16_t)~(bytes[24] << 8 | bytes[25]) + (uint16_t)~(bytes[14] << 8 | bytes[15]);
    bytes[15] |= 3;
    sum += bytes[14] << 8 | bytes[15];
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~((sum & 0xffff) + (sum >> 16));
    bytes[24] = sum >> 8;
    bytes[25] = sum;
    return 1;
}

static void offer(struct way *way, const uint8_t *bytes, uint32_t size, int64_t now)
{
    if (draw(way) < loss) {
        way->lost++;
        return;
    }
    int copies = draw(way) < dup_chance ? 2 : 1;
    way->doubled += copies - 1;
    for (; copies; copies--) {
        int64_t left = leave(way, size, now);
        uint8_t *kept = left < 0 || way->held == UNDER_WAY ? NULL : malloc(size);
        if (!kept) {
            way->overflowed++;
            continue;
        }
        memcpy(kept, bytes, size);
        if (mark_chance > 0 && draw(way) < mark_chance)
            way->marked += mark(kept, size);
        int64_t late = (delay_ms + (jitter_ms > 0 ? draw(way) * jitter_ms : 0)) * MILLISECOND;
        push(way, (struct frame){left + late, way->order++, size, kept});
        way->carried++;
    }
}

/* ------------------------------------------------------------------------------------------------------------- the ends */

static struct end open_tap(char *name, const char *pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%s/ns/net", pid);
    int network = open(path, O_RDONLY | O_CLOEXEC);
    if (network < 0 || setns(network, CLONE_NEWNET))
        die(path);
    close(network);
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    struct end tap = {.fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)};
    if (tap.fd < 0)
        die("/dev/net/tun");
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (ioctl(tap.fd, TUNSETIFF, &request))
        die(name);
    return tap;
}

static struct end open_end(char *text)
{
    char *at = strchr(text, '@');
    if (at) {
        *at = 0;
        return open_tap(text, at + 1);
    }
    struct end stream = {.fd = atoi(text), .is_stream = 1, .in = malloc(STREAM_BUFFER), .out = malloc(STREAM_BUFFER)};
    if (fcntl(stream.fd, F_SETFL, O_NONBLOCK) || !stream.in || !stream.out)
        die(text);
    return stream;
}

/* Take what there is; 0 when the other side of a stream has gone. */
static int gather(struct way *way, int64_t now)
{
    static uint8_t frame[LARGEST_FRAME];
    struct end *from = way->from;
    if (!from->is_stream) {
        ssize_t size;
        for (int count = 0; count < BATCH && (size = read(from->fd, frame, sizeof frame)) > 0; count++)
            offer(way, frame, size, now);
        return 1;
    }
    ssize_t got = read(from->fd, from->in + from->in_held, STREAM_BUFFER - from->in_held);
    if (got <= 0)
        return got < 0 && errno == EAGAIN;
    from->in_held += got;
    size_t at = 0;
    while (from->in_held - at >= HEADER) {
        uint32_t size;
        memcpy(&size, from->in + at, HEADER);
        size = ntohl(size);
        if (size > LARGEST_FRAME) {
            fprintf(stderr, "wan: a frame of %u bytes\n", size);
            exit(1);
        }
        if (from->in_held - at < HEADER + size)
            break;
        offer(way, from->in + at + HEADER, size, now);
        at += HEADER + size;
    }
    memmove(from->in, from->in + at, from->in_held -= at);
    return 1;
}

/* Hand on the frames that are due, as far as there is room; 0 when the other side of a stream has gone. */
static int scatter(struct way *way, int64_t now)
{
    struct end *to = way->to;
    while (way->held && way->heap[0].due <= now) {
        if (to->is_stream && STREAM_BUFFER - to->out_held < HEADER + way->heap[0].size)
            break;
        struct frame frame = pop(way);
        if (to->is_stream) {
            uint32_t length = htonl(frame.size);
            memcpy(to->out + to->out_held, &length, HEADER);
            memcpy(to->out + to->out_held + HEADER, frame.bytes, frame.size);
            to->out_held += HEADER + frame.size;
        } else if (write(to->fd, frame.bytes, frame.size) < 0 && errno != EIO && errno != EINVAL) {
            die("write to a tap"); /* EIO: the interface is down; EINVAL: shorter than a header */
        }
        free(frame.bytes);
    }
    if (to->out_at < to->out_held) {
        ssize_t sent = send(to->fd, to->out + to->out_at, to->out_held - to->out_at, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return 0;
        if (sent > 0 && (to->out_at += sent) == to->out_held)
            to->out_at = to->out_held = 0;
    }
    if (to->out_at > STREAM_BUFFER / 2) {
        memmove(to->out, to->out + to->out_at, to->out_held -= to->out_at);
        to->out_at = 0;
    }
    return 1;
}

/* ---------------------------------------------------------------------------------------------------------------- the loop */

static void option(const char *text)
{
    const char *equals = strchr(text, '=');
    for (size_t i = 0; equals && i < sizeof OPTIONS / sizeof *OPTIONS; i++)
        if (strlen(OPTIONS[i].name) == (size_t)(equals - text) && !strncmp(OPTIONS[i].name, text, equals - text)) {
            *OPTIONS[i].value = atof(equals + 1);
            return;
        }
    fprintf(stderr, "wan: %s is not known\n", text);
    exit(1);
}

/* How long nothing is due, in nanoseconds; what waits for a full stream wakes by the stream. */
static int64_t idle_ns(const struct way *ways, int64_t now)
{
    int64_t least = SECOND;
    for (const struct way *way = ways; way < ways + 2; way++)
        if (way->held && way->to->out_held == 0 && way->heap[0].due - now < least)
            least = way->heap[0].due > now ? way->heap[0].due - now : 0;
    return least;
}

int main(int count, char **arg)
{
    if (count < 3)
        return 2;
    struct end ends[2] = {open_end(arg[1]), open_end(arg[2])};
    for (int i = 3; i < count; i++)
        option(arg[i]);
    struct way ways[2] = {{"there", &ends[0], &ends[1]}, {"back", &ends[1], &ends[0]}};
    for (int i = 0; i < 2; i++) {
        ways[i].heap = malloc(UNDER_WAY * sizeof(struct frame));
        ways[i].random = (uint64_t)seed * 2 + i;
    }
    prctl(PR_SET_TIMERSLACK, 1);
    sigset_t waiting, blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, &waiting);
    signal(SIGTERM, on_signal);
    puts("ready");
    fflush(stdout);
    while (!ended) {
        struct pollfd wait[2];
        for (int i = 0; i < 2; i++)
            wait[i] = (struct pollfd){ends[i].fd, POLLIN | (ends[i].out_held ? POLLOUT : 0), 0};
        int64_t idle = idle_ns(ways, clock_ns());
        struct timespec most = {idle / SECOND, idle % SECOND};
        if (ppoll(wait, 2, &most, &waiting) < 0 && errno != EINTR)
            die("poll");
        int64_t now = clock_ns();
        for (int i = 0; i < 2 && !ended; i++)
            ended = (wait[i].revents & (POLLIN | POLLHUP | POLLERR)) && !gather(&ways[i], now);
        for (int i = 0; i < 2 && !ended; i++)
            ended = !scatter(&ways[i], clock_ns());
    }
    for (struct way *way = ways; way < ways + 2; way++)
        printf("%s: %ld carried, %ld lost, %ld doubled, %ld overflowed, %ld marked\n", way->name, way->carried, way->lost,
               way->doubled, way->overflowed, way->marked);
    return 0;
}
