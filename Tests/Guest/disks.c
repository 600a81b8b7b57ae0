/* Lab guest with disks and a network: the only userspace process (pid 1) of a tiny Linux VM.
 *
 * What it does is seen from outside, and what it knows of that is in its RAM. So after a failover its
 * RAM says as of which moment its disks have to be, and which packets it may have sent.
 *
 * Disks     All that there are (/dev/vda, vdb, ...). Writers write runs of 1 to 128 sectors, or zero
 *           them, beside the page cache; a sector says of itself of which disk, place and write it is.
 *           Of every write that was completed the table has sequence and nonce; the nonce is random,
 *           so that two guests that go on from one moment write different things.
 * Network   eth0, if there is one: packets with numbers from RAM over IPv4, IPv6 and ARP, and an echo
 *           on UDP port 7 that appends the number of its answer.
 * Found     Table and counters are in pages that begin with a magic, so that they are found in the
 *           memory of a guest that does not run.
 * Command line: lab.writers, lab.pace (µs between a writer's writes), lab.net (ms between packets of
 *   a kind, 0: none), lab.hb (ms between heartbeats).
 * Serial protocol (lines):
 *   READY disks=.. sectors=.. net=..
 *   HB n=.. t=.. issued=.. completed=.. sent=.. echoed=.. bad=.. OK|CORRUPT
 *   CHK disks=.. sectors=.. bad=.. newer=.. older=.. other=.. completed=.. OK|CORRUPT
 *   TOOK N N .. (microseconds of writes), then TIMED writes=..; STREAMED bytes=..
 * Commands on the serial input: "check" (compare the disks with the table), "set pace N",
 *   "set net N", "hold" and "go" (the writers), "time N" (that many writes of 4 KiB to the first disk,
 *   each beside the page cache and then fdatasync(2); the writers must be held), "stream N" (as much as
 *   goes over TCP to port 7002 of the peer in N seconds), "off".
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

typedef uint64_t u64;
typedef uint32_t u32;

/* ---- What is found in memory: Tests/Support/GuestTable.swift reads the same ---- */

#define PG 4096u
#define SECTOR 512u
#define ENTRIES 254u                     /* of a page of the table */
#define MAXDISKS 8
#define MAXWRITERS 16
#define LONGEST 128u                     /* sectors of a write */

struct entry { u64 seq, nonce; };        /* nonce 0: zeroes */
struct table_page { char magic[8]; u64 boot; u32 disk, index; u64 unused; struct entry entry[ENTRIES]; };

/* A write that is being made: each of its sectors may have been written or not. `busy` last, and
 * cleared only when the table has it. */
struct flight { u64 disk, first, count, seq, nonce, busy; };
enum kind { IPV4, IPV6, ARP, KINDS };
struct info_page {
    char magic[8];
    u64 boot, disks, writers, sectors[MAXDISKS];
    u64 issued, completed, sent[KINDS], echoed;
    struct flight flight[MAXWRITERS];
};

/* ---- What is on a disk ---- */

struct sector { u64 magic, disk, place, seq, nonce, fill[SECTOR / 8 - 6], sum; };
#define SECTOR_MAGIC 0x4b5349444446544dull

/* ---- What is on the wire, behind whatever headers ---- */

struct packet { char magic[8]; u64 kind, number, nonce, completed; };

