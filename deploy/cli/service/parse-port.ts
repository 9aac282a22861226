// `--publish`: the short form `8080:80/tcp` and the long one `published=8080,target=80,mode=host`.

import { SwarmError } from "../../../proto/base/errors.ts";
import { PortConfig, PortConfig_Protocol, PortConfig_PublishMode } from "../../../proto/gen/specs.ts";
import { csvFields } from "./csv.ts";

/** One flag can name ranges (`8000-8003:80-83`), so there may be several ports. Throws InvalidArgument. */
export function parsePublish(text: string): readonly PortConfig[] {
  return text.includes("=") ? [longForm(text)] : shortForm(text);
}

function longForm(text: string): PortConfig {
  const port = {
    protocol: PortConfig_Protocol.TCP as PortConfig_Protocol,
    target: 0,
    published: 0,
    mode: PortConfig_PublishMode.INGRESS as PortConfig_PublishMode,
  };
  for (const { key, value = "" } of csvFields(text)) {
    switch (key) {
      case "protocol":
        port.protocol = protocolOf(value, text);
        break;
      case "mode":
        port.mode = modeOf(value, text);
        break;
      case "target":
        port.target = portNumber(value, text);
        break;
      case "published":
        port.published = portNumber(value, text);
        break;
      default:
        throw refused(text, `invalid field key ${key}; there are target, published, protocol and mode`);
    }
  }
  if (port.target === 0) throw refused(text, "missing mandatory field target");
  return PortConfig.create({
    protocol: port.protocol,
    targetPort: port.target,
    publishedPort: port.published,
    publishMode: port.mode,
  });
}

function shortForm(text: string): readonly PortConfig[] {
  const match = /^(?:(\d+)(?:-(\d+))?:)?(\d+)(?:-(\d+))?(?:\/(\w+))?$/.exec(text);
  if (match === null)
    throw refused(text, "it must be PUBLISHED:TARGET[/PROTOCOL] or target=PORT,published=PORT,mode=host");
  const [, publishedFrom, publishedTo, targetFrom = "", targetTo, protocolText = "tcp"] = match;
  const protocol = protocolOf(protocolText, text);
  const first = portNumber(targetFrom, text);
  const count = portNumber(targetTo ?? targetFrom, text) - first + 1;
  const published = publishedFrom === undefined ? 0 : portNumber(publishedFrom, text);
  const publishedCount =
    publishedFrom === undefined ? count : portNumber(publishedTo ?? publishedFrom, text) - published + 1;
  if (count < 1 || publishedCount !== count) throw refused(text, "the two ranges must be of the same length");
  return Array.from({ length: count }, (_, offset) =>
    PortConfig.create({
      protocol,
      targetPort: first + offset,
      publishedPort: published === 0 ? 0 : published + offset,
      publishMode: PortConfig_PublishMode.INGRESS,
    }),
  );
}

function protocolOf(value: string, text: string): PortConfig_Protocol {
  switch (value.toLowerCase()) {
    case "tcp":
      return PortConfig_Protocol.TCP;
    case "udp":
      return PortConfig_Protocol.UDP;
    default:
      throw refused(text, `invalid protocol value '${value}'; there are tcp and udp`);
  }
}

function modeOf(value: string, text: string): PortConfig_PublishMode {
  switch (value.toLowerCase()) {
    case "ingress":
      return PortConfig_PublishMode.INGRESS;
    case "host":
      return PortConfig_PublishMode.HOST;
    default:
      throw refused(text, `invalid publish mode value '${value}'; there are ingress and host`);
  }
}

function portNumber(value: string, text: string): number {
  const port = Number(value);
  if (!/^\d+$/.test(value) || port < 1 || port > 65_535)
    throw refused(text, `invalid port ${value}: it must be from 1 to 65535`);
  return port;
}

function refused(text: string, reason: string): SwarmError {
  return new SwarmError("InvalidArgument", `invalid publish "${text}": ${reason}`);
}
