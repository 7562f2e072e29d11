/* A load of HTTP/1.1 requests over many connections that stay open, from one thread, for servers on this machine.

   load ranges --connections N --seconds S --path PATH --size BYTES --length BYTES [--header LINE]...
       random ranges of one file, until the time is over. Each 8 bytes of the file are their own offset, least byte
       first: the first 8 bytes of each response are compared.
   load list --connections N --count K --path PATH [--header LINE]...
       each of K files once; PATH has a conversion for the number, as /files/%06ld.bin.
   load stall --connections N --seconds S --path PATH [--header LINE]...
       one request for each connection, of which nothing is read but what comes with the head.

   All: --host ADDRESS (127.0.0.1) and --port PORT. All that comes is copied into memory, as a client does. A response
   of another status or length than asked for, or one that ends early, is an error. One line of JSON is written:
   seconds, MiB per second, requests, errors, connections that were opened again, and milliseconds from a request to
   its last byte. The exit status is 1 if there was an error, and 2 for wrong usage. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_BYTES = 16384, BLOCK_BYTES = 1 << 18, MOST_EVENTS = 512, MOST_TIMES = 4000000 };
enum mode { RANGES, LIST, STALL };

struct connection {
    int descriptor;
    int is_reading_body;
    size_t head_bytes;
    int64_t left, offset; /* of the body; of the range that was asked for */
    double asked_at;
    char head[HEAD_BYTES];
};

static struct {
    enum mode mode;
    struct sockaddr_in address;
    const char *path;
    char headers[4096];
    long connections, count;
    double seconds;
    int64_t size, length;
} options = {.address = {.sin_family = AF_INET}};

static struct {
    int64_t bytes;
    long requests, errors, reconnected, next, live;
    double *times;
} found;

static int poller;
static uint64_t random_state = 88172645463325252u;

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static uint64_t random_number(void) { /* xorshift64 */
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static void fail(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(2);
}

static void count_error(struct connection *one, const char *why) {
    if (found.errors++ < 3)
        fprintf(stderr, "load: %s: %.200s\n", why, one->head_bytes ? one->head : "");
}

static void open_connection(struct connection *one) {
    int on = 1;
    one->descriptor = socket(AF_INET, SOCK_STREAM, 0);
    if (one->descriptor < 0)
        fail("socket");
    setsockopt(one->descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(one->descriptor, (struct sockaddr *)&options.address, sizeof options.address))
        fail("connect");
    fcntl(one->descriptor, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, one->descriptor, &event))
        fail("epoll_ctl");
}

static void end(struct connection *one) {
    close(one->descriptor);
    found.live--;
}

/* Send the next request; return whether there was one. */
static int ask(struct connection *one) {
    char path[1024], range[80] = "", request[8192];
    snprintf(path, sizeof path, "%s", options.path);
    one->offset = 0;
    if (options.mode == LIST) {
        if (found.next >= options.count)
            return 0;
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(path, sizeof path, options.path, found.next++);
    } else if (options.mode == RANGES) {
        uint64_t blocks = (uint64_t)(options.size - options.length) / 4096;
        one->offset = blocks ? (int64_t)(random_number() % blocks) * 4096 : 0;
        snprintf(range, sizeof range, "Range: bytes=%lld-%lld\r\n", (long long)one->offset,
                 (long long)(one->offset + options.length - 1));
    }
    int length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n%s%s\r\n", path, range,
                          options.headers);
    one->head_bytes = 0;
    one->is_reading_body = 0;
    one->asked_at = now();
    if (write(one->descriptor, request, (size_t)length) == length)
        return 1;
    count_error(one, "the request cannot be sent");
    return 0;
}

/* Read the head; return 1 if it is complete, 0 if more is to come, -1 if the connection is of no use any more. */
static int read_head(struct connection *one) {
    ssize_t size = recv(one->descriptor, one->head + one->head_bytes, HEAD_BYTES - 1 - one->head_bytes, 0);
    if (size < 0 && errno == EAGAIN)
        return 0;
    if (size <= 0 && one->head_bytes == 0 && options.mode != STALL) { /* the server has closed an idle connection */
        close(one->descriptor);
        found.reconnected++;
        found.next -= options.mode == LIST;
        open_connection(one);
        return ask(one) ? 0 : -1;
    }
    if (size <= 0) {
        count_error(one, "the connection ended in a head");
        return -1;
    }
    one->head_bytes += (size_t)size;
    one->head[one->head_bytes] = 0;
    char *stop = strstr(one->head, "\r\n\r\n");
    if (stop == NULL)
        return 0;
    size_t body_bytes = one->head_bytes - (size_t)(stop + 4 - one->head);
    int status = atoi(one->head + strlen("HTTP/1.1 "));
    stop[2] = 0;
    char *field = strcasestr(one->head, "\r\ncontent-length:");
    one->left = field ? atoll(field + strlen("\r\ncontent-length:")) : -1;
    if (status != (options.mode == RANGES ? 206 : 200) || one->left < 0 ||
        (options.mode == RANGES && one->left != options.length)) {
        count_error(one, "another response than asked for");
        return -1;
    }
    found.bytes += (int64_t)body_bytes;
    one->left -= (int64_t)body_bytes;
    one->is_reading_body = 1;
    if (options.mode == RANGES && body_bytes >= sizeof one->offset && memcmp(stop + 4, &one->offset, sizeof one->offset)) {
        count_error(one, "other bytes than asked for");
        return -1;
    }
    return 1;
}

