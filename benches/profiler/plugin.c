/* QEMU TCG plugin (API version 1, QEMU 4.2 to 8): writes down, for each marked region, how often
 * each instruction followed each other one, and every access to memory. A model turns that into
 * instructions and cycles later. One core only.
 *
 * Marks: Thumb `mov r10, r10` begins a region, `mov r11, r11` ends it: two bytes each, without
 * effect, emitted by no compiler. Neither is counted. Regions do not nest. Nothing in them may
 * interrupt straight code: no exception, no semihosting.
 *
 * out=FILE: text, one block a region:
 *   REGION <number> <instructions>
 *   F <address> <times>                  was the first instruction of the region
 *   E <from> <to> <times>                was executed right after another (addresses in hexadecimal)
 *   M <address> <loads> <stores> <once> <twice>
 *                                        accesses, and those of them that a Cortex-M splits: halfwords
 *                                        at odd addresses and words at halfwords, words at odd ones
 *   END
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The public interface of qemu-plugin.h, as far as it is used: no header needs to be installed. */
#define EXPORTED __attribute__((visibility("default")))
typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW = 3 };
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t,
    void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned, void *), int,
    void *);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *,
    void (*)(unsigned, void *), int, void *);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *,
    void (*)(unsigned, qemu_plugin_meminfo_t, uint64_t, void *), int, int, void *);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
unsigned qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t);
bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t);
EXPORTED int qemu_plugin_version = 1;

enum { BEGIN = 0x46d2, END = 0x46db };

typedef struct insn insn;
typedef struct edge {
    insn *to;
    uint64_t times;
    struct edge *next;
} edge;
struct insn {
    uint32_t address;
    uint16_t mark; /* BEGIN, END or 0 */
    edge *edges;   /* the one that was followed last comes first */
    uint64_t first, loads, stores, split_once, split_twice;
    insn *next;    /* in its bucket */
};

/* Straight code that QEMU translated in one piece: executed from its first to its last instruction. */
typedef struct block {
    uint64_t times;
    struct block *next;
    size_t count;
    insn *insns[];
} block;

enum { BUCKETS = 1 << 16 };
static insn *buckets[BUCKETS];
static block *blocks;
static insn *previous; /* of the region */
static bool counting;
static uint64_t total, region;
static const char *out_name = "profile.txt";
static FILE *out;

