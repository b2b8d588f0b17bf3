/* Clients of the chat protocol on one epoll, over WebSocket (upgrade, join, receive, answer pings) and streams over HTTP;
   it parses no JSON. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* A frame is classified by its first bytes, `net.window_bytes` at most; the rest of a long one (a room_info) is skipped. */
enum { HEADER_BYTES = 14, STASH_BYTES = HEADER_BYTES + WINDOW_BYTES_MAX, READ_BYTES = 1 << 18, EVENTS = 512 };
enum { CLIENT_FRAME_BYTES = 4096 };
enum { OP_CONTINUATION = 0, OP_TEXT = 1, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };
/* Each address has 28,000 ephemeral ports; closed ones may linger for a minute. */
enum { CONNECTIONS_PER_ADDRESS = 20000, SOURCE_ADDRESSES = 200 };

struct network net;
static uint8_t read_buffer[STASH_BYTES + READ_BYTES];

struct frame {
    uint8_t opcode;
    size_t header_size;
    uint64_t payload_size;
};

static void bind_source(int fd, uint64_t ordinal) {
    int on = 1;
    uint32_t host = (uint32_t)(ordinal / CONNECTIONS_PER_ADDRESS % SOURCE_ADDRESSES);
    struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + host)};
    if (host == 0) return;
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&source, sizeof source) != 0) fail("cannot bind a client socket: %s", strerror(errno));
}

int dial(const struct options *options, bool nonblocking, uint64_t ordinal) {
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), 0);
    if (fd < 0) fail("cannot open a socket: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (net.receive_bytes > 0) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &net.receive_bytes, sizeof net.receive_bytes);
    bind_source(fd, ordinal);
    if (connect(fd, (const struct sockaddr *)&options->address, sizeof options->address) != 0 && errno != EINPROGRESS)
        fail("cannot connect: %s", strerror(errno));
    return fd;
}

size_t upgrade_request(const struct options *options, char *out, size_t capacity) {
    int size = snprintf(out, capacity,
                        "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s%s\r\n",
                        options->path, options->host, ntohs(options->address.sin_port),
                        options->header ? options->header : "", options->header ? "\r\n" : "");
    if (size < 0 || (size_t)size >= capacity) fail("the path or the header is too long");
    return (size_t)size;
}

static size_t stream_request(const struct options *options, const char *room, char *out, size_t capacity) {
    int size = snprintf(out, capacity, "GET %s?room=%s HTTP/1.1\r\nHost: %s:%d\r\n%s%s\r\n", options->stream, room, options->host,
                        ntohs(options->address.sin_port), options->header ? options->header : "", options->header ? "\r\n" : "");
    if (size < 0 || (size_t)size >= capacity) fail("the path or the header is too long");
    return (size_t)size;
}

/* Client frames are masked (RFC 6455 5.3); a constant key costs the server as much to undo as a random one. */
size_t masked_frame(uint8_t *out, uint8_t opcode, const void *payload, size_t size) {
    static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};
    const uint8_t *bytes = payload;
    size_t at = 0;
    if (size > CLIENT_FRAME_BYTES - HEADER_BYTES) fail("a client frame of %zu bytes", size);
    out[at++] = (uint8_t)(0x80 | opcode);
    if (size < 126) {
        out[at++] = (uint8_t)(0x80 | size);
    } else {
        out[at++] = 0x80 | 126;
        out[at++] = (uint8_t)(size >> 8);
        out[at++] = (uint8_t)size;
    }
    memcpy(out + at, key, 4);
    at += 4;
    for (size_t i = 0; i < size; i++) out[at + i] = bytes[i] ^ key[i & 3];
    return at + size;
}

/* The few bytes that a client sends always fit; a socket that does not take them is a server that does not read. */
static void send_bytes(int index, const void *bytes, size_t size) {
    ssize_t sent = send(net.clients[index].fd, bytes, size, MSG_NOSIGNAL);
    if (sent != (ssize_t)size) fail("the server does not take what client %d sends (%s)", index, strerror(errno));
}

static void send_frame(int index, uint8_t opcode, const void *payload, size_t size) {
    uint8_t frame[CLIENT_FRAME_BYTES];
    send_bytes(index, frame, masked_frame(frame, opcode, payload, size));
}

void net_send_text(int index, const char *text) { send_frame(index, OP_TEXT, text, strlen(text)); }

