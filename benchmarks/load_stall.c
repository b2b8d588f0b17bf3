/* The scenario stall: a big room, many idle connections and churn, and a probe that times pings from outside. */
#include "load.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

enum { IDLE_PER_ROOM = 100, CHURN_ROOMS = 10, PONG_BYTES = 10, PROBE_READ_BYTES = 4096 };

struct probe_report {
    double p50_ms, p99_ms, p999_ms, max_ms, late_max_ms;
    uint64_t samples;
};

struct probe {
    int fd;
    size_t have;
    uint64_t late_max_ns, sent, answered;
    struct histogram round_trips;
    uint8_t buffer[PROBE_READ_BYTES];
};

static struct {
    int members;
    uint64_t sent;
    uint64_t sent_ns[MAX_INFLIGHT];
    struct histogram latency;
} big;

/* ---- the probe, a process of its own: the load's bursts of reading must not count as the server's stalls ---- */

static void probe_connect(struct probe *probe, const struct options *options) {
    char request[2048];
    size_t size = upgrade_request(options, request, sizeof request);
    probe->fd = dial(options, false, net.opened_total);
    if (send(probe->fd, request, size, MSG_NOSIGNAL) != (ssize_t)size) fail("the probe cannot send");
    while (memmem(probe->buffer, probe->have, "\r\n\r\n", 4) == NULL) {
        ssize_t got = recv(probe->fd, probe->buffer + probe->have, PROBE_READ_BYTES - probe->have, 0);
        if (got <= 0) fail("the probe's upgrade was not answered");
        probe->have += (size_t)got;
    }
    if (memcmp(probe->buffer, "HTTP/1.1 101", 12) != 0) fail("the probe's upgrade was refused");
    size_t head = (size_t)((uint8_t *)memmem(probe->buffer, probe->have, "\r\n\r\n", 4) - probe->buffer) + 4;
    memmove(probe->buffer, probe->buffer + head, probe->have - head);
    probe->have -= head;
}

static void probe_ping(struct probe *probe, uint64_t due_ns) {
    uint8_t frame[32];
    uint64_t sent_ns = now_ns();
    size_t size = masked_frame(frame, 9, &sent_ns, sizeof sent_ns);
    if (send(probe->fd, frame, size, MSG_NOSIGNAL) != (ssize_t)size) fail("the server does not take the probe's pings");
    if (sent_ns - due_ns > probe->late_max_ns) probe->late_max_ns = sent_ns - due_ns;
    probe->sent++;
}

static void probe_pong(struct probe *probe, const uint8_t *payload) {
    uint64_t sent_ns, took_ns;
    memcpy(&sent_ns, payload, sizeof sent_ns);
    took_ns = now_ns() - sent_ns;
    histogram_add(&probe->round_trips, took_ns);
    probe->answered++;
}

/* Frames of the probe's quiet connection are short: pongs, `connected`, a heartbeat's ping. */
static void probe_frames(struct probe *probe) {
    size_t at = 0;
    while (probe->have - at >= 2) {
        const uint8_t *frame = probe->buffer + at;
        size_t head = frame[1] == 126 ? 4 : 2, size = frame[1];
        if (probe->have - at < head) break;
        if (frame[1] == 126) size = (size_t)frame[2] << 8 | frame[3];
        if (frame[1] == 127 || head + size > PROBE_READ_BYTES) fail("the probe got a long frame");
        if (probe->have - at < head + size) break;
        if ((frame[0] & 15) == 8)
            fail("the server closed the probe with code %d %.*s", size < 2 ? 1005 : frame[head] << 8 | frame[head + 1],
                 size < 2 ? 0 : (int)size - 2, (const char *)frame + head + 2);
        if ((frame[0] & 15) == 10 && size == PONG_BYTES - 2) probe_pong(probe, frame + head);
        if ((frame[0] & 15) == 9) {
            uint8_t pong[160];
            size_t pong_size = masked_frame(pong, 10, frame + head, size);
            if (send(probe->fd, pong, pong_size, MSG_NOSIGNAL) < 0) fail("the probe cannot send");
        }
        at += head + size;
    }
    memmove(probe->buffer, probe->buffer + at, probe->have - at);
    probe->have -= at;
}

static void probe_wait(struct probe *probe, uint64_t until_ns) {
    for (uint64_t now = now_ns(); now < until_ns; now = now_ns()) {
        struct pollfd watched = {.fd = probe->fd, .events = POLLIN};
        struct timespec left = {.tv_sec = (time_t)((until_ns - now) / 1000000000u), .tv_nsec = (long)((until_ns - now) % 1000000000u)};
        if (ppoll(&watched, 1, &left, NULL) <= 0) continue;
        ssize_t got = recv(probe->fd, probe->buffer + probe->have, PROBE_READ_BYTES - probe->have, 0);
        if (got <= 0) fail("the server ended the probe's connection");
        probe->have += (size_t)got;
        probe_frames(probe);
    }
}

