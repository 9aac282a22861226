// Frames of the shim's socket, cut every way a socket may cut them.

import assert from "node:assert/strict";
import { test } from "node:test";

import fc from "fast-check";

import { FrameReader, encodeFrame } from "../../../native/frames.ts";

test("frames come out whole however the socket cut them", () => {
  const frame = fc.record({ type: fc.integer({ min: 1, max: 12 }), payload: fc.uint8Array({ maxLength: 300 }) });
  fc.assert(
    fc.property(
      fc.array(frame, { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }),
      (frames, cuts) => {
        const bytes = Buffer.concat(frames.map(({ type, payload }) => encodeFrame(type, payload)));
        const reader = new FrameReader();
        const read: { type: number; payload: Uint8Array }[] = [];
        for (let at = 0, turn = 0; at < bytes.length; turn++) {
          const length = cuts[turn % cuts.length] ?? 1;
          const taken = reader.take(bytes.subarray(at, at + length));
          read.push(...taken.map(({ type, payload }) => ({ type, payload: new Uint8Array(payload) })));
          at += length;
        }
        assert.deepEqual(
          read,
          frames.map(({ type, payload }) => ({ type, payload: new Uint8Array(payload) })),
        );
      },
    ),
  );
});

test("what is no frame is refused", () => {
  assert.throws(() => new FrameReader().take(Buffer.alloc(9)), { code: "Internal" });
  assert.throws(() => new FrameReader().take(Buffer.alloc(9, 0xff)), { code: "Internal" });
});
