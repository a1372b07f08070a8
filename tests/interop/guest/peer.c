/*
 * peer: the guest's end of the tests' conversations, static so that it needs nothing but a kernel.
 *
 *   peer tcp ORDER SENDFILE RECVFILE HOST PORT        connect
 *   peer tcp ORDER SENDFILE RECVFILE - PORT           listen, take one connection, say who it is from
 *     Sends all of SENDFILE and shuts its direction down; receives into RECVFILE until the other side has done so.
 *     ORDER says when: "both" at once, "send" before it receives (the other answers into a half-closed connection),
 *     "recv" before it sends (it answers into one), "reset" sends and then resets (SO_LINGER 0) without receiving.
 *   peer udp HOST PORT SIZE...                         sends a datagram of each size, expects the same one back
 *   peer udpserve PORT COUNT                           returns COUNT datagrams to whoever sent them
 *   peer fragments FROM HOST PORT SIZE UNIT ORDER      sends one UDP datagram as raw IPv4 fragments of UNIT payload
 *     bytes, ORDER "forward", "reverse" or "odd" (odd ones first), and expects the same datagram back
 *
 * A HOST of IPv6 makes sockets of IPv6; to listen, "-6" does.
 *
 * Every wait ends after WAIT_SECONDS.  Exit status 0 says that all came out as described; else a line says what did
 * not.  Files and not a generator: sha256sum in the guest and hashlib on the host then check each other.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAIT_SECONDS 15
#define LARGEST_DATAGRAM 65507
#define MOST_FRAGMENTS 8192

static void fail(const char *what)
{
    printf("peer: %s: %s\n", what, errno ? strerror(errno) : "unexpected");
    exit(1);
}

union end {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static socklen_t length_of(const union end *at)
{
    return at->any.sa_family == AF_INET6 ? sizeof at->v6 : sizeof at->v4;
}

static union end address(const char *host, const char *port)
{
    union end at;
    memset(&at, 0, sizeof at);
    at.any.sa_family = strchr(host, ':') || !strcmp(host, "-6") ? AF_INET6 : AF_INET;
    at.v4.sin_port = htons(atoi(port)); /* where IPv6's is, too */
    if (host[0] != '-'
        && inet_pton(at.any.sa_family, host, at.any.sa_family == AF_INET6 ? (void *)&at.v6.sin6_addr : &at.v4.sin_addr) != 1)
        fail(host);
    return at;
}

static int same_end(const union end *one, const union end *other)
{
    if (one->any.sa_family != other->any.sa_family || one->v4.sin_port != other->v4.sin_port)
        return 0;
    return one->any.sa_family == AF_INET6 ? !memcmp(&one->v6.sin6_addr, &other->v6.sin6_addr, 16)
                                          : one->v4.sin_addr.s_addr == other->v4.sin_addr.s_addr;
}

static void name(const char *before, const union end *at)
{
    char text[INET6_ADDRSTRLEN];
    if (at->any.sa_family == AF_INET6)
        printf("%s [%s]:%d\n", before, inet_ntop(AF_INET6, &at->v6.sin6_addr, text, sizeof text), ntohs(at->v6.sin6_port));
    else
        printf("%s %s:%d\n", before, inet_ntop(AF_INET, &at->v4.sin_addr, text, sizeof text), ntohs(at->v4.sin_port));
    fflush(stdout);
}

static int tcp_open(const char *host, const char *port)
{
    union end at = address(host, port), from;
    socklen_t size = sizeof from;
    int one = 1, s = socket(at.any.sa_family, SOCK_STREAM, 0);
    if (host[0] != '-') {
        if (connect(s, &at.any, length_of(&at)))
            fail("connect");
        return s;
    }
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(s, &at.any, length_of(&at)) || listen(s, 8))
        fail("listen");
    puts("listening");
    fflush(stdout);
    int taken = accept(s, (void *)&from, &size);
    if (taken < 0)
        fail("accept");
    close(s);
    name("from", &from);
    return taken;
}