void net_start(const struct options *options, struct hooks hooks, int capacity) {
    net = (struct network){.options = options, .hooks = hooks, .capacity = capacity, .window_bytes = WINDOW_BYTES, .join_fields = "",
                           .streams_from = capacity};
    net.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    net.clients = calloc((size_t)capacity, sizeof *net.clients);
    if (net.epoll_fd < 0 || net.clients == NULL) fail("cannot start: %s", strerror(errno));
    net.last_frame_s = now_seconds();
}

static void watch(int index, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.u32 = (uint32_t)index};
    if (epoll_ctl(net.epoll_fd, operation, net.clients[index].fd, &event) != 0) fail("epoll_ctl: %s", strerror(errno));
}

void net_open(int index, const char *room_format, int room) {
    struct client *client = &net.clients[index];
    memset(client, 0, sizeof *client);
    /* The formats are the scenarios' own literals with one %d. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(client->room, sizeof client->room, room_format, room);
#pragma GCC diagnostic pop
    client->fd = dial(net.options, true, net.opened_total++);
    client->state = CLIENT_CONNECTING;
    net.unfinished++;
    net.open++;
    watch(index, EPOLL_CTL_ADD, EPOLLOUT);
}

/* A proper close: the server answers and ends the TCP connection, so that no port stays busy on this side. */
void net_close(int index) {
    static const uint8_t going_away[2] = {1001 >> 8, 1001 & 0xff};
    if (net.clients[index].state != CLIENT_JOINED) fail("client %d is closed before it has joined", index);
    net.clients[index].state = CLIENT_CLOSING;
    net.joined--;
    send_frame(index, OP_CLOSE, going_away, sizeof going_away);
}

static void forget(int index) {
    struct client *client = &net.clients[index];
    close(client->fd);
    free(client->stash);
    *client = (struct client){.fd = -1, .state = CLIENT_FREE};
    net.open--;
}

/* The connection stays, and nobody reads it from now on. */
void net_mute(int index) { watch(index, EPOLL_CTL_DEL, 0); }

/* An end without a close frame; with unread bytes the kernel resets the connection. */
void net_drop(int index) {
    if (net.clients[index].state != CLIENT_JOINED) fail("client %d is dropped before it has joined", index);
    net.joined--;
    forget(index);
}

static void on_connected(int index) {
    char request[2048];
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(net.clients[index].fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) fail("connection %d was not accepted: %s", index, strerror(error));
    net.clients[index].state = CLIENT_UPGRADING;
    watch(index, EPOLL_CTL_MOD, EPOLLIN);
    if (index >= net.streams_from) size = (socklen_t)stream_request(net.options, net.clients[index].room, request, sizeof request);
    else size = (socklen_t)upgrade_request(net.options, request, sizeof request);
    send_bytes(index, request, size);
}

/* Whether the object's "type" (the first member of that name) has this value; a space after the colon is allowed. */
static bool has_type(const uint8_t *payload, size_t size, const char *quoted) {
    static const char key[] = "\"type\":";
    const uint8_t *at = memmem(payload, size, key, sizeof key - 1);
    if (at == NULL) return false;
    at += sizeof key - 1;
    size_t left = size - (size_t)(at - payload), wanted = strlen(quoted);
    if (left > 0 && *at == ' ') at++, left--;
    return left >= wanted && memcmp(at, quoted, wanted) == 0;
}

/* The number behind `name`, which ends with its colon, or 0 where there is none. */
uint64_t number_after(const uint8_t *json, size_t size, const char *name) {
    const uint8_t *end = json + size, *at = memmem(json, size, name, strlen(name));
    uint64_t value = 0;
    if (at == NULL) return 0;
    for (at += strlen(name); at < end && *at >= '0' && *at <= '9'; at++) value = value * 10 + (uint64_t)(*at - '0');
    return value;
}

static bool is_message(const uint8_t *payload, size_t size) {
    static const char usual[] = "{\"type\":\"message\"";
    if (size >= sizeof usual - 1 && memcmp(payload, usual, sizeof usual - 1) == 0) return true;
    return has_type(payload, size, "\"message\"");
}

static void send_join(int index) {
    char join[512];
    const char *format = net.options->socketio ? "42[\"join\",{\"room\":\"%s\",\"username\":\"u%d\"%s}]"
                                               : "{\"type\":\"join\",\"room\":\"%s\",\"username\":\"u%d\"%s}";
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(join, sizeof join, format, net.clients[index].room, index, net.join_fields);
#pragma GCC diagnostic pop
    net_send_text(index, join);
}

static void on_room_info(int index, const uint8_t *payload, size_t size) {
    if (net.clients[index].state == CLIENT_JOINING) {
        net.clients[index].state = CLIENT_JOINED;
        net.unfinished--;
        net.joined++;
    }
    if (net.hooks.on_room_info != NULL) net.hooks.on_room_info(index, payload, size);
}

static void on_control_text(int index, const uint8_t *payload, size_t size) {
    if (net.clients[index].state == CLIENT_JOINING && has_type(payload, size, "\"connected\"")) {
        send_join(index);
    } else if (has_type(payload, size, "\"room_info\"")) {
        on_room_info(index, payload, size);
    } else if (net.hooks.on_ok != NULL && has_type(payload, size, "\"ok\"")) {
        net.hooks.on_ok(index, payload, size);
    } else if (has_type(payload, size, "\"error\"")) {
        fail("client %d got %.*s", index, (int)(size < 200 ? size : 200), (const char *)payload);
    }
}

static void on_chat_message(int index, const uint8_t *payload, size_t size) {
    net.deliveries++;
    if (net.hooks.on_message != NULL) net.hooks.on_message(index, payload, size);
}

static bool begins(const uint8_t *payload, size_t size, const char *with) {
    return size >= strlen(with) && memcmp(payload, with, strlen(with)) == 0;
}

/* Engine.IO 4: 0 open, 2 ping, 3 pong, 4 a packet of Socket.IO, of which 40 connects and 42 is an event. */
static void on_socketio_text(int index, const uint8_t *payload, size_t size) {
    if (begins(payload, size, "42[\"message\",")) on_chat_message(index, payload, size);
    else if (begins(payload, size, "42[\"room_info\",")) on_room_info(index, payload, size);
    else if (begins(payload, size, "0")) net_send_text(index, "40");
    else if (begins(payload, size, "40")) send_join(index);
    else if (begins(payload, size, "2")) net_send_text(index, "3");
    else fail("client %d got %.*s", index, (int)(size < 200 ? size : 200), (const char *)payload);
}

static void on_text(int index, const uint8_t *payload, size_t size) {
    if (net.options->socketio) on_socketio_text(index, payload, size);
    else if (is_message(payload, size)) on_chat_message(index, payload, size);
    else on_control_text(index, payload, size);
}

static void on_server_close(int index, const uint8_t *payload, size_t size) {
    if (net.clients[index].state == CLIENT_CLOSING) return;
    int code = size >= 2 ? payload[0] << 8 | payload[1] : 1005;
    int reason = size > 2 ? (int)size - 2 : 0;
    fail("the server closed client %d with code %d %.*s", index, code, reason, (const char *)payload + 2);
}

/* `size` is what there is of the payload within the window; control frames are always whole. */
static void on_frame(int index, const struct frame *frame, const uint8_t *payload, size_t size) {
    net.frames++;
    if (frame->opcode == OP_CLOSE) {
        on_server_close(index, payload, size);
    } else if (net.clients[index].state == CLIENT_CLOSING) {
        return;
    } else if (frame->opcode == OP_PING) {
        send_frame(index, OP_PONG, payload, size);
    } else if (frame->opcode == OP_TEXT) {
        on_text(index, payload, size);
    } else if (frame->opcode != OP_CONTINUATION && frame->opcode != OP_PONG) {
        fail("client %d got a frame with opcode %d", index, frame->opcode);
    }
}

/* False while the header is not complete. Server frames carry no mask (RFC 6455 5.1). */
static bool parse_header(const uint8_t *bytes, size_t size, struct frame *frame) {
    if (size < 2) return false;
    if (bytes[1] & 0x80) fail("the server sent a masked frame");
    unsigned length = bytes[1];
    size_t extended = length == 126 ? 2 : length == 127 ? 8 : 0;
    if (size < 2 + extended) return false;
    frame->opcode = bytes[0] & 0x0f;
    frame->header_size = 2 + extended;
    frame->payload_size = extended == 0 ? length : 0;
    for (size_t i = 0; i < extended; i++) frame->payload_size = frame->payload_size << 8 | bytes[2 + i];
    return true;
}

/* Returns the bytes used; what is left is the start of a frame that has not come far enough. */
static size_t take_frames(int index, const uint8_t *bytes, size_t size) {
    struct client *client = &net.clients[index];
    struct frame frame;
    size_t at = 0;
    while (at < size) {
        size_t left = size - at;
        if (client->skip_bytes > 0) {
            size_t skipped = left < client->skip_bytes ? left : (size_t)client->skip_bytes;
            client->skip_bytes -= skipped;
            at += skipped;
            continue;
        }
        if (!parse_header(bytes + at, left, &frame)) break;
        size_t window = frame.payload_size < net.window_bytes ? (size_t)frame.payload_size : net.window_bytes;
        if (left < frame.header_size + window) break;
        client->skip_bytes = frame.payload_size - window;
        on_frame(index, &frame, bytes + at + frame.header_size, window);
        at += frame.header_size + window;
    }
    return at;
}

/* Where a line ends, or a block of Server-Sent Events with its last line; NULL while it is not all there. */
static const uint8_t *event_end(const uint8_t *at, const uint8_t *last, bool sse) {
    const uint8_t *stop = memchr(at, '\n', (size_t)(last - at));
    while (sse && stop != NULL && stop + 1 < last && stop[1] != '\n') stop = memchr(stop + 1, '\n', (size_t)(last - stop - 1));
    return sse && stop != NULL && stop + 1 == last ? NULL : stop;
}

/* Returns the bytes used, which are whole events: blocks of Server-Sent Events, or lines of JSON. */
static size_t take_events(int index, const uint8_t *bytes, size_t size) {
    bool sse = bytes[0] != '{' && bytes[0] != '\n';
    const uint8_t *at = bytes, *last = bytes + size, *stop;
    for (; at < last && (stop = event_end(at, last, sse)) != NULL; at = stop + (sse ? 2 : 1)) {
        size_t length = (size_t)(stop - at);
        net.frames++;
        if (begins(at, length, sse ? "data: {\"type\":\"message\"" : "{\"type\":\"message\"")) on_chat_message(index, at, length);
        else if (begins(at, length, sse ? "event: room_info\n" : "{\"type\":\"room_info\"")) on_room_info(index, at, length);
        else if (begins(at, length, sse ? "event: closed\n" : "{\"type\":\"closed\""))
            fail("the server closed stream %d: %.*s", index, (int)length, (const char *)at);
    }
    return (size_t)(at - bytes);
}

static size_t take_upgrade(int index, const uint8_t *bytes, size_t size) {
    const char *accepted = index >= net.streams_from ? "HTTP/1.1 200" : "HTTP/1.1 101";
    const uint8_t *end = memmem(bytes, size, "\r\n\r\n", 4);
    const uint8_t *line_end = memchr(bytes, '\r', size);
    if (line_end != NULL && memcmp(bytes, accepted, strlen(accepted)) != 0)
        fail("the upgrade of client %d was refused: %.*s", index, (int)(line_end - bytes), (const char *)bytes);
    if (end == NULL) return 0;
    net.clients[index].state = CLIENT_JOINING;
    return (size_t)(end - bytes) + 4;
}

static void keep_rest(struct client *client, const uint8_t *rest, size_t size) {
    if (size > STASH_BYTES) fail("more than %d bytes of an HTTP answer or a frame", STASH_BYTES);
    free(client->stash);
    client->stash = size > 0 ? malloc(size) : NULL;
    if (size > 0) memcpy(client->stash, rest, size);
    client->stash_size = (uint16_t)size;
}

static void take_bytes(int index, const uint8_t *bytes, size_t size) {
    struct client *client = &net.clients[index];
    size_t used = 0;
    if (client->state == CLIENT_UPGRADING) used = take_upgrade(index, bytes, size);
    if (client->state != CLIENT_UPGRADING && used < size) {
        if (index >= net.streams_from) used += take_events(index, bytes + used, size - used);
        else used += take_frames(index, bytes + used, size - used);
    }
    if (used < size || client->stash != NULL) keep_rest(client, bytes + used, size - used);
}

static void on_end(int index) {
    if (net.clients[index].state != CLIENT_CLOSING) fail("the server ended the connection of client %d", index);
    forget(index);
}

static void on_readable(int index) {
    struct client *client = &net.clients[index];
    /* The stash is copied in front of the fresh bytes, which are read to a fixed place. */
    uint8_t *fresh = read_buffer + STASH_BYTES;
    ssize_t size = recv(client->fd, fresh, READ_BYTES, 0);
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0) {
        on_end(index);
        return;
    }
    net.turn_ns = now_ns();
    uint8_t *start = fresh - client->stash_size;
    if (client->stash_size > 0) memcpy(start, client->stash, client->stash_size);
    take_bytes(index, start, (size_t)size + client->stash_size);
}

void net_turn(int timeout_ms) {
    struct epoll_event events[EVENTS];
    uint64_t frames_before = net.frames;
    int count = epoll_wait(net.epoll_fd, events, EVENTS, timeout_ms);
    for (int i = 0; i < count; i++) {
        int index = (int)events[i].data.u32;
        if (net.clients[index].state == CLIENT_CONNECTING) {
            on_connected(index);
        } else {
            on_readable(index);
        }
    }
    if (net.frames != frames_before) net.last_frame_s = now_seconds();
}
