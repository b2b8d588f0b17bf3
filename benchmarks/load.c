/* Load generator for the chat protocol: options, one scenario, one line of JSON. It refuses every target but loopback. */
#include "load.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const char usage[] =
    "usage: load SCENARIO --port PORT [--host 127.0.0.1] [--path /ws] [--header LINE] [--pid PID,PID] [--seconds S] [--connecting 100]\n"
    "  fanout [--clients 1000] [--inflight 1] [--senders 1000] [--stream /sse]   one room, closed loop; the others listen there\n"
    "  pairs  [--rooms 500] [--size 2]               every client sends\n"
    "  idle   [--clients 15000] [--rooms 1]          memory and CPU of quiet connections\n"
    "  storm  [--clients 3000] [--rooms 100]         connect, join, close, again\n"
    "  stall  [--idle 5000] [--room 10000] [--churn 50] [--probe-ms 2]   the longest stall, seen from outside\n"
    "  slow   [--clients 1000] [--stalled 10] [--pairs 3] [--limit 262144] [--rate 0]   members that never read; rate 0: half the load\n"
    "  replay [--clients 10000] [--events 50] [--seats 1001]   all reconnect at once and each missed so many events\n"
    "  lone   [--every-ms 20]                        one message at a time to an idle server\n"
    "  nodes  [--clients 100] [--rooms 1] [--inflight 64] [--rate 0] [--second-port P] [--redis P] [--socketio]   rooms on two nodes\n";

struct scenario {
    const char *name;
    void (*run)(const struct options *options, struct result *result);
    double seconds;
    int clients, rooms;
};

/* idle: longer than a heartbeat of 30 s. */
static const struct scenario scenarios[] = {{"fanout", run_fanout, 5, 1000, 1},
                                            {"pairs", run_pairs, 5, 0, 500},
                                            {"idle", run_idle, 35, 15000, 1},
                                            {"storm", run_storm, 10, 3000, 100},
                                            {"stall", run_stall, 20, 0, 0},
                                            {"slow", run_slow, 5, 1000, 1},
                                            {"replay", run_replay, 1, 10000, 1},
                                            {"lone", run_lone, 25, 1, 1},
                                            {"nodes", run_nodes, 5, 100, 1}};

static const struct scenario *find_scenario(const char *name) {
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
        if (strcmp(scenarios[i].name, name) == 0) return &scenarios[i];
    fputs(usage, stderr);
    exit(2);
}

static double number(const char *text, double least, double most) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || value < least || value > most) fail("%s is not in %g..%g", text, least, most);
    return value;
}

static void parse_pids(struct options *options, const char *text) {
    for (char *end; *text != '\0'; text = *end == ',' ? end + 1 : end) {
        long pid = strtol(text, &end, 10);
        if (end == text || pid <= 0 || (*end != ',' && *end != '\0')) fail("--pid takes numbers with commas between them");
        if (options->pid_count == MAX_PIDS) fail("more than %d process ids", MAX_PIDS);
        options->pids[options->pid_count++] = (int)pid;
    }
}

/* A load generator that can be aimed at the Internet is a weapon. */
static void set_address(struct options *options, int port) {
    const char *host = strcmp(options->host, "localhost") == 0 ? "127.0.0.1" : options->host;
    options->address.sin_family = AF_INET;
    options->address.sin_port = htons((uint16_t)port);
    if (inet_pton(AF_INET, host, &options->address.sin_addr) != 1) fail("--host takes an IPv4 address");
    if (ntohl(options->address.sin_addr.s_addr) >> 24 != 127) fail("%s is not a loopback address", options->host);
    if (port == 0) fail("--port is missing");
}

static const struct option long_options[] = {
    {"host", 1, 0, 'h'},     {"port", 1, 0, 'p'},    {"path", 1, 0, 'P'},  {"header", 1, 0, 'H'},   {"pid", 1, 0, 'i'},
    {"seconds", 1, 0, 's'},  {"warmup", 1, 0, 'w'},  {"clients", 1, 0, 'c'}, {"inflight", 1, 0, 'f'}, {"rooms", 1, 0, 'r'},
    {"size", 1, 0, 'z'},     {"idle", 1, 0, 'd'},    {"room", 1, 0, 'R'},  {"churn", 1, 0, 'u'},    {"connecting", 1, 0, 'g'},
    {"probe-ms", 1, 0, 'm'}, {"stalled", 1, 0, 'S'},  {"pairs", 1, 0, 'A'},  {"limit", 1, 0, 'l'},    {"rate", 1, 0, 't'},
    {"events", 1, 0, 'e'},   {"every-ms", 1, 0, 'E'}, {"seats", 1, 0, 'T'},    {"second-port", 1, 0, '2'},
    {"senders", 1, 0, 'n'},  {"stream", 1, 0, 'a'}, {"redis", 1, 0, 'D'},    {"socketio", 0, 0, 'o'}, {0, 0, 0, 0}};

