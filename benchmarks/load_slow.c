/* The scenario slow: a room at half its load, without and with members that never read; what the others notice of them. */
#include "load.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* Messages on their way; FILL_*: what is published to fill the stalled members' buffers, in a room of their own. */
enum { RING = 4096, FILL_TEXT = 2000, FILL_BATCH = 200, FILL_BATCHES = 100, FILL_INFLIGHT = 16, LOG_BATCHES = 8 };
enum { STALLED_RECEIVE_BYTES = 4096, STALLED_MAX = 500, TCP_ESTABLISHED_STATE = 1 };
#define CALIBRATION_SECONDS 2.0
#define PHASE_SECONDS_MAX 25.0 /* by the heartbeat after 30 s the server may tell that a stalled member is dead */

struct phase {
    struct histogram latency;
    double wall_s, server_s, load_s;
    uint64_t messages, deliveries, server_bytes;
};

static struct {
    int readers, filler, first_stalled, muted;
    bool closed_loop;
    uint64_t sent, delivered, late_max_ns;
    uint64_t due_ns[RING];
    struct histogram *latency;
    uint64_t fill_sent, filled, fill_frame_bytes;
    int members; /* as the server counts them; 0 while it has not said */
} slow;

/* ---- the room's messages ---- */

static void slow_send(uint64_t due_ns) {
    char text[TEXT_BYTES + 64];
    int sender = (int)(slow.sent * 997 % (uint64_t)slow.readers);
    chat_text(text, sender);
    slow.due_ns[slow.sent++ % RING] = due_ns;
    net_send_text(sender, text);
}

static void on_slow_message(int index, const uint8_t *payload, size_t size) {
    (void)payload;
    if (index == slow.filler) {
        slow.filled++;
        slow.fill_frame_bytes = size;
    }
    if (index >= slow.readers) return;
    uint64_t due_ns = slow.due_ns[net.clients[index].received++ % RING];
    if (slow.latency != NULL) histogram_add(slow.latency, net.turn_ns - due_ns);
    slow.delivered++;
    if (slow.closed_loop && slow.delivered == slow.sent * (uint64_t)slow.readers) slow_send(now_ns());
}

static void await_all(void) {
    for (net.last_frame_s = now_seconds(); slow.delivered < slow.sent * (uint64_t)slow.readers; check_answers()) net_turn(100);
}

/* Half of what the server does one message at a time. */
static double half_of_full_rate(void) {
    uint64_t sent = slow.sent;
    double begin_s = now_seconds();
    slow.closed_loop = true;
    net.last_frame_s = begin_s;
    slow_send(now_ns());
    while (now_seconds() < begin_s + CALIBRATION_SECONDS) {
        net_turn(100);
        check_answers();
    }
    slow.closed_loop = false;
    double rate = (double)(slow.sent - sent) / (now_seconds() - begin_s) / 2;
    await_all();
    return rate;
}

/* Open loop: a message leaves when it is due, and its time counts from then, however late the earlier ones are. */
static void drive(double rate, double seconds) {
    uint64_t begin_ns = now_ns(), due_ns = begin_ns;
    for (uint64_t i = 0; due_ns < begin_ns + (uint64_t)(seconds * 1e9); due_ns = begin_ns + (uint64_t)((double)++i * 1e9 / rate)) {
        turn_until_ns(due_ns);
        uint64_t late_ns = now_ns() - due_ns;
        if (late_ns > slow.late_max_ns) slow.late_max_ns = late_ns;
        if (slow.sent - slow.delivered / (uint64_t)slow.readers >= RING) fail("the server does not keep up with %.0f messages/s", rate);
        slow_send(due_ns);
    }
    await_all();
}

static void run_phase(const struct options *options, double rate, struct phase *phase) {
    struct snapshot begin, end;
    uint64_t sent = slow.sent, delivered = slow.delivered;
    slow.latency = &phase->latency;
    measure(options, &begin);
    drive(rate, options->seconds);
    measure(options, &end);
    slow.latency = NULL;
    phase->wall_s += end.wall_s - begin.wall_s;
    phase->server_s += end.server_cpu_s - begin.server_cpu_s;
    phase->load_s += end.load_cpu_s - begin.load_cpu_s;
    phase->messages += slow.sent - sent;
    phase->deliveries += slow.delivered - delivered;
    phase->server_bytes = end.server_bytes;
}

/* ---- members that never read ---- */

