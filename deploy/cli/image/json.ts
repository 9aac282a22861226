// An image in the JSON shape of `docker image inspect`.

import type { Image } from "../../../proto/gen/local.ts";
import { type Json, isoTime } from "../../docker/spec.ts";

export function imageJson(image: Image): Json {
  const config = JSON.parse(new TextDecoder().decode(image.configJson)) as {
    readonly config?: Json;
    readonly author?: Json;
  };
  return {
    Id: image.id,
    RepoTags: image.tags,
    Created: isoTime(image.createdAtMs),
    Author: config.author ?? "",
    Config: config.config ?? {},
    Architecture: image.architecture,
    Os: image.os,
    Size: image.sizeBytes,
    RootFS: { Type: "layers", Layers: image.layers },
  };
}
