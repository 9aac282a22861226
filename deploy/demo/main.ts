// `npm run demo`: a three-node cluster on this machine, a service with three replicas that answers, and nothing left behind.
// It runs the same commands a person would type, and prints them.

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { errorText } from "../../proto/base/errors.ts";

const BIN = fileURLToPath(new URL("../bin", import.meta.url));
const LAB = "demo";
const PORT = 8080;

/** Runs a command, shows it and what it prints, and answers with its output. Throws when it fails. */
async function show(words: readonly string[]): Promise<string> {
  console.log(`\n$ ${words.join(" ")}`);
  const [program = "", ...args] = words;
  const env = { ...process.env, PATH: `${BIN}:${process.env["PATH"] ?? ""}` };
  const child = spawn(program, args, { env, stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
    process.stdout.write(text);
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  if (code !== 0) throw new Error(`"${words.join(" ")}" ended with exit status ${code ?? "of a signal"}`);
  return output;
}

const onM1 = (...words: readonly string[]): Promise<string> =>
  show(["tsswarm", "lab", "exec", "--name", LAB, "m1", "--", ...words]);

async function demonstrate(): Promise<void> {
  await show(["tsswarm", "lab", "up", "--name", LAB, "--managers", "1", "--workers", "2"]);
  await onM1("tsswarm", "node", "ls");
  const publish = `published=${PORT},target=80,mode=host`;
  await onM1(
    "tsswarm",
    "service",
    "create",
    "--name",
    "web",
    "--replicas",
    "3",
    "--replicas-max-per-node",
    "1",
    "--publish",
    publish,
    "tsswarm/demo:1",
  );
  const services = await onM1("tsswarm", "service", "ls");
  if (!services.includes("3/3")) throw new Error("the service does not show 3/3 replicas");
  await onM1("tsswarm", "service", "ps", "web");
  const answers = new Set<string>();
  for (const host of [11, 12, 13]) {
    const answer = await onM1("curl", "--silent", "--max-time", "10", `http://10.77.0.${host}:${PORT}/`);
    answers.add(/task:? *(\S+)/i.exec(answer)?.[1] ?? answer);
  }
  if (answers.size !== 3)
    throw new Error(`three replicas should answer, but ${answers.size} did: ${[...answers].join(", ")}`);
  await onM1("tsswarm", "exec", "web.1", "hostname");
  await onM1("tsswarm", "service", "update", "--detach", "--image", "tsswarm/demo:2", "web");
  await onM1("tsswarm", "service", "rm", "web");
}

let failure: unknown;
try {
  await demonstrate();
} catch (error) {
  failure = error;
} finally {
  await show(["tsswarm", "lab", "down", "--name", LAB]).catch((error: unknown) => (failure ??= error));
}
if (failure !== undefined) {
  console.error(`\nThe demo failed: ${errorText(failure)}`);
  process.exitCode = 1;
} else {
  console.log("\nThree nodes ran a service with three replicas, each of them answered, and nothing is left behind.");
}
