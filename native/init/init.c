/* tsswarm-init -- PROGRAM ARGUMENT...: process 1 of a container that asked for one. Runs the program, passes it every
 * signal, reaps what others leave behind, and ends as the program did: with its code, or 128 and the signal's number.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_USAGE = 125, EXIT_NOT_EXECUTABLE = 126, EXIT_NOT_FOUND = 127 };

/* In the new process: a group of its own, in front of the terminal if there is one, with signals as they were. */
static void run_program(char **argv, const sigset_t *before) {
    setpgid(0, 0);
    signal(SIGTTOU, SIG_IGN);
    if (isatty(0))
        tcsetpgrp(0, getpgrp());
    signal(SIGTTOU, SIG_DFL);
    sigprocmask(SIG_SETMASK, before, NULL);
    execvp(argv[0], argv);
    int failure = errno;
    fprintf(stderr, "tsswarm-init: %s: %s\n", argv[0], strerror(failure));
    _exit(failure == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
}

/* Reaps all that has ended; true with the program's status once it is among them. */
static bool reap(pid_t program, int *status) {
    int each;
    pid_t pid;
    bool ended = false;
    while ((pid = waitpid(-1, &each, WNOHANG)) > 0) {
        if (pid != program)
            continue;
        *status = each;
        ended = true;
    }
    return ended;
}

static int exit_code(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

int main(int argc, char **argv) {
    sigset_t all, before;
    if (argc < 3 || strcmp(argv[1], "--") != 0) {
        fprintf(stderr, "usage: tsswarm-init -- PROGRAM [ARGUMENT...]\n");
        return EXIT_USAGE;
    }
    /* All but those that say this program itself is broken. */
    sigfillset(&all);
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        sigdelset(&all, faults[i]);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t program = fork();
    if (program < 0) {
        fprintf(stderr, "tsswarm-init: %s\n", strerror(errno));
        return EXIT_USAGE;
    }
    if (program == 0)
        run_program(argv + 2, &before);
    for (int status;;) {
        int number = sigwaitinfo(&all, NULL);
        if (number < 0)
            continue;
        if (number != SIGCHLD)
            kill(program, number);
        else if (reap(program, &status))
            return exit_code(status);
    }
}
