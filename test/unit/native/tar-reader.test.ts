// The tar reader: every form of header it knows, every kind of damage, and bytes that mean nothing.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  memberBlocks,
  padded,
  paxRecord,
  sealed,
  tarHeader,
  writeTar,
  type TarMember,
} from "../../../deploy/demo-image/tar-writer.ts";
import { TAR_LIMITS, type TarEntry, type TarLimits } from "../../../native/tar-entry.ts";
import { TarReader } from "../../../native/tar-reader.ts";
import { isSwarmError } from "../../../proto/base/errors.ts";

interface Found {
  readonly entry: TarEntry;
  /** The file as it would be on disk, holes as zeros. */
  readonly content: string;
}

/** Reads an archive given in pieces of `step` bytes. */
function read(archive: Uint8Array, options: { readonly step?: number; readonly limits?: TarLimits } = {}): Found[] {
  const found: Found[] = [];
  let content = Buffer.alloc(0);
  let current: TarEntry | undefined;
  const reader = new TarReader(
    {
      entry: (entry) => {
        assert.equal(current, undefined, "an entry begins after the one before it has ended");
        current = entry;
        content = Buffer.alloc(Math.min(entry.sizeBytes, 1_000_000));
      },
      data: (bytes, position) => {
        assert.ok(current !== undefined && position + bytes.length <= current.sizeBytes);
        if (position + bytes.length <= content.length) content.set(bytes, position);
      },
      end: () => {
        assert.ok(current !== undefined);
        found.push({ entry: current, content: content.toString("latin1") });
        current = undefined;
      },
    },
    options.limits,
  );
  const step = options.step ?? archive.length + 1;
  for (let at = 0; at < archive.length; at += step) {
    // A copy that is spoiled afterwards: the reader may not keep the caller's bytes.
    const piece = Buffer.from(archive.subarray(at, at + step));
    reader.push(piece);
    piece.fill(0xee);
  }
  reader.finish();
  return found;
}

function readOne(member: TarMember): Found {
  const found = read(writeTar([member]));
  assert.equal(found.length, 1);
  return found[0] as Found;
}

function refusal(archive: Uint8Array, options: { readonly limits?: TarLimits } = {}): string {
  try {
    read(archive, options);
  } catch (error) {
    assert.ok(isSwarmError(error, "InvalidArgument", "ResourceExhausted"), String(error));
    return error.message;
  }
  return assert.fail("the archive is accepted");
}

const END = Buffer.alloc(1024);

test("a tar is read the same in pieces of any size", () => {
  const archive = writeTar([
    { path: "dir", type: "5", mode: 0o1777 },
    { path: "dir/file", data: Buffer.from("hello"), uid: 1, gid: 2, mtimeS: 1_700_000_000 },
    { path: "x".repeat(300), data: Buffer.alloc(1500, "ab") },
    { path: "link", type: "2", linkPath: "y".repeat(200) },
    { path: "hard", type: "1", linkPath: "dir/file" },
    { path: "null", type: "3", deviceMajor: 1, deviceMinor: 3 },
    { path: "pipe", type: "6", mode: 0o4755 },
  ]);
  const whole = read(archive);
  assert.deepEqual(
    whole.map((found) => [found.entry.kind, found.entry.path.length, found.entry.sizeBytes]),
    [
      ["directory", 3, 0],
      ["file", 8, 5],
      ["file", 300, 1500],
      ["symlink", 4, 0],
      ["hardlink", 4, 0],
      ["character", 4, 0],
      ["fifo", 4, 0],
    ],
  );
  assert.equal(whole[1]?.content, "hello");
  assert.equal(whole[1].entry.mtimeNs, 1_700_000_000n * 1_000_000_000n);
  assert.deepEqual([whole[1].entry.uid, whole[1].entry.gid, whole[1].entry.mode], [1, 2, 0o644]);
  assert.equal(whole[3]?.entry.linkPath, "y".repeat(200));
  assert.deepEqual([whole[5]?.entry.deviceMajor, whole[5]?.entry.deviceMinor], [1, 3]);
  assert.equal(whole[6]?.entry.mode, 0o4755);
  for (const step of [1, 7, 511, 512, 513, 4096]) assert.deepEqual(read(archive, { step }), whole, `step ${step}`);
});

