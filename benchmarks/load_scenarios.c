/* The scenarios fanout, pairs, idle, storm and lone; each fills in one result and leaves its connections open. */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A server that tells every join to every member may talk for long after the last join, but not for ever. */
#define SETTLE_SECONDS 120.0

static struct {
    int members, senders, next_sender;
    uint64_t sent, completed;
    uint64_t sent_ns[MAX_INFLIGHT];
    int received_by[MAX_INFLIGHT];
    struct histogram latency;
} flight;

static struct {
    char (*tags)[8];
    uint64_t *sent_ns;
    uint64_t completed;
    struct histogram latency;
} pairs;

static struct {
    uint64_t sent, answered;
    uint64_t sent_ns;
    char wanted[24];
    struct histogram latency;
} lone;

void check_answers(void) {
    if (now_seconds() - net.last_frame_s > ANSWER_SECONDS) fail("no answer for %.0f s", ANSWER_SECONDS);
}

void connect_range(int first, int count, const char *room_format, int per_room) {
    int opened = 0, joined_before = net.joined, joined = 0;
    double progress_s = now_seconds();
    while (net.joined - joined_before < count) {
        while (opened < count && net.unfinished < net.options->connecting) {
            net_open(first + opened, room_format, opened / per_room);
            opened++;
        }
        net_turn(1000);
        if (net.joined - joined_before > joined) progress_s = now_seconds();
        joined = net.joined - joined_before;
        if (now_seconds() - progress_s > ANSWER_SECONDS)
            fail("no join for %.0f s; %d of %d have joined", ANSWER_SECONDS, joined, count);
    }
}

void turn_until(double deadline_s) {
    for (double left = deadline_s - now_seconds(); left > 0; left = deadline_s - now_seconds()) {
        net_turn(left > 0.1 ? 100 : (int)(left * 1000) + 1);
    }
}

/* Turns until then, to a fraction of a millisecond. */
void turn_until_ns(uint64_t due_ns) {
    for (uint64_t now = now_ns(); now < due_ns; now = now_ns()) {
        uint64_t left_ms = (due_ns - now) / 1000000;
        net_turn(left_ms > 1 ? (int)left_ms - 1 : 0);
    }
}

/* Until the server has said nothing for `quiet_s`: presence events of the joins are still on their way. */
void settle(double quiet_s) {
    double deadline_s = now_seconds() + SETTLE_SECONDS;
    while (now_seconds() - net.last_frame_s < quiet_s) {
        net_turn(50);
        if (now_seconds() > deadline_s) fail("the server is not quiet %.0f s after the last join", SETTLE_SECONDS);
    }
}

/* {"type":"message","text":…} with TEXT_BYTES of text that begins with the sender's tag. */
void chat_text(char out[TEXT_BYTES + 64], int index) {
    static const char filler[] = "the quick brown fox jumps over the lazy dog and runs on and on..";
    int size = sprintf(out, "{\"type\":\"message\",\"text\":\"#%05d#", index);
    sprintf(out + size, "%.*s\"}", TEXT_BYTES - 7, filler);
}

static void answered_window(double seconds) {
    double deadline_s = now_seconds() + seconds;
    while (now_seconds() < deadline_s) {
        net_turn(100);
        check_answers();
    }
}

/* ---- fanout ---- */

static void flight_send(void) {
    char text[TEXT_BYTES + 64];
    chat_text(text, flight.next_sender);
    flight.sent_ns[flight.sent++ % MAX_INFLIGHT] = now_ns();
    net_send_text(flight.next_sender, text);
    flight.next_sender = (flight.next_sender + 1) % flight.senders;
}

/* A client's n-th message is the room's n-th: all members see one order, so nothing needs to be parsed. */
static void on_fanout_message(int index, const uint8_t *payload, size_t size) {
    (void)payload, (void)size;
    unsigned slot = net.clients[index].received++ % MAX_INFLIGHT;
    histogram_add(&flight.latency, net.turn_ns - flight.sent_ns[slot]);
    if (++flight.received_by[slot] < flight.members) return;
    flight.received_by[slot] = 0;
    flight.completed++;
    flight_send();
}