static struct info_page *info;
static struct table_page *table[MAXDISKS];
static int disk[MAXDISKS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER, speech = PTHREAD_MUTEX_INITIALIZER;
static volatile int held, pace = 1000, gap = 20;
static volatile u64 bad;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

/* Whole lines, from any thread. */
static void say(const char *format, ...)
{
    char line[512];
    va_list a;
    va_start(a, format);
    int n = vsnprintf(line, sizeof line, format, a);
    va_end(a);
    pthread_mutex_lock(&speech);
    for (int done = 0; done < n;) {
        int r = write(1, line + done, n - done);
        if (r > 0) done += r; else usleep(1000);
    }
    pthread_mutex_unlock(&speech);
}

static u64 mix(u64 x)                    /* splitmix64 finaliser */
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

/* Another number in every guest that goes on from one and the same memory: the clock goes into it. */
static u64 chance(void)
{
    static __thread u64 state;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    state = mix(state ^ (u64)(uintptr_t)&state ^ (u64)t.tv_nsec << 20 ^ __builtin_ia32_rdtsc());
    return state;
}

static u64 sum(const struct sector *s)
{
    const u64 *word = (const u64 *)s;
    u64 h = 14695981039346656037ull;
    for (unsigned i = 0; i < SECTOR / 8 - 1; i++) h = (h ^ word[i]) * 1099511628211ull;
    return h;
}

static void make_sector(struct sector *s, u64 disk, u64 place, u64 seq, u64 nonce)
{
    u64 x = mix(nonce ^ place) | 1;
    *s = (struct sector){ .magic = SECTOR_MAGIC, .disk = disk, .place = place, .seq = seq, .nonce = nonce };
    for (unsigned i = 0; i < sizeof s->fill / 8; i++) {
        x ^= x << 13; x ^= x >> 7; x ^= x << 17;
        s->fill[i] = x;
    }
    s->sum = sum(s);
}

static struct entry *entry(u64 disk, u64 place) { return &table[disk][place / ENTRIES].entry[place % ENTRIES]; }

/* ---- Disks ---- */

/* Writers have a stripe of each disk for themselves. */
static void choose(u64 writer, struct flight *f)
{
    f->disk = chance() % info->disks;
    u64 stripe = info->sectors[f->disk] / info->writers, longest = 1 + (LONGEST - 1) / (1u << chance() % 8);
    f->count = 1 + chance() % longest;
    if (f->count > stripe) f->count = stripe;
    f->first = writer * stripe + chance() % (stripe - f->count + 1);
    f->nonce = chance() % 16 ? chance() | 1 : 0;
}

/* 4 KiB that a file system would write. */
static void choose_block(struct flight *f)
{
    f->disk = 0;
    f->count = PG / SECTOR;
    f->first = chance() % (info->sectors[0] / info->writers / f->count) * f->count;
    f->nonce = chance() | 1;
}

static void begin_write(struct flight *f)
{
    f->seq = ++info->issued;
    __atomic_store_n(&f->busy, 1, __ATOMIC_SEQ_CST);
}

static void end_write(struct flight *f, int done)
{
    pthread_mutex_lock(&lock);
    for (u64 i = 0; done && i < f->count; i++) *entry(f->disk, f->first + i) = (struct entry){ f->seq, f->nonce };
    info->completed += done;
    __atomic_store_n(&f->busy, 0, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&lock);
}

static int write_run(const struct flight *f, struct sector *buffer)
{
    if (!f->nonce) {
        u64 range[2] = { f->first * SECTOR, f->count * SECTOR };
        return ioctl(disk[f->disk], BLKZEROOUT, range) == 0;
    }
    for (u64 i = 0; i < f->count; i++) make_sector(&buffer[i], f->disk, f->first + i, f->seq, f->nonce);
    ssize_t size = f->count * SECTOR;
    return pwrite(disk[f->disk], buffer, size, f->first * SECTOR) == size;
}

static int writing(void)
{
    int busy = 0;
    pthread_mutex_lock(&lock);
    for (u64 i = 0; i < info->writers; i++) busy |= info->flight[i].busy != 0;
    pthread_mutex_unlock(&lock);
    return busy;
}

static void *writer(void *argument)
{
    u64 number = (uintptr_t)argument;
    struct flight *f = &info->flight[number];
    struct sector *buffer;
    if (posix_memalign((void **)&buffer, PG, LONGEST * SECTOR)) return NULL;
    for (;;) {
        usleep(pace);
        pthread_mutex_lock(&lock);
        if (held) { pthread_mutex_unlock(&lock); usleep(2000); continue; }
        choose(number, f);
        begin_write(f);
        pthread_mutex_unlock(&lock);
        int done = write_run(f, buffer);
        if (done && f->seq % 8 == 0) done = fdatasync(disk[f->disk]) == 0;
        if (!done) {
            bad++;
            say("WRITE disk=%d seq=%llu errno=%d CORRUPT\n", (int)f->disk, (unsigned long long)f->seq, errno);
            sleep(1);
        }
        end_write(f, done);
    }
}

/* What the first writer would do, who is held, and how long each takes. */
static void *time_writes(void *argument)
{
    u64 count = (uintptr_t)argument;
    struct flight *f = &info->flight[0];
    struct sector *buffer;
    char line[256];
    int length = 0;
    if (!info->disks || !held || posix_memalign((void **)&buffer, PG, PG)) return NULL;
    while (writing()) usleep(2000);
    for (u64 i = 0; i < count; i++) {
        pthread_mutex_lock(&lock);
        choose_block(f);
        begin_write(f);
        pthread_mutex_unlock(&lock);
        double start = now();
        int done = write_run(f, buffer) && fdatasync(disk[0]) == 0;
        double took = now() - start;
        if (!done) { bad++; say("WRITE disk=0 errno=%d CORRUPT\n", errno); }
        end_write(f, done);
        length += snprintf(line + length, sizeof line - length, " %.0f", took * 1e6);
        if (length < 200 && i + 1 < count) continue;
        say("TOOK%s\n", line);
        length = 0;
    }
    say("TIMED writes=%llu\n", (unsigned long long)count);
    free(buffer);
    return argument;
}

static struct { u64 sectors, bad, newer, older, other; } found;

static void check_sector(u64 disk, u64 place, const struct sector *s)
{
    static const struct sector zero;
    struct entry *e = entry(disk, place);
    int written = s->magic == SECTOR_MAGIC && s->sum == sum(s) && s->disk == disk && s->place == place;
    found.sectors++;
    if (e->nonce ? written && s->seq == e->seq && s->nonce == e->nonce : !memcmp(s, &zero, sizeof zero)) return;
    if (found.bad++ < 4)
        say("BADSECTOR disk=%d place=%llu seq=%llu, in memory %llu\n", (int)disk, (unsigned long long)place,
            written ? (unsigned long long)s->seq : 0, (unsigned long long)e->seq);
    if (!written) found.other++; else if (s->seq > e->seq) found.newer++; else found.older++;
}

static void check_disk(u64 d, struct sector *buffer)
{
    for (u64 place = 0; place < info->sectors[d]; place += LONGEST) {
        u64 count = info->sectors[d] - place < LONGEST ? info->sectors[d] - place : LONGEST;
        ssize_t size = count * SECTOR;
        if (pread(disk[d], buffer, size, place * SECTOR) != size) {
            say("READ disk=%d place=%llu errno=%d CORRUPT\n", (int)d, (unsigned long long)place, errno);
            found.bad += count;
            continue;
        }
        for (u64 i = 0; i < count; i++) check_sector(d, place + i, &buffer[i]);
    }
}

static void check(void)
{
    struct sector *buffer;
    int before = held;
    if (posix_memalign((void **)&buffer, PG, LONGEST * SECTOR)) return;
    memset(&found, 0, sizeof found);
    held = 1;
    while (writing()) usleep(2000);
    for (u64 d = 0; d < info->disks; d++) check_disk(d, buffer);
    held = before;
    bad += found.bad;
    say("CHK disks=%d sectors=%llu bad=%llu newer=%llu older=%llu other=%llu completed=%llu %s\n", (int)info->disks,
        (unsigned long long)found.sectors, (unsigned long long)found.bad, (unsigned long long)found.newer,
        (unsigned long long)found.older, (unsigned long long)found.other, (unsigned long long)info->completed,
        found.bad ? "CORRUPT" : "OK");
    free(buffer);
}

/* Pages that are found by their magic: never in huge ones, whose making would leave copies behind. */
static void *pages(u64 count)
{
    void *p = mmap(NULL, count * PG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) { say("LAB: no memory\n"); sleep(5); reboot(RB_POWER_OFF); }
    madvise(p, count * PG, MADV_NOHUGEPAGE);
    memset(p, 0, count * PG);
    return p;
}

static int open_disk(int number, u64 *sectors)
{
    char path[] = "/dev/vda";
    u64 size;
    path[7] += number;
    int d = open(path, O_RDWR | O_DIRECT);
    if (d < 0 || ioctl(d, BLKGETSIZE64, &size)) return -1;
    *sectors = size / SECTOR;
    return d;
}

static void make_tables(u64 boot)
{
    for (u64 d = 0; d < info->disks; d++) {
        u64 count = (info->sectors[d] + ENTRIES - 1) / ENTRIES;
        table[d] = pages(count);
        for (u64 i = 0; i < count; i++) {
            table[d][i].boot = boot;
            table[d][i].disk = d;
            table[d][i].index = i;
            memcpy(table[d][i].magic, "MFDTABL1", 8);
        }
    }
}

/* ---- Network: the other end is 192.0.2.1, 52:54:00:00:00:01 (Tests/Support/PacketWitness.swift) ---- */

#define GUEST 0xc0000202u
#define PEER 0xc0000201u

static struct sockaddr_in at(u32 address, int port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(address) };
}