test("an extended header gives names, ids, times, sizes and attributes, all as bytes", () => {
  const capability = Buffer.from([0, 0, 0, 2, 0xff, 0x3d, 0x0a, 0, 0x80]);
  const { entry, content } = readOne({
    path: "short",
    data: Buffer.from("abc"),
    pax: {
      path: Buffer.from("caf\xe9/\xff name", "latin1"),
      uid: "3000000000",
      gid: "4000000000",
      mtime: "-1.25",
      "SCHILY.xattr.security.capability": capability,
      "SCHILY.xattr.user.empty": "",
    },
  });
  assert.equal(entry.path, "caf\xe9/\xff name");
  assert.deepEqual([entry.uid, entry.gid], [3_000_000_000, 4_000_000_000]);
  assert.equal(entry.mtimeNs, -1_250_000_000n);
  assert.deepEqual(Buffer.from(entry.xattrs.get("security.capability") ?? []), capability);
  assert.equal(entry.xattrs.get("user.empty")?.length, 0);
  assert.equal(content, "abc");
  assert.equal(readOne({ path: "t", pax: { mtime: "1.123456789987" } }).entry.mtimeNs, 1_123_456_789n);

  const sized = Buffer.concat([
    ...memberBlocks({ path: "PaxHeader", type: "x", data: paxRecord("size", Buffer.from("3")) }),
    tarHeader({ path: "big", size: 0 }),
    padded(Buffer.from("xyz")),
    END,
  ]);
  assert.equal(read(sized)[0]?.content, "xyz");
});

test("a global header holds for all entries after it, and an entry's own goes before it", () => {
  const archive = Buffer.concat([
    ...memberBlocks({
      path: "g",
      type: "g",
      data: Buffer.concat([paxRecord("uid", Buffer.from("7")), paxRecord("comment", Buffer.from("c"))]),
    }),
    ...memberBlocks({ path: "a" }),
    ...memberBlocks({ path: "b", uid: 5, pax: { uid: "9" } }),
    ...memberBlocks({ path: "c", uid: 5, pax: { uid: "" } }),
    END,
  ]);
  assert.deepEqual(
    read(archive).map((found) => found.entry.uid),
    [7, 9, 5],
  );
});

test("GNU long names and links, old directories and the ustar prefix are understood", () => {
  const long = `${"d/".repeat(120)}f`;
  const old = tarHeader({ path: "olddir/", size: 0 });
  old[156] = 0;
  const prefixed = tarHeader({ path: "name", size: 0 });
  prefixed.write("some/prefix", 345, "latin1");
  const gnu = tarHeader({ path: "gnu", size: 0 });
  gnu.write("ustar  \0", 257, "latin1");
  gnu.write("12345670123", 345, "latin1");
  const archive = Buffer.concat([
    ...memberBlocks({ path: "././@LongLink", type: "L", data: Buffer.from(`${long}\0`) }),
    ...memberBlocks({ path: "././@LongLink", type: "K", data: Buffer.from(`${long}2\0`) }),
    ...memberBlocks({ path: "cut", type: "2", linkPath: "cut" }),
    ...memberBlocks({ path: "label", type: "V" }),
    sealed(old),
    sealed(prefixed),
    sealed(gnu),
    END,
  ]);
  assert.deepEqual(
    read(archive).map((found) => [found.entry.kind, found.entry.path, found.entry.linkPath]),
    [
      ["symlink", long, `${long}2`],
      ["directory", "olddir/", ""],
      ["file", "some/prefix/name", ""],
      ["file", "gnu", ""],
    ],
  );
});

test("numbers in base 256 are read, also negative ones", () => {
  const block = tarHeader({ path: "big", size: 0 });
  block.fill(0, 108, 116);
  block[108] = 0x80;
  block.writeUInt32BE(3_000_000_000, 112);
  block.fill(0xff, 136, 148);
  const found = read(Buffer.concat([sealed(block), END]));
  assert.equal(found[0]?.entry.uid, 3_000_000_000);
  assert.equal(found[0].entry.mtimeNs, -1_000_000_000n);
});

