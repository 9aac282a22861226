/* Frames on the shim's socket: `u32 length | u8 type | u32 stream | payload`, little endian, the length without itself.
 * A connection begins as a control connection and becomes a session by FRAME_ATTACH or FRAME_EXEC. The numbers are in
 * native/frames.ts too. */
#ifndef TSSWARM_FRAMES_H
#define TSSWARM_FRAMES_H

enum frame_type {
    FRAME_STATE = 1,  /* -> ; <- "created|running|stopped PID STARTED_MS OOM_KILLS" */
    FRAME_START = 2,  /* -> ; <- u8 0, or the exit code and a sentence */
    FRAME_KILL = 3,   /* -> u32 signal; <- u32 errno. In a session: of the session's process */
    FRAME_ATTACH = 4, /* -> ; <- (nothing) */
    FRAME_STDIN = 5,  /* -> bytes, at most 64 KiB; <- (nothing) once the process's pipe took them: then send the next */
    FRAME_STDIN_CLOSE = 6, /* -> */
    FRAME_RESIZE = 7,      /* -> u16 rows, u16 columns */
    FRAME_EXEC = 8,        /* -> plan; <- u8 0 and u32 pid, or the exit code and a sentence */
    FRAME_EXIT = 9,        /* <- u32 code, u32 signal: of the session's process, else of the container's */
    FRAME_OUTPUT = 10,     /* <- bytes; stream 1 or 2 */
    FRAME_OOM = 11,        /* <- u32 kills so far */
    FRAME_SHUTDOWN = 12,   /* ->: kill what runs, write the exit record, end */
};

#define FRAME_HEAD 9u
#define FRAME_BYTES_MAX ((4u << 20) + FRAME_HEAD)
#define FRAME_STDIN_MAX (64u << 10)

#endif
