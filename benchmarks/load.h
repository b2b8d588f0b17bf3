/* What the parts of the load generator share; it holds no code. See README.md for how to run it. */
#ifndef HUBBUB_LOAD_H
#define HUBBUB_LOAD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAX_PIDS = 16, MAX_CLIENTS = 19000, MAX_INFLIGHT = 64, TEXT_BYTES = 64 };

/* A server that is silent for this long while an answer is due has failed the run. */
#define ANSWER_SECONDS 20.0

struct options {
    const char *scenario;
    const char *host;
    const char *path;
    const char *stream; /* the path of streams over HTTP, such as /sse: all but the senders listen there; may be NULL */
    const char *header; /* one extra request header, such as "Authorization: Bearer x"; may be NULL */
    struct sockaddr_in address;
    int pids[MAX_PIDS];
    int pid_count;
    int second_port, redis_port; /* of the scenario nodes; 0 where there is none */
    bool socketio;               /* frames of Socket.IO 4 in place of the chat protocol */
    int clients, senders, inflight, rooms, size, idle, room, churn, connecting, stalled, pairs, events, seats;
    double seconds, warmup_seconds, probe_ms, every_ms, rate;
    uint64_t limit_bytes;
};

/* ---- load_measure.c: clocks, CPU time, memory, percentiles ---- */

struct snapshot {
    double wall_s, server_cpu_s, load_cpu_s;
    uint64_t server_bytes;
};

/* Log-linear buckets of nanoseconds: 64 per power of two, so a percentile is at most 1.6 % too high. */
enum { HISTOGRAM_STEPS = 64, HISTOGRAM_BUCKETS = 64 * 42 };
struct histogram {
    uint64_t total, max_ns;
    uint32_t bucket[HISTOGRAM_BUCKETS];
};

double now_seconds(void);
uint64_t now_ns(void);
double process_cpu_seconds(int pid);
void measure(const struct options *options, struct snapshot *out);
void histogram_add(struct histogram *histogram, uint64_t nanoseconds);
double histogram_ms(const struct histogram *histogram, double quantile);
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- load_net.c: WebSocket clients, and listeners over HTTP, on one epoll ---- */

enum client_state { CLIENT_FREE, CLIENT_CONNECTING, CLIENT_UPGRADING, CLIENT_JOINING, CLIENT_JOINED, CLIENT_CLOSING };

struct client {
    int fd;
    uint8_t state;
    uint16_t stash_size;
    uint32_t received;   /* chat messages so far: the n-th is the room's n-th, in every client of the room */
    uint64_t skip_bytes; /* rest of a frame that has been classified already */
    uint8_t *stash;      /* start of a frame or of the HTTP answer that is not complete yet */
    char room[24];
};

/* The scenario in charge; any of these may be NULL. */
struct hooks {
    void (*on_message)(int index, const uint8_t *payload, size_t size);
    void (*on_room_info)(int index, const uint8_t *payload, size_t size);
    void (*on_ok)(int index, const uint8_t *payload, size_t size);
};

/* Of a frame so many bytes at least can be looked at; a scenario that reads longer ones says so in `window_bytes`. */
enum { WINDOW_BYTES = 1024, WINDOW_BYTES_MAX = 60000 };

struct network {
    const struct options *options;
    struct hooks hooks;
    struct client *clients;
    size_t window_bytes;
    const char *join_fields; /* further members of each `join`, each with a leading comma */
    int streams_from;        /* the first client that listens over HTTP, as do those behind it */
    int receive_bytes;       /* SO_RCVBUF of connections that are opened now; 0: the kernel's choice */
    int capacity;
    int epoll_fd;
    int unfinished; /* between connect() and room_info */
    int joined;
    int open;
    uint64_t opened_total;
    uint64_t turn_ns;    /* the time when the current read returned */
    uint64_t frames;     /* frames of any kind, to notice silence */
    uint64_t deliveries; /* chat messages received */
    double last_frame_s;
};

extern struct network net;

int dial(const struct options *options, bool nonblocking, uint64_t ordinal);
size_t upgrade_request(const struct options *options, char *out, size_t capacity);
size_t masked_frame(uint8_t *out, uint8_t opcode, const void *payload, size_t size);
void net_start(const struct options *options, struct hooks hooks, int capacity);
void net_open(int index, const char *room_format, int room);
void net_close(int index);
void net_mute(int index);
void net_drop(int index);
void net_send_text(int index, const char *text);
void net_turn(int timeout_ms);
uint64_t number_after(const uint8_t *json, size_t size, const char *name);

/* ---- load_scenarios.c and the others: what is measured ---- */

struct result {
    struct snapshot begin, end;
    uint64_t messages, deliveries;
    const struct histogram *latency; /* NULL: none is reported */
    char extra[1536];                /* further JSON members, each with a leading comma */
};

void connect_range(int first, int count, const char *room_format, int per_room);
void disconnect_range(int first, int count);
void check_answers(void);
void turn_until(double deadline_s);
void turn_until_ns(uint64_t due_ns);
void settle(double quiet_s);
void chat_text(char out[TEXT_BYTES + 64], int index);
void run_fanout(const struct options *options, struct result *result);
void run_pairs(const struct options *options, struct result *result);
void run_idle(const struct options *options, struct result *result);
void run_storm(const struct options *options, struct result *result);
void run_stall(const struct options *options, struct result *result);
void run_slow(const struct options *options, struct result *result);
void run_replay(const struct options *options, struct result *result);
void run_lone(const struct options *options, struct result *result);
void run_nodes(const struct options *options, struct result *result);

#endif