void run_fanout(const struct options *options, struct result *result) {
    net_start(options, (struct hooks){.on_message = on_fanout_message}, options->clients);
    flight.members = options->clients;
    flight.senders = options->senders > 0 ? options->senders : options->clients;
    if (options->stream != NULL) net.streams_from = flight.senders;
    connect_range(0, options->clients, "fanout%d", options->clients);
    settle(0.3);
    net.last_frame_s = now_seconds();
    for (int i = 0; i < options->inflight; i++) flight_send();
    answered_window(options->warmup_seconds);
    memset(&flight.latency, 0, sizeof flight.latency);
    uint64_t completed = flight.completed, deliveries = net.deliveries;
    measure(options, &result->begin);
    answered_window(options->seconds);
    measure(options, &result->end);
    result->messages = flight.completed - completed;
    result->deliveries = net.deliveries - deliveries;
    result->latency = &flight.latency;
    snprintf(result->extra, sizeof result->extra, ",\"clients\":%d,\"senders\":%d,\"inflight\":%d", options->clients, flight.senders,
             options->inflight);
}

/* ---- pairs ---- */

static void pairs_send(int index) {
    char text[TEXT_BYTES + 64];
    chat_text(text, index);
    pairs.sent_ns[index] = now_ns();
    net_send_text(index, text);
}

static void on_pairs_message(int index, const uint8_t *payload, size_t size) {
    if (memmem(payload, size, pairs.tags[index], 7) == NULL) return;
    histogram_add(&pairs.latency, net.turn_ns - pairs.sent_ns[index]);
    pairs.completed++;
    pairs_send(index);
}

void run_pairs(const struct options *options, struct result *result) {
    int clients = options->rooms * options->size;
    pairs.tags = calloc((size_t)clients, sizeof *pairs.tags);
    pairs.sent_ns = calloc((size_t)clients, sizeof *pairs.sent_ns);
    if (pairs.tags == NULL || pairs.sent_ns == NULL) fail("out of memory");
    for (int i = 0; i < clients; i++) snprintf(pairs.tags[i], sizeof pairs.tags[i], "#%05u#", (unsigned)i % 100000);
    net_start(options, (struct hooks){.on_message = on_pairs_message}, clients);
    connect_range(0, clients, "pair%d", options->size);
    settle(0.3);
    net.last_frame_s = now_seconds();
    for (int i = 0; i < clients; i++) pairs_send(i);
    answered_window(options->warmup_seconds);
    memset(&pairs.latency, 0, sizeof pairs.latency);
    uint64_t completed = pairs.completed, deliveries = net.deliveries;
    measure(options, &result->begin);
    answered_window(options->seconds);
    measure(options, &result->end);
    result->messages = pairs.completed - completed;
    result->deliveries = net.deliveries - deliveries;
    result->latency = &pairs.latency;
    snprintf(result->extra, sizeof result->extra, ",\"rooms\":%d,\"size\":%d", options->rooms, options->size);
}

/* ---- idle ---- */

void run_idle(const struct options *options, struct result *result) {
    struct snapshot empty;
    int clients = options->clients, per_room = (clients + options->rooms - 1) / options->rooms;
    net_start(options, (struct hooks){0}, clients);
    measure(options, &empty);
    connect_range(0, clients, "idle%d", per_room);
    double connect_wall_s = now_seconds() - empty.wall_s;
    settle(1.0);
    measure(options, &result->begin);
    turn_until(now_seconds() + options->seconds);
    measure(options, &result->end);
    double storm_s = result->begin.server_cpu_s - empty.server_cpu_s;
    double idle_s = result->end.server_cpu_s - result->begin.server_cpu_s;
    double idle_wall_s = result->end.wall_s - result->begin.wall_s;
    snprintf(result->extra, sizeof result->extra,
             ",\"clients\":%d,\"rooms\":%d,\"bytes_per_connection\":%.0f,\"bytes_per_connection_after_connect\":%.0f"
             ",\"us_per_connect\":%.2f,\"connects_per_s\":%.0f,\"idle_us_per_connection_s\":%.3f",
             clients, options->rooms, ((double)result->end.server_bytes - (double)empty.server_bytes) / clients,
             ((double)result->begin.server_bytes - (double)empty.server_bytes) / clients, storm_s * 1e6 / clients,
             clients / connect_wall_s, idle_s * 1e6 / clients / idle_wall_s);
}