/* Whether there is a network. The peer's address is told and not asked for: nothing has to be
 * answered before the first packet. */
static int start_network(void)
{
    struct ifreq r = { .ifr_name = "eth0" };
    struct arpreq a = { .arp_flags = ATF_COM | ATF_PERM, .arp_dev = "eth0" };
    struct sockaddr_in own = at(GUEST, 0), mask = at(0xffffff00u, 0), peer = at(PEER, 0);
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    if (ioctl(s, SIOCGIFFLAGS, &r)) return 0;
    memcpy(&r.ifr_addr, &own, sizeof own);
    ioctl(s, SIOCSIFADDR, &r);
    memcpy(&r.ifr_netmask, &mask, sizeof mask);
    ioctl(s, SIOCSIFNETMASK, &r);
    ioctl(s, SIOCGIFFLAGS, &r);
    r.ifr_flags |= IFF_UP;
    ioctl(s, SIOCSIFFLAGS, &r);
    memcpy(&a.arp_pa, &peer, sizeof peer);
    a.arp_ha.sa_family = ARPHRD_ETHER;
    memcpy(a.arp_ha.sa_data, "\x52\x54\0\0\0\x01", 6);
    if (ioctl(s, SIOCSARP, &a)) say("ARP errno %d\n", errno);
    close(s);
    return 1;
}

