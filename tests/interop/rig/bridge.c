/*
 * bridge: QEMU's part at native speed.  Joins a tap interface to a connected stream socket that carries QEMU's framing
 * (a 4-byte big-endian length, then the Ethernet frame).
 *
 *   bridge TAP FD [N]    TAP exists (persistent) in this network namespace; FD is the socket; one frame in N is lost,
 *                        in each direction, at random but the same ones in every run
 *
 * Prints "ready" when the tap is attached.  Ends with 0 when the other side closes, with 1 and a line on an error.
 * Like QEMU it holds the guest back while the socket is full: it stops reading the tap.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEADER 4
#define LARGEST_FRAME 69632        /* QEMU's NET_BUFSIZE: 68 KiB */
#define BUFFER (4 * LARGEST_FRAME) /* a batch of large frames; one must always fit */

static int die(const char *what)
{
    fprintf(stderr, "bridge: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int loss; /* one frame in so many is lost; 0: none */

static int is_lost(void)
{
    static uint32_t state = 1;
    state = state * 1664525 + 1013904223;
    return loss && (state >> 16) % loss == 0;
}

static int attach(const char *name)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    int tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (tap < 0)
        die("/dev/net/tun");
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (ioctl(tap, TUNSETIFF, &request))
        die(name);
    return tap;
}

/* Frames that the tap holds, each behind its length, into `out`; returns how many bytes. */
static size_t gather(int tap, uint8_t *out)
{
    size_t held = 0;
    while (held + HEADER + LARGEST_FRAME <= BUFFER) {
        ssize_t size = read(tap, out + held + HEADER, LARGEST_FRAME);
        if (size <= 0)
            break; /* EAGAIN: empty; EIO: the interface is down */
        if (is_lost())
            continue;
        uint32_t length = htonl(size);
        memcpy(out + held, &length, HEADER);
        held += HEADER + size;
    }
    return held;
}

/* Whole frames of `in` to the tap; returns how many bytes they were. */
static size_t scatter(int tap, const uint8_t *in, size_t held)
{
    size_t at = 0;
    while (held - at >= HEADER) {
        uint32_t length;
        memcpy(&length, in + at, HEADER);
        length = ntohl(length);
        if (length > LARGEST_FRAME) {
            fprintf(stderr, "bridge: a frame of %u bytes\n", length);
            exit(1);
        }
        if (held - at < HEADER + length)
            break;
        if (!is_lost() && write(tap, in + at + HEADER, length) < 0 && errno != EIO && errno != EINVAL)
            die("write to the tap"); /* EIO: the interface is down; EINVAL: shorter than a header */
        at += HEADER + length;
    }
    return at;
}

int main(int count, char **arg)
{
    static uint8_t in[BUFFER], out[BUFFER];
    size_t in_held = 0, out_held = 0, out_at = 0;

    if (count != 3 && count != 4)
        return 2;
    int tap = attach(arg[1]), stream = atoi(arg[2]);
    loss = count == 4 ? atoi(arg[3]) : 0;
    fcntl(stream, F_SETFL, O_NONBLOCK);
    puts("ready");
    fflush(stdout);
    for (;;) {
        struct pollfd wait[2] = {{tap, out_held ? 0 : POLLIN, 0}, {stream, POLLIN | (out_held ? POLLOUT : 0), 0}};
        if (poll(wait, 2, -1) < 0 && errno != EINTR)
            die("poll");
        if (wait[0].revents & POLLIN)
            out_held = gather(tap, out), out_at = 0;
        if (out_held) {
            ssize_t sent = send(stream, out + out_at, out_held - out_at, MSG_NOSIGNAL);
            if (sent < 0 && errno != EAGAIN)
                return 0;
            if (sent > 0 && (out_at += sent) == out_held)
                out_held = 0;
        }
        if (wait[1].revents & (POLLIN | POLLHUP | POLLERR)) {
            ssize_t size = read(stream, in + in_held, sizeof in - in_held);
            if (size == 0 || (size < 0 && errno != EAGAIN))
                return 0;
            in_held += size > 0 ? size : 0;
            size_t used = scatter(tap, in, in_held);
            memmove(in, in + used, in_held -= used);
        }
    }
}
