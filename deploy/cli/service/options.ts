// Options that several verbs of `tsswarm service` have.

import type { Command } from "commander";
import { addSwitch } from "../options.ts";

export function detachable(command: Command): Command {
  return addSwitch(command, {
    flag: "-d, --detach",
    help: "Exit immediately instead of waiting for the service to converge",
  });
}

export function quietable(command: Command): Command {
  return command.option("-q, --quiet", "Suppress progress output");
}