test("sparse files of all four forms come out with their holes", () => {
  const expected = `${"\0".repeat(1000)}hello${"\0".repeat(995)}world${"\0".repeat(95)}`;
  const data = Buffer.from("helloworld");
  const oldForm = tarHeader({ path: "old", type: "S", size: 10 });
  oldForm.write("ustar  \0", 257, "latin1");
  ["00000001750", "00000000005", "00000003720", "00000000005"].forEach((digits, index) =>
    oldForm.write(digits, 386 + index * 12, "latin1"),
  );
  oldForm.write("00000004064", 483, "latin1");
  const map = Buffer.from("2\n1000\n5\n2000\n5\n");
  const archive = Buffer.concat([
    sealed(oldForm),
    padded(data),
    ...memberBlocks({
      path: "0.0",
      data,
      pax: { "GNU.sparse.map": "1000,5,2000,5", "GNU.sparse.size": "2100", "GNU.sparse.name": "renamed" },
    }),
    ...memberBlocks({
      path: "1.0",
      data: Buffer.concat([padded(map), data]),
      pax: {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "real",
        "GNU.sparse.realsize": "2100",
      },
    }),
    ...memberBlocks({
      path: "x",
      type: "x",
      data: Buffer.concat([
        ...["1000", "5", "2000", "5"].map((digits, index) =>
          paxRecord(index % 2 === 0 ? "GNU.sparse.offset" : "GNU.sparse.numbytes", Buffer.from(digits)),
        ),
        paxRecord("GNU.sparse.size", Buffer.from("2100")),
      ]),
    }),
    ...memberBlocks({ path: "0.0 many records", data }),
    END,
  ]);
  for (const step of [1, 100, 100_000]) {
    const found = read(archive, { step });
    assert.deepEqual(
      found.map((one) => [one.entry.path, one.entry.sparse, one.content === expected]),
      [
        ["old", true, true],
        ["renamed", true, true],
        ["real", true, true],
        ["0.0 many records", true, true],
      ],
    );
  }
});

test("only files carry data, and what follows the end is not looked at", () => {
  const dir = tarHeader({ path: "d", type: "5", size: 4096 });
  const found = read(Buffer.concat([dir, ...memberBlocks({ path: "f" }), END, Buffer.alloc(5000, "junk")]));
  assert.deepEqual(
    found.map((one) => one.entry.path),
    ["d", "f"],
  );
  assert.deepEqual(read(Buffer.alloc(0)), []);
  assert.deepEqual(read(END), []);
});

test("an archive that is cut off anywhere but between entries is refused, with the place", () => {
  const first = Buffer.concat(memberBlocks({ path: "a", data: Buffer.from("x") }));
  const archive = Buffer.concat([first, ...memberBlocks({ path: "b", data: Buffer.alloc(600), pax: { uid: "1" } })]);
  for (let end = 1; end < archive.length; end++) {
    if (end === first.length) assert.equal(read(archive.subarray(0, end)).length, 1);
    else assert.match(refusal(archive.subarray(0, end)), new RegExp(`damaged at byte ${end}: it ends in the middle`));
  }
  assert.equal(read(archive).length, 2);
});

test("damaged headers are refused, saying what is wrong and where", () => {
  const bad = (change: (block: Buffer) => void): Buffer => {
    const block = tarHeader({ path: "a", size: 0 });
    change(block);
    return Buffer.concat([...memberBlocks({ path: "first" }), sealed(block), END]);
  };
  const extended = (body: string): Buffer =>
    Buffer.concat([...memberBlocks({ path: "x", type: "x", data: Buffer.from(body) }), END]);
  const cases: readonly (readonly [Buffer, RegExp])[] = [
    [Buffer.alloc(2048, "no tar at all"), /byte 0: (the checksum|.*not a number)/],
    [bad((block) => block.write("9", 126, "latin1")), /byte 512: the size of an entry is not a number/],
    [bad((block) => block.write("Q", 156, "latin1")), /byte 512: "a" is of an unknown type "Q"/],
    [bad((block) => block.fill(0xff, 124, 136)), /byte 512: a size is negative/],
    [bad((block) => block.fill(0, 0, 100)), /an entry has no name/],
    [bad((block) => block.fill(0xff, 108, 116)), /user or group id is out of range/],
    [bad((block) => block.fill(0x7f, 108, 116).writeUInt8(0xbf, 108)), /user id of an entry is out of range/],
    [extended("5 a=b\n"), /wrong length/],
    [extended("999 path=b\n"), /wrong length/],
    [extended("0 path=b\n"), /wrong length/],
    [extended("4 =\n"), /wrong length|no key/],
    [extended("6 =ab\n"), /no key/],
    [extended("6 a=b\nx"), /wrong length/],
    [extended("7 ab=c\n"), /describes nothing/],
    [
      Buffer.concat([...memberBlocks({ path: "a", pax: { uid: "x" } }), END]),
      /"uid" of an extended header is not a number/,
    ],
    [Buffer.concat([...memberBlocks({ path: "a", pax: { size: "-1" } }), END]), /"size"/],
    [Buffer.concat([...memberBlocks({ path: "a", pax: { mtime: "soon" } }), END]), /"mtime"/],
    [Buffer.concat([...memberBlocks({ path: "a", pax: { path: "a\0b" } }), END]), /"path".*NUL/],
    [Buffer.concat([Buffer.alloc(512), ...memberBlocks({ path: "a" })]), /empty block is followed/],
    [writeTar([{ path: "c", type: "3", deviceMajor: 0o20000 }]), /device number/],
  ];
  for (const [archive, words] of cases) assert.match(refusal(archive), words);
});

