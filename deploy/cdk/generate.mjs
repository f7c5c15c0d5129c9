// Copies template.yaml into the package, and writes lib/parameters.ts: one typed property for each of its parameters.
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
copyFileSync(here("../../template.yaml"), here("lib/template.yaml"));

// The parameters contain no functions of CloudFormation, whose tags are unknown here.
const { Parameters } = parse(readFileSync(here("lib/template.yaml"), "utf8"), { logLevel: "silent" });

function type({ Type, AllowedValues }) {
  if (AllowedValues) return AllowedValues.map((value) => JSON.stringify(value)).join(" | ");
  const types = { String: "string", Number: "number" };
  if (!(Type in types)) throw new Error(`no type for ${Type}`);
  return types[Type];
}

const properties = Object.entries(Parameters).map(([name, parameter]) => {
  const text = [parameter.Description.trim(), `@default ${JSON.stringify(parameter.Default)}`];
  return `  /**\n${text.map((line) => `   * ${line}\n`).join("")}   */\n  readonly ${name[0].toLowerCase()}${name.slice(1)}?: ${type(parameter)};\n`;
});
writeFileSync(
  here("lib/parameters.ts"),
  `// Made by generate.mjs of the parameters in template.yaml.\n\n/** The parameters of the stack. */\nexport interface Parameters {\n${properties.join("")}}\n`,
);
