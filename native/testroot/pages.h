/* What the server answers: a page per path. */
#ifndef TESTROOT_PAGES_H
#define TESTROOT_PAGES_H

#include <stdbool.h>
#include <stddef.h>

#include "request.h"

struct page {
    int status;
    char *body; /* To be freed; may be NULL. */
    size_t body_length;
    size_t filler;   /* Bytes of 'x' that follow the body. */
    long delay_ms;   /* Answer only after this time. */
    int exit_status; /* The server ends with this once the answer is out; -1: it goes on. */
};

/* Fills `page` for a whole request. `client` is "address:port". */
void page_for(struct page *page, const struct request *request, const char *client, bool draining);

/* A page that says no more than its status. */
void page_status(struct page *page, int status);

/* "Not Found" for 404. */
const char *status_text(int status);

#endif
