// Where the bundled command begins. Node keeps what it has compiled beside the bundle, from the first run of a verb on, and
// later runs answer sooner; where that folder cannot be written they compile as before. It goes with the bundle.

import { enableCompileCache } from "node:module";
import { join } from "node:path";

enableCompileCache(join(import.meta.dirname, "compile-cache"));
await import("./main.ts");