static void set_option(struct options *options, int *port, int letter) {
    switch (letter) {
    case 'h': options->host = optarg; break;
    case 'p': *port = (int)number(optarg, 1, 65535); break;
    case 'P': options->path = optarg; break;
    case 'H': options->header = optarg; break;
    case 'i': parse_pids(options, optarg); break;
    case 's': options->seconds = number(optarg, 0.1, 3600); break;
    case 'w': options->warmup_seconds = number(optarg, 0, 60); break;
    case 'c': options->clients = (int)number(optarg, 1, MAX_CLIENTS); break;
    case 'n': options->senders = (int)number(optarg, 1, MAX_CLIENTS); break;
    case 'a': options->stream = optarg; break;
    case 'f': options->inflight = (int)number(optarg, 1, MAX_INFLIGHT); break;
    case 'r': options->rooms = (int)number(optarg, 1, MAX_CLIENTS); break;
    case 'z': options->size = (int)number(optarg, 1, MAX_CLIENTS); break;
    case 'd': options->idle = (int)number(optarg, 0, MAX_CLIENTS); break;
    case 'R': options->room = (int)number(optarg, 1, MAX_CLIENTS); break;
    case 'u': options->churn = (int)number(optarg, 0, 500); break;
    case 'g': options->connecting = (int)number(optarg, 1, 1000); break;
    case 'm': options->probe_ms = number(optarg, 0.1, 1000); break;
    case 'S': options->stalled = (int)number(optarg, 1, 500); break;
    case 'A': options->pairs = (int)number(optarg, 1, 100); break;
    case 'l': options->limit_bytes = (uint64_t)number(optarg, 1, 1 << 28); break;
    case 't': options->rate = number(optarg, 0, 200000); break;
    case 'e': options->events = (int)number(optarg, 1, 500); break;
    case 'T': options->seats = (int)number(optarg, 0, 2000); break;
    case '2': options->second_port = (int)number(optarg, 1, 65535); break;
    case 'D': options->redis_port = (int)number(optarg, 1, 65535); break;
    case 'o': options->socketio = true; break;
    case 'E': options->every_ms = number(optarg, 1, 10000); break;
    default: fputs(usage, stderr); exit(2);
    }
}

static const struct scenario *parse(int count, char **values, struct options *options) {
    int letter, port = 0;
    if (count < 2) fputs(usage, stderr), exit(2);
    const struct scenario *scenario = find_scenario(values[1]);
    *options = (struct options){.scenario = scenario->name, .host = "127.0.0.1", .path = "/ws", .clients = scenario->clients,
                                .inflight = 1, .rooms = scenario->rooms, .size = 2, .idle = 5000, .room = 10000, .churn = 50,
                                .connecting = 100, .seconds = scenario->seconds, .warmup_seconds = 1, .probe_ms = 2,
                                .stalled = 10, .pairs = 3, .events = 50, .seats = 1001, .every_ms = 20, .limit_bytes = 262144};
    optind = 2;
    while ((letter = getopt_long(count, values, "", long_options, NULL)) != -1) set_option(options, &port, letter);
    if (optind != count) fputs(usage, stderr), exit(2);
    set_address(options, port);
    if (options->rooms * (long)options->size > MAX_CLIENTS && scenario->run == run_pairs) fail("more than %d clients", MAX_CLIENTS);
    if (options->senders > options->clients) fail("more senders than clients");
    if (options->stream != NULL && (scenario->run != run_fanout || options->senders == 0)) fail("--stream is for fanout, with --senders");
    if (options->room + options->idle + 2 * options->churn > MAX_CLIENTS) fail("more than %d clients", MAX_CLIENTS);
    if (options->clients + options->seats >= MAX_CLIENTS && scenario->run == run_replay) fail("more than %d clients", MAX_CLIENTS);
    return scenario;
}

static void raise_file_limit(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void print(const struct options *options, const struct result *result) {
    double wall_s = result->end.wall_s - result->begin.wall_s;
    double server_s = result->end.server_cpu_s - result->begin.server_cpu_s;
    double load_s = result->end.load_cpu_s - result->begin.load_cpu_s;
    double deliveries = (double)result->deliveries;
    printf("{\"scenario\":\"%s\"%s,\"seconds\":%.3f,\"messages\":%llu,\"deliveries\":%llu,\"deliveries_per_s\":%.0f", options->scenario,
           result->extra, wall_s, (unsigned long long)result->messages, (unsigned long long)result->deliveries, deliveries / wall_s);
    if (options->pid_count > 0) {
        printf(",\"server_cpu_s\":%.4f,\"server_busy\":%.3f", server_s, server_s / wall_s);
        if (deliveries > 0) printf(",\"us_per_delivery\":%.4f", server_s * 1e6 / deliveries);
    }
    printf(",\"load_cpu_s\":%.4f,\"load_busy\":%.3f", load_s, load_s / wall_s);
    if (result->latency != NULL)
        printf(",\"p50_ms\":%.3f,\"p99_ms\":%.3f", histogram_ms(result->latency, 0.5), histogram_ms(result->latency, 0.99));
    puts("}");
}

int main(int count, char **values) {
    struct options options;
    struct result result = {0};
    signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    parse(count, values, &options)->run(&options, &result);
    print(&options, &result);
    return 0;
}
