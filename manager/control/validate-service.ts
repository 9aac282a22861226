// Whether a service may be what its spec asks. Pure: answers nothing, throws InvalidArgument that names the field.
// It knows no store; conflicts with other objects are checked where the object is written.

import { PortConfig_Protocol, PortConfig_PublishMode, type PortConfig, ServiceSpec } from "../../proto/gen/specs.ts";
import type { WholeServiceSpec } from "../../proto/model/objects.ts";
import { type Field, checkEnum, checkForm, checkList, checkNumber, checkUnique, refused } from "./validate.ts";
import { checkMode } from "./validate-mode.ts";
import { checkLabels, checkName } from "./validate-names.ts";
import { checkTask } from "./validate-task.ts";
import { checkUpdateConfig } from "./validate-update.ts";

/** Encoded size of a whole spec: a task carries its share of it, and a service two of them. */
export const SPEC_BYTES_MAX = 131_072;

const PORTS_MAX = 256;

/** Throws InvalidArgument for the first thing in the spec that cannot be. */
export function validateServiceSpec(spec: WholeServiceSpec): void {
  checkName({ path: "name", value: spec.name });
  checkLabels({ path: "labels", value: spec.labels });
  checkMode(spec);
  checkTask({ path: "task", value: spec.task });
  checkPorts({ path: "endpoint.ports", value: spec.endpoint.ports });
  checkUpdateConfig({ path: "update", value: spec.update }, "update");
  checkUpdateConfig({ path: "rollback", value: spec.rollback }, "rollback");
  const bytes = ServiceSpec.encode(spec).finish().byteLength;
  if (bytes > SPEC_BYTES_MAX)
    throw refused("", `the service's spec takes ${bytes} bytes; ${SPEC_BYTES_MAX} are allowed: shorten env or labels`);
}

function checkPorts(ports: Field<readonly PortConfig[]>): void {
  checkList(ports, PORTS_MAX, checkPort);
  const published = ports.value.filter((port) => port.publishedPort !== 0);
  checkUnique(
    { path: ports.path, value: published },
    (port) => `${port.publishedPort}/${port.protocol === PortConfig_Protocol.TCP ? "tcp" : "udp"}`,
    (key) => `duplicate published port provided: ${key} is published twice`,
  );
  checkUnique(
    { path: ports.path, value: ports.value.filter((port) => port.name !== "") },
    (port) => port.name,
    (name) => `port name ${name} is used twice`,
  );
}

function checkPort({ path, value: port }: Field<PortConfig>): void {
  checkForm({ path: `${path}.name`, value: port.name }, { pattern: /^[\w.-]{1,63}$/, expected: "a short word" });
  checkEnum({ path: `${path}.protocol`, value: port.protocol }, PortConfig_Protocol);
  checkEnum({ path: `${path}.publish_mode`, value: port.publishMode }, PortConfig_PublishMode);
  checkNumber({ path: `${path}.target_port`, value: port.targetPort }, { min: 1, max: 65_535 });
  checkNumber({ path: `${path}.published_port`, value: port.publishedPort }, { min: 0, max: 65_535 });
  if (port.publishMode === PortConfig_PublishMode.INGRESS)
    throw refused(
      `${path}.publish_mode`,
      `port ${port.targetPort} asks for publish mode ingress, which this version does not have: ` +
        `publish it on each node with mode=host (--publish published=${port.publishedPort || 8080},target=${port.targetPort},mode=host)`,
    );
}