static struct packet next_packet(enum kind kind)
{
    pthread_mutex_lock(&lock);
    struct packet p = { "MFDPKT1", kind, ++info->sent[kind], chance(), info->completed };
    pthread_mutex_unlock(&lock);
    return p;
}

static void send_ipv4(int s)
{
    struct sockaddr_in to = at(PEER, 7000);
    struct packet p = next_packet(IPV4);
    sendto(s, &p, sizeof p, 0, (void *)&to, sizeof to);
}

static void send_ipv6(int s)
{
    struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_port = htons(7000), .sin6_scope_id = if_nametoindex("eth0") };
    struct packet p = next_packet(IPV6);
    inet_pton(AF_INET6, "ff02::1", &to.sin6_addr);
    sendto(s, &p, sizeof p, 0, (void *)&to, sizeof to);
}

/* A request for somebody who is not there; what is behind it is nobody's business, as padding is. */
static void send_arp(int s)
{
    struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ARP), .sll_halen = 6,
        .sll_ifindex = if_nametoindex("eth0"), .sll_addr = { 255, 255, 255, 255, 255, 255 } };
    struct __attribute__((packed)) { unsigned char request[28]; struct packet packet; } frame = {
        { 0, 1, 8, 0, 6, 4, 0, 1, 0x52, 0x54, 0, 0, 0, 2, 192, 0, 2, 2, 0, 0, 0, 0, 0, 0, 192, 0, 2, 99 },
        next_packet(ARP) };
    sendto(s, &frame, sizeof frame, 0, (void *)&to, sizeof to);
}

static void *sender(void *argument)
{
    enum kind kind = (uintptr_t)argument;
    int s = kind == IPV4 ? socket(AF_INET, SOCK_DGRAM, 0)
        : kind == IPV6 ? socket(AF_INET6, SOCK_DGRAM, 0) : socket(AF_PACKET, SOCK_DGRAM, 0);
    for (;;) {
        if (!gap) { usleep(20000); continue; }
        usleep(gap * 1000);
        if (kind == IPV4) send_ipv4(s); else if (kind == IPV6) send_ipv6(s); else send_arp(s);
    }
    return argument;
}

static void *echo(void *argument)
{
    struct sockaddr_in own = at(INADDR_ANY, 7), from;
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    char data[2048];
    bind(s, (void *)&own, sizeof own);
    for (;;) {
        socklen_t length = sizeof from;
        ssize_t n = recvfrom(s, data, sizeof data - 8, 0, (void *)&from, &length);
        if (n < 0) continue;
        u64 number = ++info->echoed;
        memcpy(data + n, &number, 8);
        sendto(s, data, n + 8, 0, (void *)&from, length);
    }
    return argument;
}

/* Until so many seconds have passed on the guest's own clock, which stands still with it. */
static void *stream(void *argument)
{
    static char data[1 << 16];
    double end = now() + (uintptr_t)argument;
    struct sockaddr_in peer = at(PEER, 7002);
    u64 sent = 0;
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(s, (void *)&peer, sizeof peer)) say("STREAM errno=%d\n", errno);
    while (now() < end) {
        ssize_t n = send(s, data, sizeof data, MSG_NOSIGNAL);
        if (n <= 0) break;
        sent += n;
    }
    close(s);
    say("STREAMED bytes=%llu\n", (unsigned long long)sent);
    return argument;
}

/* ---- The process ---- */