test("bad maps of sparse files are refused", () => {
  const one = (map: string, size = "100"): Buffer =>
    writeTar([{ path: "s", data: Buffer.from("0123456789"), pax: { "GNU.sparse.map": map, "GNU.sparse.size": size } }]);
  const text = (map: string): Buffer =>
    writeTar([
      { path: "s", data: padded(Buffer.from(map)), pax: { "GNU.sparse.major": "1", "GNU.sparse.realsize": "100" } },
    ]);
  assert.match(refusal(one("50,5,10,5")), /out of order/);
  assert.match(refusal(one("0,5,96,5")), /beyond its end/);
  assert.match(refusal(one("0,5")), /does not match its data/);
  assert.match(refusal(one("0,5,7")), /half a piece/);
  assert.match(refusal(one("0,x")), /not made of numbers/);
  assert.match(refusal(one("0,99999999999999999")), /not made of numbers/);
  assert.match(refusal(text("1\n0\n")), /cut off|not made of numbers/);
  assert.match(refusal(text("999999999\n")), /too many pieces/);
  assert.match(refusal(text("a".repeat(100))), /not made of numbers/);
});

test("an archive beyond a bound is refused as soon as it is", () => {
  const limits = { ...TAR_LIMITS, headerBytesMax: 1000, entriesMax: 2, archiveBytesMax: 4096, sparsePiecesMax: 1 };
  const members = ["a", "b", "c"].map((path) => ({ path }));
  assert.match(refusal(writeTar(members), { limits }), /more than 2 entries/);
  assert.match(refusal(writeTar([{ path: "a".repeat(2000) }]), { limits }), /header is longer than 1000 bytes/);
  assert.match(refusal(writeTar([{ path: "a", data: Buffer.alloc(5000) }]), { limits }), /longer than 4096 bytes/);
  const sparse = writeTar([
    { path: "a", data: Buffer.from("ab"), pax: { "GNU.sparse.map": "0,1,5,1", "GNU.sparse.size": "6" } },
  ]);
  assert.match(refusal(sparse, { limits }), /too many pieces/);
});

test("whatever the bytes, the reader tells entries or throws SwarmError", () => {
  const sample = writeTar([
    { path: "dir", type: "5" },
    { path: "file", data: Buffer.from("hello"), pax: { uid: "12", mtime: "1.5", "SCHILY.xattr.user.a": "b" } },
    { path: "s", data: Buffer.from("ab"), pax: { "GNU.sparse.map": "0,1,5,1", "GNU.sparse.size": "6" } },
    { path: "link", type: "2", linkPath: "file" },
  ]);
  const survive = (archive: Uint8Array): void => {
    try {
      read(archive, { step: 700 });
    } catch (error) {
      if (!isSwarmError(error)) throw error;
    }
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 3000 }), survive));
  const change = fc.record({ at: fc.nat(sample.length - 1), value: fc.nat(255), reseal: fc.boolean() });
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 12 }), fc.nat(sample.length), (changes, cut) => {
      const archive = Buffer.from(sample);
      for (const { at, value, reseal } of changes) {
        archive[at] = value;
        const block = at - (at % 512);
        // With the checksum put right the damage gets past the first check.
        if (reseal && archive.toString("latin1", block + 257, block + 262) === "ustar") {
          sealed(archive.subarray(block, block + 512));
        }
      }
      survive(archive);
      survive(archive.subarray(0, cut));
    }),
    { numRuns: 500 },
  );
});
