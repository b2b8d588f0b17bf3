/* The scenario nodes: rooms whose members are on two nodes; who sends is on the first, who waits is on both. */
#include "load.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Messages on their way, by their number; and what Redis may say of its commands. */
enum { RING = 1 << 16, INFO_BYTES = 1 << 16 };
#define QUIET_SECONDS 2.0

/* Calls of scripts and publications that Redis has seen. */
struct calls {
    double scripts, script_us, publications;
};

static struct {
    int clients, near; /* the first of each room's members are on the first node, the others on the second */
    bool closed_loop, timed;
    uint64_t sent, delivered, completed;
    uint64_t due_ns[RING];
    int due[RING]; /* deliveries that are still to come */
    struct histogram all, far, late;
} nodes;

/* ---- Redis ---- */

static double statistic(const char *info, const char *command, const char *name) {
    char wanted[64];
    snprintf(wanted, sizeof wanted, "cmdstat_%s:", command);
    const char *line = strstr(info, wanted), *end = line == NULL ? NULL : strchr(line, '\r');
    const char *found = line == NULL ? NULL : strstr(line, name);
    return found == NULL || found > end ? 0 : strtod(found + strlen(name), NULL);
}

/* On a connection of its own, and so seldom that it costs nothing; nothing at all without --redis. */
static struct calls count_calls(const struct options *options) {
    static const char question[] = "INFO commandstats\r\n";
    static char info[INFO_BYTES];
    struct options redis = *options;
    size_t size = 0;
    if (options->redis_port == 0) return (struct calls){0};
    redis.address.sin_port = htons((uint16_t)options->redis_port);
    int fd = dial(&redis, false, 0);
    if (send(fd, question, sizeof question - 1, 0) != sizeof question - 1) fail("redis takes no question");
    for (size_t wanted = 1; size < wanted; wanted = info[0] == '$' ? strtoul(info + 1, NULL, 10) : 1) {
        ssize_t got = recv(fd, info + size, sizeof info - 1 - size, 0);
        if (got <= 0) fail("redis gives no answer");
        info[size += (size_t)got] = '\0';
    }
    close(fd);
    return (struct calls){statistic(info, "evalsha", "calls="), statistic(info, "evalsha", "usec="), statistic(info, "publish", "calls=")};
}

/* A second of those when nothing is said. */
static struct calls count_quiet(const struct options *options) {
    struct calls begin = count_calls(options);
    if (options->redis_port == 0) return begin;
    turn_until(now_seconds() + QUIET_SECONDS);
    struct calls end = count_calls(options);
    return (struct calls){(end.scripts - begin.scripts) / QUIET_SECONDS, 0, (end.publications - begin.publications) / QUIET_SECONDS};
}

/* ---- messages ---- */

static void nodes_send(uint64_t due_ns) {
    char text[TEXT_BYTES + 64], frame[TEXT_BYTES + 96];
    uint64_t number = nodes.sent++;
    int per_room = nodes.clients / net.options->rooms, room = (int)(number % (uint64_t)net.options->rooms);
    int sender = room * nodes.near + (int)(number / (uint64_t)net.options->rooms % (uint64_t)nodes.near);
    nodes.due_ns[number % RING] = due_ns;
    nodes.due[number % RING] = per_room;
    chat_text(text, (int)(number % RING)); /* its tag says which it is */
    snprintf(frame, sizeof frame, net.options->socketio ? "42[\"message\",%s]" : "%s", text);
    net_send_text(sender, frame);
}

static void on_nodes_message(int index, const uint8_t *payload, size_t size) {
    uint64_t slot = number_after(payload, size, "\"#") % RING;
    uint64_t waited_ns = net.turn_ns - nodes.due_ns[slot];
    if (--nodes.due[slot] < 0) fail("a message came too often: %.*s", (int)(size < 200 ? size : 200), (const char *)payload);
    nodes.delivered++;
    if (nodes.timed) {
        histogram_add(&nodes.all, waited_ns);
        if (index >= nodes.near * net.options->rooms) histogram_add(&nodes.far, waited_ns);
    }
    if (nodes.due[slot] > 0) return;
    nodes.completed++;
    if (nodes.closed_loop) nodes_send(now_ns());
}

static void await_completed(void) {
    for (net.last_frame_s = now_seconds(); nodes.completed < nodes.sent; check_answers()) net_turn(100);
}

