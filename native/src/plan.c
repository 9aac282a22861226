#include "plan.h"

#include <stdlib.h>
#include <string.h>

#define HEAD "tsswarm1"
#define HEAD_LENGTH 8u

int plan_check(struct plan *plan, const void *data, size_t length, struct error *err) {
    if (length > PLAN_BYTES_MAX)
        return error_make(err, 0, "the plan is larger than %u bytes", PLAN_BYTES_MAX);
    if (length < HEAD_LENGTH || memcmp(data, HEAD, HEAD_LENGTH) != 0)
        return error_make(err, 0, "the plan is of another version than this shim");
    plan->data = data;
    plan->length = length;
    size_t at = HEAD_LENGTH;
    while (at < length) {
        uint32_t head[2];
        if (length - at < sizeof head)
            return error_make(err, 0, "the plan ends inside a record");
        memcpy(head, plan->data + at, sizeof head);
        size_t room = length - at - sizeof head;
        if (head[1] > room || ((head[1] + 7u) & ~7u) > room)
            return error_make(err, 0, "the plan ends inside a record");
        const char *payload = plan->data + at + sizeof head;
        if (head[0] == PLAN_SECCOMP ? head[1] % 8 != 0 : head[1] > 0 && payload[head[1] - 1] != '\0')
            return error_make(err, 0, "record %u of the plan is damaged", head[0]);
        at += sizeof head + ((head[1] + 7u) & ~7u);
    }
    return 0;
}

bool plan_next(const struct plan *plan, size_t *at, struct record *record) {
    if (*at == 0)
        *at = HEAD_LENGTH;
    if (*at >= plan->length)
        return false;
    memcpy(&record->op, plan->data + *at, 4);
    memcpy(&record->length, plan->data + *at + 4, 4);
    record->payload = plan->data + *at + 8;
    *at += 8 + ((record->length + 7u) & ~7u);
    return true;
}

bool plan_find(const struct plan *plan, enum plan_op op, struct record *record) {
    for (size_t at = 0; plan_next(plan, &at, record);)
        if (record->op == op)
            return true;
    return false;
}

const char *record_field(const struct record *record, unsigned int index) {
    const char *end = record->payload + record->length;
    for (const char *field = record->payload; field < end; field += strlen(field) + 1)
        if (index-- == 0)
            return field;
    return NULL;
}

const char *record_text(const struct record *record, unsigned int index) {
    const char *field = record_field(record, index);
    return field == NULL ? "" : field;
}

uint64_t record_number(const struct record *record, unsigned int index) {
    return strtoull(record_text(record, index), NULL, 10);
}
