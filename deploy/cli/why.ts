// `tsswarm why`: what holds up a task or a service, what every node says to it, and the least that would help.

import type { Command } from "commander";
import { SwarmError } from "../../proto/base/errors.ts";
import { humanDuration } from "../../proto/base/units.ts";
import type { NodeVerdict, WhyResponse, WhyTask } from "../../proto/gen/control.ts";
import { type WholeTask, wholeTask } from "../../proto/model/objects.ts";
import { taskName } from "../../proto/model/task-name.ts";
import { TaskState, taskStateName } from "../../proto/model/task-state.ts";
import { taskJson } from "../docker/objects.ts";
import type { Json } from "../docker/spec.ts";
import { type Context, print } from "./context.ts";
import { table } from "./format/table.ts";

export function addWhy(command: Command, context: Context): void {
  command
    .description("Say why a task, or each task of a service, is where it is, or does not run")
    .option("--format <format>", "Format output: 'table' or 'json'", "table")
    .argument("<task|service>")
    .action(async (ref: string, { format }: { readonly format: string }) => {
      if (format !== "table" && format !== "json")
        throw new SwarmError("InvalidArgument", `invalid --format "${format}": it must be table or json`);
      const control = await context.control();
      const answer = await control.why({ ref }, { signal: context.signal });
      if (format === "json") print(context, JSON.stringify(whyJson(answer), null, 4));
      else print(context, whyText(answer, { ref, nowMs: context.now() }));
    });
}

/** For people. */
export function whyText(answer: WhyResponse, options: { readonly ref: string; readonly nowMs: number }): string {
  const parts = answer.tasks.map((task) => taskText(task, options.nowMs));
  if (answer.reason !== "") parts.unshift(`${options.ref}: ${answer.reason}\n`);
  return parts.length === 0 ? `${options.ref} has no tasks` : parts.join("\n");
}

function taskText(why: WhyTask, nowMs: number): string {
  const task = wholeTask(why.task ?? noTask());
  const lines = [`${title(task)}: ${stateText(task, { hostname: why.hostname, nowMs })}`];
  if (why.reason !== "") lines.push(`  ${why.reason}`);
  const history = why.history.map((each) => wholeTask(each)).filter(({ id }) => id !== task.id);
  return [
    `${lines.join("\n")}\n`,
    ...(why.verdicts.length === 0 ? [] : [indented(verdictsTable(why.verdicts))]),
    ...why.remedies.map((remedy, index) => `  ${index === 0 ? "To place it:" : "         or:"} ${remedy}\n`),
    ...history.map((each) => `  Before it: ${title(each)} ${endText(each, nowMs)}\n`),
  ].join("");
}

function title(task: WholeTask): string {
  return `${taskName(task)} (${task.id})`;
}

function stateText(task: WholeTask, facts: { readonly hostname: string; readonly nowMs: number }): string {
  const { state, atMs } = task.status;
  const where = state < TaskState.ASSIGNED || facts.hostname === "" ? "" : ` on ${facts.hostname}`;
  return `${taskStateName(state)}${where} since ${humanDuration(Math.max(0, facts.nowMs - atMs))} ago`;
}

function endText({ status }: WholeTask, nowMs: number): string {
  const code = status.container?.exitCode;
  const what = [status.error, code === undefined ? "" : `exit code ${code}`].filter((text) => text !== "").join(", ");
  return `${taskStateName(status.state)} ${humanDuration(Math.max(0, nowMs - status.atMs))} ago${what === "" ? "" : `: ${what}`}`;
}

function verdictsTable(verdicts: readonly NodeVerdict[]): string {
  return table([
    ["NODE", "ACCEPTS", "WHY NOT"],
    ...verdicts.flatMap(({ accepted, hostname, refusals }) =>
      accepted
        ? [[hostname, "yes", ""]]
        : refusals.map((refusal, index) => (index === 0 ? [hostname, "no", refusal] : ["", "", refusal])),
    ),
  ]);
}

function indented(text: string): string {
  return text.replace(/^(?=.)/gm, "  ");
}

function noTask(): never {
  throw new SwarmError("Internal", "the manager's answer has no task in it");
}

function whyJson({ reason, tasks }: WhyResponse): Json {
  return {
    Reason: reason,
    Tasks: tasks.map((why) => {
      const task = wholeTask(why.task ?? noTask());
      return {
        Task: taskJson(task),
        Name: taskName(task),
        Hostname: why.hostname,
        Reason: why.reason,
        Verdicts: why.verdicts.map(({ nodeId, hostname, accepted, refusals }) => ({
          NodeID: nodeId,
          Hostname: hostname,
          Accepted: accepted,
          Refusals: refusals,
        })),
        Remedies: why.remedies,
        History: why.history.map((each) => taskJson(wholeTask(each))),
      };
    }),
  };
}
