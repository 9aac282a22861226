/* The one way a function here fails: it returns a negative number and fills an error; on success the error is
 * untouched. The text is a sentence for people, in the words container users know. */
#ifndef TSSWARM_ERROR_H
#define TSSWARM_ERROR_H

struct error {
    int status; /* errno, or 0 when there is none */
    char text[600];
};

/* Fills `err` and returns -1. With a status the text ends in ": no such file or directory" and the like. */
int error_make(struct error *err, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Puts "format: " before the text of `err` and returns -1. */
int error_wrap(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The system's words for an errno, beginning in lower case. */
const char *error_words(int status);

#endif
