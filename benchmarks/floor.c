/* The C floor: the least a chat server can do. It validates nothing, keeps nothing, and must never face a network. */
/* usage: floor PORT [plain] (127.0.0.1 only). Per epoll turn and member one send() with all frames of that turn for the room;
   plain: one send() per message and member, at once. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_FDS = 20000, ROOM_SLOTS = 32768, NAME_BYTES = 24, STASH_BYTES = 2048, READ_BYTES = 65536, EVENTS = 512, BATCH_BYTES = 1 << 16 };
enum { OP_TEXT = 1, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

struct room {
    char name[NAME_BYTES];
    int *members; /* file descriptors */
    int count, capacity;
    uint8_t *batch; /* this turn's frames */
    size_t batch_size;
    struct room *next_dirty;
    bool dirty;
};

struct connection {
    bool open, upgraded;
    int position; /* in its room's members */
    struct room *room;
    uint8_t *stash; /* bytes of a frame or request that is not complete */
    size_t stash_size;
    char username[NAME_BYTES];
};

static struct connection connections[MAX_FDS];
static struct room rooms[ROOM_SLOTS];
static struct room *dirty_rooms;
static int epoll_fd, listener;
static bool plain;
static uint8_t read_buffer[STASH_BYTES + READ_BYTES];

/* ---- SHA-1 and base64, for Sec-WebSocket-Accept (RFC 6455 4.2.2) ---- */

static uint32_t rotate(uint32_t value, int bits) { return value << bits | value >> (32 - bits); }

static void sha1_block(uint32_t state[5], const uint8_t block[64]) {
    uint32_t w[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 80; i++) w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20   ? (b & c) | (~b & d)
                     : i < 40 ? b ^ c ^ d
                     : i < 60 ? (b & c) | (b & d) | (c & d)
                              : b ^ c ^ d;
        uint32_t k = i < 20 ? 0x5a827999 : i < 40 ? 0x6ed9eba1 : i < 60 ? 0x8f1bbcdc : 0xca62c1d6;
        uint32_t next = rotate(a, 5) + f + e + k + w[i];
        e = d, d = c, c = rotate(b, 30), b = a, a = next;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e;
}

