// Builds {{name}}.wasm, a component. The JavaScript engine gets nothing of WASI: a policy may import nothing.
import { writeFile } from "node:fs/promises";
import { componentize } from "@bytecodealliance/componentize-js";

const { component } = await componentize({
  sourcePath: "policy.js",
  witPath: "wit/policy.wit",
  worldName: "policy",
  disableFeatures: ["random", "stdio", "clocks", "http", "fetch-event"],
});
await writeFile("{{name}}.wasm", component);
console.log(`{{name}}.wasm: ${component.length} bytes`);