/* Moves bytes until each direction that is wanted has ended; sending waits for the end of receiving where asked. */
static void tcp_exchange(int s, int in, int out, int send_first, int recv_first)
{
    static char buffer[65536], incoming[65536];
    ssize_t held = 0, at = 0;
    int sending = 1, receiving = 1;
    long sent = 0, received = 0;

    fcntl(s, F_SETFL, O_NONBLOCK);
    while (sending || receiving) {
        int may_send = sending && !(recv_first && receiving), may_recv = receiving && !(send_first && sending);
        struct pollfd wait = {s, (may_send ? POLLOUT : 0) | (may_recv ? POLLIN : 0), 0};
        errno = 0;
        if (poll(&wait, 1, WAIT_SECONDS * 1000) <= 0)
            fail("nothing moved");
        if (may_recv && wait.revents & (POLLIN | POLLHUP | POLLERR)) {
            ssize_t n = recv(s, incoming, sizeof incoming, 0);
            if (n < 0 && errno != EAGAIN)
                fail("recv");
            if (n > 0 && write(out, incoming, n) != n)
                fail("write");
            if (n > 0)
                received += n;
            if (n == 0)
                receiving = 0;
        }
        if (may_send && wait.revents & (POLLOUT | POLLERR)) {
            if (at == held && (held = read(in, buffer, sizeof buffer), at = 0, held == 0)) {
                sending = 0;
                if (shutdown(s, SHUT_WR))
                    fail("shutdown");
                continue;
            }
            ssize_t n = send(s, buffer + at, held - at, MSG_NOSIGNAL);
            if (n < 0 && errno != EAGAIN)
                fail("send");
            if (n > 0)
                at += n, sent += n;
        }
    }
    printf("sent %ld received %ld\n", sent, received);
}

