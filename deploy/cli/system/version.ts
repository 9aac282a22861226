// `tsswarm version`: of the command and, where it answers, the daemon.

import type { Command } from "commander";
import { isSwarmError } from "../../../proto/base/errors.ts";
import type { VersionResponse } from "../../../proto/gen/local.ts";
import { VERSION } from "../../version.ts";
import { type Context, print, warn } from "../context.ts";
import { type Section, pretty } from "../format/pretty.ts";
import { compileTemplate } from "../format/template.ts";

export function addVersion(command: Command, context: Context): void {
  command
    .option("-f, --format <template>", "Format output using a Go template, or 'json'")
    .action(async (options: { format?: string }) => {
      const client = { Version: VERSION, NodeVersion: process.versions.node };
      let server: VersionResponse | undefined;
      let missing: string | undefined;
      try {
        server = await (await context.local()).version({}, { signal: context.signal, timeoutMs: 5_000 });
      } catch (error) {
        if (!isSwarmError(error, "Unavailable", "DeadlineExceeded")) throw error;
        missing = error.message;
      }
      const all = {
        Client: client,
        Server:
          server === undefined
            ? null
            : {
                Version: server.version,
                NodeVersion: server.nodeVersion,
                GitCommit: server.gitCommit,
                KernelVersion: server.kernelVersion,
                Os: server.platform?.os ?? "",
                Arch: server.platform?.architecture ?? "",
              },
      };
      if (options.format === "json") print(context, JSON.stringify(all));
      else if (options.format !== undefined) print(context, compileTemplate(options.format)(all));
      else {
        const sections: Section[] = [["Client", Object.entries(all.Client)]];
        if (all.Server !== null) sections.push(["Server", Object.entries(all.Server)]);
        print(context, pretty(sections));
      }
      if (missing !== undefined) {
        warn(context, missing);
        context.exit(1);
      }
    });
}