/* First the measured room, then the one of the fill; after that nobody reads the connection. */
static void on_slow_room_info(int index, const uint8_t *payload, size_t size) {
    static const char join[] = "{\"type\":\"join\",\"room\":\"fill0\",\"username\":\"stalled\",\"keep\":true}";
    (void)payload, (void)size;
    if (index < slow.first_stalled) return;
    if (net.clients[index].received++ == 0) {
        net_send_text(index, join);
    } else {
        net_mute(index);
        slow.muted++;
    }
}

static void connect_stalled(int count) {
    slow.muted = 0;
    net.receive_bytes = STALLED_RECEIVE_BYTES;
    connect_range(slow.first_stalled, count, "slow%d", count);
    net.receive_bytes = 0;
    for (net.last_frame_s = now_seconds(); slow.muted < count; check_answers()) net_turn(100);
    settle(0.3);
}

/* The unread bytes on the load's end of a connection, and its port. */
static uint64_t unread_bytes(int fd, unsigned *port) {
    struct sockaddr_in name = {0};
    socklen_t size = sizeof name;
    int unread = 0;
    if (getsockname(fd, (struct sockaddr *)&name, &size) != 0 || ioctl(fd, FIONREAD, &unread) != 0) fail("a stalled connection is gone");
    *port = ntohs(name.sin_port);
    return (uint64_t)unread;
}

/* The bytes that the kernel holds of each stalled connection, on both of its ends. What it held and holds now is all
 * that the server ever wrote there: where this stops to grow, the server has stopped to write. */
static void kernel_bytes(const struct options *options, int count, uint64_t *held) {
    unsigned local_port, remote_port, state, ports[STALLED_MAX] = {0};
    unsigned long waiting;
    char line[256];
    int found = 0;
    for (int i = 0; i < count; i++) held[i] = unread_bytes(net.clients[slow.first_stalled + i].fd, &ports[i]);
    FILE *file = fopen("/proc/net/tcp", "r");
    if (file == NULL) fail("cannot read /proc/net/tcp");
    while (fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, " %*d: %*x:%x %*x:%x %x %lx:", &local_port, &remote_port, &state, &waiting) != 4) continue;
        if (local_port != ntohs(options->address.sin_port) || state != TCP_ESTABLISHED_STATE) continue;
        for (int i = 0; i < count; i++)
            if (ports[i] == remote_port) found++, held[i] += waiting;
    }
    fclose(file);
    if (found != count) fail("the server has ended %d of %d connections that never read", count - found, count);
}

static void publish_fill(int messages) {
    static char text[FILL_TEXT + 64];
    if (*text == '\0') sprintf(text, "{\"type\":\"message\",\"text\":\"%0*d\"}", FILL_TEXT, 0);
    uint64_t wanted = slow.filled + (uint64_t)messages;
    for (net.last_frame_s = now_seconds(); slow.filled < wanted; check_answers()) {
        for (; slow.fill_sent < wanted && slow.fill_sent < slow.filled + FILL_INFLIGHT; slow.fill_sent++)
            net_send_text(slow.filler, text);
        net_turn(100);
    }
}

/* Until nothing more reaches the kernel, although what was published is more than it holds and twice the server's limit. */
static uint64_t fill(const struct options *options, uint64_t *held) {
    uint64_t before[STALLED_MAX] = {0}, published = 0;
    for (int batch = 0; batch < FILL_BATCHES; batch++) {
        publish_fill(FILL_BATCH);
        turn_until(now_seconds() + 0.05);
        published += FILL_BATCH * slow.fill_frame_bytes;
        kernel_bytes(options, options->stalled, held);
        int stuck = 0;
        for (int i = 0; i < options->stalled; i++)
            stuck += held[i] == before[i] && published > held[i] + 2 * options->limit_bytes;
        if (stuck == options->stalled) return published;
        memcpy(before, held, sizeof before);
    }
    fail("the kernel still takes what is sent to members that never read, after %llu bytes", (unsigned long long)published);
}

/* The log of the fill's room must not grow while memory is compared: fill it before, as far as it goes. */
static void fill_log(const struct options *options) {
    struct snapshot before, after;
    measure(options, &after);
    for (int batch = 0; batch < LOG_BATCHES || (batch < FILL_BATCHES && after.server_bytes > before.server_bytes + 65536); batch++) {
        before = after;
        publish_fill(FILL_BATCH);
        measure(options, &after);
    }
}

static void on_slow_ok(int index, const uint8_t *payload, size_t size) {
    (void)index;
    slow.members = (int)number_after(payload, size, "\"count\":");
}