static void drive_closed(double seconds) {
    double end_s = now_seconds() + seconds;
    for (net.last_frame_s = now_seconds(); now_seconds() < end_s; check_answers()) net_turn(100);
}

/* Open loop: a message leaves when it is due, and its time counts from then. */
static void drive_open(double rate, double seconds) {
    uint64_t begin_ns = now_ns(), due_ns = begin_ns;
    for (uint64_t i = 0; due_ns < begin_ns + (uint64_t)(seconds * 1e9); due_ns = begin_ns + (uint64_t)((double)++i * 1e9 / rate)) {
        turn_until_ns(due_ns);
        histogram_add(&nodes.late, now_ns() - due_ns);
        if (nodes.sent - nodes.completed >= RING) fail("the servers do not keep up with %.0f messages/s", rate);
        nodes_send(due_ns);
    }
    await_completed();
}

/* ---- the scenario ---- */

static void connect_both(const struct options *options) {
    struct options second = *options;
    int near = nodes.near * options->rooms;
    connect_range(0, near, "nodes%d", nodes.near);
    if (options->second_port > 0) second.address.sin_port = htons((uint16_t)options->second_port);
    net.options = &second;
    connect_range(near, nodes.clients - near, "nodes%d", nodes.near);
    net.options = options;
    settle(0.5);
}

static void drive(const struct options *options, double seconds) {
    if (options->rate > 0) drive_open(options->rate, seconds);
    else drive_closed(seconds);
}

static void describe(const struct options *options, const struct calls *quiet, const struct calls *begin, const struct calls *end,
                     const double *cpu_s, struct result *result) {
    double messages = (double)result->messages;
    int size = snprintf(result->extra, sizeof result->extra,
                        ",\"clients\":%d,\"rooms\":%d,\"rate\":%.1f,\"messages_per_s\":%.1f,\"far_p50_ms\":%.3f,\"far_p99_ms\":%.3f"
                        ",\"late_p99_ms\":%.3f,\"quiet_scripts_per_s\":%.2f,\"quiet_publications_per_s\":%.2f,\"scripts_per_message\":%.4f"
                        ",\"publications_per_message\":%.4f,\"us_per_script\":%.2f",
                        nodes.clients, options->rooms, options->rate, messages / (result->end.wall_s - result->begin.wall_s),
                        histogram_ms(&nodes.far, 0.5), histogram_ms(&nodes.far, 0.99), histogram_ms(&nodes.late, 0.99),
                        quiet->scripts, quiet->publications, (end->scripts - begin->scripts) / messages,
                        (end->publications - begin->publications) / messages,
                        end->scripts > begin->scripts ? (end->script_us - begin->script_us) / (end->scripts - begin->scripts) : 0);
    for (int i = 0; i < options->pid_count; i++)
        size += snprintf(result->extra + size, sizeof result->extra - (size_t)size, ",\"process_%d_us_per_message\":%.3f", i,
                         (process_cpu_seconds(options->pids[i]) - cpu_s[i]) * 1e6 / messages);
}

void run_nodes(const struct options *options, struct result *result) {
    double cpu_s[MAX_PIDS];
    nodes.near = options->clients / options->rooms / 2;
    nodes.clients = nodes.near * options->rooms * 2;
    if (nodes.near == 0) fail("--clients must be at least twice --rooms");
    net_start(options, (struct hooks){.on_message = on_nodes_message}, nodes.clients);
    connect_both(options);
    nodes.closed_loop = options->rate == 0;
    struct calls quiet = nodes.closed_loop ? count_quiet(options) : (struct calls){0}, begin, end;
    for (int i = 0; nodes.closed_loop && i < options->inflight; i++) nodes_send(now_ns());
    drive(options, options->warmup_seconds);
    uint64_t completed = nodes.completed, delivered = nodes.delivered;
    nodes.timed = true;
    memset(&nodes.late, 0, sizeof nodes.late);
    begin = count_calls(options);
    for (int i = 0; i < options->pid_count; i++) cpu_s[i] = process_cpu_seconds(options->pids[i]);
    measure(options, &result->begin);
    drive(options, options->seconds);
    measure(options, &result->end);
    result->messages = nodes.completed - completed;
    result->deliveries = nodes.delivered - delivered;
    result->latency = &nodes.all;
    end = count_calls(options);
    nodes.closed_loop = nodes.timed = false;
    await_completed(); /* or they would come to who joins these rooms next */
    describe(options, &quiet, &begin, &end, cpu_s, result);
}