/* ---- storm ---- */

void disconnect_range(int first, int count) {
    double deadline_s = now_seconds() + ANSWER_SECONDS;
    int open = net.open, rest = net.open - count;
    for (int i = 0; i < count; i++) {
        net_close(first + i);
        if (i % 100 == 99) net_turn(0);
    }
    while (net.open > rest) {
        net_turn(100);
        if (net.open < open) deadline_s = now_seconds() + ANSWER_SECONDS;
        open = net.open;
        if (now_seconds() > deadline_s)
            fail("%d connections are still open %.0f s after their close frames", open - rest, ANSWER_SECONDS);
    }
}

void run_storm(const struct options *options, struct result *result) {
    int clients = options->clients, per_room = (clients + options->rooms - 1) / options->rooms, rounds = 0;
    double connect_s = 0, close_s = 0, connect_wall_s = 0;
    struct snapshot before, joined, closed;
    net_start(options, (struct hooks){0}, clients);
    measure(options, &result->begin);
    closed = result->begin;
    do {
        before = closed;
        connect_range(0, clients, "storm%d", per_room);
        double wall_s = now_seconds();
        settle(0.2);
        measure(options, &joined);
        disconnect_range(0, clients);
        settle(0.2);
        measure(options, &closed);
        connect_s += joined.server_cpu_s - before.server_cpu_s;
        close_s += closed.server_cpu_s - joined.server_cpu_s;
        connect_wall_s += wall_s - before.wall_s;
        rounds++;
    } while (closed.wall_s - result->begin.wall_s < options->seconds);
    result->end = closed;
    snprintf(result->extra, sizeof result->extra,
             ",\"clients\":%d,\"rooms\":%d,\"rounds\":%d,\"us_per_connect\":%.2f,\"us_per_close\":%.2f,\"connects_per_s\":%.0f",
             clients, options->rooms, rounds, connect_s * 1e6 / clients / rounds, close_s * 1e6 / clients / rounds,
             (double)clients * rounds / connect_wall_s);
}

/* ---- lone ---- */

static void lone_send(void) {
    char text[128];
    snprintf(lone.wanted, sizeof lone.wanted, "\"id\":%llu", (unsigned long long)++lone.sent);
    snprintf(text, sizeof text, "{\"type\":\"message\",\"text\":\"is anybody there?\",%s}", lone.wanted);
    lone.sent_ns = now_ns();
    net_send_text(0, text);
}

static void on_lone_ok(int index, const uint8_t *payload, size_t size) {
    (void)index;
    if (memmem(payload, size, lone.wanted, strlen(lone.wanted)) == NULL)
        fail("not the answer to %s: %.*s", lone.wanted, (int)(size < 200 ? size : 200), (const char *)payload);
    histogram_add(&lone.latency, net.turn_ns - lone.sent_ns);
    lone.answered++;
}

/* One message at a time, so that each finds the server asleep. */
static void lone_window(double seconds, double every_s) {
    double next_s = now_seconds(), end_s = next_s + seconds;
    for (; next_s < end_s; next_s += every_s) {
        turn_until(next_s);
        while (lone.answered < lone.sent) {
            net_turn(100);
            check_answers();
        }
        lone_send();
    }
    turn_until(end_s);
    if (lone.answered < lone.sent) fail("the last message was not answered");
}

void run_lone(const struct options *options, struct result *result) {
    net_start(options, (struct hooks){.on_ok = on_lone_ok}, 1);
    connect_range(0, 1, "lone%d", 1);
    settle(0.3);
    net.last_frame_s = now_seconds();
    lone_window(options->warmup_seconds, options->every_ms / 1000);
    memset(&lone.latency, 0, sizeof lone.latency);
    measure(options, &result->begin);
    lone_window(options->seconds, options->every_ms / 1000);
    measure(options, &result->end);
    result->messages = result->deliveries = lone.latency.total;
    result->latency = &lone.latency;
    snprintf(result->extra, sizeof result->extra, ",\"every_ms\":%.3g,\"samples\":%llu,\"max_ms\":%.3f", options->every_ms,
             (unsigned long long)lone.latency.total, (double)lone.latency.max_ns / 1e6);
}