static void start(void *(*body)(void *), u64 argument)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, body, (void *)(uintptr_t)argument)) say("LAB: no thread\n");
}

/* The drivers that this kernel has as modules, in the order in which they need one another; build puts
 * them into /modules. */
static void insert_modules(void)
{
    static const char *names[] = { "virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev",
        "virtio_pci", "virtio_blk", "failover", "net_failover", "virtio_net" };
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        char path[64];
        snprintf(path, sizeof path, "/modules/%s.ko", names[i]);
        int m = open(path, O_RDONLY);
        if (m < 0 || syscall(SYS_finit_module, m, "", 0)) say("LAB: module %s: errno %d\n", names[i], errno);
        if (m >= 0) close(m);
    }
}

static int setting(const char *line, const char *name, int otherwise)
{
    const char *p = strstr(line, name);
    return p ? atoi(p + strlen(name)) : otherwise;
}

static void open_console(void)
{
    struct termios t;
    int c = open("/dev/ttyS0", O_RDWR | O_NOCTTY);
    if (c < 0) c = open("/dev/console", O_RDWR | O_NOCTTY);
    dup2(c, 0); dup2(c, 1); dup2(c, 2);
    if (!tcgetattr(0, &t)) {
        t.c_lflag &= ~(ECHO | ICANON);
        t.c_cc[VMIN] = 0;
        t.c_cc[VTIME] = 0;
        tcsetattr(0, TCSANOW, &t);
    }
}

static void obey(const char *line)
{
    if (!strcmp(line, "check")) check();
    else if (!strcmp(line, "hold")) held = 1;
    else if (!strcmp(line, "go")) held = 0;
    else if (!strcmp(line, "off")) reboot(RB_POWER_OFF);
    else if (!strncmp(line, "set pace ", 9)) pace = atoi(line + 9);
    else if (!strncmp(line, "set net ", 8)) gap = atoi(line + 8);
    else if (!strncmp(line, "time ", 5)) start(time_writes, atoi(line + 5));
    else if (!strncmp(line, "stream ", 7)) start(stream, atoi(line + 7));
}

static void beat(u64 number)
{
    pthread_mutex_lock(&lock);
    struct info_page i = *info;
    pthread_mutex_unlock(&lock);
    say("HB n=%llu t=%.3f issued=%llu completed=%llu sent=%llu echoed=%llu bad=%llu %s\n", (unsigned long long)number,
        now(), (unsigned long long)i.issued, (unsigned long long)i.completed,
        (unsigned long long)(i.sent[IPV4] + i.sent[IPV6] + i.sent[ARP]), (unsigned long long)i.echoed,
        (unsigned long long)bad, bad ? "CORRUPT" : "OK");
}

int main(void)
{
    char words[4096] = "", line[128];
    size_t length = 0;
    mount("proc", "/proc", "proc", 0, NULL);
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    open_console();
    int fd = open("/proc/cmdline", O_RDONLY);
    if (fd >= 0 && read(fd, words, sizeof words - 1) < 0) words[0] = 0;
    insert_modules();
    info = pages(1);
    info->boot = chance();
    info->writers = setting(words, " lab.writers=", 4);
    if (info->writers > MAXWRITERS) info->writers = MAXWRITERS;
    pace = setting(words, " lab.pace=", pace);
    gap = setting(words, " lab.net=", gap);
    double step = setting(words, " lab.hb=", 250) * 1e-3;
    u64 sectors = 0;
    for (; info->disks < MAXDISKS; info->disks++) {
        disk[info->disks] = open_disk(info->disks, &info->sectors[info->disks]);
        if (disk[info->disks] < 0) break;
        sectors += info->sectors[info->disks];
    }
    make_tables(info->boot);
    memcpy(info->magic, "MFDINFO1", 8);
    int network = start_network();
    say("READY disks=%d sectors=%llu net=%d\n", (int)info->disks, (unsigned long long)sectors, network);
    for (u64 i = 0; info->disks && i < info->writers; i++) start(writer, i);
    for (u64 kind = 0; network && kind < KINDS; kind++) start(sender, kind);
    if (network) start(echo, 0);
    double next = now();
    for (u64 number = 0;;) {
        char c;
        while (read(0, &c, 1) == 1) {
            if (c == '\n' || c == '\r') { line[length] = 0; length = 0; obey(line); }
            else if (length < sizeof line - 1) line[length++] = c;
        }
        if (now() >= next) {
            next = now() + step;
            beat(number++);
        }
        usleep(5000);
    }
}
