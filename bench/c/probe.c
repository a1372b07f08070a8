/*
 * probe: what a conversation costs, one byte at a time.
 *
 *   probe serve PORT              echoes on 127.0.0.1, TCP and UDP, any number of connections; prints "ready"
 *   probe rr HOST PORT SECONDS    a byte there and back over one TCP connection: p50_us, p99_us, per_s
 *   probe urr HOST PORT SECONDS   the same in UDP datagrams; one that is lost is sent again after 200 ms
 *   probe crr HOST PORT SECONDS   connect, a byte there and back, close
 *   probe hold HOST PORT NUMBER   so many TCP connections at once, then three rounds of a byte there and back on each:
 *                                 held, connect_per_s, round_per_s; they stay open until it ends, a second later
 *
 * Figures are words NAME=VALUE on one line.  Ends with 1 and a line on an error.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 3
#define SAMPLES_MOST 4000000

static int die(const char *what)
{
    fprintf(stderr, "probe: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static struct sockaddr_in address(const char *host, const char *port)
{
    struct sockaddr_in made = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    if (!inet_aton(host, &made.sin_addr))
        die(host);
    return made;
}

/* As many descriptors as this user may have. */
static void many_descriptors(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* ------------------------------------------------------------------------------------------------------------ the server */

static void watch(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
        die("epoll_ctl");
}

static void echo_datagram(int fd)
{
    char data[2048];
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    ssize_t size = recvfrom(fd, data, sizeof data, 0, (void *)&from, &length);
    if (size >= 0)
        sendto(fd, data, size, 0, (void *)&from, length);
}

static void echo(int fd)
{
    char data[65536];
    ssize_t size = recv(fd, data, sizeof data, 0);
    if (size <= 0 || send(fd, data, size, MSG_NOSIGNAL) != size)
        close(fd);
}

static void serve(const char *port)
{
    struct sockaddr_in here = address("127.0.0.1", port);
    int tcp = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), udp = socket(AF_INET, SOCK_DGRAM, 0), one = 1;
    setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(tcp, (void *)&here, sizeof here) || bind(udp, (void *)&here, sizeof here) || listen(tcp, 4096))
        die("bind");
    int epoll = epoll_create1(0);
    watch(epoll, tcp);
    watch(epoll, udp);
    puts("ready");
    fflush(stdout);
    for (;;) {
        struct epoll_event events[256];
        int count = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd, made;
            if (fd == udp) {
                echo_datagram(udp);
            } else if (fd == tcp) {
                while ((made = accept(tcp, NULL, NULL)) >= 0) {
                    setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    watch(epoll, made);
                }
            } else {
                echo(fd);
            }
        }
    }
}

/* ------------------------------------------------------------------------------------------------------------ the clients */

static int dial(const struct sockaddr_in *to, int kind)
{
    int made = socket(AF_INET, kind, 0), one = 1;
    struct timeval patience = {.tv_sec = 10};
    if (kind == SOCK_DGRAM)
        patience = (struct timeval){.tv_usec = 200000};
    else
        setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(made, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (made < 0 || connect(made, (const void *)to, sizeof *to))
        die("connect");
    return made;
}

/* A byte there and back; 0 where it was lost. */
static int ask(int fd)
{
    char byte = 'x';
    return send(fd, &byte, 1, MSG_NOSIGNAL) == 1 && recv(fd, &byte, 1, 0) == 1;
}

static int by_size(const void *one, const void *other)
{
    float a = *(const float *)one, b = *(const float *)other;
    return (a > b) - (a < b);
}

static void tell(float *samples, size_t count, double took)
{
    if (!count)
        die("no answer");
    qsort(samples, count, sizeof *samples, by_size);
    printf("p50_us=%.1f p99_us=%.1f per_s=%.1f\n", samples[count / 2], samples[count * 99 / 100], count / took);
}

static void converse(const struct sockaddr_in *to, int kind, int anew, double duration)
{
    float *samples = malloc(SAMPLES_MOST * sizeof *samples);
    size_t count = 0;
    int fd = anew ? -1 : dial(to, kind);
    double begin = seconds(), now = begin;
    while (now - begin < duration && count < SAMPLES_MOST) {
        double last = now;
        if (anew)
            fd = dial(to, kind);
        int answered = ask(fd);
        if (!answered && kind == SOCK_STREAM)
            die("no answer");
        if (anew)
            close(fd);
        now = seconds();
        if (answered)
            samples[count++] = (now - last) * 1e6;
    }
    tell(samples, count, now - begin);
}

static void hold(const struct sockaddr_in *to, int number)
{
    int *held = calloc(number, sizeof *held);
    double begin = seconds();
    for (int i = 0; i < number; i++)
        held[i] = dial(to, SOCK_STREAM);
    double connected = seconds();
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < number; i++)
            if (!ask(held[i]))
                die("no answer on one that is held");
    double over = seconds();
    printf("held=%d connect_per_s=%.1f round_per_s=%.1f\n", number, number / (connected - begin),
           (double)ROUNDS * number / (over - connected));
    fflush(stdout);
    sleep(1);
}

int main(int count, char **arg)
{
    if (count == 3 && !strcmp(arg[1], "serve")) {
        many_descriptors();
        serve(arg[2]);
    }
    if (count != 5)
        return 2;
    many_descriptors();
    struct sockaddr_in to = address(arg[2], arg[3]);
    double number = atof(arg[4]);
    if (!strcmp(arg[1], "rr"))
        converse(&to, SOCK_STREAM, 0, number);
    else if (!strcmp(arg[1], "urr"))
        converse(&to, SOCK_DGRAM, 0, number);
    else if (!strcmp(arg[1], "crr"))
        converse(&to, SOCK_STREAM, 1, number);
    else if (!strcmp(arg[1], "hold"))
        hold(&to, number);
    else
        return 2;
    return 0;
}
