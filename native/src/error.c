#include "error.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *error_words(int status) {
    static char words[128];
    snprintf(words, sizeof words, "%s", strerror(status));
    words[0] = (char)tolower((unsigned char)words[0]);
    return words;
}

int error_make(struct error *err, int status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int length = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    err->status = status;
    if (length < 0)
        length = 0;
    if (status != 0 && (size_t)length < sizeof err->text)
        snprintf(err->text + length, sizeof err->text - (size_t)length, ": %s", error_words(status));
    return -1;
}

int error_wrap(struct error *err, const char *format, ...) {
    char inner[sizeof err->text];
    memcpy(inner, err->text, sizeof inner);
    va_list args;
    va_start(args, format);
    int length = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    if (length >= 0 && (size_t)length < sizeof err->text)
        snprintf(err->text + length, sizeof err->text - (size_t)length, ": %s", inner);
    return -1;
}