/* A connection whose TCP is still there may have been left by the server: the room knows. */
static void check_members(int wanted) {
    slow.members = 0;
    net_send_text(0, "{\"type\":\"presence\",\"room\":\"slow0\",\"limit\":1,\"id\":1}");
    for (net.last_frame_s = now_seconds(); slow.members == 0; check_answers()) net_turn(100);
    if (slow.members != wanted) fail("the room has %d members instead of %d: the server did not keep the stalled", slow.members, wanted);
}

/* ---- the scenario ---- */

struct findings {
    struct phase without, with;
    int64_t growth_bytes; /* of the server's memory, the most of all pairs */
    uint64_t published, kernel_least, written_late;
};

static void run_stalled_phase(const struct options *options, double rate, struct findings *found) {
    uint64_t before[STALLED_MAX] = {0}, after[STALLED_MAX] = {0};
    connect_stalled(options->stalled);
    found->published = fill(options, before);
    settle(0.3);
    run_phase(options, rate, &found->with);
    kernel_bytes(options, options->stalled, after);
    check_members(options->clients);
    found->kernel_least = UINT64_MAX;
    for (int i = 0; i < options->stalled; i++) {
        if (after[i] < found->kernel_least) found->kernel_least = after[i];
        if (after[i] - before[i] > found->written_late) found->written_late = after[i] - before[i];
        net_drop(slow.first_stalled + i);
    }
    int64_t growth = (int64_t)found->with.server_bytes - (int64_t)found->without.server_bytes;
    if (growth > found->growth_bytes) found->growth_bytes = growth;
    settle(0.3);
}

static void describe(const struct options *options, double rate, const struct findings *found, struct result *result) {
    const struct phase *without = &found->without, *with = &found->with;
    double p99_without = histogram_ms(&without->latency, 0.99), p99_with = histogram_ms(&with->latency, 0.99);
    double bound = (double)options->limit_bytes * options->stalled;
    snprintf(result->extra, sizeof result->extra,
             ",\"clients\":%d,\"stalled\":%d,\"pairs\":%d,\"rate\":%.1f,\"p99_without_ms\":%.3f,\"p99_with_ms\":%.3f,\"p99_ratio\":%.4f"
             ",\"p50_without_ms\":%.3f,\"p50_with_ms\":%.3f,\"busy_without\":%.3f,\"busy_with\":%.3f,\"growth_bytes\":%lld"
             ",\"growth_bound_bytes\":%.0f,\"growth_share\":%.4f,\"published_per_stalled_bytes\":%llu"
             ",\"kernel_bytes_per_stalled\":%llu,\"written_while_stalled_bytes\":%llu,\"late_max_ms\":%.3f",
             options->clients, options->stalled, options->pairs, rate, p99_without, p99_with, p99_with / p99_without,
             histogram_ms(&without->latency, 0.5), histogram_ms(&with->latency, 0.5), without->server_s / without->wall_s,
             with->server_s / with->wall_s, (long long)found->growth_bytes, bound, (double)found->growth_bytes / bound,
             (unsigned long long)found->published, (unsigned long long)found->kernel_least, (unsigned long long)found->written_late,
             (double)slow.late_max_ns / 1e6);
}

void run_slow(const struct options *options, struct result *result) {
    static struct findings found;
    if (options->stalled >= options->clients) fail("--stalled must be less than --clients");
    if (options->seconds > PHASE_SECONDS_MAX) fail("--seconds must be at most %.0f", PHASE_SECONDS_MAX);
    slow.readers = options->clients - options->stalled;
    slow.filler = slow.readers;
    slow.first_stalled = slow.filler + 1;
    struct hooks hooks = {.on_message = on_slow_message, .on_room_info = on_slow_room_info, .on_ok = on_slow_ok};
    net_start(options, hooks, options->clients + 1);
    net.window_bytes = 2 * FILL_TEXT;
    connect_range(0, slow.readers, "slow%d", slow.readers);
    connect_range(slow.filler, 1, "fill%d", 1);
    settle(0.3);
    fill_log(options);
    double full = half_of_full_rate(), rate = options->rate > 0 ? options->rate : full;
    for (int pair = 0; pair < options->pairs; pair++) {
        run_phase(options, rate, &found.without);
        run_stalled_phase(options, rate, &found);
    }
    result->end = (struct snapshot){found.with.wall_s, found.with.server_s, found.with.load_s, 0};
    result->messages = found.with.messages;
    result->deliveries = found.with.deliveries;
    result->latency = &found.with.latency;
    describe(options, rate, &found, result);
}
