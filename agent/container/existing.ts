// What exists of a task's container, as its controller and its adoption see it.

import type { Container, ExitRecord } from "../../native/index.ts";

export type Existing =
  | { readonly kind: "none" }
  /** Begun and not finished; `container` when the shim is there already. */
  | { readonly kind: "half"; readonly container: Container | undefined }
  | { readonly kind: "created"; readonly container: Container }
  /** Started, or asked to. */
  | { readonly kind: "running"; readonly container: Container }
  /** `exit`: undefined when it never ran. */
  | { readonly kind: "ended"; readonly exit: ExitRecord | undefined }
  | { readonly kind: "lost" };