/* Read of the body what is there; return as `read_head`. */
static int read_body(struct connection *one) {
    static char block[BLOCK_BYTES];
    size_t most = one->left < BLOCK_BYTES ? (size_t)one->left : BLOCK_BYTES;
    ssize_t size = recv(one->descriptor, block, most, 0);
    if (size < 0 && errno == EAGAIN)
        return 0;
    if (size <= 0) {
        count_error(one, "the connection ended in a body");
        return -1;
    }
    one->left -= size;
    found.bytes += size;
    return 1;
}

/* Go on to the next request; return whether there is one. */
static int go_on(struct connection *one, double until) {
    if (found.requests < MOST_TIMES)
        found.times[found.requests] = now() - one->asked_at;
    found.requests++;
    if (strcasestr(one->head, "\r\nconnection: close")) {
        close(one->descriptor);
        found.reconnected++;
        open_connection(one);
    }
    return (options.mode == LIST || now() < until) && ask(one);
}

static void handle(struct connection *one, double until) {
    for (int turns = 0; turns < 4; turns++) { /* then the other connections have theirs */
        int state = one->is_reading_body ? read_body(one) : read_head(one);
        if (state < 0) {
            end(one);
            return;
        }
        if (state == 0)
            return;
        if (options.mode == STALL) { /* nothing more is read of it */
            found.requests++;
            epoll_ctl(poller, EPOLL_CTL_DEL, one->descriptor, NULL);
            return;
        }
        if (one->left == 0 && !go_on(one, until)) {
            end(one);
            return;
        }
    }
}

static int by_size(const void *left, const void *right) {
    double one = *(const double *)left, other = *(const double *)right;
    return (one > other) - (one < other);
}

static double quantile(double share) {
    long known = found.requests < MOST_TIMES ? found.requests : MOST_TIMES;
    return known && options.mode != STALL ? found.times[(long)((double)(known - 1) * share)] * 1e3 : 0;
}

static void report(double seconds) {
    long known = found.requests < MOST_TIMES ? found.requests : MOST_TIMES;
    if (options.mode != STALL)
        qsort(found.times, (size_t)known, sizeof(double), by_size);
    printf("{\"seconds\": %.3f, \"mib_per_s\": %.2f, \"requests\": %ld, \"errors\": %ld, \"reconnected\": %ld, "
           "\"p50_ms\": %.2f, \"p95_ms\": %.2f, \"p99_ms\": %.2f, \"most_ms\": %.2f, \"bytes\": %lld}\n",
           seconds, (double)found.bytes / seconds / (1 << 20), found.requests, found.errors, found.reconnected,
           quantile(0.5), quantile(0.95), quantile(0.99), quantile(1), (long long)found.bytes);
}

static void read_options(int count, char **words) {
    static const struct option known[] = {
        {"host", 1, 0, 'h'}, {"port", 1, 0, 'p'}, {"connections", 1, 0, 'n'}, {"seconds", 1, 0, 's'}, {"path", 1, 0, 'u'},
        {"size", 1, 0, 'z'}, {"length", 1, 0, 'l'}, {"count", 1, 0, 'k'}, {"header", 1, 0, 'H'}, {0, 0, 0, 0}};
    const char *modes[] = {"ranges", "list", "stall"};
    int option, mode = 0;
    while (count > 1 && mode < 3 && strcmp(words[1], modes[mode]))
        mode++;
    if (count < 2 || mode == 3) {
        fprintf(stderr, "load: the first argument is ranges, list or stall\n");
        exit(2);
    }
    options.mode = (enum mode)mode;
    inet_pton(AF_INET, "127.0.0.1", &options.address.sin_addr);
    while ((option = getopt_long(count - 1, words + 1, "", known, NULL)) != -1) {
        size_t used = strlen(options.headers);
        switch (option) {
        case 'h': inet_pton(AF_INET, optarg, &options.address.sin_addr); break;
        case 'p': options.address.sin_port = htons((uint16_t)atoi(optarg)); break;
        case 'n': options.connections = atol(optarg); break;
        case 's': options.seconds = atof(optarg); break;
        case 'u': options.path = optarg; break;
        case 'z': options.size = atoll(optarg); break;
        case 'l': options.length = atoll(optarg); break;
        case 'k': options.count = atol(optarg); break;
        case 'H': snprintf(options.headers + used, sizeof options.headers - used, "%s\r\n", optarg); break;
        default: exit(2);
        }
    }
    if (!options.address.sin_port || options.connections < 1 || options.path == NULL ||
        (options.mode == RANGES && (options.length < 1 || options.size < options.length))) {
        fprintf(stderr, "load: --port, --connections and --path, and for ranges --size and --length are needed\n");
        exit(2);
    }
}

int main(int count, char **words) {
    read_options(count, words);
    poller = epoll_create1(0);
    found.times = malloc(MOST_TIMES * sizeof(double));
    struct connection *all = calloc((size_t)options.connections, sizeof *all);
    if (poller < 0 || found.times == NULL || all == NULL)
        fail("memory");
    double start = now(), until = start + options.seconds;
    for (long n = 0; n < options.connections; n++) {
        open_connection(&all[n]);
        if (ask(&all[n]))
            found.live++;
    }
    struct epoll_event events[MOST_EVENTS];
    while (found.live > 0) {
        int ready = epoll_wait(poller, events, MOST_EVENTS, 200);
        for (int n = 0; n < ready; n++)
            handle(events[n].data.ptr, until);
        if (options.mode == STALL && now() >= until)
            break;
    }
    report(now() - start);
    return found.errors != 0;
}