/* Open loop: pings leave on a fixed schedule, whether or not earlier ones are answered. */
static void probe_run(const struct options *options, int out) {
    static struct probe probe;
    struct sched_param priority = {.sched_priority = 1};
    uint64_t step_ns = (uint64_t)(options->probe_ms * 1e6), due_ns;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sched_setscheduler(0, SCHED_FIFO, &priority); /* without the right to it the parent's nice value has to do */
    probe_connect(&probe, options);
    due_ns = now_ns();
    for (uint64_t end_ns = due_ns + (uint64_t)(options->seconds * 1e9); due_ns < end_ns; due_ns += step_ns) {
        probe_wait(&probe, due_ns);
        probe_ping(&probe, due_ns);
    }
    for (int i = 0; i < (int)ANSWER_SECONDS * 100 && probe.answered < probe.sent; i++) probe_wait(&probe, now_ns() + 10000000u);
    if (probe.answered < probe.sent) fail("%llu pings were not answered", (unsigned long long)(probe.sent - probe.answered));
    struct probe_report report = {
        histogram_ms(&probe.round_trips, 0.5), histogram_ms(&probe.round_trips, 0.99), histogram_ms(&probe.round_trips, 0.999),
        (double)probe.round_trips.max_ns / 1e6, (double)probe.late_max_ns / 1e6, probe.answered};
    if (write(out, &report, sizeof report) != sizeof report) fail("the probe's report is lost");
}

static int probe_start(const struct options *options, pid_t *child) {
    int ends[2];
    if (pipe(ends) != 0 || (*child = fork()) < 0) fail("cannot start the probe: %s", strerror(errno));
    if (*child == 0) {
        close(ends[0]);
        probe_run(options, ends[1]);
        _exit(0);
    }
    close(ends[1]);
    setpriority(PRIO_PROCESS, 0, 10);
    return ends[0];
}

/* ---- the load around it ---- */

static void on_big_message(int index, const uint8_t *payload, size_t size) {
    (void)payload, (void)size;
    uint32_t ordinal = net.clients[index].received++;
    histogram_add(&big.latency, net.turn_ns - big.sent_ns[ordinal % MAX_INFLIGHT]);
}

static void big_send(void) {
    char text[TEXT_BYTES + 64];
    int sender = (int)(big.sent * 997 % (uint64_t)big.members);
    chat_text(text, sender);
    big.sent_ns[big.sent++ % MAX_INFLIGHT] = now_ns();
    net_send_text(sender, text);
}

/* 2 × churn slots, each visited once a second: one half is opened while the other half is closed. */
static bool churn_step(int first, int slots, uint64_t step) {
    int slot = (int)(step % (uint64_t)slots), index = first + slot;
    bool opens = (step / (uint64_t)slots + (uint64_t)slot) % 2 == 0;
    uint8_t state = net.clients[index].state;
    if (opens && state == CLIENT_FREE) {
        net_open(index, "churn%d", slot % CHURN_ROOMS);
        return true;
    }
    if (!opens && state == CLIENT_JOINED) {
        net_close(index);
        return true;
    }
    return !opens && state == CLIENT_FREE;
}

static uint64_t drive(const struct options *options, int churn_first) {
    double begin_s = now_seconds(), next_message_s = begin_s + 0.5, next_churn_s = begin_s, churn_interval_s;
    uint64_t step = 0, late = 0;
    int slots = 2 * options->churn;
    churn_interval_s = slots > 0 ? 1.0 / slots : 2 * options->seconds + 1;
    for (double now = begin_s; now < begin_s + options->seconds; now = now_seconds()) {
        for (; slots > 0 && next_churn_s <= now; next_churn_s += churn_interval_s)
            if (!churn_step(churn_first, slots, step++)) late++;
        if (next_message_s <= now) {
            big_send();
            next_message_s += 1.0;
        }
        double due_s = next_churn_s < next_message_s ? next_churn_s : next_message_s;
        net_turn(due_s - now < 0.1 ? (int)((due_s - now) * 1000) + (due_s > now) : 100);
    }
    return late;
}

/* The last message may still be on its way to some members. */
static void await_deliveries(uint64_t wanted) {
    double deadline_s = now_seconds() + ANSWER_SECONDS;
    while (net.deliveries < wanted && now_seconds() < deadline_s) net_turn(100);
    if (net.deliveries < wanted)
        fail("%llu of %llu deliveries are missing", (unsigned long long)(wanted - net.deliveries), (unsigned long long)wanted);
}

static struct probe_report probe_finish(int from, pid_t child) {
    struct probe_report report;
    int status = 0;
    ssize_t got = read(from, &report, sizeof report);
    waitpid(child, &status, 0);
    if (got != sizeof report || status != 0) fail("the probe has failed");
    return report;
}

void run_stall(const struct options *options, struct result *result) {
    int total = options->room + options->idle;
    pid_t child;
    net_start(options, (struct hooks){.on_message = on_big_message}, total + 2 * options->churn);
    big.members = options->room;
    connect_range(0, options->room, "big%d", options->room);
    connect_range(options->room, options->idle, "quiet%d", IDLE_PER_ROOM);
    settle(1.0);
    int from = probe_start(options, &child);
    measure(options, &result->begin);
    uint64_t late = drive(options, total);
    measure(options, &result->end);
    await_deliveries(big.sent * (uint64_t)options->room);
    struct probe_report report = probe_finish(from, child);
    result->messages = big.sent;
    result->deliveries = net.deliveries;
    result->latency = &big.latency;
    snprintf(result->extra, sizeof result->extra,
             ",\"idle\":%d,\"room\":%d,\"churn\":%d,\"churn_late\":%llu,\"probe_pings\":%llu,\"probe_p50_ms\":%.3f,\"probe_p99_ms\":%.3f"
             ",\"probe_p999_ms\":%.3f,\"probe_max_ms\":%.3f,\"probe_late_max_ms\":%.3f",
             options->idle, options->room, options->churn, (unsigned long long)late, (unsigned long long)report.samples, report.p50_ms,
             report.p99_ms, report.p999_ms, report.max_ms, report.late_max_ms);
}