static void *allocate(size_t size)
{
    void *memory = calloc(1, size);
    if (!memory) {
        fputs("profiler: out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

/* The record of an address, made where there is none. */
static insn *record(uint32_t address)
{
    insn **bucket = &buckets[address >> 1 & (BUCKETS - 1)];
    for (insn *i = *bucket; i; i = i->next)
        if (i->address == address)
            return i;
    insn *i = allocate(sizeof *i);
    i->address = address;
    i->next = *bucket;
    return *bucket = i;
}

static void follow(insn *from, insn *to, uint64_t times)
{
    for (edge **e = &from->edges; *e; e = &(*e)->next) {
        if ((*e)->to == to) {
            edge *found = *e;
            found->times += times;
            *e = found->next;
            found->next = from->edges;
            from->edges = found;
            return;
        }
    }
    edge *e = allocate(sizeof *e);
    e->to = to;
    e->times = times;
    e->next = from->edges;
    from->edges = e;
}

/* Writes the region that ends, and clears all counts. */
static void finish(void)
{
    counting = false;
    for (block *b = blocks; b; b = b->next) {
        for (size_t k = 1; b->times && k < b->count; k++)
            follow(b->insns[k - 1], b->insns[k], b->times);
        b->times = 0;
    }
    if (!out && !(out = fopen(out_name, "w"))) {
        perror(out_name);
        exit(1);
    }
    fprintf(out, "REGION %" PRIu64 " %" PRIu64 "\n", region++, total);
    for (int b = 0; b < BUCKETS; b++) {
        for (insn *i = buckets[b]; i; i = i->next) {
            if (i->first)
                fprintf(out, "F %" PRIx32 " %" PRIu64 "\n", i->address, i->first);
            while (i->edges) {
                edge *e = i->edges;
                fprintf(out, "E %" PRIx32 " %" PRIx32 " %" PRIu64 "\n", i->address, e->to->address,
                    e->times);
                i->edges = e->next;
                free(e);
            }
            if (i->loads | i->stores)
                fprintf(out, "M %" PRIx32 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
                    i->address, i->loads, i->stores, i->split_once, i->split_twice);
            i->first = i->loads = i->stores = i->split_once = i->split_twice = 0;
        }
    }
    fputs("END\n", out);
    fflush(out);
}

static void enter(insn *i)
{
    if (previous)
        follow(previous, i, 1);
    else
        i->first++;
}

static void block_executed(unsigned core, void *data)
{
    (void)core;
    block *b = data;
    if (!counting)
        return;
    enter(b->insns[0]);
    b->times++;
    total += b->count;
    previous = b->insns[b->count - 1];
}

/* For blocks with a mark in them. */
static void executed(unsigned core, void *data)
{
    (void)core;
    insn *i = data;
    if (i->mark == BEGIN) {
        counting = true;
        previous = NULL;
        total = 0;
    } else if (i->mark == END) {
        if (counting)
            finish();
    } else if (counting) {
        enter(i);
        total++;
        previous = i;
    }
}

static void accessed(unsigned core, qemu_plugin_meminfo_t info, uint64_t address, void *data)
{
    (void)core;
    insn *i = data;
    if (!counting)
        return;
    if (qemu_plugin_mem_is_store(info))
        i->stores++;
    else
        i->loads++;
    unsigned shift = qemu_plugin_mem_size_shift(info);
    if (shift == 2 && address & 1)
        i->split_twice++;
    else if ((shift == 2 && address & 2) || (shift == 1 && address & 1))
        i->split_once++;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *code)
{
    (void)id;
    size_t count = qemu_plugin_tb_n_insns(code);
    block *b = allocate(sizeof *b + count * sizeof *b->insns);
    b->count = count;
    bool marked = false;
    for (size_t k = 0; k < count; k++) {
        struct qemu_plugin_insn *q = qemu_plugin_tb_get_insn(code, k);
        insn *i = b->insns[k] = record((uint32_t)qemu_plugin_insn_vaddr(q));
        uint16_t bytes;
        memcpy(&bytes, qemu_plugin_insn_data(q), sizeof bytes);
        bool mark = qemu_plugin_insn_size(q) == 2 && (bytes == BEGIN || bytes == END);
        i->mark = mark ? bytes : 0;
        marked |= mark;
        qemu_plugin_register_vcpu_mem_cb(q, accessed, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW, i);
    }
    if (marked) {
        for (size_t k = 0; k < count; k++)
            qemu_plugin_register_vcpu_insn_exec_cb(qemu_plugin_tb_get_insn(code, k), executed,
                QEMU_PLUGIN_CB_NO_REGS, b->insns[k]);
        free(b);
    } else {
        b->next = blocks;
        blocks = b;
        qemu_plugin_register_vcpu_tb_exec_cb(code, block_executed, QEMU_PLUGIN_CB_NO_REGS, b);
    }
}

static void end_of_program(qemu_plugin_id_t id, void *data)
{
    (void)id;
    (void)data;
    if (out)
        fclose(out);
}

EXPORTED int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int count, char **arguments)
{
    (void)info;
    for (int k = 0; k < count; k++) {
        if (strncmp(arguments[k], "out=", 4) != 0) {
            fprintf(stderr, "profiler: `%s`; expected out=FILE\n", arguments[k]);
            return 1;
        }
        out_name = strdup(arguments[k] + 4);
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, end_of_program, NULL);
    return 0;
}
