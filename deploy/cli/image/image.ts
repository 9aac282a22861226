// `tsswarm image`: the images of this node.

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import type { Command } from "commander";
import { SwarmError, errorText } from "../../../proto/base/errors.ts";
import { humanDuration, printDecimalBytes } from "../../../proto/base/units.ts";
import type { Image, ImageProgress, ImageUpload } from "../../../proto/gen/local.ts";
import { type Context, print } from "../context.ts";
import { type Columns, type Row, formatList } from "../format/list.ts";
import { inspectObjects } from "../inspect.ts";
import { FORMAT_HELP, collect } from "../options.ts";
import { forEachRef } from "../refs.ts";
import { imageJson } from "./json.ts";

const COLUMNS: Columns = [
  ["REPOSITORY", "Repository"],
  ["TAG", "Tag"],
  ["IMAGE ID", "ID"],
  ["CREATED", "CreatedSince"],
  ["SIZE", "Size"],
];

const CHUNK_BYTES = 262_144;

export function addImage(command: Command, context: Context): void {
  const { signal } = context;

  command
    .command("load")
    .description("Load an image from a tar archive or STDIN")
    .option("-i, --input <file>", "Read from tar archive file, instead of STDIN")
    .option("-q, --quiet", "Suppress the load output")
    .action(async (options: { input?: string; quiet?: boolean }) => {
      if (options.input === undefined && context.stdin.isTTY === true) {
        throw new SwarmError(
          "InvalidArgument",
          "requested load from stdin, but stdin is a terminal; name a file with -i",
        );
      }
      const local = await context.local();
      const upload = uploadOf(context, { file: options.input, header: { reference: "", changes: [], message: "" } });
      await showProgress(context, local.loadImage(upload, { signal }), options.quiet === true);
    });

  command
    .command("import")
    .description("Import the contents from a tarball to create a filesystem image")
    .option("-c, --change <instruction>", "Apply Dockerfile instruction to the created image", collect)
    .option("-m, --message <text>", "Set commit message for imported image", "")
    .argument("<file>", "'-' is STDIN")
    .argument("[name]", "REPOSITORY[:TAG]", "")
    .action(async (file: string, reference: string, options: { change?: readonly string[]; message: string }) => {
      const local = await context.local();
      const header = { reference, changes: options.change ?? [], message: options.message };
      const upload = uploadOf(context, { file: file === "-" ? undefined : file, header });
      await showProgress(context, local.importImage(upload, { signal }), false);
    });

  command
    .command("ls")
    .alias("list")
    .description("List images")
    .option("--format <template>", FORMAT_HELP)
    .option("--no-trunc", "Don't truncate output")
    .option("-q, --quiet", "Only show image IDs")
    .action(async (options: { format?: string; trunc: boolean; quiet?: boolean }) => {
      const local = await context.local();
      const { images } = await local.listImages({}, { signal });
      const rows = [...images]
        .sort((a, b) => b.createdAtMs - a.createdAtMs)
        .flatMap((image) => imageRows(image, { now: context.now(), truncate: options.trunc }));
      context.stdout.write(formatList({ rows, columns: COLUMNS, id: "ID" }, options));
    });

  command
    .command("inspect")
    .description("Display detailed information on one or more images")
    .option("-f, --format <template>", FORMAT_HELP)
    .argument("<image...>")
    .action(async (refs: readonly string[], options: { format?: string }) => {
      const local = await context.local();
      await inspectObjects<Image>(context, {
        refs,
        format: options.format,
        get: async (ref) => {
          const { image } = await local.inspectImage({ ref }, { signal });
          if (image === undefined) throw new SwarmError("NotFound", `No such image: ${ref}`);
          return image;
        },
        json: imageJson,
        pretty: undefined,
      });
    });

  command
    .command("tag")
    .description("Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE")
    .argument("<source>")
    .argument("<target>")
    .action(async (ref: string, target: string) => {
      await (await context.local()).tagImage({ ref, target }, { signal });
    });

  command
    .command("rm")
    .alias("remove")
    .description("Remove one or more images")
    .option("-f, --force", "Force removal of the image")
    .argument("<image...>")
    .action(async (refs: readonly string[], options: { force?: boolean }) => {
      const local = await context.local();
      await forEachRef(context, refs, async (ref) => {
        const { untagged, deleted } = await local.removeImage({ ref, force: options.force === true }, { signal });
        for (const tag of untagged) print(context, `Untagged: ${tag}`);
        for (const id of deleted) print(context, `Deleted: ${id}`);
      });
    });
}

async function* uploadOf(
  context: Context,
  source: {
    readonly file: string | undefined;
    readonly header: { readonly reference: string; readonly changes: readonly string[]; readonly message: string };
  },
): AsyncGenerator<ImageUpload> {
  if (source.file !== undefined) await mustBeFile(source.file);
  yield { part: { $case: "header", value: source.header } };
  const input =
    source.file === undefined ? context.stdin : createReadStream(source.file, { highWaterMark: CHUNK_BYTES });
  for await (const chunk of input as AsyncIterable<Buffer>) {
    for (let at = 0; at < chunk.length; at += CHUNK_BYTES)
      yield { part: { $case: "chunk", value: chunk.subarray(at, at + CHUNK_BYTES) } };
  }
}

async function mustBeFile(path: string): Promise<void> {
  try {
    if ((await stat(path)).isDirectory())
      throw new SwarmError("InvalidArgument", `${path} is a directory; a tar archive is needed`);
  } catch (error) {
    if (error instanceof SwarmError) throw error;
    throw new SwarmError("NotFound", `open ${path}: ${errorText(error)}`, { cause: error });
  }
}

async function showProgress(context: Context, messages: AsyncIterable<ImageProgress>, quiet: boolean): Promise<void> {
  for await (const message of messages) {
    if (message.status !== "" && !quiet) print(context, message.status);
  }
}

function imageRows(image: Image, view: { readonly now: number; readonly truncate: boolean }): readonly Row[] {
  const id = view.truncate ? image.id.replace(/^sha256:/, "").slice(0, 12) : image.id;
  const names = image.tags.length === 0 ? ["<none>:<none>"] : image.tags;
  return names.map((name) => {
    const colon = name.lastIndexOf(":");
    return {
      ID: id,
      Repository: name.slice(0, colon),
      Tag: name.slice(colon + 1),
      CreatedSince: image.createdAtMs <= 0 ? "N/A" : `${humanDuration(view.now - image.createdAtMs)} ago`,
      Size: printDecimalBytes(image.sizeBytes),
      Containers: String(image.containers),
    };
  });
}