/* Key and GUID are 60 bytes: two blocks once they are padded. */
static void accept_digest(const char key[24], uint8_t digest[20]) {
    uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    uint8_t padded[128] = {0};
    memcpy(padded, key, 24);
    memcpy(padded + 24, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
    padded[60] = 0x80;
    padded[126] = 480 >> 8, padded[127] = 480 & 0xff;
    sha1_block(state, padded);
    sha1_block(state, padded + 64);
    for (int i = 0; i < 20; i++) digest[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}

static void base64_20(const uint8_t digest[20], char out[29]) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t padded[21] = {0};
    memcpy(padded, digest, 20);
    for (int i = 0; i < 7; i++) {
        uint32_t bits = (uint32_t)padded[3 * i] << 16 | (uint32_t)padded[3 * i + 1] << 8 | padded[3 * i + 2];
        for (int j = 0; j < 4; j++) out[4 * i + j] = letters[bits >> (18 - 6 * j) & 63];
    }
    out[27] = '=', out[28] = '\0';
}

/* ---- rooms ---- */

static struct room *find_room(const char *name) {
    uint32_t hash = 2166136261u;
    for (const char *c = name; *c != '\0'; c++) hash = (hash ^ (uint8_t)*c) * 16777619u;
    struct room *room = &rooms[hash % ROOM_SLOTS];
    while (room->name[0] != '\0' && strcmp(room->name, name) != 0) room = room == rooms + ROOM_SLOTS - 1 ? rooms : room + 1;
    if (room->name[0] == '\0') strcpy(room->name, name);
    return room;
}

static void leave(int fd) {
    struct room *room = connections[fd].room;
    if (room == NULL) return;
    int last = room->members[--room->count];
    room->members[connections[fd].position] = last;
    connections[last].position = connections[fd].position;
    connections[fd].room = NULL;
    /* Bounded work for storms of new room names: an empty room gives its memory back, but keeps its slot. */
    if (room->count == 0 && !room->dirty) {
        free(room->members), free(room->batch);
        room->members = NULL, room->batch = NULL, room->capacity = 0;
    }
}

static void enter(int fd, const char *name) {
    leave(fd);
    struct room *room = find_room(name);
    if (room->count == room->capacity) {
        room->capacity = room->capacity ? 2 * room->capacity : 2;
        room->members = realloc(room->members, sizeof *room->members * (size_t)room->capacity);
    }
    connections[fd].room = room;
    connections[fd].position = room->count;
    room->members[room->count++] = fd;
}

/* ---- connections ---- */

static void drop(int fd) {
    struct connection *connection = &connections[fd];
    if (!connection->open) return;
    leave(fd);
    free(connection->stash);
    memset(connection, 0, sizeof *connection);
    close(fd);
}

/* The floor queues nothing: a client that does not take its bytes at once is dropped. */
static void send_all(int fd, const void *bytes, size_t size) {
    ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
    if (sent == (ssize_t)size) return;
    if (sent >= 0 || errno == EAGAIN) fprintf(stderr, "floor: connection %d does not read, dropped\n", fd);
    drop(fd);
}

static size_t put_header(uint8_t *out, uint8_t opcode, size_t size) {
    out[0] = (uint8_t)(0x80 | opcode);
    if (size < 126) {
        out[1] = (uint8_t)size;
        return 2;
    }
    out[1] = 126, out[2] = (uint8_t)(size >> 8), out[3] = (uint8_t)size;
    return 4;
}

static void send_frame(int fd, uint8_t opcode, const void *payload, size_t size) {
    uint8_t frame[512];
    size_t head = put_header(frame, opcode, size);
    memcpy(frame + head, payload, size);
    send_all(fd, frame, head + size);
}

/* The value of a member of a flat JSON object, without escapes: the load sends none. */
static size_t member(const char *json, const char *quoted, const char **value) {
    const char *at = strstr(json, quoted);
    if (at == NULL) return 0;
    *value = at + strlen(quoted);
    return strcspn(*value, "\"");
}

static void on_join(int fd, const char *json) {
    char name[NAME_BYTES], answer[256];
    const char *room, *username;
    size_t room_size = member(json, "\"room\":\"", &room), username_size = member(json, "\"username\":\"", &username);
    if (room_size == 0 || room_size >= NAME_BYTES || username_size == 0 || username_size >= NAME_BYTES) return;
    snprintf(name, sizeof name, "%.*s", (int)room_size, room);
    snprintf(connections[fd].username, NAME_BYTES, "%.*s", (int)username_size, username);
    enter(fd, name);
    int size = snprintf(answer, sizeof answer, "{\"type\":\"room_info\",\"room\":\"%s\",\"members\":[\"%s\"],\"count\":%d}", name,
                        connections[fd].username, connections[fd].room->count);
    send_frame(fd, OP_TEXT, answer, (size_t)size);
}

static void flush_rooms(void) {
    for (struct room *room = dirty_rooms; room != NULL; room = room->next_dirty) {
        /* Backwards: a drop moves the last member to the dropped one's place. */
        for (int i = room->count - 1; i >= 0; i--) send_all(room->members[i], room->batch, room->batch_size);
        room->batch_size = 0;
        room->dirty = false;
    }
    dirty_rooms = NULL;
}

/* Appends one frame of about 170 bytes to what the room's members get at the end of this turn. */
static void on_message(int fd, const char *json) {
    struct room *room = connections[fd].room;
    const char *text;
    size_t text_size = member(json, "\"text\":\"", &text);
    if (room == NULL || text_size == 0 || room->batch_size + text_size + 256 > BATCH_BYTES) return;
    if (room->batch == NULL) room->batch = malloc(BATCH_BYTES);
    uint8_t *frame = room->batch + room->batch_size;
    char *out = (char *)frame + 4;
    out = stpcpy(out, "{\"type\":\"message\",\"username\":\"");
    out = stpcpy(out, connections[fd].username);
    out = stpcpy(out, "\",\"text\":\"");
    out = mempcpy(out, text, text_size);
    out = stpcpy(out, "\",\"messageId\":\"123e4567-e89b-42d3-a456-426614174000\",\"timestamp\":1700000000000}");
    put_header(frame, OP_TEXT, (size_t)(out - (char *)frame) - 4);
    room->batch_size = (size_t)((uint8_t *)out - room->batch);
    if (!room->dirty) {
        room->dirty = true;
        room->next_dirty = dirty_rooms;
        dirty_rooms = room;
    }
    if (plain) flush_rooms();
}

static void on_text(int fd, const char *json) {
    if (strstr(json, "\"type\":\"message\"") != NULL) {
        on_message(fd, json);
    } else if (strstr(json, "\"type\":\"join\"") != NULL) {
        on_join(fd, json);
    }
}

static void on_frame(int fd, uint8_t opcode, uint8_t *payload, size_t size) {
    if (opcode == OP_TEXT) {
        /* The byte after the payload belongs to the next frame: it is put back. */
        uint8_t after = payload[size];
        payload[size] = '\0';
        on_text(fd, (const char *)payload);
        payload[size] = after;
    } else if (opcode == OP_CLOSE) {
        send_frame(fd, OP_CLOSE, payload, size < 2 ? 0 : 2);
        drop(fd);
    } else if (opcode == OP_PING) {
        send_frame(fd, OP_PONG, payload, size < 126 ? size : 0);
    }
}

/* The size of the frame, or 0 while it is not complete. Client frames are masked; 64-bit lengths are not for the floor. */
static size_t take_frame(int fd, uint8_t *bytes, size_t size) {
    if (size < 6) return 0;
    size_t length = bytes[1] & 0x7f, head = length == 126 ? 8 : 6;
    if (size < head) return 0;
    if (length == 126) length = (size_t)bytes[2] << 8 | bytes[3];
    if ((bytes[1] & 0x80) == 0 || bytes[1] == 0xff || length > STASH_BYTES - 16) {
        drop(fd);
        return 0;
    }
    if (size < head + length) return 0;
    for (size_t i = 0; i < length; i++) bytes[head + i] ^= bytes[head - 4 + (i & 3)];
    on_frame(fd, bytes[0] & 15, bytes + head, length);
    return head + length;
}

static size_t take_request(int fd, const uint8_t *bytes, size_t size) {
    static const char connected[] =
        "{\"type\":\"connected\",\"clientId\":\"123e4567-e89b-42d3-a456-426614174000\",\"timestamp\":1700000000000}";
    static const char field[] = "Sec-WebSocket-Key: ";
    char answer[256], token[29];
    uint8_t digest[20];
    const uint8_t *end = memmem(bytes, size, "\r\n\r\n", 4), *key = memmem(bytes, size, field, sizeof field - 1);
    if (end == NULL) return 0;
    if (key == NULL || key + sizeof field - 1 + 24 > end) {
        drop(fd);
        return 0;
    }
    accept_digest((const char *)key + sizeof field - 1, digest);
    base64_20(digest, token);
    int length = snprintf(answer, sizeof answer,
                          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Accept: %s\r\n\r\n", token);
    connections[fd].upgraded = true;
    send_all(fd, answer, (size_t)length);
    send_frame(fd, OP_TEXT, connected, sizeof connected - 1);
    return (size_t)(end - bytes) + 4;
}

static void keep_rest(int fd, const uint8_t *rest, size_t size) {
    struct connection *connection = &connections[fd];
    if (size > STASH_BYTES) {
        drop(fd);
        return;
    }
    free(connection->stash);
    connection->stash = size > 0 ? malloc(size) : NULL;
    if (size > 0) memcpy(connection->stash, rest, size);
    connection->stash_size = size;
}

static void on_readable(int fd) {
    struct connection *connection = &connections[fd];
    uint8_t *fresh = read_buffer + STASH_BYTES;
    /* One byte is kept free for the terminator that on_frame puts behind a payload. */
    ssize_t got = recv(fd, fresh, READ_BYTES - 1, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        drop(fd);
        return;
    }
    uint8_t *bytes = fresh - connection->stash_size;
    if (connection->stash_size > 0) memcpy(bytes, connection->stash, connection->stash_size);
    size_t size = (size_t)got + connection->stash_size, at = 0, used = 1;
    while (connection->open && used > 0 && at < size) {
        used = connection->upgraded ? take_frame(fd, bytes + at, size - at) : take_request(fd, bytes + at, size - at);
        at += used;
    }
    if (connection->open && (at < size || connection->stash != NULL)) keep_rest(fd, bytes + at, size - at);
}

static void accept_all(void) {
    int on = 1;
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (fd >= MAX_FDS) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        connections[fd].open = true;
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
    }
}

static void listen_on(int port) {
    int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN};
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    event.data.fd = listener;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 1024) != 0) {
        fprintf(stderr, "floor: cannot listen on port %d: %s\n", port, strerror(errno));
        exit(1);
    }
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
}

int main(int count, char **values) {
    struct rlimit limit;
    struct epoll_event events[EVENTS];
    plain = count == 3 && strcmp(values[2], "plain") == 0;
    if (count != (plain ? 3 : 2)) return fputs("usage: floor PORT [plain]\n", stderr), 2;
    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    listen_on(atoi(values[1]));
    for (;;) {
        int ready = epoll_wait(epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                accept_all();
            } else if (connections[fd].open) {
                on_readable(fd);
            }
        }
        flush_rooms();
    }
}