static void tcp(char **arg)
{
    const char *order = arg[0];
    int in = open(arg[1], O_RDONLY), out = open(arg[2], O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (in < 0 || out < 0)
        fail("open");
    int s = tcp_open(arg[3], arg[4]);
    if (!strcmp(order, "reset")) {
        struct linger now = {1, 0};
        char buffer[4096];
        ssize_t n;
        while ((n = read(in, buffer, sizeof buffer)) > 0)
            if (send(s, buffer, n, MSG_NOSIGNAL) != n)
                fail("send");
        sleep(1); /* what was sent is to arrive before the reset overtakes it */
        setsockopt(s, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        close(s);
        puts("reset");
        return;
    }
    tcp_exchange(s, in, out, !strcmp(order, "send"), !strcmp(order, "recv"));
    close(s);
}

static void pattern(uint8_t *data, int size)
{
    uint32_t x = 2463534242u + size;
    for (int i = 0; i < size; i++) {
        x ^= x << 13, x ^= x >> 17, x ^= x << 5; /* Marsaglia's xorshift32: no two datagrams alike */
        data[i] = x;
    }
}

static int udp_open(const char *host, const char *port)
{
    struct timeval patience = {WAIT_SECONDS, 0};
    union end at = address(host, port);
    int big = 1 << 20, s = socket(at.any.sa_family, SOCK_DGRAM, 0);
    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(s, SOL_SOCKET, SO_RCVBUF, &big, sizeof big);
    if (bind(s, &at.any, length_of(&at)))
        fail("bind");
    return s;
}

/* The datagram that was sent comes back, from where it was sent to. */
static void expect_echo(int s, const uint8_t *sent, int size, const union end *at)
{
    static uint8_t back[LARGEST_DATAGRAM + 1];
    union end from;
    socklen_t length = sizeof from;
    ssize_t n = recvfrom(s, back, sizeof back, 0, (void *)&from, &length);
    if (n < 0)
        fail("recv");
    errno = 0;
    if (n != size || memcmp(sent, back, n))
        fail("the echo differs");
    if (!same_end(&from, at))
        fail("the echo came from elsewhere");
    printf("echo %d ok\n", size);
}

static void udp(char **arg)
{
    static uint8_t data[LARGEST_DATAGRAM];
    union end at = address(arg[0], arg[1]);
    int s = udp_open(at.any.sa_family == AF_INET6 ? "-6" : "-", "0");
    for (arg += 2; *arg; arg++) {
        int size = atoi(*arg);
        pattern(data, size);
        if (sendto(s, data, size, 0, &at.any, length_of(&at)) != size)
            fail("sendto");
        expect_echo(s, data, size, &at);
    }
}

static void udpserve(char **arg)
{
    static uint8_t data[LARGEST_DATAGRAM];
    int s = udp_open("-", arg[0]);
    puts("serving");
    fflush(stdout);
    for (int left = atoi(arg[1]); left > 0; left--) {
        union end from;
        socklen_t length = sizeof from;
        ssize_t n = recvfrom(s, data, sizeof data, 0, (void *)&from, &length);
        if (n < 0)
            fail("recv");
        name("from", &from);
        if (sendto(s, data, n, 0, &from.any, length) != n)
            fail("sendto");
    }
}

static uint32_t add_words(uint32_t sum, const uint8_t *data, int size)
{
    for (int i = 0; i < size; i++)
        sum += i & 1 ? data[i] : data[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

static uint16_t udp_checksum(uint32_t from, uint32_t to, const uint8_t *datagram, int size)
{
    uint8_t pseudo[12] = {0};
    memcpy(pseudo, &from, 4), memcpy(pseudo + 4, &to, 4);
    pseudo[9] = IPPROTO_UDP, pseudo[10] = size >> 8, pseudo[11] = size;
    uint16_t sum = ~add_words(add_words(0, pseudo, sizeof pseudo), datagram, size);
    return htons(sum ? sum : 0xffff);
}

static void fragments(char **arg)
{
    static uint8_t datagram[LARGEST_DATAGRAM + 8], packet[65535];
    union end at = address(arg[1], arg[2]), from = address(arg[0], "0");
    socklen_t length = sizeof from;
    int size = atoi(arg[3]), unit = atoi(arg[4]) & ~7, total = size + 8, count = (total + unit - 1) / unit;
    int big = 1 << 22, order[MOST_FRAGMENTS], raw = socket(AF_INET, SOCK_RAW, IPPROTO_RAW), s = udp_open(arg[0], "0");

    setsockopt(raw, SOL_SOCKET, SO_SNDBUF, &big, sizeof big);
    getsockname(s, &from.any, &length);
    pattern(datagram + 8, size);
    struct udphdr head = {.source = from.v4.sin_port, .dest = at.v4.sin_port, .len = htons(total)};
    memcpy(datagram, &head, 8);
    head.check = udp_checksum(from.v4.sin_addr.s_addr, at.v4.sin_addr.s_addr, datagram, total);
    memcpy(datagram, &head, 8);
    for (int i = 0, odd = count / 2; i < count; i++)
        order[i] = arg[5][0] == 'r' ? count - 1 - i : arg[5][0] == 'f' ? i : i < odd ? 2 * i + 1 : 2 * (i - odd);
    for (int i = 0; i < count; i++) {
        int offset = order[i] * unit, part = total - offset < unit ? total - offset : unit;
        struct iphdr ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP, .id = htons(4242)};
        ip.frag_off = htons(offset / 8 | (offset + part < total ? IP_MF : 0));
        ip.saddr = from.v4.sin_addr.s_addr, ip.daddr = at.v4.sin_addr.s_addr;
        memcpy(packet, &ip, sizeof ip); /* the kernel fills in length and checksum */
        memcpy(packet + sizeof ip, datagram + offset, part);
        if (sendto(raw, packet, sizeof ip + part, 0, &at.any, sizeof at.v4) < 0)
            fail("sendto");
    }
    expect_echo(s, datagram + 8, size, &at);
}

int main(int count, char **arg)
{
    static const struct { const char *verb; int least; void (*run)(char **); } verbs[] = {
        {"tcp", 5, tcp}, {"udp", 2, udp}, {"udpserve", 2, udpserve}, {"fragments", 6, fragments},
    };
    for (unsigned i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (count > 1 && !strcmp(arg[1], verbs[i].verb) && count - 2 >= verbs[i].least) {
            verbs[i].run(arg + 2);
            return 0;
        }
    fputs("usage: see the head of peer.c\n", stderr);
    return 2;
}
