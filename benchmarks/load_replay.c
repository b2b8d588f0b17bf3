/* The scenario replay: all members reconnect at once, and each gets the events that it missed; every one is checked. */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Longer than the second after which a big room is told how many it is: those frames belong to the storm. */
#define QUIET_SECONDS 1.2

/* How far a client has come: `next` is the seq that it waits for. */
struct reader {
    uint64_t next;
    bool recovered, disordered;
};

struct storm {
    struct snapshot begin, end;
    double wall_s; /* until the last client had all */
};

static struct {
    int publisher, reached;
    char epoch[80];
    uint64_t head, wanted; /* the newest seq, and the one that completes a client */
    double last_reached_s;
    struct reader *readers;
} replay;

/* ---- the little of JSON that is looked at: the server writes no spaces, and the texts have no braces ---- */

static bool contains(const uint8_t *json, size_t size, const char *text) { return memmem(json, size, text, strlen(text)) != NULL; }

static void copy_epoch(const uint8_t *json, size_t size) {
    static const char name[] = "\"epoch\":\"";
    const uint8_t *at = memmem(json, size, name, sizeof name - 1);
    if (at == NULL) fail("a room_info without an epoch");
    at += sizeof name - 1;
    const uint8_t *end = memchr(at, '"', size - (size_t)(at - json));
    if (end == NULL || (size_t)(end - at) >= sizeof replay.epoch) fail("an epoch that is too long");
    memcpy(replay.epoch, at, (size_t)(end - at));
    replay.epoch[end - at] = '\0';
}

/* ---- what clients get ---- */

static void note_progress(struct reader *reader) {
    if (reader->next != replay.wanted + 1) return;
    replay.reached++;
    replay.last_reached_s = now_seconds();
}

static void take_event(struct reader *reader, const uint8_t *json, size_t size) {
    if (number_after(json, size, "\"seq\":") != reader->next) {
        reader->disordered = true;
        return;
    }
    reader->next++;
    note_progress(reader);
}

static void take_missed(struct reader *reader, const uint8_t *json, size_t size) {
    static const char name[] = "\"messages\":[";
    const uint8_t *end = json + size, *at = memmem(json, size, name, sizeof name - 1);
    if (at == NULL) return;
    for (at += sizeof name - 1; at < end && (*at == '{' || *at == ','); at++) {
        if (*at == ',') continue;
        const uint8_t *close = memchr(at, '}', (size_t)(end - at));
        if (close == NULL) fail("a room_info of more than %zu bytes", net.window_bytes);
        take_event(reader, at, (size_t)(close - at));
        at = close;
    }
}

static void on_replay_room_info(int index, const uint8_t *payload, size_t size) {
    if (index == replay.publisher) {
        copy_epoch(payload, size);
        return;
    }
    if (index > replay.publisher) return;
    struct reader *reader = &replay.readers[index];
    reader->recovered = contains(payload, size, "\"recovered\":true");
    note_progress(reader);
    take_missed(reader, payload, size);
}

static void on_replay_message(int index, const uint8_t *payload, size_t size) {
    if (index == replay.publisher) {
        replay.head = number_after(payload, size, "\"seq\":");
    } else if (index < replay.publisher) {
        take_event(&replay.readers[index], payload, size);
    }
}

/* ---- the scenario ---- */

static void publish(int events) {
    char text[TEXT_BYTES + 64];
    uint64_t wanted = replay.head + (uint64_t)events;
    chat_text(text, replay.publisher);
    for (int i = 0; i < events; i++) net_send_text(replay.publisher, text);
    for (net.last_frame_s = now_seconds(); replay.head < wanted; check_answers()) net_turn(100);
    if (replay.head != wanted) fail("%d events were published, and the room's seq is %llu", events, (unsigned long long)replay.head);
}

static void check_all(int clients, uint64_t since) {
    int behind = 0, first = 0;
    for (int i = clients - 1; i >= 0; i--) {
        const struct reader *reader = &replay.readers[i];
        if (reader->recovered && !reader->disordered && reader->next == replay.wanted + 1) continue;
        first = i;
        behind++;
    }
    if (behind == 0) return;
    const struct reader *reader = &replay.readers[first];
    fail("%d of %d clients were not caught up: client %d got %llu of %llu events in order%s, and \"recovered\" was %s", behind, clients,
         first, (unsigned long long)(reader->next - since - 1), (unsigned long long)(replay.wanted - since),
         reader->disordered ? " and others out of order" : "", reader->recovered ? "true" : "not true");
}

/* All clients join with the position `since`; leaves them connected. */
static void storm(const struct options *options, uint64_t since, struct storm *out) {
    char fields[160];
    int clients = options->clients;
    snprintf(fields, sizeof fields, ",\"since\":{\"epoch\":\"%s\",\"seq\":%llu}", replay.epoch, (unsigned long long)since);
    for (int i = 0; i < clients; i++) replay.readers[i] = (struct reader){.next = since + 1};
    net.join_fields = fields;
    replay.wanted = replay.head;
    replay.reached = 0;
    measure(options, &out->begin);
    connect_range(0, clients, "replay%d", clients);
    settle(QUIET_SECONDS);
    measure(options, &out->end);
    check_all(clients, since);
    out->wall_s = replay.last_reached_s - out->begin.wall_s;
}

static void end_storm(int clients) {
    disconnect_range(0, clients);
    settle(QUIET_SECONDS);
}

static double server_seconds(const struct storm *storm) { return storm->end.server_cpu_s - storm->begin.server_cpu_s; }

/* The seats stay: with them the room is so big that no join is told one by one, which depends on how joins fall together.
 * The storm in which nobody missed anything comes first once more: a fresh server pays for growing. */
void run_replay(const struct options *options, struct result *result) {
    struct storm fresh, head, behind;
    int clients = options->clients;
    double events = (double)clients * options->events;
    replay.publisher = clients;
    replay.readers = calloc((size_t)clients, sizeof *replay.readers);
    if (replay.readers == NULL) fail("out of memory");
    net_start(options, (struct hooks){.on_message = on_replay_message, .on_room_info = on_replay_room_info},
              clients + 1 + options->seats);
    net.window_bytes = WINDOW_BYTES_MAX;
    connect_range(replay.publisher, 1 + options->seats, "replay%d", 1 + options->seats);
    publish(options->events);
    storm(options, replay.head, &fresh);
    end_storm(clients);
    storm(options, replay.head, &head);
    end_storm(clients);
    uint64_t since = replay.head;
    publish(options->events);
    storm(options, since, &behind);
    result->begin = behind.begin;
    result->end = behind.end;
    result->messages = (uint64_t)options->events;
    result->deliveries = (uint64_t)events;
    snprintf(result->extra, sizeof result->extra,
             ",\"clients\":%d,\"seats\":%d,\"events\":%d,\"caught_up\":%d,\"us_per_event\":%.3f,\"storm_cpu_s\":%.3f,\"storm_cpu_none_missed_s\":%.3f"
             ",\"storm_wall_s\":%.3f,\"storm_wall_none_missed_s\":%.3f,\"us_per_connect\":%.2f",
             clients, options->seats, options->events, replay.reached, (server_seconds(&behind) - server_seconds(&head)) * 1e6 / events,
             server_seconds(&behind), server_seconds(&head), behind.wall_s, head.wall_s, server_seconds(&head) * 1e6 / clients);
}
